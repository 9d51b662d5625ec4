//! The first screen: what the study says, in sentences, and what not to believe of it.

use std::f64::consts::LN_2;

use maud::{Markup, html};

use super::number::percent;
use super::{Input, page};
use crate::describe::{self, Scale, loss, method_title};
use crate::figure::power;
use crate::fit::{Analysis, Fit};
use crate::forecast::{Entry, Forecast, Score};
use crate::predict::Prediction;
use crate::units::{after_loss, count, digits3, several};

/// The answer, or the reason why there is none.
pub(super) fn answer(input: &Input) -> Markup {
    let analysis = input.analysis;
    if analysis.fits.is_empty() {
        return nothing(input);
    }
    html! {
        @match input.predictions.first() {
            Some(p) => { (best_run(analysis, p)) (tiles(analysis, p)) },
            None => p.answer {
                "A law was fitted to " (several(analysis.points.len(), "run")) "; nothing was predicted from it."
            },
        }
        (came(input.forecasts, analysis.convention.loss_unit()))
        (exponents(analysis))
    }
}

/// What was foretold and came, in a sentence: the last of them, and how many held.
fn came(forecasts: &[Entry], unit: &str) -> Markup {
    let scored: Vec<(&Forecast, &Score)> = forecasts
        .iter()
        .filter_map(|entry| Some((entry.forecast.as_ref()?, entry.outcome.score()?)))
        .collect();
    let held = scored.iter().filter(|(_, score)| score.inside).count();
    html! {
        @if let Some((f, score)) = scored.last() {
            p.answer {
                "A forecast locked before its run said " b { (loss(f.loss.value)) " " (unit) } " for "
                (power(f.flops)) " FLOP, and " b { (loss(score.measured)) } " came: " (percent(score.error))
                ", " @if score.inside { "inside" } @else { "outside" } " its interval."
                @if scored.len() > 1 { " " (held) " of " (scored.len()) " forecasts held." }
            }
        }
    }
}

fn nothing(input: &Input) -> Markup {
    let finished = input.analysis.points.len();
    let states =
        ["completed", "diverged", "failed", "stuck", "disputed", "damaged", "running", "missing"]
            .map(|state| (state, input.cells.iter().filter(|cell| cell.state == state).count()));
    let told: Vec<String> =
        states.iter().filter(|s| s.1 > 0).map(|s| format!("{} {}", s.1, s.0)).collect();
    html! {
        p.answer {
            @if finished == 0 && !input.cells.is_empty() && states[1].1 == input.cells.len() {
                "Every run diverged, so there is nothing to fit. "
            } @else if finished == 0 {
                "No run can be fitted yet. "
            } @else {
                "No law can be fitted to " (several(finished, "run")) " yet. "
            }
            @if !told.is_empty() { "Of " (input.cells.len()) " cells: " (told.join(", ")) "." }
        }
    }
}

/// Values alone: their intervals stand right below.
fn best_run(analysis: &Analysis, p: &Prediction) -> Markup {
    let bits = analysis.bytes_per_token.map(|bytes| p.loss.value / (LN_2 * bytes));
    html! {
        p.answer {
            "For " b { (power(p.flops)) " FLOP" } ", train " b { (count(p.params.value)) " parameters" } " on "
            b { (count(p.tokens.value)) " tokens" } ": " (digits3(p.tokens_per_param.value))
            " tokens per parameter. The predicted loss is " b { (loss(p.loss.value)) (in_unit(analysis)) }
            @if let Some(bits) = bits { ", " (loss(bits)) " bits/byte" }
            ". " (reach(p.extrapolation))
        }
    }
}

fn reach(extrapolation: f64) -> String {
    if extrapolation <= 1.0 {
        "That is within the compute of the runs.".to_owned()
    } else if extrapolation < 10.0 {
        format!("That is {extrapolation:.1} times the compute of the largest run.")
    } else {
        format!("That is {extrapolation:.0} times the compute of the largest run.")
    }
}

/// The exponent by every method, and whether they agree.
fn exponents(analysis: &Analysis) -> Markup {
    let a = |fit: &Fit| {
        let (value, interval) = analysis.parameter(fit, "a")?;
        Some(describe::number(value, interval).line())
    };
    let disagree = analysis.disagreement.as_ref().is_some_and(|d| !d.beyond_intervals.is_empty());
    html! {
        p.answer {
            "The best size grows as C" sup { "a" } ", with "
            @for (i, fit) in analysis.fits.iter().enumerate() {
                @if i > 0 { ", " }
                @if i == 0 { "a = " }
                @if let Some(a) = a(fit) { (a) " by " (method_title(&fit.method)) }
            }
            ". "
            @if analysis.fits.len() == 1 {
                "No second method could be fitted, so nothing checks it."
            } @else if disagree {
                b { "The methods disagree beyond their intervals." }
            } @else {
                "The methods agree within their intervals."
            }
        }
    }
}

/// The first lines of the answer, large.
fn tiles(analysis: &Analysis, p: &Prediction) -> Markup {
    let answer = describe::optimal(p, &Scale::of(analysis));
    html! {
        dl.tiles {
            @for line in &answer.lines[..4] {
                div {
                    dt { (line.name) " [" (line.unit) "]" }
                    dd { (line.value.text) @if let Some([lo, hi]) = &line.value.interval { small { (lo) " – " (hi) } } }
                }
            }
        }
        p.note {
            "Below each value its " (format!("{:.0}%", 100.0 * p.level)) " interval, of the parameter; for the loss a "
            "prediction interval of one run. What follows from a wrong size, and what each form of law says, stands under "
            a href="#predictions" { "Predictions" } ". N counts " (params_in_words(&analysis.convention.params)) "."
        }
    }
}

/// What a reader must know first. Nothing when there is nothing to warn of.
pub(super) fn doubts(input: &Input) -> Markup {
    let mut all: Vec<String> = input.analysis.warnings.iter().map(|w| w.text.clone()).collect();
    for p in input.predictions {
        for warning in &p.warnings {
            let told = match input.predictions.len() {
                1 => warning.text.clone(),
                _ => format!("at {} FLOP: {warning}", power(p.flops)),
            };
            if !all.contains(&told) {
                all.push(told);
            }
        }
    }
    page::doubts("What not to believe", &all)
}

/// The unit of the loss in a sentence: nothing where the table does not tell.
fn in_unit(analysis: &Analysis) -> String {
    after_loss(&analysis.convention.loss)
}

/// A convention of N as a person reads it.
pub(super) fn params_in_words(convention: &str) -> &str {
    match convention {
        "matmul" => {
            "the matrices of the blocks and of the output head, without the input embedding"
        }
        "total" => "every parameter, embeddings included",
        "non_embedding" => "the blocks alone, without embedding and output head",
        "flops_over_6" => "training FLOPs per token over 6, attention included",
        "as given" => "parameters as the table gives them",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Outcome;
    use crate::forecast::tests::forecast;

    #[test]
    fn the_first_screen_says_what_was_foretold_and_came_of_the_last() {
        let entry = |outcome| Entry { file: "a".into(), forecast: Some(forecast()), outcome };
        let scored = |measured| entry(Outcome::Scored(forecast().score(measured, 0.01)));
        let page = |entries: &[Entry]| came(entries, "nats/token").into_string();
        assert_eq!(page(&[entry(Outcome::Open("not yet".into()))]), "");
        let one = page(&[scored(2.5)]);
        assert!(one.contains("<b>2.0000 nats/token</b>") && one.contains("<b>2.5000</b>"), "{one}");
        assert!(one.contains("−20.00%, outside its interval.") && !one.contains("held"), "{one}");
        let two = page(&[scored(2.5), scored(1.95)]);
        assert!(two.contains("+2.56%, inside its interval. 1 of 2 forecasts held."), "{two}");
    }
}
