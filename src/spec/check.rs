//! What the types cannot say: ranges, caps and names, each refusal with its place in the file.

use std::ops::Range;

use toml::Spanned;

use super::{Grid, MAX_CELLS, ModelSpec, Parametrization, Product, Rule, Schedule, Spec};
use crate::error::SpecError;

/// Longest name of a sweep.
const MAX_NAME: usize = 64;

/// More parameters than any model [parameters].
const MAX_PARAMS: f64 = 1e15;
/// More tokens than there are [tokens].
const MAX_TOKENS: f64 = 1e18;
/// More compute than there will be [FLOP].
const MAX_FLOPS: f64 = 1e33;
/// Largest batch that can be held in memory at all [tokens].
pub(crate) const MAX_BATCH: f64 = 1e9;
/// More budgets than anybody keeps out.
const MAX_HOLDOUT: u64 = 1000;

/// Checks a parsed sweep file. The size of the grid is checked before anything is expanded.
pub(super) fn check(spec: &Spec) -> Result<(), SpecError> {
    name(&spec.name)?;
    grid(spec)?;
    super::data::check(spec)?;
    model(spec)?;
    optim(spec)?;
    schedule(spec)?;
    let eval = &spec.eval;
    ensure(eval.tokens.get_ref().0 >= 1.0 && eval.tokens.get_ref().0 <= 1e9, || {
        out_of_range("eval.tokens", &eval.tokens, "a number between 1 and 1e9", "131072 is usual")
    })?;
    ensure((1..=1000).contains(eval.times.get_ref()), || {
        out_of_range(
            "eval.times",
            &eval.times,
            "a number between 1 and 1000",
            "the end counts as one",
        )
    })?;
    let workers = &spec.device.workers;
    ensure(*workers.get_ref() <= 1024, || {
        out_of_range("device.workers", workers, "at most 1024", "0 lets a trial choose")
    })?;
    let devices = &spec.device.devices;
    let distinct: std::collections::HashSet<_> = devices.get_ref().iter().collect();
    ensure(distinct.len() == devices.get_ref().len() && distinct.iter().all(|d| **d < 64), || {
        SpecError::OutOfRange {
            field: "device.devices",
            span: devices.span(),
            got: format!("{:?}", devices.get_ref()),
            want: "numbers of GPUs, none twice and none above 63",
            hint: "they are counted from 0, as `isoflop device` shows them",
        }
    })?;
    if let Some(got) = spec.slurm.get_ref().unfit() {
        return Err(SpecError::OutOfRange {
            field: "slurm",
            span: spec.slurm.span(),
            got,
            want: "plain words, 1 to 100000 tasks, a grace of 10 to 65535 s",
            hint: "each goes into a line of the batch script: letters, digits and -_.,:=/@+% ; extra begins with --",
        });
    }
    if let Some(tune) = &spec.tune {
        super::tune::check(tune.get_ref(), &spec.optim)?;
    }
    fit(spec)
}

pub(super) fn ensure(holds: bool, error: impl FnOnce() -> SpecError) -> Result<(), SpecError> {
    if holds { Ok(()) } else { Err(error()) }
}

pub(super) fn out_of_range<T: std::fmt::Debug>(
    field: &'static str,
    value: &Spanned<T>,
    want: &'static str,
    hint: &'static str,
) -> SpecError {
    let got = format!("{:?}", value.get_ref());
    let got = got.strip_prefix("Quantity(").and_then(|g| g.strip_suffix(')')).unwrap_or(&got);
    SpecError::OutOfRange { field, span: value.span(), got: got.to_owned(), want, hint }
}

/// A finite number above zero.
pub(super) fn positive(
    field: &'static str,
    span: Range<usize>,
    value: f64,
    hint: &'static str,
) -> Result<(), SpecError> {
    ensure(value.is_finite() && value > 0.0, || SpecError::OutOfRange {
        field,
        span,
        got: value.to_string(),
        want: "a finite number above 0",
        hint,
    })
}

/// A number above zero and at most `most`; `want` says so.
fn between(
    field: &'static str,
    span: Range<usize>,
    value: f64,
    most: f64,
    want: &'static str,
    hint: &'static str,
) -> Result<(), SpecError> {
    ensure(value > 0.0 && value <= most, || SpecError::OutOfRange {
        field,
        span,
        got: if value.abs() < 1e6 { value.to_string() } else { format!("{value:e}") },
        want,
        hint,
    })
}

pub(super) fn name(name: &Spanned<String>) -> Result<(), SpecError> {
    let text = name.get_ref();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let good = (1..=MAX_NAME).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    ensure(good, || {
        out_of_range(
            "name",
            name,
            "1 to 64 lower-case letters, digits, `-` and `_`, the first a letter or digit",
            "the name becomes a directory under results/ and analysis/",
        )
    })
}

fn grid(spec: &Spec) -> Result<(), SpecError> {
    const BUDGET: &str = "budgets are FLOPs, such as 3e10 or 1e18";
    const SIZE: &str = "sizes are parameters, such as 3e4 or \"30M\"";
    const TOKENS: &str = "tokens, such as 5e6 or \"2B\"";
    const MOST_PARAMS: &str = "a number above 0 and at most 1e15";
    const MOST_TOKENS: &str = "a number above 0 and at most 1e18";
    const RATIO: &str = "Chinchilla's optimum is near 20; a small byte-level study's is near 60";
    let (mut axes, span): (Vec<u64>, _) = match &spec.grid {
        Grid::Isoflop(g) => {
            (vec![g.budgets.get_ref().len() as u64, *g.sizes.get_ref()], g.sizes.span())
        }
        Grid::Product(p) => {
            let tokens = tokens_axis(p)?;
            (vec![p.params.get_ref().len() as u64, tokens.get_ref().len() as u64], p.params.span())
        }
        Grid::Cells(cells) => (vec![cells.get_ref().len() as u64], cells.span()),
    };
    let seeds = spec.seeds.get_ref().count();
    axes.push(spec.data.unique_tokens().len() as u64);
    let cells = axes.iter().try_fold(1, |n: u64, axis| n.checked_mul(*axis));
    let cells = cells.and_then(|n| n.checked_mul(seeds?));
    ensure(cells.is_some_and(|n| (1..=MAX_CELLS).contains(&n)), || {
        let odd = !seeds.is_some_and(|n| (1..=MAX_CELLS).contains(&n));
        let span = if odd { spec.seeds.span() } else { span };
        SpecError::GridSize { span, cells, max: MAX_CELLS }
    })?;
    match &spec.grid {
        Grid::Isoflop(g) => {
            for budget in g.budgets.get_ref() {
                let want = "a number above 0 and at most 1e33";
                let span = g.budgets.span();
                between("grid.isoflop.budgets", span, budget.0, MAX_FLOPS, want, BUDGET)?;
            }
            ensure(
                g.span.get_ref().is_finite() && (1.0..=100.0).contains(g.span.get_ref()),
                || {
                    let hint = "4 is usual: from a quarter of the centre to four times it";
                    out_of_range("grid.isoflop.span", &g.span, "a number between 1 and 100", hint)
                },
            )?;
            let ratio = &g.tokens_per_param;
            positive("grid.isoflop.tokens_per_param", ratio.span(), *ratio.get_ref(), RATIO)?;
            let exponent = &g.exponent;
            ensure((0.0..=1.0).contains(exponent.get_ref()), || {
                let hint = "N* grows as C^0.5 in most studies";
                out_of_range("grid.isoflop.exponent", exponent, "a number between 0 and 1", hint)
            })
        }
        Grid::Product(p) => {
            for size in p.params.get_ref() {
                let want = MOST_PARAMS;
                let span = p.params.span();
                between("grid.product.params", span, size.0, MAX_PARAMS, want, SIZE)?;
            }
            let tokens = tokens_axis(p)?;
            for value in tokens.get_ref() {
                let (span, want) = (tokens.span(), MOST_TOKENS);
                between("grid.product.tokens", span, value.0, MAX_TOKENS, want, TOKENS)?;
            }
            Ok(())
        }
        Grid::Cells(cells) => {
            for cell in cells.get_ref() {
                let (params, tokens) = (&cell.params, &cell.tokens);
                let (n, d) = (params.get_ref().0, tokens.get_ref().0);
                between("grid.cells.params", params.span(), n, MAX_PARAMS, MOST_PARAMS, SIZE)?;
                between("grid.cells.tokens", tokens.span(), d, MAX_TOKENS, MOST_TOKENS, TOKENS)?;
                let rule = "leave it out to use the rule";
                let rate = cell.learning_rate.map_or(1.0, |r| r.0);
                positive("grid.cells.learning_rate", cells.span(), rate, rule)?;
                let batch = cell.batch_tokens.map_or(1.0, |q| q.0);
                let want = "a number above 0 and at most 1e9";
                between("grid.cells.batch_tokens", cells.span(), batch, MAX_BATCH, want, rule)?;
            }
            Ok(())
        }
    }
}

fn tokens_axis(product: &Product) -> Result<&Spanned<Vec<crate::units::Quantity>>, SpecError> {
    match (&product.tokens, &product.tokens_per_param) {
        (Some(axis), None) | (None, Some(axis)) => Ok(axis),
        _ => Err(SpecError::OutOfRange {
            field: "grid.product",
            span: product.params.span(),
            got: "given both `tokens` and `tokens_per_param`, or neither".to_owned(),
            want: "exactly one of the two",
            hint: "several `tokens` values let the fit separate N from D; one ratio does not",
        }),
    }
}

fn model(spec: &Spec) -> Result<(), SpecError> {
    let m = &spec.model;
    let good = (2..=1 << 17).contains(&m.context)
        && (2..=4096).contains(&m.width_multiple)
        && m.width_multiple.is_multiple_of(2)
        && m.aspect.is_finite()
        && m.aspect >= 1.0
        && (1..=1000).contains(&m.min_layers)
        && (2..=1024).contains(&m.head_dim)
        && (0.25..=16.0).contains(&m.ff_ratio)
        && m.embedding_std.is_finite()
        && m.embedding_std > 0.0
        && m.reference_width.unwrap_or(0) <= 1 << 17
        && (1..=1000).contains(&m.reference_layers.unwrap_or(1));
    ensure(good, || SpecError::OutOfRange {
        field: "model",
        span: 0..0,
        got: format!("{m:?}"),
        want: "context 2..131072, an even width_multiple 2..4096, aspect >= 1, min_layers 1..1000, \
               head_dim 2..1024, ff_ratio 0.25..16, embedding_std > 0, reference_width up to 131072, \
               reference_layers 1..1000",
        hint: "leave a field out to have its default",
    })?;
    parametrization(m)
}

/// A reference that the parametrization would not look at is a misunderstanding, not a setting.
fn parametrization(m: &ModelSpec) -> Result<(), SpecError> {
    let refuse = |field, got: String, want, hint| {
        Err(SpecError::OutOfRange { field, span: 0..0, got, want, hint })
    };
    match (m.parametrization(), m.reference_width, m.reference_layers) {
        (Parametrization::Standard, Some(1..), _) => refuse(
            "model.reference_width",
            "given with `parametrization = \"standard\"`, which scales nothing by width".into(),
            "no reference_width",
            "drop the line, or choose \"complete-p\" or \"mup-hidden-rates\"",
        ),
        (Parametrization::Standard | Parametrization::MupHiddenRates, _, Some(_)) => refuse(
            "model.reference_layers",
            "given with a parametrization that scales nothing by depth".into(),
            "no reference_layers",
            "drop the line, or choose parametrization = \"complete-p\"",
        ),
        (Parametrization::CompleteP, Some(0), _) => refuse(
            "model.reference_width",
            "0, but complete-p scales by width".into(),
            "the width at which optim.learning_rate is meant",
            "drop the line for 32; for no scaling choose parametrization = \"standard\"",
        ),
        (Parametrization::CompleteP, ..) if m.tied => refuse(
            "model.tied",
            "true with complete-p, in which embedding and head need different rates".into(),
            "tied = false",
            "drop `tied`, or choose parametrization = \"mup-hidden-rates\"",
        ),
        _ => Ok(()),
    }
}

fn optim(spec: &Spec) -> Result<(), SpecError> {
    let o = &spec.optim;
    let good_form = |r: &Rule| {
        [r.params_ref, r.tokens_ref].iter().all(|v| v.is_finite() && *v > 0.0)
            && [r.params_exponent, r.tokens_exponent]
                .iter()
                .all(|v| v.is_finite() && v.abs() <= 4.0)
    };
    let good_rule = |r: &Rule| r.value.is_finite() && r.value > 0.0 && good_form(r);
    let want = "positive values and references, exponents between -4 and 4";
    ensure(good_rule(o.learning_rate.get_ref()), || {
        out_of_range(
            "optim.learning_rate",
            &o.learning_rate,
            want,
            "0.01 suits width 32 with AdamW",
        )
    })?;
    ensure(good_rule(o.batch_tokens.get_ref()), || {
        out_of_range("optim.batch_tokens", &o.batch_tokens, want, "1024 suits the smallest models")
    })?;
    ensure(o.betas.get_ref().iter().all(|b| (0.0..1.0).contains(b)), || {
        out_of_range("optim.betas", &o.betas, "two numbers in [0, 1)", "[0.9, 0.95] is usual")
    })?;
    positive("optim.eps", o.eps.span(), *o.eps.get_ref(), "1e-8 is usual")?;
    let decay = o.weight_decay.get_ref();
    ensure((0.0..=100.0).contains(&decay.value) && good_form(decay), || {
        out_of_range(
            "optim.weight_decay",
            &o.weight_decay,
            "a value between 0 and 100, positive references, exponents between -4 and 4",
            "0.1 is usual",
        )
    })?;
    ensure((0.0..=1e6).contains(o.clip.get_ref()), || {
        out_of_range(
            "optim.clip",
            &o.clip,
            "a number between 0 and 1e6",
            "1.0 is usual, 0 turns it off",
        )
    })
}

fn schedule(spec: &Spec) -> Result<(), SpecError> {
    let schedule = &spec.schedule;
    let (warmup, decay, end) = match *schedule {
        Schedule::Cosine { warmup, end } => (warmup, 0.5, end),
        Schedule::Wsd { warmup, decay, end } => (warmup, decay, end),
        Schedule::Trunk { warmup, decay, end } => return trunk(spec, warmup, decay, end),
    };
    let good = (0.0..1.0).contains(&warmup)
        && decay > 0.0
        && (0.0..=1.0).contains(&end)
        && (matches!(schedule, Schedule::Cosine { .. }) || warmup + decay <= 1.0);
    ensure(good, || SpecError::OutOfRange {
        field: "schedule",
        span: 0..0,
        got: match schedule {
            Schedule::Cosine { .. } => format!("warmup {warmup}, end {end}"),
            _ => format!("warmup {warmup}, decay {decay}, end {end}"),
        },
        want: "shares of all steps: warmup in [0, 1), decay in (0, 1], end in [0, 1], warmup + decay <= 1",
        hint: match schedule {
            Schedule::Cosine { .. } => "[schedule.cosine] warmup = 0.1, end = 0.02",
            _ => "[schedule.wsd] warmup = 0.1, decay = 0.2, end = 0.0",
        },
    })
}

fn trunk(spec: &Spec, warmup: f64, decay: f64, end: f64) -> Result<(), SpecError> {
    let good = (0.0..=1000.0).contains(&warmup)
        && (decay > 0.0 && decay <= 1.0)
        && (0.0..=1.0).contains(&end);
    ensure(good, || SpecError::OutOfRange {
        field: "schedule.trunk",
        span: 0..0,
        got: format!("{:?}", spec.schedule),
        want: "warmup in [0, 1000] tokens/parameter; decay in (0, 1] and end in [0, 1], as shares",
        hint: "[schedule.trunk] warmup = 1.0, decay = 0.2, end = 0.0",
    })?;
    let optim = &spec.optim;
    for (field, rule) in
        [("optim.batch_tokens", &optim.batch_tokens), ("optim.weight_decay", &optim.weight_decay)]
    {
        ensure(rule.get_ref().tokens_exponent == 0.0, || {
            out_of_range(
                field,
                rule,
                "no tokens_exponent under schedule.trunk",
                "all horizons of a size share one trunk, so one value: let it follow params_exponent",
            )
        })?;
    }
    Ok(())
}

fn fit(spec: &Spec) -> Result<(), SpecError> {
    let f = &spec.fit;
    let refits = *f.bootstrap.get_ref();
    ensure(refits == 0 || (20..=100_000).contains(&refits), || {
        out_of_range("fit.bootstrap", &f.bootstrap, "0 for none, or 20 to 100000", "1000 is usual")
    })?;
    ensure(*f.holdout.get_ref() <= MAX_HOLDOUT, || {
        out_of_range("fit.holdout", &f.holdout, "0 for none, or 1 to 1000 budgets", "1 is usual")
    })?;
    ensure(*f.level.get_ref() > 0.0 && *f.level.get_ref() < 1.0, || {
        out_of_range("fit.level", &f.level, "a number between 0 and 1", "0.9 is usual")
    })?;
    for compute in f.predict.get_ref() {
        positive("fit.predict", f.predict.span(), compute.0, "FLOPs, such as 1e13")?;
    }
    Ok(())
}
