//! `isoflop tune`: searches rate, batch and decay at the sweep's tuning cells and fits rules in (N, D).

use std::path::Path;

use super::args::TuneArgs;
use super::watch::Stderr;
use super::{print, print_json, show};
use crate::device::{self, Wanted};
use crate::error::exit;
use crate::fs::{Disk as _, Os};
use crate::ledger::{Ledger, StateName};
use crate::plan::Cell;
use crate::spec::OptimSpec;
use crate::study::sweep::{TUNE, read_spec};
use crate::study::training::{Setup, stop_on_signals};
use crate::study::tuning::{self, Tuner};
use crate::study::{Failure, Sweep, hold};
use crate::terminal::note;
use crate::tune::{FittedRule, Transfer, Tuning, Vertex, VertexState};
use crate::units::{count, flops, plain3, several};

pub(super) fn execute(args: &TuneArgs) -> Result<u8, Failure> {
    let (spec, text) = read_spec(&args.sweep)?;
    let name = spec.name.get_ref();
    tuning::block(&spec)?;
    let device =
        device::choose(&Wanted::of(&spec.device, args.training.device, args.training.matmul))?;
    if args.dry_run {
        let sweep = Sweep::open(&args.sweep, &args.dirs.results, false)?;
        let mut tuner = Tuner::new(&sweep)?;
        let (places, cells) = (tuner.places(), tuner.first_round());
        let spent: f64 = cells.iter().map(Cell::flops_spent).sum();
        print(&format!(
            "{}\nFirst round of tuning {name}: {} at {}, {} FLOP. Axes whose best lies at an edge are \
             extended, decays come last.\n",
            show::plan(cells, device.room(1), &|_| None, None),
            several(cells.len(), "run"),
            several(places, "cell"),
            flops(spent)
        ));
        return Ok(0);
    }
    let (results, out) = (args.dirs.results.join(name), args.dirs.analysis.join(name));
    Os.create_dirs(&results)?;
    let _hold = hold::hold(&results, &text, &Stderr)?;
    let sweep = Sweep::open(&args.sweep, &args.dirs.results, true)?;
    Os.create_dirs(&out)?;
    let stop = stop_on_signals()?;
    let setup = Setup {
        device: &device,
        workers: args.training.workers,
        every: args.checkpoint,
        retry: &args.training.retry,
        stop: &stop,
    };
    let Some((tuning, ledger)) = Tuner::new(&sweep)?.search(&results, setup, &Stderr)? else {
        return Ok(exit::AGAIN);
    };
    stop.at_once();
    tuning::write(&out, &tuning)?;
    if args.json {
        print_json(&tuning);
    } else {
        print(&told(&tuning, &sweep.spec.optim, &out));
    }
    Ok(code(&tuning, &ledger))
}

/// A high rate that diverges is an answer; nothing else is.
fn code(tuning: &Tuning, ledger: &Ledger) -> u8 {
    let is_fault = |name| name != StateName::Diverged && StateName::FAILURES.contains(&name);
    let failed: Vec<String> = ledger
        .cells
        .iter()
        .filter(|(_, state)| is_fault(state.name()))
        .map(|(cell, state)| format!("{}, {}", cell.short(), state.why().unwrap_or_default()))
        .collect();
    if !failed.is_empty() {
        note!(
            "{} failed and missing from the tuning: {}. `--retry failed` (damaged, stuck, disputed) trains them again.",
            several(failed.len(), "run"),
            failed.join("; ")
        );
    }
    if ledger.count(StateName::Damaged) > 0 {
        return exit::DAMAGED;
    }
    u8::from(!failed.is_empty() || tuning.found.is_empty())
}

fn vertex(v: Option<&Vertex>) -> String {
    let Some(v) = v else { return "-".to_owned() };
    let value = plain3(v.value);
    match (v.state, v.interval) {
        (VertexState::Resolved, Some([lo, hi])) => {
            format!("{value} ({}..{})", plain3(lo), plain3(hi))
        }
        (VertexState::Resolved, None) => value,
        (VertexState::Zero, _) => format!("0, {}", v.state.name()),
        (state, _) => format!("{value}, {}", state.name()),
    }
}

fn told(tuning: &Tuning, optim: &OptimSpec, out: &Path) -> String {
    let percent = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{:+.2}%", 100.0 * v));
    let rows = tuning.found.iter().map(|f| {
        vec![
            count(f.place.params),
            count(f.place.tokens),
            plain3(f.place.learning_rate),
            vertex(f.learning_rate.as_ref()),
            count(f.place.batch_tokens),
            vertex(f.batch.as_ref()),
            vertex(f.weight_decay.as_ref()),
            format!("{:.4}", f.best_loss),
            percent(f.left_on_the_table),
        ]
    });
    let header = [
        "N",
        "D",
        "lr rule",
        "lr best",
        "batch rule",
        "batch best",
        "decay best",
        "loss",
        "rule costs",
    ];
    let mut out_text = format!(
        "Tuning of {}: {}, intervals at {:.0}%\n{}",
        tuning.sweep,
        several(tuning.runs.len(), "run"),
        100.0 * tuning.level,
        show::table(&header, 0, &rows.collect::<Vec<_>>())
    );
    if let Some(noise) = tuning.noise {
        let of = if noise.from_seeds { "between seeds" } else { "about the parabolas" };
        out_text += &format!(
            "\nScatter of ln L {of}: {:.5} ({:.0} degrees of freedom).\n",
            noise.sd, noise.dof
        );
    }
    for f in &tuning.found {
        if let Some(s) = &f.sufficiency {
            let place = format!("N {}, D {}", count(f.place.params), count(f.place.tokens));
            out_text += &format!("  {place}: {} tried, {}\n", s.tried, s.verdict);
        }
    }
    for rule in &tuning.rules {
        out_text += &told_rule(rule);
    }
    if let Some(t) = &tuning.transfer {
        out_text += &told_transfer(t);
    }
    if let Some(horizon) = tuning.horizon() {
        out_text += &format!("\n{horizon}\n");
    }
    out_text += &agreement(tuning, optim);
    out_text +=
        &format!("\n[optim]\n{}\n\n  numbers  {}\n", tuning.toml(), out.join(TUNE).display());
    out_text
}

/// A rule in (N, D), in a line.
fn told_rule(rule: &FittedRule) -> String {
    let terms: Vec<String> = rule
        .terms
        .iter()
        .map(|t| {
            let interval = t.interval.map_or_else(
                || "no interval".to_owned(),
                |[lo, hi]| format!("{}..{}", plain3(lo), plain3(hi)),
            );
            format!("{} {} ({interval})", t.name, plain3(t.value))
        })
        .collect();
    let note = rule.note.as_ref().map_or(String::new(), |n| format!("; {n}"));
    format!(
        "\n{}: {} [{} of {} cells resolved{note}]\n",
        rule.name,
        terms.join(", "),
        rule.resolved,
        rule.searched
    )
}

/// How far the best rate moves with N, in a line.
fn told_transfer(t: &Transfer) -> String {
    let interval =
        t.interval.map_or("no interval".to_owned(), |[lo, hi]| format!("{lo:.2}..{hi:.2}"));
    let tokens: Vec<String> = t.tokens.iter().map(|d| count(*d)).collect();
    format!(
        "\nTransfer: at equal D ({}) the best rate goes as N^{:.2} ({interval}), N from {} to {}.\n",
        tokens.join(", "),
        t.exponent,
        count(t.params[0]),
        count(t.params[1])
    )
}

/// The sweep's own values beside the vertices.
fn agreement(tuning: &Tuning, optim: &OptimSpec) -> String {
    let rows = tuning.agreement(optim).into_iter().map(|a| {
        let inside = match a.inside {
            Some(true) => "inside",
            Some(false) => "outside",
            None => "no interval",
        };
        vec![
            a.name.clone(),
            count(a.params),
            count(a.tokens),
            plain3(a.says),
            plain3(a.vertex),
            a.ratio().map_or("-".to_owned(), |r| format!("{r:.2}")),
            inside.to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["[optim]", "N", "D", "sweep says", "best", "ratio", "interval"];
    format!("\nThe sweep's own [optim] against the vertices:\n{}", show::table(&header, 1, &rows))
}
