//! What follows from the ledger: the CSV people open, the table a fit reads, the curves a figure draws.

use serde::Serialize;

use super::{Ledger, State, log};
use crate::covariates::Setting;
use crate::health;
use crate::plan::{Cell, Recipe};
use crate::points::{CellRow, Convention, Curve, Exclusion, Point, Table, neutral};
use crate::spec::Schedule;
use crate::units::{NATS_PER_TOKEN, bits_per_byte, count};

/// Points of one curve, spaced evenly in the logarithm of compute.
const CURVE_POINTS: usize = 60;

/// One row of `ledger.csv`: a cell under every convention of N and C.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    id: String,
    state: String,
    init_seed: u64,
    order_seed: u64,
    budget: Option<f64>,
    /// Matmul convention: blocks and output head.
    params: f64,
    params_total: f64,
    params_non_embedding: f64,
    params_flops_over_6: f64,
    tokens: u64,
    tokens_per_param: f64,
    /// Exact: every matrix product, attention and head.
    flops: f64,
    /// What was spent on this cell alone: less, where it took steps over from a trunk.
    flops_spent: Option<f64>,
    flops_6nd: f64,
    flops_6nd_total: f64,
    flops_6nd_non_embedding: f64,
    loss: Option<f64>,
    loss_se: Option<f64>,
    bits_per_byte: Option<f64>,
    steps: u64,
    batch_tokens: u64,
    learning_rate: f64,
    vocab: usize,
    context: usize,
    width: usize,
    layers: usize,
    heads: usize,
    ff: usize,
    seconds: Option<f64>,
    tokens_per_second: Option<f64>,
    data_sha256: String,
    /// Identity of the steps that cells of one trunk share.
    trunk: Option<String>,
    note: String,
    /// Distinct training tokens. A column of studies on a dataset alone, as is the next; no value for a cell that was
    /// not begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[expect(clippy::option_option, reason = "no column, or a column without a value")]
    unique_tokens: Option<Option<u64>>,
    /// D over those.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[expect(clippy::option_option, reason = "no column, or a column without a value")]
    epochs: Option<Option<f64>>,
}

fn row(cell: &Cell, state: &State, ledger: &Ledger) -> Row {
    let bytes_per_token = ledger.truth.bytes_per_token;
    let unique = ledger.distinct.get(&cell.id).copied();
    let on_a_dataset = !ledger.distinct.is_empty();
    let (recipe, shape) = (&cell.recipe, &cell.recipe.shape);
    let (n, d) = (shape.counts(), recipe.tokens());
    let (loss, loss_se, seconds, rate) = match state {
        State::Completed { loss, loss_se, seconds, tokens_per_second, .. } => {
            (Some(*loss), Some(*loss_se), Some(*seconds), Some(*tokens_per_second))
        }
        _ => (None, None, None, None),
    };
    Row {
        id: cell.id.clone(),
        state: state.name().word().to_owned(),
        init_seed: recipe.init_seed,
        order_seed: recipe.order(),
        budget: cell.budget,
        params: n.matmul,
        params_total: n.total,
        params_non_embedding: n.non_embedding,
        params_flops_over_6: n.flops_over_6,
        tokens: d,
        tokens_per_param: d as f64 / n.matmul,
        flops: recipe.flops(),
        flops_spent: spent(cell, state),
        flops_6nd: 6.0 * n.matmul * d as f64,
        flops_6nd_total: 6.0 * n.total * d as f64,
        flops_6nd_non_embedding: 6.0 * n.non_embedding * d as f64,
        loss,
        loss_se,
        bits_per_byte: loss.zip(bytes_per_token).map(|(l, bytes)| bits_per_byte(l, bytes)),
        steps: recipe.steps,
        batch_tokens: recipe.batch_tokens(),
        learning_rate: recipe.learning_rate,
        vocab: shape.vocab,
        context: shape.context,
        width: shape.width,
        layers: shape.layers,
        heads: shape.heads,
        ff: shape.ff,
        seconds,
        tokens_per_second: rate,
        data_sha256: recipe.data_sha256.clone(),
        trunk: recipe.stem(),
        note: neutral(&state.why().unwrap_or_default()),
        unique_tokens: on_a_dataset.then_some(unique),
        epochs: on_a_dataset.then(|| unique.map(|unique| d as f64 / unique as f64)),
    }
}

/// Compute spent on a completed cell alone, without the steps that it took over from its trunk; repeated steps of cut
/// attempts are not counted [FLOP].
pub fn spent(cell: &Cell, state: &State) -> Option<f64> {
    let State::Completed { taken_over, .. } = state else { return None };
    let steps = cell.recipe.steps;
    Some(cell.recipe.flops() * (steps.saturating_sub(*taken_over) as f64 / steps as f64))
}

/// `ledger.csv`, one row for each planned cell.
///
/// # Errors
///
/// None in practice; the writer's, if a value cannot be written as CSV.
pub fn csv(ledger: &Ledger) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (cell, state) in &ledger.cells {
        writer.serialize(row(cell, state, ledger))?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// Every cell as the report shows it.
pub fn cell_rows(ledger: &Ledger) -> Vec<CellRow> {
    ledger
        .cells
        .iter()
        .map(|(cell, state)| {
            let row = row(cell, state, ledger);
            CellRow {
                id: row.id,
                state: row.state,
                params: row.params,
                tokens: row.tokens as f64,
                flops: row.flops,
                tokens_per_param: row.tokens_per_param,
                shape: cell.recipe.shape.short(),
                learning_rate: row.learning_rate,
                batch_tokens: row.batch_tokens as f64,
                loss: row.loss,
                bits_per_byte: row.bits_per_byte,
                tokens_per_second: row.tokens_per_second,
                minutes: row.seconds.map(|s| s / 60.0),
                note: state.why(),
            }
        })
        .collect()
}

/// The table a fit reads: completed cells, and each other cell as an exclusion with its reason.
pub fn points(name: &str, ledger: &Ledger) -> Table {
    let mut table = Table {
        entropy: ledger.truth.entropy,
        bytes_per_token: ledger.truth.bytes_per_token,
        ..Table::new(name, Convention::new("matmul", "exact", NATS_PER_TOKEN), Vec::new())
    };
    for (cell, state) in &ledger.cells {
        let recipe = &cell.recipe;
        match state {
            State::Completed { loss, .. } => table.points.push(Point {
                id: cell.id.clone(),
                // Branches of one trunk share its noise.
                cluster: recipe.stem().unwrap_or_else(|| cell.id.clone()),
                params: cell.params(),
                tokens: recipe.tokens() as f64,
                flops: recipe.flops(),
                loss: *loss,
                budget: cell.budget,
                unique_tokens: ledger.unique_tokens(cell).map(|unique| unique as f64),
                counts: Some(recipe.shape.counts()),
            }),
            other => table.excluded.push(Exclusion {
                id: cell.id.clone(),
                what: format!("N {}, D {}", count(cell.params()), count(recipe.tokens() as f64)),
                reason: other.why().unwrap_or_default(),
            }),
        }
    }
    table
}

/// What cells of equal N and D may differ in besides their seeds, for each cell.
pub fn settings(ledger: &Ledger) -> Vec<Setting> {
    type Of = fn(&Recipe) -> f64;
    let settings: [(&str, Of); 3] = [
        ("learning_rate", |r| r.learning_rate),
        ("batch_tokens", |r| r.batch_tokens() as f64),
        ("weight_decay", |r| r.weight_decay),
    ];
    settings
        .map(|(name, of)| Setting {
            name: name.to_owned(),
            tuned: true,
            values: ledger
                .cells
                .iter()
                .map(|(cell, _)| (cell.id.clone(), of(&cell.recipe).to_string()))
                .collect(),
        })
        .to_vec()
}

/// Every completed cell as its loss curve is judged.
pub fn runs(ledger: &Ledger) -> Vec<health::Run> {
    ledger
        .cells
        .iter()
        .filter_map(|(cell, state)| {
            let State::Completed { dir, loss, loss_se, .. } = state else { return None };
            let distinct = ledger.distinct.get(&cell.id).copied();
            Some(health::Run {
                id: cell.id.clone(),
                params: cell.params(),
                losses: log::read_losses(dir),
                last_rate: last_rate(&cell.recipe),
                warmup: cell.recipe.warmup_steps() as f64 / cell.recipe.steps as f64,
                held_out: (*loss, *loss_se),
                epochs: distinct.or(ledger.truth.train_tokens).map(|unique| {
                    let tokens = cell.recipe.tokens();
                    tokens as f64 / unique.min(tokens).max(1) as f64
                }),
            })
        })
        .collect()
}

/// Learning rate of the last step over the peak [0, 1]: the schedule's end, if any step is left for it.
fn last_rate(recipe: &Recipe) -> f64 {
    let (Schedule::Cosine { end, .. } | Schedule::Wsd { end, .. } | Schedule::Trunk { end, .. }) =
        recipe.schedule;
    if recipe.stable_steps() < recipe.steps { end } else { 1.0 }
}

/// Smoothed training curves of all completed cells, by compute spent.
pub fn curves(ledger: &Ledger) -> Vec<Curve> {
    ledger
        .cells
        .iter()
        .filter_map(|(cell, state)| {
            let State::Completed { dir, .. } = state else { return None };
            let losses = log::read_losses(dir);
            let step_flops = cell.recipe.flops() / cell.recipe.steps as f64;
            Some(Curve {
                id: cell.id.clone(),
                params: cell.params(),
                points: smooth(&losses, step_flops),
            })
        })
        .collect()
}

/// Means over windows that grow with the step, so that points are even in the logarithm of compute.
fn smooth(losses: &[f32], step_flops: f64) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    let growth = (losses.len().max(2) as f64).powf(1.0 / CURVE_POINTS as f64);
    let (mut from, mut edge) = (0, 1.0_f64);
    while from < losses.len() {
        edge = (edge * growth).max(from as f64 + 1.0);
        let to = (edge.round() as usize).clamp(from + 1, losses.len());
        let window = &losses[from..to];
        let mean = window.iter().map(|l| f64::from(*l)).sum::<f64>() / window.len() as f64;
        out.push(((from + to + 1) as f64 / 2.0 * step_flops, mean));
        from = to;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_covers_all_steps_with_few_points() {
        let losses: Vec<f32> = (0..10_000).map(|i| 5.0 / (i as f32 + 1.0)).collect();
        let curve = smooth(&losses, 10.0);
        assert!((40..=70).contains(&curve.len()), "{}", curve.len());
        assert_eq!(curve[0], (10.0, 5.0));
        assert!(curve.last().unwrap().0 > 9.0e4);
        assert!(curve.is_sorted_by(|l, r| l.0 < r.0 && l.1 >= r.1));
        assert!(smooth(&[], 1.0).is_empty());
        assert_eq!(smooth(&[2.0], 1.0), [(1.0, 2.0)]);
    }

    /// A results directory of `steps` for each cell of a plan, and its ledger.
    fn recorded(steps: impl Fn(usize) -> Vec<f32>) -> (tempfile::TempDir, Ledger) {
        use crate::fs::{Disk as _, Os};
        use crate::ledger::event::Event;
        use crate::ledger::log::{AttemptLog, History};

        let dir = tempfile::tempdir().unwrap();
        let cells = crate::plan::tests::plan(crate::plan::tests::SWEEP).cells;
        let clock = || "now".to_owned();
        for (i, cell) in cells.iter().enumerate() {
            let dir = crate::ledger::cell_dir(dir.path(), &cell.id).join("attempt-0001");
            Os.create_dirs(&dir).unwrap();
            let eval = Event::Eval { step: 1, tokens: 10, flops: 1e3, loss: 2.0 };
            let mut log = AttemptLog::start(&Os, &dir, eval, &History::default(), &clock).unwrap();
            for loss in steps(i) {
                log.step(loss, 0.5).unwrap();
            }
            let (_, crc) = log.sync_steps().unwrap();
            let done = Event::Completed {
                loss: 2.0,
                loss_se: 0.01,
                seconds: 1.0,
                tokens_per_second: 1.0,
                steps_crc: Some(crc),
            };
            log.event(done, clock()).unwrap();
        }
        let ledger = Ledger::read(dir.path(), &cells).unwrap();
        (dir, ledger)
    }

    #[test]
    fn a_run_whose_recorded_steps_break_a_rule_is_left_out_by_name() {
        let calm = |t: usize| 2.0 + 3.0 / (1.0 + t as f32 / 10.0) + 0.02 * ((t * 7) % 11) as f32;
        let faulty = |t: usize| calm(t) + if t > 120 { 1.5 } else { 0.0 };
        let screened = |fault: bool, exclude: &[health::Rule]| {
            let steps = |i: usize| {
                let of = |t| if fault && i == 1 { faulty(t) } else { calm(t) };
                (0..300).map(of).collect()
            };
            let (_dir, ledger) = recorded(steps);
            let mut table = points("t", &ledger);
            let planned = table.points.len();
            assert!(planned > 2);
            health::check(&runs(&ledger), exclude).screen(&mut table);
            (ledger.cells[1].0.id.clone(), planned, table)
        };
        let (_, planned, table) = screened(false, &health::Rule::ALL);
        assert_eq!((table.points.len(), table.excluded.len()), (planned, 0));
        let (id, _, table) = screened(true, &health::Rule::ALL);
        assert_eq!(table.points.len(), planned - 1);
        assert!(table.points.iter().all(|p| p.id != id));
        assert_eq!(table.excluded[0].id, id);
        let reason = &table.excluded[0].reason;
        assert!(
            reason.contains("unhealed spike") && reason.contains("at step 122 of 300"),
            "{reason}"
        );
        assert!(reason.contains("the rule: a spike"), "{reason}");
        // Nothing is left out where the sweep says so.
        assert_eq!(screened(true, &[]).2.points.len(), planned);
    }

    #[test]
    fn an_unknown_rule_is_refused_where_it_stands() {
        let text =
            format!("{}\n[fit]\nexclude = [\"undecayed\", \"spiky\"]\n", crate::plan::tests::SWEEP);
        let error = crate::spec::Spec::parse(&text).unwrap_err().render("s.toml", &text);
        assert!(error.contains("unknown variant `spiky`") && error.contains("^^^^^^^"), "{error}");
        assert!(error.contains("`rising-end`"), "{error}");
    }

    #[test]
    fn a_schedule_without_decay_has_its_last_rate_at_the_peak() {
        let recipe =
            crate::plan::tests::plan(crate::plan::tests::SWEEP).cells.swap_remove(0).recipe;
        let rate = |schedule| last_rate(&Recipe { schedule, steps: 100, ..recipe.clone() });
        assert_eq!(rate(Schedule::Cosine { warmup: 0.1, end: 0.02 }), 0.02);
        assert_eq!(rate(Schedule::Wsd { warmup: 0.1, decay: 0.2, end: 0.5 }), 0.5);
        assert_eq!(rate(Schedule::Wsd { warmup: 0.1, decay: 0.001, end: 0.0 }), 1.0);
    }

    #[test]
    fn text_never_becomes_a_formula() {
        assert_eq!(neutral("=1+1"), "'=1+1");
        assert_eq!(neutral("@x"), "'@x");
        assert_eq!(neutral("step 3"), "step 3");
    }
}
