//! Answers of `predict` for the terminal: one function a question.
//!
//! `unit` is that of the losses after their numbers ([`after_loss`](crate::units::after_loss)). Warnings stand beside the numbers, not on stderr: whoever keeps the output keeps the warning.

use super::show::{shares, table};
use crate::fit::Warning;
use crate::predict::hardware::{DEFAULT_MFU, DEVICES};
use crate::predict::{
    Chosen, Cost, Estimate, Fixed, FormShare, Inverse, Limited, Prediction, Quality, Repeated,
    Repetition, RepetitionSource, Serving,
};
use crate::units::{count, digits3, flops};

/// The compute-optimal run at a compute, and what every method says about it.
pub(super) fn prediction(p: &Prediction, unit: &str) -> String {
    let mut out = format!(
        "At C = {} FLOP, {}:\n",
        flops(p.flops),
        beside(p.extrapolation, &p.method, p.level)
    );
    out += &line("N*", &estimate(p.params, count));
    out += &line("D*", &estimate(p.tokens, count));
    out += &line("D*/N*", &estimate(p.tokens_per_param, digits3));
    out += &line("loss", &of_run(p.loss, unit));
    out += &forms(&p.forms);
    for (what, regret, wasted) in [
        ("half N*", p.regret_half, p.deadweight_half),
        ("twice N*", p.regret_twice, p.deadweight_twice),
    ] {
        let loss = regret.map_or_else(|| "-".to_owned(), |r| format!("{:+.2}%", 100.0 * r));
        let wasted = wasted.map_or_else(|| "-".to_owned(), |w| estimate(w, share));
        let text = format!("{loss} loss, wastes {wasted} of C");
        out += &line(what, &text);
    }
    if let Some(d) = p.deadweight {
        out += &format!(
            "  If a draw of the law is the truth, training N*, D* wastes {} of C in the median and under {} in {:.0}% of the draws.\n",
            share(d.median),
            share(d.upper),
            100.0 * p.level
        );
    }
    let rows = p.methods.iter().map(|m| {
        vec![
            m.method.clone(),
            estimate(m.params, count),
            estimate(m.tokens, count),
            estimate(m.tokens_per_param, digits3),
            m.loss.map_or_else(|| "-".to_owned(), |l| estimate(l, loss)),
        ]
    });
    out += &table(&["method", "N*", "D*", "D*/N*", "loss"], 1, &rows.collect::<Vec<_>>());
    out += "  Each method at its own N*; its loss with a prediction interval of one run that takes its form for granted.\n";
    if p.methods.iter().any(|m| m.corrected) {
        out += CORRECTED;
    }
    if let Some(r) = &p.repeated {
        out += &format!(
            "  D* exceeds the corpus. This run on what it holds has a loss of {}:\n",
            estimate(r.loss, loss)
        );
        out += &repeated(r, unit);
    }
    out + &close(p.cost.as_ref(), &p.warnings)
}

/// The loss of a run, with what its interval holds.
fn of_run(e: Estimate, unit: &str) -> String {
    format!(
        "{}{unit}; prediction interval of one run: form, parameters, scatter, reach",
        estimate(e, loss)
    )
}

/// The forms of law behind an averaged loss at the N and D of the answer, by what they count.
fn forms(forms: &[FormShare]) -> String {
    if forms.is_empty() {
        return String::new();
    }
    line("by form", &format!("{}: each at this N and D", shares(forms)))
}

/// The compute at which something is optimal.
pub(super) fn inverse(p: &Inverse, unit: &str) -> String {
    let what = match p.fixed {
        Fixed::Flops(c) => format!("C = {} FLOP", flops(c)),
        Fixed::Params(n) => format!("N = {}", count(n)),
        Fixed::Tokens(d) => format!("D = {}", count(d)),
        Fixed::Loss(l) => format!("A loss of {l}{unit}"),
    };
    let goal = if matches!(p.fixed, Fixed::Loss(_)) { "cheapest" } else { "optimal" };
    let mut out = format!(
        "{what} is {goal} at C = {} FLOP, {}:\n",
        flops(p.flops.value),
        beside(p.extrapolation, &p.method, p.level)
    );
    out += &line("C", &estimate(p.flops, flops));
    out += &line("N*", &settled(p.params, count));
    out += &line("D*", &settled(p.tokens, count));
    out += &line("D*/N*", &estimate(p.tokens_per_param, digits3));
    out += &line("loss", &of_run(p.loss, unit));
    out += &forms(&p.forms);
    let rows = p.methods.iter().map(|m| {
        vec![
            m.method.clone(),
            estimate(m.flops, flops),
            settled(m.params, count),
            settled(m.tokens, count),
        ]
    });
    out += &table(&["method", "C", "N*", "D*"], 1, &rows.collect::<Vec<_>>());
    if p.methods.iter().any(|m| m.corrected) {
        out += CORRECTED;
    }
    out + &close(p.cost.as_ref(), &p.warnings)
}

/// A run somebody has settled on.
pub(super) fn chosen(p: &Chosen, unit: &str) -> String {
    let mut out = format!(
        "N = {} on D = {}: C = {} FLOP, {}:\n",
        count(p.params),
        count(p.tokens),
        flops(p.flops),
        beside(p.extrapolation, &p.method, p.level)
    );
    out += &line("D/N", &digits3(p.tokens_per_param));
    out += &line("loss", &of_run(p.loss, unit));
    out += &forms(&p.forms);
    out += &line("wasted", &format!("{} of C", estimate(p.deadweight, share)));
    out += &line(
        "optimal",
        &format!(
            "N* {}, D* {} at this C; this run's loss is {} above",
            count(p.optimal.params),
            count(p.optimal.tokens),
            estimate(p.regret, share)
        ),
    );
    out += &p.repeated.as_ref().map_or_else(String::new, |r| repeated(r, unit));
    out + &close(p.cost.as_ref(), &p.warnings)
}

/// The cheapest run to train and serve.
pub(super) fn serving(p: &Serving, unit: &str) -> String {
    let quality = match p.quality {
        Quality::OptimalAt(c) => format!("as good as the optimum of {} FLOP", flops(c)),
        Quality::Loss(l) => format!("of loss {l}{unit}"),
    };
    let mut out = format!(
        "To serve {} tokens with a model {quality}, its training {}:\n",
        count(p.demand.tokens),
        beside(p.extrapolation, &p.method, p.level)
    );
    out += &line("N", &estimate(p.params, count));
    out += &line("D", &estimate(p.tokens, count));
    out += &line("D/N", &estimate(p.tokens_per_param, digits3));
    out += &line("loss", &of_run(p.loss, unit));
    out += &line("training", &format!("{} FLOP", estimate(p.training_flops, flops)));
    let weight = match p.demand.cost_ratio {
        1.0 => String::new(),
        ratio => format!(", each {} times a FLOP of training", digits3(ratio)),
    };
    out += &line(
        "inference",
        &format!("{} FLOP at 2N a token{weight}", estimate(p.inference_flops, flops)),
    );
    out += &line("total", &format!("{} FLOP", estimate(p.total_flops, flops)));
    out += &line(
        "saving",
        &format!(
            "{} of the {} FLOP of the compute-optimal N* {} on D* {}",
            estimate(p.saving, share),
            flops(p.optimal_total_flops),
            count(p.optimal.params),
            count(p.optimal.tokens)
        ),
    );
    out + &close(p.cost.as_ref(), &p.warnings)
}

/// The best run on limited data.
pub(super) fn limited(p: &Limited, unit: &str) -> String {
    let mut out = format!(
        "At C = {} FLOP with {} distinct tokens, {}:\n",
        flops(p.flops),
        count(p.unique_tokens),
        beside(p.extrapolation, &p.method, p.level)
    );
    out += &line("N", &estimate(p.params, count));
    out += &line("D", &estimate(p.tokens, count));
    out += &line("D/N", &estimate(p.tokens_per_param, digits3));
    out += &line("epochs", &estimate(p.epochs, digits3));
    out += &line("loss", &of_run(p.loss, unit));
    let price = format!(
        "{}{unit} above N* {} on D* {} new tokens; those would save {} of C",
        estimate(p.price, loss),
        count(p.unlimited.params),
        count(p.unlimited.tokens),
        estimate(p.deadweight, share)
    );
    out += &line("price", &price);
    out += &decays(&p.repetition);
    out + &close(p.cost.as_ref(), &p.warnings)
}

/// Which constants of decay an answer took, and from where.
fn decays(r: &Repetition) -> String {
    let own = |value: f64, ends: Option<[f64; 2]>| match ends {
        Some([lo, hi]) => format!("{} ({}..{})", digits3(value), digits3(lo), digits3(hi)),
        None => digits3(value),
    };
    let (tokens, params, source) = match r.source {
        RepetitionSource::Fitted => (
            own(r.tokens, r.tokens_interval),
            own(r.params, r.params_interval),
            "fitted to this table's repeated runs; in every interval",
        ),
        RepetitionSource::Published => (
            r.tokens.to_string(),
            r.params.to_string(),
            "Muennighoff et al. 2023 for C4; borrowed, and in no interval",
        ),
        RepetitionSource::Given => {
            (r.tokens.to_string(), r.params.to_string(), "as given; in no interval")
        }
    };
    format!("  Repetition decays with R_D* = {tokens} epochs, R_N* = {params} ({source}).\n")
}

/// What a run comes to that repeats its tokens.
fn repeated(r: &Repeated, unit: &str) -> String {
    let mut out = line(
        "epochs",
        &format!("{} of {} distinct tokens", digits3(r.epochs), count(r.unique_tokens)),
    );
    out += &line(
        "price",
        &format!(
            "{}{unit} above the {} of as many fresh tokens",
            estimate(r.price, loss),
            loss(r.fresh.value)
        ),
    );
    let best = &r.best;
    out += &line(
        "best",
        &format!(
            "N {}, D {} at this C on {} distinct tokens, {} epochs: loss {}",
            count(best.params),
            count(best.tokens),
            count(r.unique_tokens),
            digits3(best.epochs),
            loss(best.loss)
        ),
    );
    out + &decays(&r.repetition)
}

/// The table of devices.
pub(super) fn devices() -> String {
    let rows = DEVICES
        .iter()
        .map(|d| vec![d.name.to_owned(), d.source.to_owned(), digits3(d.peak / 1e12)]);
    table(&["device", "source", "TFLOP/s"], 2, &rows.collect::<Vec<_>>())
        + &format!(
            "\n  Dense bf16 peak, without sparsity. Training gets a share of it, the MFU: {:.0}% unless --mfu says \
             otherwise. Other devices: --gpu custom --peak-tflops X.\n",
            100.0 * DEFAULT_MFU
        )
}

const CORRECTED: &str =
    "  isoflop: its bias on this design, simulated on the leading surface, is taken off.\n";

fn close(cost: Option<&Cost>, warnings: &[Warning]) -> String {
    let cost = cost.map_or_else(String::new, |c| {
        let usd = c.usd.map_or_else(String::new, |usd| format!(", {} USD", count(usd)));
        format!(
            "  Training takes {} device-hours: {} {} for {} hours{usd}, at {:.0}% of {} TFLOP/s.\n",
            count(c.device_hours),
            c.count,
            c.gpu,
            count(c.hours),
            100.0 * c.mfu,
            digits3(c.peak_flops_per_second / 1e12)
        )
    });
    warnings.iter().fold(cost, |out, w| out + &format!("  ! {w}\n"))
}

/// What the fit itself warned of that bears on every answer, once for all of them.
pub(super) fn of_the_fit(warnings: &[&Warning]) -> String {
    let head = "Of the fit that this is predicted from (`isoflop fit` has all its warnings):\n";
    let lines = warnings.iter().fold(String::new(), |out, w| out + &format!("  ! {w}\n"));
    if lines.is_empty() { lines } else { head.to_owned() + &lines }
}

/// How far from the runs, who says it, and what the intervals are of.
fn beside(extrapolation: f64, method: &str, level: f64) -> String {
    let reach = if extrapolation > 1.0 {
        format!("{}x the largest compute fitted", digits3(extrapolation))
    } else {
        "within the compute fitted".to_owned()
    };
    format!(
        "{reach} ({method}; {:.0}% intervals, of the parameter unless said otherwise)",
        100.0 * level
    )
}

fn line(name: &str, value: &str) -> String {
    format!("  {name:<10}{value}\n")
}

fn loss(value: f64) -> String {
    format!("{value:.4}")
}

/// A share of something, with two digits where it is small.
fn share(value: f64) -> String {
    let percent = 100.0 * value;
    if percent < 0.995 { format!("{percent:.2}%") } else { format!("{percent:.1}%") }
}

pub(super) fn estimate(e: Estimate, show: impl Fn(f64) -> String) -> String {
    format!("{} ({}..{})", show(e.value), show(e.lo), show(e.hi))
}

/// The same for what may have been settled beforehand, and then has no interval.
fn settled(e: Estimate, show: impl Fn(f64) -> String) -> String {
    if e.lo == e.hi { show(e.value) } else { estimate(e, show) }
}
