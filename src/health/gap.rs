//! Held-out losses that part from the training losses: another kind of text, text learned by heart, or a leak.

use super::ending::{blocks, tenth};
use super::{MIN_STEPS, Run};
use crate::units::several;

/// Standard errors that make a gap.
const HIGH: f64 = 5.0;
/// Least gap that matters, as a share of the loss.
const FLOOR: f64 = 0.02;

/// The held-out loss of a run over the mean training loss of its last tenth, as ln of the ratio, if they part.
fn gap(run: &Run) -> Option<f64> {
    let (held_out, held_out_se) = run.held_out;
    if run.losses.len() < MIN_STEPS {
        return None;
    }
    let (_, last) = run.losses.split_at(run.losses.len() - tenth(&run.losses));
    let (trained, variance) = blocks(last);
    let gap = (held_out / trained).ln();
    let se = (variance + held_out_se * held_out_se).sqrt() / trained;
    (gap.abs() > FLOOR && gap.abs() > HIGH * se).then_some(gap)
}

/// What a fit says of gaps: of any run whose held-out loss is the higher one; of lower ones where most runs have them, for a
/// short run that still falls has one too.
pub fn gaps(runs: &[Run]) -> Option<String> {
    let judged = runs.iter().filter(|run| run.losses.len() >= MIN_STEPS).count();
    let all: Vec<(f64, &Run)> = runs.iter().filter_map(|run| Some((gap(run)?, run))).collect();
    let (above, below): (Vec<_>, Vec<_>) = all.into_iter().partition(|(gap, _)| *gap > 0.0);
    let widest = |gaps: &[(f64, &Run)]| {
        gaps.iter().map(|(gap, _)| 100.0 * (gap.exp() - 1.0).abs()).fold(0.0, f64::max)
    };
    if !above.is_empty() {
        let epochs = above.iter().filter_map(|(_, run)| run.epochs).fold(0.0, f64::max);
        let cause = if epochs > 1.0 {
            format!("these runs see their tokens up to {epochs:.1} times")
        } else {
            "the held-out text is of another kind than what is trained on, or documents of the training text repeat"
                .to_owned()
        };
        return Some(format!(
            "the held-out loss of {} of {} lies above the training loss of the last tenth, by up to {:.1}%: {cause}",
            above.len(),
            several(judged, "run"),
            widest(&above)
        ));
    }
    (2 * below.len() > judged).then(|| {
        format!(
            "the held-out loss of {} of {} lies below the training loss of the last tenth, by up to {:.1}%: the held-out text is \
             easier than what is trained on, or lies in it",
            below.len(),
            several(judged, "run"),
            widest(&below)
        )
    })
}
