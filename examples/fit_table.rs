//! A table of runs, fitted: the compute-optimal run at a budget, with its interval.
//!
//! ```sh
//! cargo run --release --example fit_table -- runs.csv 1e21
//! ```
//!
//! The table is any that `isoflop fit` takes. Without arguments: the ledger of the published study, at ten times its
//! largest budget.

use std::error::Error;
use std::path::PathBuf;

use isoflop::fit::{self, Compute};
use isoflop::import;
use isoflop::predict::at_flops;
use isoflop::units::{count, flops, parse_quantity};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = PathBuf::from(args.next().unwrap_or("results/prose/ledger.csv".into()));
    let budget = args.next().unwrap_or("9e13".into());
    let budget = parse_quantity(&budget).ok_or("the budget is a number of FLOP, as 1e21")?;

    // Which columns were taken for N, D, C and L, and what is odd about the rows: read this first.
    let imported = import::read(&path, &import::Options::default())?;
    for taken in &imported.taken {
        println!("{} is {}", taken.symbol, taken.from);
    }
    for remark in &imported.remarks {
        println!("note: {}", remark.text);
    }

    // How FLOPs per token depend on N decides what a budget buys.
    let table = imported.table;
    let compute = Compute::fit(&table.flops_per_token());
    let analysis = fit::analyse(&table, compute, &fit::Options::default())?;
    println!("{} runs fitted, {} left out", analysis.points.len(), analysis.excluded.len());

    let best = at_flops(&analysis, budget)?;
    println!("At {} FLOP, {:.1} times the largest run:", flops(best.flops), best.extrapolation);
    let (n, d, loss) = (best.params, best.tokens, best.loss);
    println!("  N*    {} ({} to {}) parameters", count(n.value), count(n.lo), count(n.hi));
    println!("  D*    {} ({} to {}) tokens", count(d.value), count(d.lo), count(d.hi));
    // A prediction interval of one run, in the unit of the table.
    let unit = &analysis.convention.loss;
    println!("  loss  {:.4} ({:.4} to {:.4}) {unit}", loss.value, loss.lo, loss.hi);
    println!("  intervals at {:.0}%", 100.0 * best.level);
    for warning in analysis.warnings.iter().chain(&best.warnings) {
        println!("warning: {}", warning.text);
    }
    Ok(())
}
