//! `isoflop predict`: the run one would buy, by whatever is settled already.

use serde::Serialize;

use super::watch::Stderr;
use super::{answer, args::PredictArgs, print, print_json};
use crate::describe::Scale;
use crate::error::InputError;
use crate::fit::{Analysis, Pins, Warning};
use crate::predict::hardware::{self, Hardware};
use crate::predict::{Demand, PredictError};
use crate::study::question::{Answer, Question};
use crate::study::{Failure, input};

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
    let question = question(args, hardware.as_ref())?;
    question.check()?;
    let fit = args.fit.as_deref().expect("clap asks for it unless --gpus is there");
    if args.lock {
        input::unpinned(fit, &args.pinned.pins()?)?;
        let fit = input::fit_file(fit, &args.dirs.results, &args.dirs.analysis)?;
        return super::forecast::lock(args, &fit);
    }
    let analysis = input::analysis(
        fit,
        &args.dirs.results,
        &args.columns.options()?,
        args.pinned.pins()?,
        &Stderr,
    )?;
    let mut answers = question.ask(&analysis)?;
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
        let scale = Scale::of(&analysis);
        for answer in &answers {
            print(&(answer::text(&answer.described(&scale)) + "\n"));
        }
        print(&answer::of_the_fit(&doubts));
    }
    Ok(0)
}

/// The warnings of a fit that are doubts about what is predicted from it: the others are about the fit alone.
pub(super) fn bearing(analysis: &Analysis) -> Vec<&Warning> {
    analysis.warnings.iter().filter(|w| w.code.bears_on_answers()).collect()
}

/// What the command line settles.
fn question(args: &PredictArgs, hardware: Option<&Hardware>) -> Result<Question, PredictError> {
    let cost_ratio = args.inference_cost_ratio;
    Ok(Question {
        flops: budgets(args, hardware)?,
        params: args.params,
        tokens: args.tokens,
        loss: args.loss,
        demand: args.inference_tokens.map(|tokens| Demand { tokens, cost_ratio }),
        tokens_available: args.tokens_available,
        repeat_decay: args.repeat_decay,
    })
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
