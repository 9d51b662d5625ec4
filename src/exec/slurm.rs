//! A job array of runners on a Slurm cluster.
//!
//! Every task of the array is a whole runner on the shared results directory and takes whatever cell is free,
//! so tasks may come, go and be repeated as the cluster likes. Slurm is asked by its own commands, each with a
//! time limit. A sweep's jobs are known by their name: nothing is submitted while one of that name is in the
//! queue, and what the queue says counts for more than what `sbatch` said.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::plan::hex;
use crate::spec::SlurmSpec;
use crate::terminal;

/// Time that a command of Slurm may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time that the end of an answer may come after the end of its command.
const LEFT_BEHIND: Duration = Duration::from_secs(2);
/// Longest answer that is read [bytes].
const MOST: usize = 1 << 26;
/// Directory of script and outputs in the results directory.
const DIR: &str = "slurm";

/// A task in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// As Slurm prints it: `123_4` or `123_[0-7]`.
    pub id: String,
    /// `RUNNING`, `PENDING`, ...
    pub state: String,
    /// Why it waits.
    pub reason: String,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// These tasks are in the queue now.
    Now(Vec<Task>),
    /// They were there before; nothing was submitted.
    Before(Vec<Task>),
}

/// Name of a sweep's jobs: the same for the same results directory, another for any other.
pub fn job_name(sweep: &str, results: &Path) -> String {
    let whole = std::path::absolute(results).unwrap_or_else(|_| results.to_owned());
    let hash = hex(&Sha256::digest(whole.to_string_lossy().as_bytes()));
    format!("isoflop-{sweep}-{}", &hash[..8])
}

/// A word in single quotes for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The file that a task's output goes to: Slurm takes the rest of the line for words, quotes and patterns of its own.
///
/// # Errors
///
/// [`InputError`] where the path is no single word to it.
fn output(results: &Path) -> Result<String, InputError> {
    let whole = std::path::absolute(results).unwrap_or_else(|_| results.to_owned());
    let refuse = |what: &str| {
        InputError::new(
            format!(
                "the results directory `{}` has {what} in its path, and `#SBATCH --output=` takes a single plain word",
                terminal::name(&whole.to_string_lossy())
            ),
            "choose a path of letters, digits and -_./ with --results",
        )
    };
    let text = whole.to_str().ok_or_else(|| refuse("bytes that are not UTF-8"))?;
    match text.chars().find(|c| c.is_whitespace() || c.is_control() || "\"'`\\%#$".contains(*c)) {
        Some('\n') => Err(refuse("a line feed")),
        Some(c) if c.is_whitespace() => Err(refuse("a space")),
        Some(c) if c.is_control() => Err(refuse("a control character")),
        Some(c) => Err(refuse(&format!("`{c}`"))),
        None => Ok(format!("{text}/{DIR}/%A_%a.out")),
    }
}

/// The batch script. `command` is run by every task.
///
/// # Errors
///
/// [`InputError`] where a path cannot go into it.
pub fn script(
    spec: &SlurmSpec,
    name: &str,
    results: &Path,
    command: &[String],
) -> Result<String, InputError> {
    let output = output(results)?;
    if let Some(word) = command.iter().find(|word| word.contains(char::is_control)) {
        let message = format!("`{}` has a control character", terminal::name(word));
        return Err(InputError::new(message, "give the sweep and its directories plain names"));
    }
    let mut lines = vec![
        format!("--job-name={name}"),
        format!("--array=0-{}", spec.tasks.max(1) - 1),
        format!("--output={output}"),
        "--open-mode=append".to_owned(),
        "--requeue".to_owned(),
        // Warned this long before the time limit, the shell first: it passes it on.
        format!("--signal=B:USR2@{}", spec.grace),
    ];
    let mut option = |name: &str, value: &Option<String>| {
        lines.extend(value.iter().map(|value| format!("--{name}={value}")));
    };
    option("partition", &spec.partition);
    option("account", &spec.account);
    option("time", &spec.time);
    option("mem", &spec.mem);
    option("cpus-per-task", &spec.cpus_per_task.map(|n| n.to_string()));
    option("gpus-per-task", &spec.gpus_per_task.map(|n| n.to_string()));
    lines.extend(spec.extra.iter().cloned());
    let header = lines.iter().map(|line| format!("#SBATCH {line}")).collect::<Vec<_>>().join("\n");
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    Ok(format!(
        "#!/bin/bash\n{header}\n\n\
         # Passes signals on and waits for the checkpoint. Warned of the time limit, the task asks to be\n\
         # queued again; cancelled or done, it does not.\n\
         {} &\nrunner=$!\nwarned=\n\
         trap 'warned=1; kill -USR2 $runner' USR2\n\
         trap 'kill -TERM $runner' TERM\n\
         # A signal ends `wait` too; then the runner is waited for again, or asked how it ended meanwhile.\n\
         while wait $runner; code=$?; [ $code -gt 128 ] && kill -0 $runner 2>/dev/null; do :; done\n\
         if [ $code -gt 128 ]; then wait $runner; end=$?; [ $end = 127 ] || code=$end; fi\n\
         if [ \"$code\" = {} ] && [ -n \"$warned\" ]; then scontrol requeue \"$SLURM_JOB_ID\"; fi\n\
         exit $code\n",
        command.join(" "),
        exit::AGAIN
    ))
}

/// The tasks of this name that are in the queue.
///
/// # Errors
///
/// [`InputError`] when the queue does not answer.
pub fn queue(name: &str) -> Result<Vec<Task>, InputError> {
    let args = ["--noheader", "--array", "--format=%i|%T|%r", &format!("--name={name}")];
    let answer = ask("squeue", &args)?;
    let task = |line: &str| {
        let mut parts = line.trim().splitn(3, '|').map(str::to_owned);
        Some(Task { id: parts.next()?, state: parts.next()?, reason: parts.next()? })
    };
    let lines: Vec<&str> = answer.lines().filter(|l| !l.trim().is_empty()).collect();
    let tasks: Vec<Task> = lines.iter().filter_map(|l| task(l)).collect();
    if tasks.len() == lines.len() { Ok(tasks) } else { Err(silent("squeue", &answer)) }
}

/// Whether Slurm's commands are here.
pub fn is_here() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join("squeue").is_file())
}

/// Writes the script and submits it, unless tasks of this name are in the queue. One submission at a time.
///
/// # Errors
///
/// [`InputError`] where Slurm refuses or does not answer; then nothing of this name is in the queue, or
/// nobody can say, and the message does.
pub fn submit(name: &str, results: &Path, script: &str) -> Result<Submitted, SubmitError> {
    let dir = results.join(DIR);
    Os.create_dirs(&dir)?;
    let path = dir.join("lock");
    let lock = File::create(&path).map_err(FileError::new("create", &path))?;
    lock.lock().map_err(FileError::new("lock", &path))?;
    let before = queue(name)?;
    if !before.is_empty() {
        return Ok(Submitted::Before(before));
    }
    let file = dir.join("script.sh");
    Os.write_atomic(&file, script.as_bytes())?;
    let said = ask("sbatch", &["--parsable", &file.to_string_lossy()]);
    // Whatever it said: a submission may succeed and its answer be lost.
    let after = queue(name)?;
    match said {
        _ if !after.is_empty() => Ok(Submitted::Now(after)),
        Err(error) => Err(error.into()),
        // A number, and the queue is already empty again: the tasks had nothing to do.
        Ok(text) if text.trim().split(';').next().is_some_and(|id| id.parse::<u64>().is_ok()) => {
            Ok(Submitted::Now(after))
        }
        Ok(text) => Err(silent("sbatch", &text).into()),
    }
}

/// Why nothing was submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Slurm refused or did not answer.
    #[error(transparent)]
    Slurm(#[from] InputError),
}

fn silent(program: &str, said: &str) -> InputError {
    let said: String = said.trim().chars().take(200).collect();
    InputError::new(
        format!("`{program}` gave no answer that can be read: `{said}`"),
        "is Slurm up? `sinfo` and `squeue` should answer; then repeat the command, it never submits twice",
    )
    .with_code(exit::AGAIN)
}

/// Runs a command of Slurm and returns what it prints.
fn ask(program: &str, args: &[&str]) -> Result<String, InputError> {
    let begin = Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            InputError::new(
                format!("cannot start `{program}`: {e}"),
                "run this where Slurm is installed",
            )
        })?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = Answer::of(out.map(|p| Box::new(p) as Box<dyn std::io::Read + Send>));
    let err = Answer::of(err.map(|p| Box::new(p) as Box<dyn std::io::Read + Send>));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let limit = PATIENCE.as_secs();
                return Err(silent(program, &format!("nothing within {limit} s")));
            }
        }
    };
    let (out, err) = (out.text(), err.text());
    if status.success() {
        return Ok(out);
    }
    let why: String = err.trim().chars().take(400).collect();
    let hint = "the words are Slurm's; `--dry-run` prints the script";
    Err(InputError::new(format!("`{program}` failed ({status}): {why}"), hint))
}

/// What a command prints, read beside it.
struct Answer {
    read: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Answer {
    fn of(mut pipe: Option<Box<dyn std::io::Read + Send>>) -> Self {
        let read = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::channel();
        let into = Arc::clone(&read);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Some(n) =
                pipe.as_mut().and_then(|p| p.read(&mut part).ok()).filter(|n| *n > 0)
            {
                let mut all = into.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(&part[..n]);
                // More than a queue of a million tasks is no answer.
                if all.len() > MOST {
                    break;
                }
            }
            let _ = end.send(());
        });
        Self { read, ended }
    }

    /// All of it, once the command has ended; what there is, where a process that it left behind keeps the pipe.
    fn text(self) -> String {
        let _ = self.ended.recv_timeout(LEFT_BEHIND);
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// `2 running, 1 pending (Priority)`.
pub fn summary(tasks: &[Task]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for task in tasks {
        let mut name = task.state.to_lowercase();
        if task.state == "PENDING" {
            name = format!("{name} ({})", task.reason);
        }
        match counts.iter_mut().find(|(n, _)| *n == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ")
}

/// Where the script of a results directory is kept.
pub fn script_path(results: &Path) -> PathBuf {
    results.join(DIR).join("script.sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> SlurmSpec {
        SlurmSpec { tasks: 4, partition: Some("gpu".into()), ..SlurmSpec::default() }
    }

    #[test]
    fn a_script_asks_for_what_the_spec_says_and_quotes_its_words() {
        let command = ["/opt/iso flop", "run", "it's.toml"].map(str::to_owned);
        let text = script(&spec(), "isoflop-x-01234567", Path::new("/shared/results/x"), &command);
        let text = text.unwrap();
        for part in [
            "#SBATCH --array=0-3\n",
            "#SBATCH --partition=gpu\n",
            "#SBATCH --output=/shared/results/x/slurm/%A_%a.out\n",
            "#SBATCH --requeue\n",
            "'/opt/iso flop' 'run' 'it'\\''s.toml' &\n",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(!text.contains("--account"));
    }

    #[test]
    fn a_path_that_is_no_single_word_to_slurm_is_refused_with_its_reason() {
        let command = ["isoflop".to_owned()];
        let said = |results: &str| {
            script(&spec(), "x", Path::new(results), &command).map_err(|e| e.to_string())
        };
        for (results, what) in [
            ("/a/b\n#SBATCH --uid=0", "a line feed"),
            ("/a/my results", "a space"),
            ("/a/it's", "`'`"),
            ("/a/\"x", "`\"`"),
            ("/a/%j", "`%`"),
            ("/a/\u{1b}[2J", "a control character"),
        ] {
            let why = said(results).unwrap_err();
            assert!(why.contains(what) && !why.contains(['\n', '\u{1b}']), "{results:?}: {why}");
        }
        assert!(said("/a/größe-1_x.2").is_ok());
        let named = [String::from("isoflop"), "x\ny.toml".into()];
        assert!(script(&spec(), "x", Path::new("/a"), &named).is_err());
    }

    #[test]
    fn the_name_is_that_of_the_directory() {
        let name = |dir: &str| job_name("x", Path::new(dir));
        assert_eq!(name("/a/x"), name("/a/x"));
        assert_ne!(name("/a/x"), name("/b/x"));
    }

    #[test]
    fn tasks_are_counted_by_state() {
        let task = |id: &str, state: &str, reason: &str| Task {
            id: id.into(),
            state: state.into(),
            reason: reason.into(),
        };
        let tasks = [
            task("1_0", "RUNNING", "None"),
            task("1_1", "RUNNING", "None"),
            task("1_[2-3]", "PENDING", "Priority"),
        ];
        assert_eq!(summary(&tasks), "2 running, 1 pending (Priority)");
    }
}
