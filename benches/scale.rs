//! Does a sweep of 10,000 cells stay quick to plan, to look at and to cut down? A table of seconds.
//!
//! ```sh
//! cargo bench --bench scale              # 10,000 cells
//! cargo bench --bench scale -- 1000      # as many as that
//! ```
//!
//! Three sweeps in a temporary directory: an IsoFLOP grid, the same under trunks, a product under trunks. Each is
//! planned, planned with `--fit-in` a tenth of what it takes, and asked for its status when nothing and when
//! everything is trained; records are written as a run writes them, without training. The probe of `--fit-in` trains
//! for some seconds: it is told apart.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use isoflop::fs::Os;
use isoflop::ledger::cell_dir;
use isoflop::ledger::event::Event;
use isoflop::ledger::lease::Lease;
use isoflop::ledger::log::{AttemptLog, History};
use isoflop::plan::{Cell, FILE, SEAL, sealed};
use serde_json::Value;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let cells: usize = asked.unwrap_or(10_000);
    println!(
        "{:<18}{:>7}{:>10}{:>12}{:>10}{:>10}{:>12}{:>12}",
        "sweep", "cells", "plan [s]", "fit-in [s]", "probe [s]", "drops", "status [s]", "done [s]"
    );
    for (name, text) in sweeps(cells) {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("sweep.toml");
        std::fs::write(&file, text)?;
        let (plan, json) = isoflop(dir.path(), &["plan", "sweep.toml", "--no-probe", "--json"])?;
        let (whole, _) = isoflop(dir.path(), &["plan", "sweep.toml", "--no-probe"])?;
        let planned: Value = serde_json::from_slice(&json)?;
        let list = planned["cells"].as_array().ok_or("no cells")?;
        let cells: Vec<Cell> = list
            .iter()
            .map(|c| serde_json::from_value(c["cell"].clone()))
            .collect::<Result<_, _>>()?;
        // Seconds that no study of this size takes: everything is tried.
        let (fit_in, json) =
            isoflop(dir.path(), &["plan", "sweep.toml", "--fit-in", "1s", "--json"])?;
        let proposed: Value = serde_json::from_slice(&json)?;
        let probe = proposed["probe_seconds"].as_f64().ok_or("no probe")?;
        let drops = proposed["fit_in"]["drops"].as_array().ok_or("no proposal")?.len();
        let results = dir.path().join("results/scale");
        std::fs::create_dir_all(&results)?;
        let plan_json = serde_json::to_vec_pretty(&cells)?;
        std::fs::write(results.join(SEAL), sealed(&plan_json))?;
        std::fs::write(results.join(FILE), plan_json)?;
        std::fs::copy(&file, results.join("sweep.toml"))?;
        let (status, _) = isoflop(dir.path(), &["status", "sweep.toml"])?;
        cells.iter().try_for_each(|cell| completed(&results, cell))?;
        let (done, _) = isoflop(dir.path(), &["status", "sweep.toml"])?;
        println!(
            "{name:<18}{:>7}{:>10.2}{fit_in:>12.2}{probe:>10.2}{drops:>10}{status:>12.2}{done:>12.2}",
            cells.len(),
            plan.max(whole),
        );
    }
    Ok(())
}

/// Seconds of a command, and what it printed.
fn isoflop(dir: &Path, args: &[&str]) -> Result<(f64, Vec<u8>), Failure> {
    let begin = Instant::now();
    let out = Command::new(env!("CARGO_BIN_EXE_isoflop"))
        .current_dir(dir)
        .args(args)
        .stderr(Stdio::piped())
        .output()?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into());
    }
    Ok((begin.elapsed().as_secs_f64(), out.stdout))
}

/// The record of a cell that was trained in no time.
fn completed(results: &Path, cell: &Cell) -> Result<(), Failure> {
    let lease = Lease::claim(&cell_dir(results, &cell.id), 1)?.ok_or("a cell is held")?;
    let started = Event::Started {
        cell: Box::new(cell.clone()),
        isoflop: "bench".into(),
        device: "none".into(),
        numerics: String::new(),
        entropy: None,
        bytes_per_token: None,
        train_tokens: None,
        machine: "bench".into(),
        resumed: None,
        forecast: None,
    };
    let clock = || "now".to_owned();
    let mut log = AttemptLog::start(&Os, &lease.dir, started, &History::default(), &clock)?;
    for _ in 0..cell.recipe.steps.min(200) {
        log.step(3.0, 1.0)?;
    }
    let (_, crc) = log.sync_steps()?;
    let (loss, loss_se, seconds, tokens_per_second) = (2.0, 0.01, 1.0, 1e4);
    let end = Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc: Some(crc) };
    Ok(log.event(end, clock())?)
}

/// Sweeps of about so many cells.
fn sweeps(cells: usize) -> [(&'static str, String); 3] {
    let budgets = (cells / 100).max(5);
    let isoflop = format!(
        "seeds = 20\n[grid.isoflop]\nbudgets = {}\nsizes = 5\nspan = 4.0\ntokens_per_param = 25.0\n",
        list(1e8, 1e10, budgets)
    );
    let product = format!(
        "seeds = 5\n[grid.product]\nparams = {}\ntokens = {}\n",
        list(2e3, 4e5, 20),
        list(1e5, 1e7, (cells / 100).max(2))
    );
    let cosine = "[schedule.cosine]\nwarmup = 0.1\nend = 0.02\n";
    let trunk = "[schedule.trunk]\nwarmup = 0.5\ndecay = 0.2\nend = 0.0\n";
    [
        ("isoflop", sweep(&isoflop, cosine)),
        ("isoflop, trunks", sweep(&isoflop, trunk)),
        ("product, trunks", sweep(&product, trunk)),
    ]
}

/// `n` numbers, evenly spaced in the logarithm, as a TOML list.
fn list(from: f64, to: f64, n: usize) -> String {
    let at = |i: usize| format!("{:.6e}", from * (to / from).powf(i as f64 / (n - 1) as f64));
    format!("[{}]", (0..n).map(at).collect::<Vec<_>>().join(", "))
}

fn sweep(grid: &str, schedule: &str) -> String {
    let (seeds, grid) = grid.split_once('\n').expect("seeds stand first");
    format!(
        r#"name = "scale"
{seeds}
[data]
source = {{ graph-walk = {{ nodes = 16, degree = 4, skew = 0.0 }} }}
[model]
context = 32
width_multiple = 2
{grid}
[optim]
learning_rate = 0.01
batch_tokens = 256
{schedule}
[eval]
tokens = 4096
times = 2
"#
    )
}
