//! A study that was trained, fitted; the best run at a larger budget, foretold and locked.
//!
//! ```sh
//! cargo run --release --example predict_lock -- results/prose 2e14 some/folder
//! ```
//!
//! `isoflop predict --lock` does the same with more checks, and `isoflop run --forecast` trains what was foretold.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use isoflop::data::Dataset;
use isoflop::fit::{self, Compute};
use isoflop::forecast::{self, Basis, sha256};
use isoflop::health;
use isoflop::ledger::{self, Ledger};
use isoflop::plan::{self, Plan};
use isoflop::predict::at_flops;
use isoflop::spec::Spec;
use isoflop::units::{count, flops, parse_quantity};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let results = PathBuf::from(args.next().unwrap_or("results/prose".into()));
    let budget = args.next().unwrap_or("2e14".into());
    let budget = parse_quantity(&budget).ok_or("the budget is a number of FLOP, as 2e14")?;
    let out = args.next().map_or_else(std::env::temp_dir, PathBuf::from);

    // What was planned, what came of it, and that the recipe still says the same.
    let spec = Spec::parse(&fs::read_to_string(results.join("sweep.toml"))?)?;
    let seal = fs::read(results.join(plan::SEAL)).ok();
    let cells = plan::read(&fs::read(results.join(plan::FILE))?, seal.as_deref(), &spec)?;
    let data = Dataset::load(&spec, None)?;
    if Plan::new(&spec, &data.facts).cells != cells {
        return Err("the sweep file makes other cells than were trained".into());
    }

    // Runs whose loss curves break a rule of the sweep are left out by name.
    let ledger = Ledger::read(&results, &cells)?;
    let mut table = ledger::points(spec.name.get_ref(), &ledger);
    health::check(&ledger::runs(&ledger), &spec.fit.exclude).screen(&mut table);
    let compute = Compute::fit(&table.flops_per_token());
    let analysis = fit::analyse(&table, compute, &fit::Options::default())?;

    // The cell of the sweep's own recipe that is nearest to the best size, on seeds 0; nobody may have begun it.
    let best = at_flops(&analysis, budget)?;
    let cell = Plan::cell_at(&spec, &data.facts, best.params.value, budget, (0, 0));
    if !ledger::look(&ledger::cell_dir(&results, &cell.id))?.0.is_empty() {
        return Err("that run was begun already: it can be foretold no more".into());
    }

    let (fit, csv) = (serde_json::to_vec(&analysis)?, ledger::csv(&ledger)?);
    let basis = Basis {
        sweep: spec.name.get_ref(),
        analysis: &analysis,
        fit_sha256: &sha256(&fit),
        ledger_sha256: &sha256(&csv),
        train_tokens: data.facts.train_tokens,
        optimal: true,
        now: &jiff::Timestamp::now().to_string(),
    };
    let locked = forecast::lock(basis, &cell)?;
    let (n, d) = (count(locked.params), count(locked.tokens));
    println!("Cell {}: N {n}, D {d}, C {} FLOP", cell.short(), flops(locked.flops));
    let (loss, level) = (locked.loss, 100.0 * locked.level);
    println!("loss {:.4} ({:.4} to {:.4} at {level:.0}%) nats/token", loss.value, loss.lo, loss.hi);
    locked.warnings.iter().for_each(|warning| println!("warning: {}", warning.text));

    fs::create_dir_all(&out)?;
    fs::write(out.join("fit.json"), fit)?;
    let path = out.join(format!("{}.json", cell.short()));
    fs::write(&path, locked.bytes())?;
    println!("locked by {} in {}", locked.sha256, path.display());
    Ok(())
}
