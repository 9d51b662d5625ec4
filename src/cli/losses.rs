//! `isoflop fit TABLE --map loss=A --map loss=B`: a law for each of several losses of the same runs, side by side.

use serde::Serialize;

use super::args::FitArgs;
use super::show::table;
use super::watch::Stderr;
use super::{print, print_json, show};
use crate::describe::{estimate, loss, number};
use crate::error::exit;
use crate::import;
use crate::points::AHEAD;
use crate::study::Failure;
use crate::study::losses::{self, OfLoss, Refused};
use crate::terminal::note;
use crate::units::{count, digits3, flops};

/// Everything, as JSON.
#[derive(Serialize)]
struct Output {
    source: String,
    losses: Vec<OfLoss>,
    refused: Vec<Refused>,
}

pub(super) fn execute(args: &FitArgs, losses: &[(String, import::Options)]) -> Result<u8, Failure> {
    let opened = losses::open(&args.input, losses)?;
    let source = opened.first().map_or_else(String::new, |(_, runs, _)| runs.table.source.clone());
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for (column, runs, place) in &opened {
        let base = args.out.as_ref().unwrap_or(place);
        match losses::fit(column, runs, &args.options(runs.options())?, base, &Stderr) {
            Ok(of_loss) => done.push(of_loss),
            Err(why) => refused.push(Refused { loss: column.clone(), reason: why.message }),
        }
    }
    let code = if refused.is_empty() { 0 } else { exit::INPUT };
    if args.json {
        print_json(&Output { source, losses: done, refused });
        return Ok(code);
    }
    print(&text(&source, &done));
    note!("{}", show::warnings(&told(&done)));
    for Refused { loss, reason } in &refused {
        note!("{}", show::warnings(&[format!("{loss}: no law: {reason}")]));
    }
    for of_loss in &done {
        note!("wrote {}", of_loss.directory.join("report.html").display());
    }
    Ok(code)
}

/// The warnings of all, each once: by itself where it is of every loss, else with their names.
fn told(losses: &[OfLoss]) -> Vec<String> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for of_loss in losses {
        for warning in &of_loss.fit.warnings {
            match all.iter_mut().find(|(text, _)| *text == warning.text.as_str()) {
                Some((_, names)) => names.push(of_loss.loss.as_str()),
                None => all.push((warning.text.as_str(), vec![of_loss.loss.as_str()])),
            }
        }
    }
    let one = |(text, names): &(&str, Vec<&str>)| {
        let every = names.len() == losses.len();
        if every { (*text).to_owned() } else { format!("{}: {text}", names.join(", ")) }
    };
    all.iter().map(one).collect()
}

/// One line for each loss.
fn text(source: &str, losses: &[OfLoss]) -> String {
    let dash = || "-".to_owned();
    let exponent = |of: &OfLoss, name: &str| {
        let (value, interval) = of.fit.parameter(of.fit.fits.first()?, name)?;
        Some(number(value, interval).line())
    };
    let row = |l: &OfLoss| {
        let ahead = l.ahead.as_ref();
        vec![
            l.loss.clone(),
            l.fit.points.len().to_string(),
            l.irreducible.as_ref().map_or_else(dash, |i| estimate(&i.e, loss).line()),
            exponent(l, "a").unwrap_or_else(dash),
            exponent(l, "b").unwrap_or_else(dash),
            ahead.map_or_else(dash, |p| estimate(&p.params, count).line()),
            ahead.map_or_else(dash, |p| estimate(&p.tokens_per_param, digits3).line()),
            ahead.map_or_else(dash, |p| estimate(&p.loss, loss).line()),
            l.loss_unit.clone(),
        ]
    };
    let header = ["loss", "runs", "E", "a", "b", "N*", "D*/N*", "L", "unit"];
    let mut out = format!("{} losses of {source}\n\n", losses.len());
    out += &table(&header, 1, &losses.iter().map(row).collect::<Vec<_>>());
    let mut computes: Vec<String> =
        losses.iter().filter_map(|l| Some(flops(l.ahead.as_ref()?.flops))).collect();
    computes.dedup();
    if let Some(first) = losses.iter().find_map(|l| l.ahead.as_ref()) {
        out += &format!(
            "  N*, D*/N* and L: at C = {} FLOP, {AHEAD}x the largest compute; {:.0}% intervals, of the parameter, and of L a \
             prediction interval of one run.\n",
            computes.join(", "),
            100.0 * first.level
        );
    }
    out + "  E, N*, D*/N* and L are averaged over the forms of law; a and b are those of the leading fit: N* ~ C^a, D* ~ C^b.\n"
}
