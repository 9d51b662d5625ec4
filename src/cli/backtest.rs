//! `isoflop backtest`: how well one's own largest runs are predicted from the smaller ones.

use super::show::table;
use super::{Failure, args::BacktestArgs, print, print_json};
use crate::backtest::{Backtest, Quality, backtest};
use crate::fit::Options;
use crate::units::{count, flops};

pub(super) fn execute(args: &BacktestArgs) -> Result<u8, Failure> {
    let (study, _) = super::open::open(&args.input, &args.columns.options()?)?;
    let defaults = study.options();
    let options = Options {
        bootstrap: args.bootstrap,
        level: args.level.unwrap_or(defaults.level),
        seed: args.seed,
        pins: args.pinned.pins()?,
        ..defaults
    };
    let result = backtest(&study.table, &options)?;
    if args.json {
        print_json(&result);
    } else {
        print(&(study.read_as() + &text(&result)));
    }
    Ok(0)
}

fn text(b: &Backtest) -> String {
    let mut out = format!(
        "Backtest of {}: the larger runs predicted from the smaller, {:.0}% intervals\n\n",
        b.source,
        100.0 * b.level
    );
    if let Some(warning) = b.pins.warning() {
        out += &format!("  ! {warning}\n\n");
    }
    let rows = b.cuts.iter().map(|c| {
        let told = c.refused.clone().unwrap_or_else(|| count(c.predicted as f64));
        vec![flops(c.flops), count(c.fitted as f64), told]
    });
    out += &table(&["fitted up to C", "runs", "predicted"], 1, &rows.collect::<Vec<_>>());
    let Some(all) = &b.all else {
        return out + "\nNothing could be predicted: the smaller runs determine no law.\n";
    };
    let row = |name: String, q: &Quality| {
        vec![
            name,
            count(q.n as f64),
            format!("{:.0}%", 100.0 * q.coverage),
            format!("{:+.2}%", 100.0 * q.bias),
            format!("{:.2}%", 100.0 * q.rms),
            format!("{:.2}%", 100.0 * q.median),
            format!("{:.1}%", 100.0 * q.interval_score),
        ]
    };
    let mut rows: Vec<Vec<String>> = b
        .by_reach
        .iter()
        .map(|r| {
            let to = r.to.map_or_else(|| "beyond".to_owned(), |to| format!("to {to}x"));
            row(format!("{}x {to}", r.from), &r.quality)
        })
        .collect();
    rows.push(row("all".to_owned(), all));
    let header = ["reach", "runs", "inside", "bias", "rms", "median", "score"];
    out += &format!("\n{}", table(&header, 1, &rows));
    if !b.by_epochs.is_empty() {
        let rows = b.by_epochs.iter().map(|r| {
            let to = r.to.map_or_else(|| "beyond".to_owned(), |to| format!("to {to}"));
            row(format!("{} {to}", if r.from < 2.0 { 1.0 } else { r.from }), &r.quality)
        });
        let header = ["epochs", "runs", "inside", "bias", "rms", "median", "score"];
        out += &format!("\n{}", table(&header, 1, &rows.collect::<Vec<_>>()));
    }
    out += "  inside: intervals that hold the measured loss; errors are of ln L; score: mean interval score of ln L, lower \
            is better. Cuts overlap: their runs are no independent trials.\n";
    if let Some(share) = b.size_coverage {
        let inside = b.sizes.iter().filter(|s| s.inside).count();
        out += &format!(
            "  N*: {inside} of {} held-out budgets ({:.0}%) have the vertex of their parabola inside its interval.\n",
            b.sizes.len(),
            100.0 * share
        );
    }
    out
}
