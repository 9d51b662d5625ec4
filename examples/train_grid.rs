//! A grid of small models, planned and trained on the CPU in a few seconds.
//!
//! ```sh
//! cargo run --release --example train_grid -- some/folder
//! ```
//!
//! Every cell keeps a record in the folder: what is there is not trained again, and a run that was cut goes on.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use isoflop::data::Dataset;
use isoflop::device::{self, Wanted};
use isoflop::exec::job::{Every, Job, Watch};
use isoflop::exec::local::{self, Conduct};
use isoflop::exec::stop::Stop;
use isoflop::ledger::event::Event;
use isoflop::ledger::{Ledger, State};
use isoflop::plan::{Cell, Plan};
use isoflop::spec::{Keep, Spec};
use isoflop::train::Progress;
use isoflop::units::{count, flops};

/// Random walks on a graph, whose entropy is known: ln 4, no model can do better.
const SWEEP: &str = r#"
name = "tiny"
data.source = { graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }
model = { context = 16, width_multiple = 4, head_dim = 4 }
grid.product = { params = [1e3, 3e3, 6e3], tokens = [1e4, 3e4, 9e4] }
optim = { learning_rate = 0.02, batch_tokens = 256 }
schedule.cosine = { warmup = 0.1, end = 0.02 }
eval = { tokens = 4096, times = 1 }
"#;

/// Says which cell has ended; called by several workers.
struct Lines;

impl Watch for Lines {
    fn started(&self, _worker: usize, _cell: &Cell) {}
    fn progress(&self, _worker: usize, _cell: &Cell, _progress: Progress) {}
    fn ended(&self, worker: usize, cell: &Cell, event: &Event) {
        let how = if matches!(event, Event::Completed { .. }) { "trained" } else { "not trained" };
        println!("worker {worker} has {how} cell {}", cell.short());
    }
    fn note(&self, text: &str) {
        println!("note: {text}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let results = folder.unwrap_or_else(|| std::env::temp_dir().join("isoflop-train-grid"));

    let spec = Spec::parse(SWEEP)?;
    let data = Dataset::load(&spec, None)?;
    let plan = Plan::new(&spec, &data.facts);
    plan.warnings.iter().for_each(|warning| println!("warning: {warning}"));

    let (device, stop) = (device::choose(&Wanted::of(&spec.device, None, None))?, Stop::default());
    let (planned, workers) = (&plan.cells[..], device.most_workers.min(plan.cells.len()));
    let (results, device) = (results.as_path(), &device);
    let (data, keep) = (&data, Keep::Weights);
    let job = Job {
        results,
        data,
        planned,
        eval_times: 1,
        device,
        workers,
        keep,
        tasks: &[],
        forecast: None,
    };
    let every = Every::Time(Duration::from_mins(5));
    let conduct = Conduct { every, stop: &stop, again: &|_: &State| false };
    local::run(job, conduct, &planned.iter().collect::<Vec<_>>(), &Lines)?;

    // The state of every planned cell, from what is on the disk and nothing else.
    for (cell, state) in &Ledger::read(results, planned)?.cells {
        let (n, d, c) = (cell.params(), cell.recipe.tokens() as f64, cell.recipe.flops());
        let (n, d, c) = (count(n), count(d), flops(c));
        match state {
            State::Completed { loss, .. } => println!("N {n}, D {d}, C {c}: {loss:.4} nats/token"),
            other => println!("N {n}, D {d}, C {c}: {}", other.name()),
        }
    }
    Ok(())
}
