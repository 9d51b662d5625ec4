use super::*;
use crate::random::Stream;

/// Losses of a power law that falls for `steps` steps, each times the exponential of noise of `sd`.
fn curve(seed: u64, steps: usize, sd: f64, noise: impl Fn(Stream, u64) -> f64) -> Vec<f32> {
    let stream = Stream::new(seed, "health");
    (0..steps)
        .map(|t| {
            let fall = 1.2 + 4.3 * (1.0 + t as f64 / 8.0).powf(-0.4);
            (fall * (sd * noise(stream, t as u64)).exp()) as f32
        })
        .collect()
}

fn gauss(stream: Stream, t: u64) -> f64 {
    stream.normal(t)
}

/// Student's t with 3 degrees of freedom, scaled to unit variance.
fn heavy(stream: Stream, t: u64) -> f64 {
    let normal = |i: u64| stream.child(1 + i).normal(t);
    let chi = (0..3).map(|i| normal(i).powi(2)).sum::<f64>() / 3.0;
    stream.normal(t) / chi.sqrt() / 3f64.sqrt()
}

fn run(id: &str, losses: Vec<f32>) -> Run {
    let end = f64::from(*losses.last().unwrap_or(&1.0));
    Run {
        id: id.into(),
        params: 1e4,
        losses,
        last_rate: 0.02,
        warmup: 0.1,
        held_out: (end, 0.01),
        epochs: None,
    }
}

#[test]
fn noise_of_small_batches_raises_few_alarms() {
    let noises: [fn(Stream, u64) -> f64; 2] = [gauss, heavy];
    for (kind, noise) in noises.into_iter().enumerate() {
        let (mut tries, mut spiky, mut broken) = (0, 0, 0);
        for seed in 0..400 {
            for (steps, sd) in [(60, 0.05), (300, 0.02), (300, 0.08), (3000, 0.04)] {
                let losses = curve(seed * 10 + kind as u64, steps, sd, noise);
                let health = check(&[run("a", losses)], &Rule::ALL);
                tries += 1;
                spiky += health.spikes.len();
                broken += health.broken.len();
            }
        }
        assert!(spiky * 1000 <= 2 * tries, "noise {kind}: {spiky} spikes in {tries} calm runs");
        assert!(broken * 1000 <= tries, "noise {kind}: {broken} excluded of {tries} calm runs");
    }
}

/// `curve` with 0.25 nats more from step 600 on, decaying with a time constant of `healing` steps.
fn spiked(seed: u64, healing: f64) -> Vec<f32> {
    let mut losses = curve(seed, 1000, 0.04, gauss);
    for (t, loss) in losses.iter_mut().enumerate().skip(600) {
        *loss += 1.0 * (-(t as f64 - 600.0) / healing).exp() as f32;
    }
    losses
}

#[test]
fn an_injected_spike_is_found_with_its_height_and_place() {
    for seed in 0..100 {
        let found = spikes(&spiked(seed, 30.0)).unwrap_or_else(|| panic!("seed {seed}"));
        assert!((595..=610).contains(&found.step), "{found:?}");
        assert!((0.7..1.5).contains(&found.height), "{found:?}");
        assert!(found.healed() && (620..760).contains(&found.back.unwrap()), "{found:?}");
        let health = check(&[run("a", spiked(seed, 30.0))], &Rule::ALL);
        assert!(health.spikes.len() == 1 && health.broken.is_empty(), "{:?}", health.broken);
    }
}

#[test]
fn a_spike_that_never_comes_back_excludes() {
    for seed in 0..100 {
        let health = check(&[run("a", spiked(seed, 1e9))], &Rule::ALL);
        let rules: Vec<Rule> = health.broken.iter().map(|b| b.rule).collect();
        assert_eq!(rules, [Rule::UnhealedSpike], "seed {seed}");
        assert!(health.broken[0].reason.contains("not back at the end"));
    }
    assert!(check(&[run("a", spiked(1, 1e9))], &[]).left_out_is_empty());
}

impl Health {
    fn left_out_is_empty(&self) -> bool {
        !self.broken.is_empty() && self.broken.iter().all(|b| !self.excludes(&b.id))
    }
}

#[test]
fn a_loss_that_is_not_a_number_lies_high() {
    let mut losses = curve(3, 400, 0.03, gauss);
    losses[200..].fill(f32::NAN);
    assert!(!spikes(&losses).unwrap().healed());
}

#[test]
fn a_rise_at_the_end_is_found_and_a_fall_is_none() {
    for seed in 0..100 {
        let mut losses = curve(seed, 1000, 0.04, gauss);
        for (t, loss) in losses.iter_mut().enumerate().skip(900) {
            *loss += 0.004 * (t as f32 - 900.0).min(60.0);
        }
        let rise = rising_end(&losses).unwrap_or_else(|| panic!("seed {seed}"));
        assert!((0.09..0.19).contains(&rise.height), "{rise:?}");
        losses.reverse();
        assert_eq!(rising_end(&losses[..400]), None, "falls from the end on");
    }
    assert_eq!(rising_end(&[1.0; 49]), None);
}

#[test]
fn a_rate_that_has_not_decayed_excludes_a_run_of_any_length() {
    let high = Run { last_rate: 0.31, ..run("high", vec![2.0; 10]) };
    let slow = Run { warmup: 0.51, ..run("slow", vec![2.0; 10]) };
    let left_out = check(&[slow.clone(), Run { warmup: 0.5, ..slow.clone() }], &Rule::ALL).broken;
    assert_eq!(
        (left_out.len(), left_out[0].rule, left_out[0].excluded),
        (1, Rule::LongWarmup, true)
    );
    assert!(!check(&[slow], &[Rule::Undecayed]).broken[0].excluded);
    let low = Run { last_rate: 0.30, ..run("low", vec![2.0; 10]) };
    let health = check(&[high, low], &Rule::ALL);
    assert_eq!((health.checked, health.short, health.broken.len()), (0, 2, 1));
    assert!(health.excludes("high") && !health.excludes("low"));
    let line = "Curves: 0 checked, 2 too short to judge, 1 excluded: high (undecayed end)";
    assert_eq!(health.line(), line);
}

/// A published study has losses without curves: the rules that need none still hold.
#[test]
fn a_run_whose_steps_are_gone_is_counted_and_judged_by_its_recipe() {
    let high = Run { last_rate: 0.31, ..run("high", Vec::new()) };
    let health = check(&[high, run("gone", Vec::new()), run("brief", vec![2.0; 9])], &Rule::ALL);
    assert_eq!((health.checked, health.short, health.archived), (0, 1, 2));
    let line = "Curves: 0 checked, 1 too short to judge, 2 whose steps are not kept, \
                1 excluded: high (undecayed end)";
    assert_eq!(health.line(), line);
}

#[test]
fn the_line_counts_healed_and_names_what_is_left_out_or_kept() {
    let runs = [
        run("calm", curve(1, 400, 0.03, gauss)),
        run("up", spiked(2, 30.0)),
        run("bad", spiked(3, 1e9)),
    ];
    let line = |exclude: &[Rule]| check(&runs, exclude).line();
    let both = "Curves: 3 checked, 1 with spikes (healed), ";
    assert_eq!(line(&Rule::ALL), format!("{both}1 excluded: bad (unhealed spike)"));
    assert_eq!(
        line(&[]),
        format!("{both}none excluded, 1 kept against a rule: bad (unhealed spike)")
    );
    assert_eq!(check(&runs[..1], &Rule::ALL).line(), "Curves: 1 checked, no spikes, none excluded");
}

/// Runs of one recipe at many lengths: y is the same function of x.
fn family(seed: u64, noise: fn(Stream, u64) -> f64) -> Vec<Run> {
    let lengths = [120, 200, 300, 500, 700, 900, 1200, 1500, 2000, 3000, 160, 400];
    let one = |(i, n): (usize, usize)| {
        let stream = Stream::new(seed * 100 + i as u64, "family");
        let scale = 0.8 + 0.1 * i as f64;
        let loss = |t: usize| {
            let x = (t as f64 + 0.5) / n as f64;
            ((1.0 + scale * x.powf(-0.3)) * (0.04 * noise(stream, t as u64)).exp()) as f32
        };
        run(&format!("r{i}"), (0..n).map(loss).collect())
    };
    lengths.into_iter().enumerate().map(one).collect()
}

#[test]
fn curves_of_one_shape_collapse_and_one_of_another_is_named() {
    let mut alarms = 0;
    for seed in 0..100 {
        for noise in [gauss, heavy] {
            let runs = family(seed, noise);
            let found = collapse(runs.iter(), 1.0).unwrap();
            assert!(found.typical < 0.15, "{}", found.typical);
            alarms += found.outliers().count();
        }
        let mut runs = family(seed, gauss);
        let n = runs[8].losses.len();
        for loss in &mut runs[8].losses[n / 3..3 * n / 4] {
            *loss += 0.8;
        }
        let found = collapse(runs.iter(), 1.0).unwrap();
        assert!(found.outliers().any(|c| c.id == "r8"), "seed {seed}");
        assert_eq!(found.worst().unwrap().id, "r8");
        assert!(found.warning().unwrap().contains("r8 (+"));
    }
    assert!(alarms <= 2400 / 50, "{alarms} of 2400 calm runs");
}

#[test]
fn y_is_the_share_of_the_reducible_loss() {
    // L = 1 + 3 - 2x by twentieths: y = (3 - 2x) over that of the last, by hand.
    let step = |t: usize| 1.0 + 3.0 - 2.0 * (t / 10) as f32 / 20.0;
    let runs: Vec<Run> =
        (0..6).map(|i| run(&i.to_string(), (0..200).map(step).collect())).collect();
    let found = collapse(runs.iter(), 1.0).unwrap();
    for (i, y) in found.median.iter().enumerate() {
        let want = (3.0 - 2.0 * i as f64 / 20.0) / (3.0 - 1.9);
        assert!((y - want).abs() < 1e-6, "{i}: {y}, want {want}");
    }
    assert_eq!(found.typical, 0.0);
    assert!(collapse(runs[..5].iter(), 1.0).is_none(), "five are too few");
    assert!(collapse(runs.iter(), 2.5).is_none(), "all end below E");
}

#[test]
fn a_held_out_loss_that_parts_from_training_is_told_and_noise_is_not() {
    let runs = |ratio: f64, epochs: Option<f64>| -> Vec<Run> {
        (0..20)
            .map(|seed| {
                let losses = curve(seed, 600, 0.04, gauss);
                let last = losses[540..].iter().map(|l| f64::from(*l)).sum::<f64>() / 60.0;
                Run { held_out: (ratio * last, 0.005), epochs, ..run("a", losses) }
            })
            .collect()
    };
    assert_eq!(gaps(&runs(1.0, None)), None);
    assert_eq!(gaps(&runs(1.015, None)), None, "too small to matter");
    let told = gaps(&runs(1.1, None)).unwrap();
    assert!(told.contains("20 of 20 runs lies above") && told.contains("another kind"), "{told}");
    assert!(gaps(&runs(1.1, Some(8.0))).unwrap().contains("up to 8.0 times"));
    let told = gaps(&runs(0.9, None)).unwrap();
    assert!(told.contains("lies below") && told.contains("10.0%"), "{told}");
    // One run of many: above counts, below does not.
    let one = |ratio| [runs(1.0, None), runs(ratio, None)[..1].to_vec()].concat();
    assert!(gaps(&one(1.1)).unwrap().contains("1 of 21 runs"));
    assert_eq!(gaps(&one(0.9)), None);
    let short = Run { losses: vec![1.0; 20], held_out: (2.0, 0.0), ..run("a", Vec::new()) };
    assert_eq!(gaps(&[short]), None, "too short to be judged");
}
