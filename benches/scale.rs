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
//! for some seconds: it is told apart. At last some cells of the first are at work elsewhere, and 16 runners wait for
//! them: what they read of the records, all together.

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
    let mut kept = None;
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
        kept.get_or_insert((dir, cells));
    }
    let (dir, cells) = kept.ok_or("no sweep")?;
    let rate = waiting(dir.path(), &cells[..AT_WORK.min(cells.len())])?;
    println!(
        "{RUNNERS} runners that wait for {AT_WORK} cells read {:.0} kB/s, all together",
        rate / 1e3
    );
    Ok(())
}

/// Runners that wait, and cells that they wait for.
const RUNNERS: usize = 16;
const AT_WORK: usize = 64;

/// What runners read that wait for cells which this process has [bytes/s].
fn waiting(dir: &Path, cells: &[Cell]) -> Result<f64, Failure> {
    let results = dir.join("results/scale");
    let mut held = Vec::new();
    for cell in cells {
        std::fs::remove_dir_all(cell_dir(&results, &cell.id))?;
        held.push(begun(&results, cell)?);
    }
    let run = ["run", "sweep.toml", "--train-only", "--workers", "1"];
    let runner = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isoflop"));
        command.current_dir(dir).args(run).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let mut runners = (0..RUNNERS).map(|_| runner()).collect::<Result<Vec<_>, _>>()?;
    let read = |pid: u32| -> Result<f64, Failure> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        Ok(line.ok_or("no rchar")?.trim().parse()?)
    };
    let all = |runners: &[std::process::Child]| -> Result<f64, Failure> {
        runners.iter().map(|child| read(child.id())).sum()
    };
    // At first each reads the whole ledger; then it waits. Until two spans of 10 s read the same.
    let span = 10.0;
    let (mut last, mut rate) = (all(&runners)?, f64::NAN);
    let measured = loop {
        std::thread::sleep(std::time::Duration::from_secs_f64(span));
        let now = all(&runners)?;
        let next = (now - last) / span;
        if (next - rate).abs() <= 0.2 * rate {
            break next;
        }
        (last, rate) = (now, next);
    };
    for runner in &mut runners {
        if let Some(status) = runner.try_wait()? {
            return Err(format!("a runner did not wait: {status}").into());
        }
        runner.kill()?;
        runner.wait()?;
    }
    drop(held);
    Ok(measured)
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
    let (_lease, mut log) = begun(results, cell)?;
    let (_, crc) = log.sync_steps()?;
    let (loss, loss_se, seconds, tokens_per_second) = (2.0, 0.01, 1.0, 1e4);
    let end = Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc: Some(crc) };
    Ok(log.event(end, "now".to_owned())?)
}

/// The record of a cell that is trained, held for as long as what is returned lives.
fn begun(results: &Path, cell: &Cell) -> Result<(Lease, AttemptLog), Failure> {
    let lease = Lease::claim(&cell_dir(results, &cell.id), 1)?.ok_or("a cell is held")?;
    let started = Event::Started {
        cell: Box::new(cell.clone()),
        isoflop: "bench".into(),
        device: "none".into(),
        numerics: String::new(),
        entropy: None,
        bytes_per_token: None,
        train_tokens: None,
        unique_tokens: None,
        machine: "bench".into(),
        resumed: None,
        forecast: None,
    };
    let clock = || "now".to_owned();
    let mut log = AttemptLog::start(&Os, &lease.dir, started, &History::default(), &clock)?;
    for _ in 0..cell.recipe.steps.min(200) {
        log.step(3.0, 1.0)?;
    }
    Ok((lease, log))
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
