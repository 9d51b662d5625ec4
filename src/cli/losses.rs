//! `isoflop fit TABLE --map loss=A --map loss=B`: a law for each of several losses of the same runs, side by side.
//!
//! Each has its own directory with fit.json, figures and report, named by its column; none overwrites another's.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::analysis::{self, Study};
use super::answer::estimate;
use super::args::FitArgs;
use super::show::{table, with_interval};
use super::{Failure, open, print, print_json, show};
use crate::error::{InputError, exit};
use crate::fit::Analysis;
use crate::import;
use crate::plan::hex;
use crate::points::AHEAD;
use crate::predict::{self, Irreducible, Prediction};
use crate::terminal::note;
use crate::units::{count, digits3, flops};

/// Everything, as JSON.
#[derive(Serialize)]
struct Output {
    source: String,
    losses: Vec<OfLoss>,
    refused: Vec<Refused>,
}

/// The law of one loss.
#[derive(Serialize)]
struct OfLoss {
    /// The column.
    loss: String,
    loss_unit: String,
    /// Where its fit.json, figures and report are.
    directory: PathBuf,
    /// E averaged over the forms; nothing without a surface.
    irreducible: Option<Irreducible>,
    /// The compute-optimal run at ten times the largest compute; nothing without a surface.
    ahead: Option<Prediction>,
    fit: Analysis,
}

/// A loss to which no law could be fitted.
#[derive(Serialize)]
struct Refused {
    loss: String,
    reason: String,
}

pub(super) fn execute(args: &FitArgs, losses: &[(String, import::Options)]) -> Result<u8, Failure> {
    let columns: Vec<&str> = losses.iter().map(|(column, _)| column.as_str()).collect();
    if let Some(twice) = (1..columns.len()).find(|i| columns[..*i].contains(&columns[*i])) {
        let message = format!("--map names the loss `{}` twice", columns[twice]);
        return Err(InputError::new(message, "give each column once").into());
    }
    // Every column is looked for before anything is fitted.
    let mut studies: Vec<(&str, Study, PathBuf)> = Vec::new();
    for (column, options) in losses {
        let (study, place) = open::open(&args.input, options)?;
        if study.read_as().is_empty() {
            let message =
                format!("`{}` has one loss, and --map names several", args.input.display());
            return Err(InputError::new(message, "several losses are columns of a table").into());
        }
        let base = args.out.clone().unwrap_or(place);
        studies.push((column, study, base.join(directory(column))));
    }
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for (column, study, out) in &studies {
        match one(args, column, study, out) {
            Ok(of_loss) => done.push(of_loss),
            Err(why) => refused.push(Refused { loss: (*column).to_owned(), reason: why.message }),
        }
    }
    let source =
        studies.first().map_or_else(String::new, |(_, study, _)| study.table.source.clone());
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

fn one(args: &FitArgs, column: &str, study: &Study, out: &Path) -> Result<OfLoss, Failure> {
    let fit = analysis::analyse(study, &analysis::options(args, study)?)?;
    let predictions = analysis::predictions(study, &fit);
    analysis::write(out, study, &fit, &predictions)?;
    Ok(OfLoss {
        loss: column.to_owned(),
        loss_unit: fit.convention.loss.clone(),
        directory: out.to_owned(),
        irreducible: predict::irreducible(&fit),
        ahead: predictions.into_iter().next(),
        fit,
    })
}

/// The directory of a loss: its name, with a hash where a file's name cannot hold it.
fn directory(column: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = column.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    if name == column {
        return format!("{}{name}", open::LOSS);
    }
    let hash = hex(&Sha256::digest(column.as_bytes()));
    format!("{}{name}-{}", open::LOSS, &hash[..8])
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
    let exponent =
        |of: &OfLoss, name: &str| of.fit.parameter(of.fit.fits.first()?, name).map(with_interval);
    let loss = |value: f64| format!("{value:.4}");
    let row = |l: &OfLoss| {
        let ahead = l.ahead.as_ref();
        vec![
            l.loss.clone(),
            l.fit.points.len().to_string(),
            l.irreducible.as_ref().map_or_else(dash, |i| estimate(i.e, loss)),
            exponent(l, "a").unwrap_or_else(dash),
            exponent(l, "b").unwrap_or_else(dash),
            ahead.map_or_else(dash, |p| estimate(p.params, count)),
            ahead.map_or_else(dash, |p| estimate(p.tokens_per_param, digits3)),
            ahead.map_or_else(dash, |p| estimate(p.loss, loss)),
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

#[cfg(test)]
mod tests {
    use super::directory;

    #[test]
    fn every_column_has_a_directory_of_its_own() {
        assert_eq!(directory("c4_val"), "loss-c4_val");
        let [one, other] = ["a b", "a/b"].map(directory);
        assert!(one != other && one.starts_with("loss-a-b-") && !other.contains('/'));
        assert_ne!(directory("a-b"), one);
    }
}
