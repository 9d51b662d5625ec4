//! `isoflop predict`: the run one would buy, by whatever is settled already.

use std::path::Path;

use serde::Serialize;

use super::{Failure, answer, args::PredictArgs, print, print_json};
use crate::error::InputError;
use crate::fit::{Analysis, Pins, ReadError, Warning};
use crate::fs::read_file;
use crate::predict::hardware::{self, Hardware};
use crate::predict::{
    Chosen, Demand, Fixed, Inverse, Limited, PredictError, Prediction, Quality, Repetition,
    Serving, at_flops, chosen, chosen_params, chosen_tokens, limited, optimal_with, repeating,
    serving,
};
use crate::units::after_loss;

/// An answer to any question. Untagged: it is written and never read, and its fields tell it apart.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Optimal(Prediction),
    Inverse(Inverse),
    Chosen(Chosen),
    Serving(Serving),
    Limited(Limited),
}

/// An answer as JSON, with the unit of its losses.
#[derive(Serialize)]
struct Told<'a> {
    loss_unit: &'a str,
    #[serde(skip_serializing_if = "Pins::is_empty")]
    pins: Pins,
    fit_warnings: &'a [&'a Warning],
    #[serde(flatten)]
    answer: &'a Answer,
}

pub(super) fn execute(args: &PredictArgs) -> Result<u8, Failure> {
    if args.gpus {
        if args.json {
            print_json(&hardware::DEVICES);
        } else {
            print(&answer::devices());
        }
        return Ok(0);
    }
    // Bad flags before a large file is read.
    let hardware = args.gpu.as_deref().map(|name| device(args, name)).transpose()?;
    let budgets = budgets(args, hardware.as_ref())?;
    unambiguous(args, &budgets)?;
    let fit = args.fit.as_deref().expect("clap asks for it unless --gpus is there");
    if args.lock {
        super::open::unpinned(fit, &args.pinned.pins()?)?;
        let fit = super::open::fit_file(fit, &args.dirs.results, &args.dirs.analysis)?;
        return super::forecast::lock(args, &fit);
    }
    let analysis = super::open::analysis(
        fit,
        &args.dirs.results,
        &args.columns.options()?,
        args.pinned.pins()?,
    )?;
    let mut answers = answers(&analysis, args, &budgets)?;
    if let Some(hardware) = &hardware {
        for answer in &mut answers {
            answer.price(hardware);
        }
    }
    let unit = &analysis.convention.loss;
    let doubts = bearing(&analysis);
    if args.json {
        let told = answers.iter().map(|answer| Told {
            loss_unit: unit,
            pins: analysis.pins,
            fit_warnings: &doubts,
            answer,
        });
        match told.collect::<Vec<_>>().as_slice() {
            [one] => print_json(one),
            all => print_json(&all),
        }
    } else {
        for answer in &answers {
            print(&(answer.text(&after_loss(unit)) + "\n"));
        }
        print(&answer::of_the_fit(&doubts));
    }
    Ok(0)
}

/// The warnings of a fit that are doubts about what is predicted from it: the others are about the fit alone.
pub(super) fn bearing(analysis: &Analysis) -> Vec<&Warning> {
    analysis.warnings.iter().filter(|w| w.code.bears_on_answers()).collect()
}

/// The device that was named.
fn device(args: &PredictArgs, name: &str) -> Result<Hardware, Failure> {
    let peak = match (args.peak_tflops, name) {
        (Some(tflops), _) => 1e12 * tflops,
        (None, "custom") => {
            let hint = "add --peak-tflops X, the dense bf16 peak of one device";
            return Err(InputError::new("device `custom` has no peak of its own", hint).into());
        }
        (None, _) => hardware::peak(name)?,
    };
    let name = name.to_owned();
    Ok(Hardware { name, peak, count: args.count, mfu: args.mfu, usd_per_hour: args.usd_per_hour })
}

/// The computes to answer for [FLOP]; none where another thing is settled.
fn budgets(args: &PredictArgs, hardware: Option<&Hardware>) -> Result<Vec<f64>, PredictError> {
    // clap lets --hours and --usd through only with a device.
    match (hardware, args.hours, args.usd) {
        (Some(h), Some(hours), _) => Ok(vec![h.flops_in(hours)?]),
        (Some(h), None, Some(usd)) => Ok(vec![h.flops_for(usd)?]),
        _ => Ok(args.flops.clone()),
    }
}

/// Refuses flags that settle a run twice, or not at all.
fn unambiguous(args: &PredictArgs, budgets: &[f64]) -> Result<(), Failure> {
    let settled = args.params.is_some() || args.tokens.is_some() || args.loss.is_some();
    if args.params.is_some() && args.tokens.is_some() && !budgets.is_empty() {
        let message = "--params, --tokens and a budget settle the run twice";
        return Err(InputError::new(message, "leave one of the three out").into());
    }
    if args.inference_tokens.is_some() && args.loss.is_none() && budgets.is_empty() {
        let message = "--inference-tokens does not say how good the model must be";
        let hint = "add --flops C, to be as good as the compute-optimal model of C, or --loss L";
        return Err(InputError::new(message, hint).into());
    }
    let whole = args.params.is_some() && args.tokens.is_some();
    if args.tokens_available.is_some() && budgets.is_empty() && !whole {
        let message = "--tokens-available does not say which run is to repeat them";
        let hint = "add --flops C for the best run of C, or --params N --tokens D for that run";
        return Err(InputError::new(message, hint).into());
    }
    if !settled && budgets.is_empty() {
        let message = "nothing is settled, so there is nothing to predict";
        let hint = "give --flops C; `isoflop predict --help` lists the other questions";
        return Err(InputError::new(message, hint).into());
    }
    Ok(())
}

fn answers(
    analysis: &Analysis,
    args: &PredictArgs,
    budgets: &[f64],
) -> Result<Vec<Answer>, PredictError> {
    let each = |answer: &dyn Fn(f64) -> Result<Answer, PredictError>| {
        budgets.iter().map(|c| answer(*c)).collect()
    };
    let one = |answer: Result<Answer, PredictError>| answer.map(|a| vec![a]);
    let inverse = |fixed| one(optimal_with(analysis, fixed).map(Answer::Inverse));
    let decays = || {
        let given = args.repeat_decay.map(|(tokens, params)| Repetition::given(tokens, params));
        given.unwrap_or_else(|| Repetition::known(analysis))
    };
    let free = args.params.is_none() && args.tokens.is_none();
    if let Some(unique) = args.tokens_available.filter(|_| free) {
        let law = decays();
        return each(&|c| limited(analysis, c, unique, &law).map(Answer::Limited));
    }
    // A settled run, on fresh tokens or on those that exist.
    let settled = |run: Result<Chosen, PredictError>| {
        let run = match args.tokens_available {
            None => run,
            Some(unique) => run.and_then(|run| repeating(analysis, run, unique, &decays())),
        };
        run.map(Answer::Chosen)
    };
    if let Some(tokens) = args.inference_tokens {
        let demand = Demand { tokens, cost_ratio: args.inference_cost_ratio };
        let serve = |quality| serving(analysis, quality, demand).map(Answer::Serving);
        return match args.loss {
            Some(loss) => one(serve(Quality::Loss(loss))),
            None => each(&|c| serve(Quality::OptimalAt(c))),
        };
    }
    match (args.params, args.tokens, args.loss, budgets) {
        (_, _, Some(loss), _) => inverse(Fixed::Loss(loss)),
        (Some(n), Some(d), ..) => one(settled(chosen(analysis, n, d))),
        (Some(n), None, None, []) => inverse(Fixed::Params(n)),
        (None, Some(d), None, []) => inverse(Fixed::Tokens(d)),
        (Some(n), ..) => each(&|c| settled(chosen_params(analysis, c, n))),
        (None, Some(d), ..) => each(&|c| settled(chosen_tokens(analysis, c, d))),
        (None, None, None, _) => each(&|c| at_flops(analysis, c).map(Answer::Optimal)),
    }
}

impl Answer {
    fn text(&self, unit: &str) -> String {
        match self {
            Self::Optimal(p) => answer::prediction(p, unit),
            Self::Inverse(p) => answer::inverse(p, unit),
            Self::Chosen(p) => answer::chosen(p, unit),
            Self::Serving(p) => answer::serving(p, unit),
            Self::Limited(p) => answer::limited(p, unit),
        }
    }

    /// Adds the time and money of the training.
    fn price(&mut self, hardware: &Hardware) {
        let (cost, flops) = match self {
            Self::Optimal(p) => (&mut p.cost, p.flops),
            Self::Inverse(p) => (&mut p.cost, p.flops.value),
            Self::Chosen(p) => (&mut p.cost, p.flops),
            Self::Serving(p) => (&mut p.cost, p.training_flops.value),
            Self::Limited(p) => (&mut p.cost, p.flops),
        };
        *cost = Some(hardware.cost(flops));
    }
}

/// Longest fit that is read [bytes].
pub(super) const MAX_FIT: u64 = 1 << 30;

/// Reads a fit.json.
pub(super) fn read(path: &Path) -> Result<Analysis, Failure> {
    let json = read_file(path, MAX_FIT)?;
    Ok(Analysis::read(&json).map_err(|e| {
        let hint = match e {
            ReadError::Newer => "update isoflop, or fit again",
            ReadError::Syntax(_) | ReadError::Value(_) => {
                "`isoflop fit` writes one under analysis/"
            }
        };
        InputError::new(format!("`{}` {e}", path.display()), hint)
    })?)
}
