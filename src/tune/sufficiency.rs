//! Were enough configurations tried? The expected best of k, and whether more would still help.
//!
//! Lourie et al. 2026 (arXiv:2608.11859): with too few configurations a scale the law itself disappears.
//! Drawn without replacement from the n that were tried, the least of k is the i-th smallest loss with
//! probability C(n - i, k - 1) / C(n, k), exactly.

use serde::{Deserialize, Serialize};

use crate::tune::Noise;

/// Scatter of ln L between seeds that is assumed where none is known.
const ASSUMED: f64 = 1e-3;

/// Whether more configurations would help at one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sufficiency {
    /// Configurations with a loss.
    pub tried: usize,
    /// Those that diverged or failed; they are not drawn.
    pub without_loss: usize,
    /// Expected least loss of k, for k = 1 to all [nats/token].
    pub best_of: Vec<f64>,
    /// By how much the expected least loss falls from half of them to all, over the loss.
    pub fall: f64,
    /// What the parabola promises below the best that was tried, over the loss; none where unresolved.
    pub gain: Option<f64>,
    /// What both are held against: the scatter of ln L between seeds, or of the parabolas' misses.
    pub scatter: f64,
    /// Whether that scatter was measured.
    pub scatter_measured: bool,
    /// More would not help.
    pub enough: bool,
    /// The verdict with its number, in words.
    pub verdict: String,
}

/// Expected least of k values drawn without replacement, for k = 1 to all.
pub fn best_of(losses: &[f64]) -> Vec<f64> {
    let mut sorted = losses.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (1..=n)
        .map(|k| {
            let mut chance = k as f64 / n as f64;
            let mut sum = 0.0;
            for (i, loss) in sorted.iter().take(n - k + 1).enumerate() {
                sum += chance * loss;
                // P(i + 1) over P(i): both count the ways to fill the rest from above.
                chance *= (n - i - k) as f64 / (n - i - 1).max(1) as f64;
            }
            sum
        })
        .collect()
}

/// The verdict for the losses of one cell; none without a loss. `vertex`: the loss its parabolas promise.
pub(super) fn judge(
    losses: &[f64],
    without_loss: usize,
    vertex: Option<f64>,
    noise: Option<&Noise>,
) -> Option<Sufficiency> {
    let curve = best_of(losses);
    let best = *curve.last()?;
    let half = curve[(losses.len() / 2).max(1) - 1];
    let fall = half / best - 1.0;
    let gain = vertex.map(|v| best / v - 1.0);
    let scatter = noise.map_or(ASSUMED, |n| n.sd);
    let of = if noise.is_some() { "the scatter" } else { "an assumed scatter" };
    let percent = |v: f64| format!("{:.2}%", 100.0 * v);
    let (enough, verdict) = match gain {
        Some(gain) if gain <= scatter => (
            true,
            format!(
                "enough: the minimum lies {} below the best tried, {of} is {}",
                percent(gain.max(0.0)),
                percent(scatter)
            ),
        ),
        Some(gain) => (
            false,
            format!(
                "more would help: the minimum lies {} below the best tried, {of} is {}",
                percent(gain),
                percent(scatter)
            ),
        ),
        None if losses.len() >= 4 && fall <= scatter => (
            true,
            format!(
                "enough, though no minimum is resolved: from half to all the best falls by {}, {of} is {}",
                percent(fall),
                percent(scatter)
            ),
        ),
        None => (
            false,
            format!(
                "more would help: no minimum is resolved, and from half to all the best falls by {}, {of} is {}",
                percent(fall),
                percent(scatter)
            ),
        ),
    };
    let (tried, scatter_measured) = (losses.len(), noise.is_some());
    Some(Sufficiency {
        tried,
        without_loss,
        best_of: curve,
        fall,
        gain,
        scatter,
        scatter_measured,
        enough,
        verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All subsets, counted one by one.
    #[test]
    fn the_best_of_k_is_the_mean_over_all_subsets() {
        let losses = [2.31, 2.02, 2.9, 2.11, 2.02, 2.5, 3.7, 2.2, 2.04];
        let curve = best_of(&losses);
        for k in 1..=losses.len() {
            let (mut sum, mut count) = (0.0, 0.0);
            for set in 0_u32..1 << losses.len() {
                if set.count_ones() as usize == k {
                    let members = (0..losses.len()).filter(|i| set >> i & 1 == 1);
                    sum += members.map(|i| losses[i]).fold(f64::INFINITY, f64::min);
                    count += 1.0;
                }
            }
            assert!(
                (curve[k - 1] - sum / count).abs() < 1e-13,
                "{k}: {} {}",
                curve[k - 1],
                sum / count
            );
        }
        assert!(best_of(&[]).is_empty());
        assert_eq!(best_of(&[3.0]), [3.0]);
    }

    #[test]
    fn a_minimum_within_the_scatter_of_the_best_tried_is_enough() {
        let noise = Noise { sd: 0.003, dof: 8.0, from_seeds: true };
        let losses = [2.2, 2.1, 2.0, 2.05, 2.3];
        let judge = |vertex, noise| judge(&losses, 1, vertex, noise).unwrap();
        assert!(judge(Some(1.998), Some(&noise)).enough);
        let more = judge(Some(1.98), Some(&noise));
        assert!(!more.enough && more.verdict.contains("1.01% below"), "{}", more.verdict);
        assert!(!judge(None, Some(&noise)).enough, "the best still falls: {:?}", more.best_of);
        let flat = super::judge(&[2.0; 6], 0, None, Some(&noise)).unwrap();
        assert!(flat.enough && flat.fall == 0.0);
        assert!(!judge(Some(1.998), None).scatter_measured);
        assert_eq!(super::judge(&[], 3, None, None), None);
    }
}
