//! A submission that happens once: what was asked for is written before `sbatch` is called, and counts until the
//! queue lists the job.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::ask::{Failed, again, ask, late};
use super::environment::overruling;
use super::queue::{Task, queue};
use super::{DIR, Job, script_path};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};

/// Time after which a job that the queue never listed is taken for gone. Queues that are cached lag by minutes.
const UNLISTED: Duration = Duration::from_mins(10);
/// Longest record of a submission [bytes].
const MOST: u64 = 1 << 16;

/// A submission, as it is written beside the script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The job's number; none where `sbatch` gave no answer that can be read.
    pub job: Option<u64>,
    /// The cluster, where `sbatch` named one.
    pub cluster: Option<String>,
    /// When it was asked for, by the clock of the machine that asked [s since 1970].
    pub asked: u64,
    /// Whether the queue has listed it.
    pub listed: bool,
}

impl Submission {
    fn now() -> Self {
        Self { job: None, cluster: None, asked: seconds(), listed: false }
    }

    /// Since it was asked for; nothing where clocks disagree.
    fn age(&self) -> Duration {
        Duration::from_secs(seconds().saturating_sub(self.asked))
    }

    /// `job 8812 on cluster nautilus`.
    pub fn name(&self) -> String {
        match (self.job, &self.cluster) {
            (Some(job), Some(cluster)) => format!("job {job} on cluster {cluster}"),
            (Some(job), None) => format!("job {job}"),
            (None, _) => "a job of unknown number".to_owned(),
        }
    }

    /// `12 s ago`.
    pub fn ago(&self) -> String {
        let age = self.age().as_secs();
        if age < 120 { format!("{age} s ago") } else { format!("{} min ago", age / 60) }
    }

    /// Whether it may still come up in the queue: neither listed there before, nor old, nor with a task that ran.
    fn may_come(&self, dir: &Path) -> bool {
        let outputs = Os.list(dir).unwrap_or_default();
        let ran = self.job.is_some_and(|job| {
            let prefix = format!("{job}_");
            outputs.iter().any(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            })
        });
        !self.listed && !ran && self.age() < UNLISTED
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs())
}

/// Where a results directory's submission is written.
pub fn submission_path(results: &Path) -> PathBuf {
    results.join(DIR).join("submitted.json")
}

/// What was submitted last, if anything.
fn read(results: &Path) -> Result<Option<Submission>, InputError> {
    let path = submission_path(results);
    let bytes = match Os.read(&path, MOST) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&path, &e.to_string())),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| unreadable(&path, &e.to_string()))
}

fn unreadable(path: &Path, why: &str) -> InputError {
    InputError::new(
        format!("cannot read what was submitted, `{}`: {why}", path.display()),
        "if `squeue` lists no such job, remove that file and repeat the command",
    )
    .with_code(exit::DAMAGED)
}

fn write(results: &Path, submission: &Submission) -> Result<(), SubmitError> {
    let path = submission_path(results);
    let text =
        serde_json::to_string(submission).map_err(|e| FileError::new("write", &path)(e.into()))?;
    Ok(Os.write_atomic(&path, (text + "\n").as_bytes())?)
}

/// What Slurm has of a results directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// These tasks wait or run.
    Queued(Vec<Task>),
    /// A job was submitted that the queue has not listed so far.
    Unlisted(Submission),
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// There it is.
    Now(Live),
    /// It was there before; nothing was submitted.
    Before(Live),
}

/// Asks the queue of the cluster that the sweep's job is on; nothing where it has none.
///
/// # Errors
///
/// [`InputError`] when the queue does not answer, or the record of the submission cannot be read.
pub fn state(name: &str, results: &Path) -> Result<Option<Live>, InputError> {
    Ok(live(name, results, None)?.0)
}

/// The same with what was submitted last. `cluster`: the one to ask where no submission named one.
fn live(
    name: &str,
    results: &Path,
    cluster: Option<&str>,
) -> Result<(Option<Live>, Option<Submission>), InputError> {
    let last = read(results)?;
    let on = last.as_ref().and_then(|last| last.cluster.as_deref()).or(cluster);
    let tasks = queue(name, on)?;
    let live = if tasks.is_empty() {
        let comes = last.clone().filter(|last| last.may_come(&results.join(DIR)));
        comes.map(Live::Unlisted)
    } else {
        Some(Live::Queued(tasks))
    };
    Ok((live, last))
}

/// Writes the script and submits it, unless tasks of this name are in the queue or will be. One submission at a
/// time.
///
/// # Errors
///
/// [`SubmitError`] where Slurm refuses or does not answer, or a file cannot be written. Where a job may have been
/// submitted all the same, the message says so, and so does the next call.
pub fn submit(job: &Job) -> Result<Submitted, SubmitError> {
    let results = &job.results;
    let dir = results.join(DIR);
    Os.create_dirs(&dir)?;
    let path = dir.join("lock");
    let lock = File::create(&path).map_err(FileError::new("create", &path))?;
    lock.lock().map_err(FileError::new("lock", &path))?;
    let (before, last) = live(&job.name, results, job.cluster())?;
    match before {
        None => {}
        Some(Live::Unlisted(last)) if last.job.is_none() => {
            let what = format!("was called {} and gave no number of a job", last.ago());
            return Err(unknown(job, &what).into());
        }
        Some(before) => {
            if let (Live::Queued(_), Some(last)) = (&before, last.filter(|last| !last.listed)) {
                write(results, &Submission { listed: true, ..last })?;
            }
            return Ok(Submitted::Before(before));
        }
    }
    let file = script_path(results);
    Os.write_atomic(&file, job.script().as_bytes())?;
    let mut submission = Submission::now();
    write(results, &submission)?;
    let said = ask("sbatch", &["--parsable", &file.to_string_lossy()], |name| {
        overruling(name, &job.options).is_none()
    });
    if let Ok(said) = &said {
        (submission.job, submission.cluster) = number(said);
        write(results, &submission)?;
    }
    // Whatever it said: a submission may succeed and its answer be lost.
    let cluster = submission.cluster.as_deref().or(job.cluster());
    match (queue(&job.name, cluster), said) {
        (Ok(tasks), _) if !tasks.is_empty() => {
            write(results, &Submission { listed: true, ..submission })?;
            Ok(Submitted::Now(Live::Queued(tasks)))
        }
        (_, Ok(_)) if submission.job.is_some() => Ok(Submitted::Now(Live::Unlisted(submission))),
        (_, Ok(said)) => {
            let said: String = said.trim().chars().take(200).collect();
            Err(unknown(job, &format!("gave no number of a job: `{said}`")).into())
        }
        (_, Err(Failed::Late)) => Err(unknown(job, &late()).into()),
        (_, Err(Failed::Refused(why))) if is_lost(&why) => {
            Err(unknown(job, &format!("lost its answer: {why}")).into())
        }
        (_, Err(failed)) => {
            // Nothing was submitted, and nothing is to be waited for.
            let path = submission_path(results);
            Os.remove(&path).map_err(FileError::new("remove", path))?;
            Err(refused(failed).into())
        }
    }
}

/// The job's number and cluster in an answer to `--parsable`: sites print words of their own beside it.
fn number(said: &str) -> (Option<u64>, Option<String>) {
    let of = |line: &str| {
        let (id, cluster) = line.split_once(';').map_or((line, None), |(id, c)| (id, Some(c)));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let cluster = cluster.filter(|c| !c.is_empty() && c.chars().all(plain));
        Some((id.parse::<u64>().ok()?, cluster.map(str::to_owned)))
    };
    match said.lines().rev().find_map(|line| of(line.trim())) {
        Some((id, cluster)) => (Some(id), cluster),
        None => (None, None),
    }
}

/// Whether `sbatch` may have submitted a job and not heard of it.
fn is_lost(why: &str) -> bool {
    let why = why.to_lowercase();
    ["timed out", "bytes were transmitted", "receive failure"].iter().any(|part| why.contains(part))
}

/// Whether a refusal passes by itself.
fn is_passing(why: &str) -> bool {
    let why = why.to_lowercase();
    let parts = [
        "unable to contact",
        "connect",
        "communicat",
        "not responding",
        "standby",
        "temporarily",
        "try again",
        "submit limit",
        "maxsubmit",
    ];
    parts.iter().any(|part| why.contains(part))
}

fn refused(failed: Failed) -> InputError {
    match failed {
        Failed::Start(error) => error,
        Failed::Late => again("sbatch", &late(), "repeat the command"),
        Failed::Refused(why) if is_passing(&why) => again(
            "sbatch",
            &format!("failed: {why}"),
            "nothing was submitted; repeat the command later, or with fewer tasks where a limit on jobs says so",
        ),
        Failed::Refused(why) => InputError::new(
            format!("`sbatch` failed: {why}"),
            "nothing was submitted; the words are Slurm's, and `--dry-run` prints the script",
        ),
    }
}

/// A job may have been submitted, and nobody can say.
fn unknown(job: &Job, what: &str) -> InputError {
    let wait = UNLISTED.as_secs() / 60;
    again(
        "sbatch",
        what,
        format!(
            "a job may have been submitted: see `squeue --name={}`; until the queue lists it or {wait} \
             minutes have passed nothing more is submitted; if there is none, remove `{}` to submit at once",
            job.name,
            submission_path(&job.results).display()
        ),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_beside_a_sites_own_words() {
        let banner = "sbatch: This job will be charged. Balance: 497,218.77 hours\n";
        assert_eq!(number(&format!("{banner}9\n")), (Some(9), None));
        assert_eq!(number(&format!("9;nautilus\n{banner}")), (Some(9), Some("nautilus".into())));
        assert_eq!(number("9;\n"), (Some(9), None));
        assert_eq!(number("9;a b\n"), (Some(9), None));
        for none in ["", "Hello there", "9 hours", banner] {
            assert_eq!(number(none), (None, None), "{none}");
        }
    }

    #[test]
    fn a_submission_is_waited_for_until_it_is_listed_has_run_or_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let young = Submission { job: Some(7), ..Submission::now() };
        assert!(young.may_come(dir.path()));
        assert!(!Submission { listed: true, ..young.clone() }.may_come(dir.path()));
        let old = Submission { asked: seconds() - 601, ..young.clone() };
        assert!(!old.may_come(dir.path()));
        std::fs::write(dir.path().join("77_0.out"), "").unwrap();
        assert!(young.may_come(dir.path()));
        std::fs::write(dir.path().join("7_0.out"), "").unwrap();
        assert!(!young.may_come(dir.path()));
    }
}
