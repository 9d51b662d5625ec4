//! Answers to questions of `predict`, one function a question.

use super::number::{counted, ends, estimate, loss, number, or_dash, percent, share};
use super::{Answer, Line, Table, Value, numbers, words};
use crate::predict::{
    Chosen, Cost, Estimate, Fixed, FormShare, Inverse, Limited, Prediction, Quality, Repeated,
    Repetition, RepetitionSource, Serving,
};
use crate::units::{BITS_PER_BYTE, after_loss, count, digits3, flops};

const CORRECTED: &str =
    "isoflop: its bias on this design, simulated on the leading surface, is taken off.";
/// What the interval of an answer's loss is of.
const ONE_RUN: &str = "prediction interval of one run: form, parameters, scatter, reach";

/// What losses are measured in.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// The unit after a number, with a space before it; empty where nobody said.
    pub after: String,
    /// The same as the head of a column says it.
    pub unit: String,
    /// Bytes of text for each token, where losses are in nats/token and it is known [bytes/token].
    pub bytes_per_token: Option<f64>,
}

impl Scale {
    /// That of an analysis.
    pub fn of(analysis: &crate::fit::Analysis) -> Self {
        let bytes_per_token = analysis.bytes_per_token;
        let convention = &analysis.convention;
        let unit = convention.loss_unit().to_owned();
        Self { after: after_loss(&convention.loss), unit, bytes_per_token }
    }

    /// The loss of a run, in its unit and by bytes.
    fn lines(&self, e: &Estimate) -> Vec<Line> {
        let value = estimate(e, loss).then(format!("{}; {ONE_RUN}", self.after));
        let unit = self.unit.clone();
        let mut lines = vec![Line { name: "loss", value, unit }];
        if let Some(bytes) = self.bytes_per_token {
            let bits = |v: f64| format!("{:.4}", v / (std::f64::consts::LN_2 * bytes));
            let value = estimate(e, bits).then(format!(" {BITS_PER_BYTE}"));
            lines.push(Line { name: "", value, unit: BITS_PER_BYTE.to_owned() });
        }
        lines
    }

    fn estimate(&self, e: &Estimate) -> Value {
        estimate(e, loss).then(self.after.clone())
    }
}

/// The compute-optimal run at a compute, and what every method says about it.
pub fn optimal(p: &Prediction, scale: &Scale) -> Answer {
    let heading = format!("At C = {} FLOP", flops(p.flops));
    let mut lines = run(["N*", "D*", "D*/N*"], &p.params, &p.tokens, &p.tokens_per_param);
    lines.extend(scale.lines(&p.loss));
    lines.extend(forms(&p.forms));
    for (name, regret, wasted) in [
        ("half N*", p.regret_half, &p.deadweight_half),
        ("twice N*", p.regret_twice, &p.deadweight_twice),
    ] {
        let wasted = wasted.as_ref().map_or_else(|| "-".into(), |w| estimate(w, share).line());
        let text = format!("{} loss, wastes {wasted} of C", or_dash(regret, percent).text);
        lines.push(line(name, Value::words(text)));
    }
    let mut notes = Vec::new();
    if let Some(d) = p.deadweight {
        notes.push(format!(
            "If a draw of the law is the truth, training N*, D* wastes {} of C in the median and under {} in {:.0}% of the draws.",
            share(d.median),
            share(d.upper),
            100.0 * p.level
        ));
    }
    if let Some(r) = &p.repeated {
        let value = scale.estimate(&r.loss).then(", where D* exceeds the corpus");
        lines.push(line("repeated", value));
        lines.extend(repeated(r, scale));
        notes.push(decays(&r.repetition));
    }
    notes.extend(p.cost.as_ref().map(cost));
    Answer {
        heading: format!("{heading}, {}", beside(p.extrapolation, &p.method, p.level)),
        lines,
        notes,
        methods: Some(methods(p, scale)),
        warnings: p.warnings.clone(),
    }
}

/// Each method on the same compute.
fn methods(p: &Prediction, scale: &Scale) -> Table {
    let rows = p.methods.iter().map(|m| {
        vec![
            Value::words(&m.method),
            counted(m.params.value, ends(&m.params)),
            counted(m.tokens.value, ends(&m.tokens)),
            estimate(&m.tokens_per_param, digits3),
            m.loss.map_or_else(|| Value::words("-"), |l| estimate(&l, loss)),
        ]
    });
    let rows = rows.collect();
    let mut notes = vec![format!(
        "Each method at its own N*; its loss [{}] with a prediction interval of one run that takes its form for granted.",
        scale.unit
    )];
    if p.methods.iter().any(|m| m.corrected) {
        notes.push(CORRECTED.to_owned());
    }
    let columns = vec![
        words("method", ""),
        numbers("N*", "parameters"),
        numbers("D*", "tokens"),
        numbers("D*/N*", "tokens/param"),
        numbers("loss", ""),
    ];
    Table { columns, rows, leading: None, notes }
}

/// The compute at which something is optimal.
pub fn inverse(p: &Inverse, scale: &Scale) -> Answer {
    let what = match p.fixed {
        Fixed::Flops(c) => format!("C = {} FLOP", flops(c)),
        Fixed::Params(n) => format!("N = {}", count(n)),
        Fixed::Tokens(d) => format!("D = {}", count(d)),
        Fixed::Loss(l) => format!("A loss of {l}{}", scale.after),
    };
    let goal = if matches!(p.fixed, Fixed::Loss(_)) { "cheapest" } else { "optimal" };
    let mut lines = vec![line("C", estimate(&p.flops, flops).then(" FLOP"))];
    lines.extend(run(["N*", "D*", "D*/N*"], &p.params, &p.tokens, &p.tokens_per_param));
    lines.extend(scale.lines(&p.loss));
    lines.extend(forms(&p.forms));
    let rows = p.methods.iter().map(|m| {
        vec![
            Value::words(&m.method),
            estimate(&m.flops, flops),
            counted(m.params.value, ends(&m.params)),
            counted(m.tokens.value, ends(&m.tokens)),
        ]
    });
    let columns = vec![
        words("method", ""),
        numbers("C", "FLOP"),
        numbers("N*", "parameters"),
        numbers("D*", "tokens"),
    ];
    let corrected = p.methods.iter().any(|m| m.corrected);
    let notes = corrected.then(|| CORRECTED.to_owned()).into_iter().collect();
    Answer {
        heading: format!(
            "{what} is {goal} at C = {} FLOP, {}",
            flops(p.flops.value),
            beside(p.extrapolation, &p.method, p.level)
        ),
        lines,
        notes: p.cost.as_ref().map(cost).into_iter().collect(),
        methods: Some(Table { columns, rows: rows.collect(), leading: None, notes }),
        warnings: p.warnings.clone(),
    }
}

/// A run somebody has settled on.
pub fn chosen(p: &Chosen, scale: &Scale) -> Answer {
    let heading = format!(
        "N = {} on D = {}: C = {} FLOP, {}",
        count(p.params),
        count(p.tokens),
        flops(p.flops),
        beside(p.extrapolation, &p.method, p.level)
    );
    let ratio = number(p.tokens_per_param, None);
    let ratio = Value { text: digits3(p.tokens_per_param), ..ratio }.then(" tokens/param");
    let mut lines = vec![line("D/N", ratio)];
    lines.extend(scale.lines(&p.loss));
    lines.extend(forms(&p.forms));
    lines.push(line("wasted", estimate(&p.deadweight, share).then(" of C")));
    let optimal = format!(
        "N* {}, D* {} at this C; this run's loss is {} above",
        count(p.optimal.params),
        count(p.optimal.tokens),
        estimate(&p.regret, share).line()
    );
    lines.push(line("optimal", Value::words(optimal)));
    let mut notes = Vec::new();
    if let Some(r) = &p.repeated {
        lines.extend(repeated(r, scale));
        notes.push(decays(&r.repetition));
    }
    notes.extend(p.cost.as_ref().map(cost));
    Answer { heading, lines, notes, methods: None, warnings: p.warnings.clone() }
}

/// The cheapest run to train and serve.
pub fn serving(p: &Serving, scale: &Scale) -> Answer {
    let quality = match p.quality {
        Quality::OptimalAt(c) => format!("as good as the optimum of {} FLOP", flops(c)),
        Quality::Loss(l) => format!("of loss {l}{}", scale.after),
    };
    let mut lines = run(["N", "D", "D/N"], &p.params, &p.tokens, &p.tokens_per_param);
    lines.extend(scale.lines(&p.loss));
    let weight = match p.demand.cost_ratio {
        1.0 => String::new(),
        ratio => format!(", each {} times a FLOP of training", digits3(ratio)),
    };
    let saving = format!(
        " of the {} FLOP of the compute-optimal N* {} on D* {}",
        flops(p.optimal_total_flops),
        count(p.optimal.params),
        count(p.optimal.tokens)
    );
    let inference = format!(" FLOP at 2N a token{weight}");
    lines.extend([
        line("training", estimate(&p.training_flops, flops).then(" FLOP")),
        line("inference", estimate(&p.inference_flops, flops).then(inference)),
        line("total", estimate(&p.total_flops, flops).then(" FLOP")),
        line("saving", estimate(&p.saving, share).then(saving)),
    ]);
    Answer {
        heading: format!(
            "To serve {} tokens with a model {quality}, its training {}",
            count(p.demand.tokens),
            beside(p.extrapolation, &p.method, p.level)
        ),
        lines,
        notes: p.cost.as_ref().map(cost).into_iter().collect(),
        methods: None,
        warnings: p.warnings.clone(),
    }
}

/// The best run on limited data.
pub fn limited(p: &Limited, scale: &Scale) -> Answer {
    let mut lines = run(["N", "D", "D/N"], &p.params, &p.tokens, &p.tokens_per_param);
    lines.push(line("epochs", estimate(&p.epochs, digits3)));
    lines.extend(scale.lines(&p.loss));
    let above = format!(
        "{} above N* {} on D* {} new tokens; those would save {} of C",
        scale.after,
        count(p.unlimited.params),
        count(p.unlimited.tokens),
        estimate(&p.deadweight, share).line()
    );
    lines.push(line("price", estimate(&p.price, loss).then(above)));
    let mut notes = vec![decays(&p.repetition)];
    notes.extend(p.cost.as_ref().map(cost));
    Answer {
        heading: format!(
            "At C = {} FLOP with {} distinct tokens, {}",
            flops(p.flops),
            count(p.unique_tokens),
            beside(p.extrapolation, &p.method, p.level)
        ),
        lines,
        notes,
        methods: None,
        warnings: p.warnings.clone(),
    }
}

/// Size, tokens and their ratio.
fn run(names: [&'static str; 3], n: &Estimate, d: &Estimate, ratio: &Estimate) -> Vec<Line> {
    let values = [
        (counted(n.value, ends(n)), "parameters"),
        (counted(d.value, ends(d)), "tokens"),
        (estimate(ratio, digits3), "tokens/param"),
    ];
    let named = names.into_iter().zip(values);
    let line = |(name, (value, unit)): (_, (Value, &str))| Line {
        name,
        value: value.then(format!(" {unit}")),
        unit: unit.to_owned(),
    };
    named.map(line).collect()
}

/// The forms of law behind an averaged loss at the N and D of the answer, by what they count.
fn forms(forms: &[FormShare]) -> Option<Line> {
    let text = format!("{}: each at this N and D", shares(forms));
    (!forms.is_empty()).then(|| line("by form", Value::words(text)))
}

/// The forms of law behind an average: `interaction 87% 1.2668, coupled 12% 1.2575`.
pub(super) fn shares(forms: &[FormShare]) -> String {
    let one = |f: &FormShare| format!("{} {:.0}% {}", f.law, 100.0 * f.weight, loss(f.loss));
    forms.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a run comes to that repeats its tokens.
fn repeated(r: &Repeated, scale: &Scale) -> [Line; 3] {
    let epochs = format!("{} of {} distinct tokens", digits3(r.epochs), count(r.unique_tokens));
    let above =
        format!("{} above the {} of as many fresh tokens", scale.after, loss(r.fresh.value));
    let best = &r.best;
    let best = format!(
        "N {}, D {} at this C on {} distinct tokens, {} epochs: loss {}",
        count(best.params),
        count(best.tokens),
        count(r.unique_tokens),
        digits3(best.epochs),
        loss(best.loss)
    );
    [
        line("epochs", Value::words(epochs)),
        line("price", estimate(&r.price, loss).then(above)),
        line("best", Value::words(best)),
    ]
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
    format!("Repetition decays with R_D* = {tokens} epochs, R_N* = {params} ({source}).")
}

/// Time and money on the device that was named.
fn cost(c: &Cost) -> String {
    let usd = c.usd.map_or_else(String::new, |usd| format!(", {} USD", count(usd)));
    format!(
        "Training takes {} device-hours: {} {} for {} hours{usd}, at {:.0}% of {} TFLOP/s.",
        count(c.device_hours),
        c.count,
        c.gpu,
        count(c.hours),
        100.0 * c.mfu,
        digits3(c.peak_flops_per_second / 1e12)
    )
}

/// How far from the runs, who answers, and what the intervals are of.
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

fn line(name: &'static str, value: Value) -> Line {
    Line { name, value, unit: String::new() }
}
