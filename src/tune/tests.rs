//! Tuning as a whole, on a truth of known exponents.

use super::*;
use crate::random::Stream;

/// The truth of these tests: rates and batches with exponents, a bowl in the logarithm.
fn loss(p: &Place, rate: f64, batch: f64) -> f64 {
    let best_batch = 512.0 * (p.tokens / 1e6).powf(0.4);
    let best_rate = 0.01
        * (p.params / 2e4).powf(-0.3)
        * (p.tokens / 1e6).powf(-0.2)
        * (batch / best_batch).sqrt();
    let bowl = 0.02 * (rate / best_rate).ln().powi(2) + 0.01 * (batch / best_batch).ln().powi(2);
    2.0 * (p.params / 2e4).powf(-0.1) * (p.tokens / 1e6).powf(-0.1) * (1.0 + bowl)
}

fn places(cells: &[(f64, f64)]) -> Vec<Place> {
    let place = |&(params, tokens): &(f64, f64)| Place {
        params,
        tokens,
        learning_rate: 0.012,
        batch_tokens: 512.0,
        weight_decay: 0.0,
    };
    cells.iter().map(place).collect()
}

fn runs(places: &[Place], sd: f64, seed: u64) -> Vec<Run> {
    let stream = Stream::new(seed, "tuning test");
    let mut out = Vec::new();
    for (i, place) in places.iter().enumerate() {
        for b in -2..=2 {
            for r in -3..=3 {
                let (rate, batch) = (0.012 * 1.5_f64.powi(r), 512.0 * 2_f64.powi(b));
                let noise = (sd * stream.normal(out.len() as u64)).exp();
                out.push(Run {
                    place: i,
                    learning_rate: rate,
                    batch_tokens: batch,
                    weight_decay: 0.0,
                    decay_search: false,
                    losses: vec![loss(place, rate, batch) * noise],
                });
            }
        }
    }
    out
}

const CELLS: [(f64, f64); 5] = [(1e4, 5e5), (1e4, 2e6), (4e4, 5e5), (4e4, 2e6), (2e4, 1e6)];

#[test]
fn exponents_of_rate_and_batch_are_recovered() {
    let places = places(&CELLS);
    let tuning = Tuning::new("t", &places, runs(&places, 1e-4, 1));
    let rule = |name: &str| tuning.rules.iter().find(|r| r.name == name).unwrap();
    let batch = rule("batch_tokens");
    let of = |r: &FittedRule, name: &str| {
        r.terms.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    let d = of(batch, "tokens_exponent");
    let is = |t: &Term, truth: f64, within: f64| {
        let [lo, hi] = t.interval.unwrap();
        assert!((t.value - truth).abs() < within && lo < truth && truth < hi, "{t:?}");
    };
    is(&d, 0.4, 0.06);
    is(&of(batch, "params_exponent"), 0.0, 0.06);
    let rate = rule("learning_rate");
    is(&of(rate, "params_exponent"), -0.3, 0.08);
    is(&of(rate, "tokens_exponent"), -0.2, 0.08);
    assert!(tuning.toml().contains("tokens_exponent"), "{}", tuning.toml());
    for f in &tuning.found {
        // Half a step along each axis, at most, from the best tried to the vertex.
        let gain = f.sufficiency.as_ref().unwrap().gain.unwrap();
        let half = 0.02 * (0.5 * 1.5_f64.ln()).powi(2) + 0.01 * (0.5 * 2_f64.ln()).powi(2);
        assert!((-3e-4..half + 3e-4).contains(&gain), "{gain} {half}");
    }
    let back: Tuning = serde_json::from_str(&serde_json::to_string(&tuning).unwrap()).unwrap();
    assert_eq!(back, tuning);
}

#[test]
fn sizes_on_one_line_do_not_give_two_exponents() {
    let places = places(&[(1e4, 5e5), (2e4, 1e6), (4e4, 2e6), (8e4, 4e6)]);
    let tuning = Tuning::new("t", &places, runs(&places, 1e-4, 1));
    let rule = &tuning.rules[0];
    let names: Vec<&str> = rule.terms.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["value", "params_exponent"], "{rule:?}");
    assert!(rule.note.as_ref().unwrap().contains("rise together"), "{rule:?}");
    let one = Tuning::new("t", &places[..1], runs(&places[..1], 1e-4, 1));
    assert_eq!(one.rules[0].terms.len(), 1);
}

#[test]
fn a_rule_that_was_tried_tells_what_it_costs() {
    let places = places(&CELLS);
    let tuning = Tuning::new("t", &places, runs(&places, 0.0, 1));
    for found in &tuning.found {
        let best = loss(&found.place, 1.0, 1.0);
        assert!(best > found.vertex_loss.unwrap());
        let p = found.place;
        let floor = 2.0 * (p.params / 2e4).powf(-0.1) * (p.tokens / 1e6).powf(-0.1);
        let want = loss(&p, 0.012, 512.0) / floor - 1.0;
        let got = found.left_on_the_table.unwrap();
        assert!((got - want).abs() < 2e-3, "{got} {want}");
    }
}

/// A batch whose best rate lies beyond what was tried looks worse than it is, and is left out.
#[test]
fn a_batch_not_seen_at_its_best_rate_does_not_count() {
    let place = places(&CELLS)[4];
    let all = runs(&[place], 0.0, 1);
    let found = |keep: &dyn Fn(&Run) -> bool| {
        let kept = all.iter().filter(|r| keep(r)).cloned().collect();
        Tuning::new("t", &[place], kept).found.remove(0)
    };
    let whole = found(&|_| true).batch.unwrap();
    assert_eq!(whole.state, VertexState::Resolved);
    // At 1024 tokens only the rates far below its best.
    let cut = found(&|r| r.batch_tokens != 1024.0 || r.learning_rate < 0.007);
    assert_eq!(cut.by_batch.len(), 5);
    let batch = cut.batch.unwrap();
    assert_eq!(batch.state, VertexState::Resolved);
    assert!((batch.value / whole.value - 1.0).abs() < 0.02, "{batch:?} {whole:?}");
    let most = found(&|r| [256.0, 512.0].contains(&r.batch_tokens) || r.learning_rate < 0.004);
    assert_eq!(most.batch.unwrap().state, VertexState::TooFew);
}

#[test]
fn no_decay_is_the_answer_where_none_helped() {
    let place = places(&CELLS)[4];
    let with = |at: &dyn Fn(f64) -> f64| {
        let mut all = runs(&[place], 0.0, 1);
        let run = |&decay: &f64| Run {
            weight_decay: decay,
            decay_search: true,
            losses: vec![at(decay)],
            ..all[0].clone()
        };
        let decays: Vec<Run> = [0.0, 0.03, 0.1, 0.3].iter().map(run).collect();
        all.extend(decays);
        Tuning::new("t", &[place], all)
    };
    // A bowl above zero whose floor lies above the loss without any.
    let bowl = |d: f64, floor: f64| floor + 0.01 * (d / 0.1).ln().powi(2);
    let none = with(&|d| if d == 0.0 { 2.0 } else { bowl(d, 2.01) });
    let v = none.found[0].weight_decay.unwrap();
    assert_eq!((v.value, v.state), (0.0, VertexState::Zero));
    assert!(none.toml().contains("weight_decay = 0"), "{}", none.toml());
    let some = with(&|d| if d == 0.0 { 2.0 } else { bowl(d, 1.99) });
    let v = some.found[0].weight_decay.unwrap();
    assert_eq!(v.state, VertexState::Resolved);
    assert!((v.value - 0.1).abs() < 0.01, "{v:?}");
}
