//! What tests of the whole program share: a place to run in, small sweeps, and eyes for its records.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One cell of about a second.
pub(crate) const ONE: &str = r#"
name = "one"
[data]
source = { graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }
[model]
context = 32
width_multiple = 4
[grid.product]
params = [2e4]
tokens = [4e5]
[optim]
learning_rate = 0.02
batch_tokens = 2048
[schedule.cosine]
warmup = 0.1
end = 0.02
[eval]
tokens = 4096
times = 3
"#;

/// The same with smaller batches: as many steps in a quarter of the time.
pub(crate) fn short() -> String {
    ONE.replace("4e5", "1e5").replace("batch_tokens = 2048", "batch_tokens = 512")
}

/// The same with other sizes [parameters] and budgets [tokens], as TOML lists.
pub(crate) fn grid(name: &str, params: &str, tokens: &str) -> String {
    ONE.replace("name = \"one\"", &format!("name = \"{name}\""))
        .replace("params = [2e4]", &format!("params = {params}"))
        .replace("tokens = [4e5]", &format!("tokens = {tokens}"))
}

/// A directory with `sweep.toml`, where isoflop runs.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new(sweep: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sweep.toml"), sweep).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isoflop"));
        command.current_dir(self.0.path()).args(args).stdin(Stdio::null());
        // Sentences are looked for, and a terminal of 80 columns breaks them.
        command.env("COLUMNS", "1000");
        command
    }

    pub(crate) fn run(&self) -> Command {
        self.command(&["run", "sweep.toml", "--workers", "1", "--checkpoint", "7steps"])
    }

    /// The same under a limit of the shell: `ulimit` with these arguments.
    pub(crate) fn limited(&self, run: &Command, limits: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("ulimit {limits} && exec \"$0\" \"$@\"")]);
        shell.arg(run.get_program()).args(run.get_args());
        shell.current_dir(self.0.path()).stdin(Stdio::null());
        shell
    }

    pub(crate) fn spawn(&self) -> Child {
        self.run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The attempts of every cell, by cell and number.
    pub(crate) fn attempts(&self, sweep: &str) -> Vec<Vec<PathBuf>> {
        let cells = sorted(&self.path(&format!("results/{sweep}/cells")));
        let is_one = |p: &PathBuf| {
            p.is_dir() && p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("attempt-"))
        };
        cells.iter().map(|c| sorted(c).into_iter().filter(is_one).collect()).collect()
    }

    /// Waits until a cell has a checkpoint of its own.
    pub(crate) fn in_training(&self, sweep: &str) {
        let begun = |a: &PathBuf| of_kind(a, "checkpoint").is_some();
        wait("a checkpoint", || self.attempts(sweep).iter().flatten().any(begun));
    }
}

/// Writes `walk.toml` and its items: after ten nodes of a held-out walk of [`ONE`], the node that followed and one that
/// never does.
pub(crate) fn walk_task(place: &Place) {
    let spec = isoflop::spec::Spec::parse(ONE).unwrap();
    let data = isoflop::data::Dataset::load(&spec, None).unwrap();
    // So many that the gate finds a trend over a few small cells.
    let batches = data.held_out(65_536, 256).map(Result::unwrap);
    let walks: Vec<Vec<i32>> = batches
        .flat_map(|b| b.inputs.chunks(b.context).map(<[i32]>::to_vec).collect::<Vec<_>>())
        .collect();
    let pairs: std::collections::HashSet<[i32; 2]> =
        walks.iter().flat_map(|w| w.windows(2).map(|pair| [pair[0], pair[1]])).collect();
    let item = |walk: &Vec<i32>| {
        let (last, right) = (walk[9], walk[10]);
        let wrong = (1..16).map(|i| (right + i) % 16).find(|node| !pairs.contains(&[last, *node]));
        let wrong = wrong.unwrap();
        let before: Vec<String> = walk[..10].iter().map(i32::to_string).collect();
        format!("{{\"walk\": \"{}\", \"nodes\": [{wrong}, {right}]}}\n", before.join(" "))
    };
    fs::write(place.path("walk.jsonl"), walks.iter().map(item).collect::<String>()).unwrap();
    let task = "name = \"walk\"\nkind = \"choices\"\nitems = \"walk.jsonl\"\ncontext = \"{walk}\"\nchoices = \"{nodes}\"\ngold = \"1\"\n";
    fs::write(place.path("walk.toml"), task).unwrap();
}

/// Waits for what must come.
pub(crate) fn wait(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_mins(2), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn sorted(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The events of an attempt's log that can be read.
pub(crate) fn events(attempt: &Path) -> Vec<Value> {
    let text = fs::read_to_string(attempt.join("run.log")).unwrap_or_default();
    let lines = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.map(|line| line["event"].clone()).collect()
}

pub(crate) fn of_kind(attempt: &Path, kind: &str) -> Option<Value> {
    events(attempt).into_iter().find(|e| e["kind"] == kind)
}

/// All that a completed cell says: steps, evaluations, loss, and the hash of its last checkpoint.
pub(crate) type Said = (Vec<u8>, Vec<Value>, String, Value);

pub(crate) fn outcome(attempt: &Path) -> Said {
    let evals = events(attempt).into_iter().filter(|e| e["kind"] == "eval").collect();
    let loss = of_kind(attempt, "completed").expect("completed")["loss"].to_string();
    let is_checkpoint =
        |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("checkpoint-"));
    let last = sorted(attempt).into_iter().rfind(is_checkpoint).expect("checkpoints");
    let manifest: Value =
        serde_json::from_slice(&fs::read(last.join("manifest.json")).unwrap()).unwrap();
    (fs::read(attempt.join("steps.f32")).unwrap(), evals, loss, manifest["sha256"].clone())
}

/// What the one cell of a place ends with when nothing happens to it, and how long that took.
pub(crate) fn undisturbed(place: &Place) -> (Said, Duration) {
    let begin = Instant::now();
    assert!(place.run().output().unwrap().status.success());
    let life = begin.elapsed();
    (outcome(&place.attempts("one")[0][0]), life)
}

/// Steps that an attempt took itself. Before it said that it started, it has only steps of the one it goes on from.
pub(crate) fn own_steps(attempt: &Path) -> u64 {
    let Some(started) = of_kind(attempt, "started") else { return 0 };
    let taken = fs::metadata(attempt.join("steps.f32")).map_or(0, |m| m.len() / 8);
    taken.saturating_sub(started["resumed"]["step"].as_u64().unwrap_or(0))
}

/// A number in [0, 1) that looks random: SplitMix64 (Steele et al. 2014).
pub(crate) fn chance(n: u64) -> f64 {
    let z = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Draws of [`chance`], one after the other.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed << 32)
    }

    pub(crate) fn next(&mut self) -> f64 {
        self.0 += 1;
        chance(self.0)
    }

    /// A time up to `most`.
    pub(crate) fn within(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.next())
    }
}

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Inverts a bit in the middle of a file.
pub(crate) fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code, standard output and standard error.
pub(crate) fn said(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A directory with all that is in it.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in sorted(from) {
        let there = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &there);
        } else {
            fs::copy(&path, &there).unwrap();
        }
    }
}
