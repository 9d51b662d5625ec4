//! The job array, on false Slurm commands that fail, hang or lie, and on a real Slurm of one node where it is
//! installed (Debian: slurm-wlm, munge) and this is root.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::{events, sorted, text};
use serde_json::Value;

/// Six cells of a second, in two tasks.
fn sweep() -> String {
    let slurm = "[slurm]\ntasks = 2\ncpus_per_task = 1\n";
    common::grid("six", "[1e4, 2e4, 3e4]", "[4e5, 8e5]") + slurm
}

/// Where isoflop runs, with what Slurm it finds.
struct Place {
    dir: tempfile::TempDir,
    path: String,
    conf: Option<PathBuf>,
}

impl Place {
    fn new() -> Self {
        Self::of(&sweep())
    }

    fn of(sweep: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sweep.toml"), sweep).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        Self { dir, path: std::env::var("PATH").unwrap(), conf: None }
    }

    /// With a command of Slurm that is this shell script.
    fn fake(mut self, name: &str, body: &str) -> Self {
        let bin = self.dir.path().join("bin");
        let file = bin.join(name);
        fs::write(
            &file,
            format!("#!/bin/bash\necho {name} \"$@\" >>{}/calls\n{body}\n", bin.display()),
        )
        .unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        self.path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        self
    }

    fn calls(&self, name: &str) -> usize {
        let calls = fs::read_to_string(self.dir.path().join("bin/calls")).unwrap_or_default();
        calls.lines().filter(|l| l.split(' ').next() == Some(name)).count()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isoflop"));
        command.current_dir(self.dir.path()).args(args).env("PATH", &self.path);
        if let Some(conf) = &self.conf {
            command.env("SLURM_CONF", conf);
        }
        command
    }

    fn isoflop(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn submit(&self) -> Output {
        self.isoflop(&[
            "run",
            "sweep.toml",
            "--launcher",
            "slurm",
            "--checkpoint",
            "7steps",
            "--workers",
            "1",
        ])
    }
}

/// A queue that is a file: `sbatch` may write it, `squeue` prints it.
const QUEUE: &str = "cat \"$(dirname \"$0\")/queue\" 2>/dev/null; true";

#[test]
fn a_script_can_be_seen_before_anything_is_submitted() {
    let place = Place::new();
    let args = ["run", "sweep.toml", "--launcher", "slurm", "--dry-run", "--slurm", "time=1:00:00"];
    let output = place.isoflop(&args);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["--array=0-1", "--time=1:00:00", "--cpus-per-task=1", "'--train-only'"] {
        assert!(out.contains(part), "{part} is missing in:\n{out}");
    }
    assert!(!place.dir.path().join("results").exists(), "nothing was written");
    texts(&place);
    let args = ["data", "small.toml", "--launcher", "slurm", "--dry-run", "--slurm"];
    let output = place.isoflop(&[&args[..], &["tasks=3,cpus_per_task=4"]].concat());
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["--array=0-2", "'data'", "/small.toml'", "/datasets/small'", "'--workers' '4'"] {
        assert!(out.contains(part), "{part} is missing in:\n{out}");
    }
    assert!(!place.dir.path().join("datasets").exists(), "nothing was written");
}

/// A recipe of six domains, each a unit, with copies among them.
fn texts(place: &Place) {
    let dir = place.dir.path();
    let mut recipe =
        "name = \"small\"\ntokenizer.bpe = { vocab = 600 }\nheld_out = 0.1\n".to_owned();
    for domain in 0..6_u64 {
        let word = |n: u64| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
        let document = |n: u64| (300 * n..300 * n + 300).map(word).collect::<Vec<_>>().join(" ");
        let first = 150 * domain;
        let lines: String = (first..first + 200)
            .map(|n| serde_json::json!({ "text": document(n) }).to_string() + "\n")
            .collect();
        fs::write(dir.join(format!("{domain}.jsonl")), lines).unwrap();
        recipe += &format!("[domain.d{domain}]\nread = {{ jsonl = [\"{domain}.jsonl\"] }}\n");
    }
    fs::write(dir.join("small.toml"), recipe).unwrap();
}

/// Every file of a dataset, without what Slurm has of it.
fn dataset(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut out, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = open.pop() {
        for path in sorted(&at) {
            if path.is_dir() && !path.ends_with("slurm") {
                open.push(path);
            } else if path.is_file() {
                out.push((path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

#[test]
fn hostile_values_do_not_reach_a_script() {
    let place = Place::new();
    for value in ["partition=a;rm -rf x", "time=$(date)", "extra=-x", "account=a b", "nodes=3"] {
        let args = ["run", "sweep.toml", "--launcher", "slurm", "--dry-run", "--slurm", value];
        let output = place.isoflop(&args);
        assert_eq!(output.status.code(), Some(2), "{value}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains("--slurm"), "{value}: {}", text(&output.stderr));
    }
    let sweep = sweep().replace("tasks = 2", "tasks = 2\naccount = \"a\\nb\"");
    fs::write(place.dir.path().join("sweep.toml"), sweep).unwrap();
    let output = place.isoflop(&["run", "sweep.toml", "--launcher", "slurm", "--dry-run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("sweep.toml:"), "{}", text(&output.stderr));
}

/// A process that `sbatch` leaves behind may keep its pipe for as long as it likes.
#[test]
fn a_child_that_keeps_the_pipe_does_not_hold_up_a_submission() {
    let into_queue = "echo '7_0|PENDING|Priority' >\"$(dirname \"$0\")/queue\"";
    let place = Place::new()
        .fake("squeue", QUEUE)
        .fake("sbatch", &format!("{into_queue}\necho 7\nsleep 90 &\n"));
    let begin = Instant::now();
    let output = place.submit();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Submitted"), "{}", text(&output.stdout));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn what_is_in_the_queue_is_not_submitted_again_whatever_sbatch_says() {
    let into_queue = "echo '7_0|PENDING|Priority' >\"$(dirname \"$0\")/queue\"";
    // Answers, fails, says nonsense, or hangs: each after it did submit.
    for end in ["echo 7", "exit 1", "echo 'Hello there'", "sleep 60"] {
        let place =
            Place::new().fake("squeue", QUEUE).fake("sbatch", &format!("{into_queue}\n{end}"));
        let output = place.submit();
        let out = text(&output.stdout);
        assert!(output.status.success(), "{end}: {out}{}", text(&output.stderr));
        assert!(out.contains("Submitted") && out.contains("1 pending (Priority)"), "{end}: {out}");
        let again = text(&place.submit().stdout);
        assert!(again.contains("is in the queue already"), "{end}: {again}");
        assert_eq!(place.calls("sbatch"), 1, "{end}");
    }
}

#[test]
fn a_refusal_is_told_in_slurms_words_and_nothing_is_claimed() {
    let place = Place::new()
        .fake("squeue", QUEUE)
        .fake("sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1");
    let output = place.submit();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("invalid partition"), "{}", text(&output.stderr));
    assert_eq!(place.submit().status.code(), Some(2), "asked again at once");
    assert_eq!(place.calls("sbatch"), 2);
}

#[test]
fn what_passes_by_itself_is_to_be_tried_again() {
    for (squeue, sbatch, word) in [
        ("true", "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1", "QOSMaxSubmit"),
        ("true", "echo 'error: Unable to contact slurm controller' >&2; exit 1", "contact"),
        (
            "echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1",
            "echo 3",
            "slurm_load_jobs",
        ),
    ] {
        let place = Place::new().fake("squeue", squeue).fake("sbatch", sbatch);
        for _ in 0..2 {
            let output = place.submit();
            let err = text(&output.stderr);
            assert_eq!(output.status.code(), Some(75), "{word}: {err}");
            assert!(err.contains(word) && err.contains("nothing was submitted"), "{word}: {err}");
        }
    }
}

/// What `squeue` prints lags by minutes on some sites, and on another cluster's queue says nothing of a job.
#[test]
fn a_job_that_the_queue_does_not_list_yet_is_not_submitted_again() {
    for (answer, name) in [("8812;nautilus", "job 8812 on cluster nautilus"), ("8", "job 8")] {
        // Tasks that have ended are none.
        let place = Place::new()
            .fake("squeue", "printf '7_0|COMPLETED|None\\n7_1|CANCELLED|None\\n'")
            .fake("sbatch", &format!("echo 'Balance: 497,218.77 hours'; echo '{answer}'"));
        let output = place.submit();
        let out = text(&output.stdout);
        assert!(output.status.success(), "{out}{}", text(&output.stderr));
        assert!(out.contains("Submitted") && out.contains(name), "{out}");
        let again = place.submit();
        let out = text(&again.stdout);
        assert!(again.status.success(), "{out}{}", text(&again.stderr));
        assert!(out.contains("Nothing submitted") && out.contains(name), "{out}");
        assert_eq!(place.calls("sbatch"), 1);
        let status = text(&place.isoflop(&["status", "sweep.toml"]).stdout);
        assert!(status.contains(name), "{status}");
        // A task of it has run, and the queue is empty: the job is over.
        let job = answer.split(';').next().unwrap();
        fs::write(place.dir.path().join(format!("results/six/slurm/{job}_0.out")), "").unwrap();
        assert!(text(&place.submit().stdout).contains("Submitted"));
        assert_eq!(place.calls("sbatch"), 2);
    }
    let asked = Place::new().fake("squeue", QUEUE).fake("sbatch", "echo '8;nautilus'");
    asked.submit();
    asked.submit();
    let calls = fs::read_to_string(asked.dir.path().join("bin/calls")).unwrap();
    assert!(calls.lines().last().unwrap().contains("--clusters=nautilus"), "{calls}");
}

#[test]
fn a_submission_without_an_answer_is_not_repeated_until_somebody_looked() {
    for sbatch in ["echo 'Hello there'", "true", "echo 'error: Socket timed out' >&2; exit 1"] {
        let place = Place::new().fake("squeue", QUEUE).fake("sbatch", sbatch);
        for _ in 0..2 {
            let output = place.submit();
            let err = text(&output.stderr);
            assert_eq!(output.status.code(), Some(75), "{sbatch}: {err}");
            assert!(err.contains("squeue --name=isoflop-six-"), "{sbatch}: {err}");
        }
        assert_eq!(place.calls("sbatch"), 1, "{sbatch}");
        fs::remove_file(place.dir.path().join("results/six/slurm/submitted.json")).unwrap();
        place.submit();
        assert_eq!(place.calls("sbatch"), 2, "{sbatch}");
    }
    // It comes up in the queue: then there is nothing to wonder about.
    let place = Place::new().fake("squeue", QUEUE).fake("sbatch", "true");
    assert_eq!(place.submit().status.code(), Some(75));
    let queue = place.dir.path().join("bin/queue");
    fs::write(&queue, "7_0|RUNNING|None\n").unwrap();
    assert!(text(&place.submit().stdout).contains("is in the queue already: 1 running"));
    fs::remove_file(queue).unwrap();
    assert_eq!(place.submit().status.code(), Some(75), "over, so it is submitted anew");
    assert_eq!(place.calls("sbatch"), 2);
}

#[test]
fn words_of_a_site_in_the_queue_are_skipped() {
    let place = Place::new()
        .fake(
            "squeue",
            "echo 'CLUSTER: nautilus'; cat \"$(dirname \"$0\")/queue\" 2>/dev/null; true",
        )
        .fake(
            "sbatch",
            "echo '10_0|PENDING|Priority' >\"$(dirname \"$0\")/queue\"; echo '10;nautilus'",
        );
    let out = text(&place.submit().stdout);
    assert!(out.contains("Submitted") && out.contains("1 pending (Priority)"), "{out}");
    assert!(text(&place.submit().stdout).contains("is in the queue already"));
    assert_eq!(place.calls("sbatch"), 1);
}

/// `sbatch` takes the environment for more than a script.
#[test]
fn the_environment_does_not_change_what_a_sweep_says() {
    let place = Place::new()
        .fake("squeue", "env | grep ^SQUEUE >\"$(dirname \"$0\")/queue.env\"; true")
        .fake("sbatch", "env | grep ^SBATCH | sort >\"$(dirname \"$0\")/env\"; echo 7");
    let mut command = place.command(&["run", "sweep.toml", "--launcher", "slurm"]);
    command.args(["--slurm", "partition=gpu,time=1:00:00"]);
    for name in ["SBATCH_PARTITION", "SBATCH_TIMELIMIT", "SBATCH_ACCOUNT", "SQUEUE_STATES"] {
        command.env(name, "other");
    }
    let output = command.output().unwrap();
    let err = text(&output.stderr);
    assert!(output.status.success(), "{err}");
    let passed = |name: &str| fs::read_to_string(place.dir.path().join("bin").join(name)).unwrap();
    assert_eq!(passed("env"), "SBATCH_ACCOUNT=other\n");
    assert_eq!(passed("queue.env"), "");
    for part in [
        "SBATCH_ACCOUNT=other is set: sbatch takes it for this job",
        "SBATCH_PARTITION is set and not passed on: the job says --partition=gpu",
        "SBATCH_TIMELIMIT is set and not passed on: the job says --time=1:00:00",
    ] {
        assert!(err.contains(part), "{part} is missing in:\n{err}");
    }
}

#[test]
fn nothing_is_submitted_while_the_queue_cannot_be_read() {
    for queue in ["exit 1", "echo garbage"] {
        let place = Place::new().fake("squeue", queue).fake("sbatch", "echo 7");
        assert_eq!(place.submit().status.code(), Some(75), "{queue}");
        assert_eq!(place.calls("sbatch"), 0, "{queue}");
    }
}

/// A real Slurm for the time of a test.
struct Cluster(tempfile::TempDir);

impl Cluster {
    /// `None`, said, where Slurm is not installed or this is not root.
    fn start() -> Option<Self> {
        let here = ["slurmctld", "slurmd", "munged"].iter().all(|program| {
            Command::new("bash")
                .args(["-c", &format!("command -v {program}")])
                .output()
                .unwrap()
                .status
                .success()
        });
        let root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
        if !here || !root {
            println!("skipped: needs slurmctld, slurmd and munged, and root");
            return None;
        }
        let cluster = Self(tempfile::tempdir().unwrap());
        cluster.must("start");
        Some(cluster)
    }

    fn call(&self, verb: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/cluster.sh");
        Command::new(script).arg(verb).arg(self.0.path()).output().unwrap()
    }

    fn must(&self, verb: &str) {
        let output = self.call(verb);
        assert!(output.status.success(), "{verb}: {}", text(&output.stderr));
    }

    fn conf(&self) -> PathBuf {
        self.0.path().join("slurm.conf")
    }

    fn slurm(&self, program: &str, args: &[&str]) -> String {
        let output =
            Command::new(program).args(args).env("SLURM_CONF", self.conf()).output().unwrap();
        text(&output.stdout)
    }

    /// Starts tasks that wait for the minutes after which Slurm repeats a job, with time enough to end: how many
    /// limits they would meet depends on how fast this machine is.
    fn hurry(&self) {
        let args = ["--noheader", "--array", "--states=PENDING", "--format=%i"];
        let waiting = self.slurm("squeue", &args);
        if waiting.trim().is_empty() {
            return std::thread::sleep(Duration::from_millis(300));
        }
        // The daemon turns away what starts within a second of the end before: its leave is of that second.
        std::thread::sleep(Duration::from_secs(3));
        for task in waiting.lines() {
            self.slurm(
                "scontrol",
                &["update", &format!("jobid={task}"), "starttime=now", "timelimit=20"],
            );
        }
    }

    fn running(&self) -> Vec<String> {
        let out =
            self.slurm("squeue", &["--noheader", "--array", "--states=RUNNING", "--format=%i"]);
        out.lines().map(str::to_owned).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.slurm("scancel", &["--state=PENDING,RUNNING", "--user=root"]);
        let begin = Instant::now();
        while !self.slurm("squeue", &["--noheader"]).trim().is_empty()
            && begin.elapsed() < Duration::from_secs(40)
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.call("stop");
    }
}

/// Directory and events of every attempt.
fn logs(place: &Place) -> Vec<(PathBuf, Vec<Value>)> {
    let cells = sorted(&place.dir.path().join("results/six/cells"));
    let attempts = cells.iter().flat_map(|cell| sorted(cell)).filter(|path| path.is_dir());
    attempts.map(|path| (path.clone(), events(&path))).collect()
}

fn wait(cluster: &Cluster, what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        if begin.elapsed() > Duration::from_mins(6) {
            let queue = cluster.slurm("squeue", &["--array", "--long"]);
            let log = fs::read_to_string(cluster.0.path().join("slurmctld.log")).unwrap();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            panic!("never: {what}\n{queue}\n{tail:#?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has(place: &Place, kind: &str) -> usize {
    logs(place).iter().filter(|(_, events)| events.iter().any(|e| e["kind"] == kind)).count()
}

/// Losses by cell, of completed attempts.
fn losses(place: &Place) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = logs(place)
        .into_iter()
        .filter_map(|(path, events)| {
            let loss = events.iter().find(|e| e["kind"] == "completed")?["loss"].to_string();
            let cell = path.parent()?.file_name()?.to_str()?.to_owned();
            Some((cell, loss))
        })
        .collect();
    out.sort();
    out
}

/// A sweep on the cluster, both tasks at work.
fn at_work(cluster: &Cluster) -> Place {
    let place = Place { conf: Some(cluster.conf()), ..Place::new() };
    let output = place.submit();
    assert!(output.status.success(), "{}", text(&output.stderr));
    wait(cluster, "two tasks at work", || {
        cluster.running().len() == 2 && has(&place, "checkpoint") >= 2
    });
    place
}

/// Waits for all six, hurrying tasks that are queued again, and for an empty queue.
fn ends(cluster: &Cluster, place: &Place) -> Vec<(String, String)> {
    wait(cluster, "all six", || {
        cluster.hurry();
        has(place, "completed") == 6
    });
    wait(cluster, "an empty queue", || {
        cluster.hurry();
        cluster.slurm("squeue", &["--noheader"]).trim().is_empty()
    });
    losses(place)
}

#[test]
fn a_real_array_ends_with_the_same_bits_whatever_happens_to_its_tasks() {
    let Some(cluster) = Cluster::start() else { return };
    let whole = Place::new();
    assert!(
        whole.isoflop(&["run", "sweep.toml", "--workers", "1", "--train-only"]).status.success()
    );
    let want = losses(&whole);
    assert_eq!(want.len(), 6);

    // A task cancelled on the way: it stops with a checkpoint, the other does its work too.
    let place = at_work(&cluster);
    assert!(text(&place.submit().stdout).contains("is in the queue already"));
    let status = text(&place.isoflop(&["status", "sweep.toml"]).stdout);
    assert!(status.contains("Slurm: 2 running"), "{status}");
    cluster.slurm("scancel", &[&cluster.running()[0]]);
    assert_eq!(ends(&cluster, &place), want);
    assert_eq!(has(&place, "paused"), 1, "the cancelled task kept its state");

    // Both tasks queued again by the cluster: they start anew and go on.
    let place = at_work(&cluster);
    for task in cluster.running() {
        cluster.slurm("scontrol", &["requeue", &task]);
    }
    assert_eq!(ends(&cluster, &place), want);
    let told = text(&place.submit().stdout);
    assert!(told.contains("Nothing is left to train"), "{told}");

    // Warned by SIGUSR2, a task keeps its state and asks to be queued again.
    let place = at_work(&cluster);
    for task in cluster.running() {
        cluster.slurm("scancel", &["--batch", "--signal=USR2", &task]);
    }
    wait(&cluster, "both kept", || has(&place, "paused") == 2);
    assert_eq!(ends(&cluster, &place), want);

    // The node's daemon dies and comes back: its tasks never knew.
    let place = at_work(&cluster);
    cluster.must("kill-daemon");
    std::thread::sleep(Duration::from_millis(500));
    cluster.must("restart-daemon");
    assert_eq!(ends(&cluster, &place), want);
    assert_eq!(logs(&place).len(), 6, "each cell was trained once");

    // The whole node dies: Slurm queues its tasks again.
    let place = at_work(&cluster);
    cluster.must("kill-node");
    // A job younger than a start and a message may take is not yet missed.
    std::thread::sleep(Duration::from_secs(13));
    cluster.must("restart-daemon");
    assert_eq!(ends(&cluster, &place), want);
    assert!(logs(&place).len() > 6, "tasks died at work");
}

/// The process of isoflop that is at work in a place, with this word on its command line.
fn runner(place: &Place, word: &str) -> Option<u32> {
    let dir = place.dir.path().canonicalize().unwrap();
    let is_it = |pid: &u32| {
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        link("cwd") == dir
            && link("exe").ends_with("isoflop")
            && line.split(|b| *b == 0).any(|own| own == word.as_bytes())
    };
    let pids = fs::read_dir("/proc").unwrap();
    pids.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).find(is_it)
}

#[test]
fn a_recipe_in_a_real_array_ends_with_the_same_bytes_whatever_happens_to_its_tasks() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place { conf: Some(cluster.conf()), ..Place::new() };
    texts(&place);
    let whole = place.isoflop(&["data", "small.toml", "--out", "whole", "--workers", "1"]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let submit = || {
        let args = ["data", "small.toml", "--launcher", "slurm", "--slurm"];
        let output = place.isoflop(&[&args[..], &["tasks=2,cpus_per_task=1"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    let out = submit();
    assert!(out.contains("Submitted") && out.contains("isoflop status datasets/small"), "{out}");
    // A worker is killed: its task starts another. Then one of both tasks is cancelled.
    wait(&cluster, "a worker", || {
        runner(&place, "--worker").is_some_and(|pid| {
            Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success()
        })
    });
    let status = text(&place.isoflop(&["status", "datasets/small"]).stdout);
    assert!(status.contains("Dataset small") && status.contains("Slurm: "), "{status}");
    if let Some(task) = cluster.running().first() {
        cluster.slurm("scancel", &[task]);
    }
    let dir = place.dir.path().join("datasets/small");
    wait(&cluster, "an empty queue", || cluster.slurm("squeue", &["--noheader"]).trim().is_empty());
    let logs: String = sorted(&dir.join("slurm"))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "out"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert!(logs.contains("another goes on"), "{logs}");
    assert_eq!(dataset(&dir), dataset(&place.dir.path().join("whole")), "{logs}");
    assert!(submit().contains("nothing is left to do"));
}

/// Whether a signal waits for a process that is stopped, by its number.
fn is_pending(pid: u32, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
}

#[test]
fn a_real_time_limit_is_warned_of_kept_and_gone_on_from() {
    const USR2: u32 = 12;
    let Some(cluster) = Cluster::start() else { return };
    // Slurm counts limits in minutes, and looks at the clock each half of one: the warning comes after 5 to 35
    // seconds. The runner is stopped meanwhile, in the middle of a short cell, so that no core need be busy for that.
    let slurm = "[slurm]\ntasks = 1\ntime = \"1\"\ngrace = 55\ncpus_per_task = 1\n";
    let sweep = common::grid("six", "[3e4]", "[1.6e6]") + slurm;
    let place = Place { conf: Some(cluster.conf()), ..Place::of(&sweep) };
    assert!(place.submit().status.success());
    wait(&cluster, "a checkpoint", || has(&place, "checkpoint") >= 1);
    let pid = runner(&place, "run").expect("at work");
    let kill = |signal: &str| {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    };
    kill("-STOP");
    wait(&cluster, "a warning", || is_pending(pid, USR2));
    assert_eq!((has(&place, "paused"), has(&place, "completed")), (0, 0));
    kill("-CONT");
    wait(&cluster, "a pause", || has(&place, "paused") >= 1);
    wait(&cluster, "the end", || {
        cluster.hurry();
        has(&place, "completed") == 1
    });
    let whole = Place::of(&sweep);
    assert!(whole.isoflop(&["run", "sweep.toml", "--train-only"]).status.success());
    assert_eq!(losses(&place), losses(&whole));
}
