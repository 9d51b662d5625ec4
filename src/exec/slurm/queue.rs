//! What is in the queue: the tasks of a job's name that have not ended.

use super::ask::{Failed, again, ask, late};
use crate::error::InputError;

/// What a task's line holds: id, state, reason.
const FORMAT: &str = "%i|%T|%r";
/// The line above the tasks that `squeue` prints for [`FORMAT`].
const HEADER: &str = "JOBID|STATE|REASON";
/// States of tasks that are over; some queues list them for minutes.
const ENDED: [&str; 10] = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
];

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

/// The tasks of this name that wait or run, on a named cluster or on the one that Slurm is set to.
///
/// # Errors
///
/// [`InputError`] with exit code 75 when the queue does not answer.
pub(super) fn queue(name: &str, cluster: Option<&str>) -> Result<Vec<Task>, InputError> {
    let (name, format) = (format!("--name={name}"), format!("--format={FORMAT}"));
    let cluster = cluster.map(|cluster| format!("--clusters={cluster}"));
    let mut args = vec!["--array", "--all", &format, &name];
    args.extend(cluster.as_deref());
    let hint = "nothing was submitted; is Slurm up? `sinfo` should answer; then repeat the command";
    // Users set SQUEUE_USERS, SQUEUE_STATES and the like: they hide tasks.
    let answer =
        ask("squeue", &args, |name| !name.starts_with("SQUEUE_")).map_err(|e| match e {
            Failed::Start(error) => error,
            Failed::Late => again("squeue", &late(), hint),
            Failed::Refused(why) => again("squeue", &format!("failed: {why}"), hint),
        })?;
    listed(&answer).ok_or_else(|| {
        let said: String = answer.trim().chars().take(200).collect();
        again("squeue", &format!("gave no answer that can be read: `{said}`"), hint)
    })
}

/// The tasks of an answer that have not ended. `None` where nothing in it is a queue: words that a site prints
/// beside its header or its tasks are skipped, words alone are no empty queue.
fn listed(answer: &str) -> Option<Vec<Task>> {
    let lines: Vec<&str> = answer.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tasks: Vec<Task> = lines.iter().filter_map(|line| task(line)).collect();
    let marked = |line: &&str| *line == HEADER || line.starts_with("CLUSTER:");
    let is_queue = lines.is_empty() || !tasks.is_empty() || lines.iter().any(marked);
    is_queue.then(|| tasks.into_iter().filter(|t| !ENDED.contains(&t.state.as_str())).collect())
}

fn task(line: &str) -> Option<Task> {
    let mut parts = line.splitn(3, '|').map(str::to_owned);
    let task = Task { id: parts.next()?, state: parts.next()?, reason: parts.next()? };
    let is_state = |c: char| c.is_ascii_uppercase() || c == '_';
    let fits = task.id.starts_with(|c: char| c.is_ascii_digit())
        && !task.state.is_empty()
        && task.state.chars().all(is_state);
    fits.then_some(task)
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn of_an_answer_only_tasks_that_have_not_ended_count() {
        let ids = |answer: &str| {
            listed(answer).map(|tasks| tasks.into_iter().map(|t| t.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(""), Some(vec![]));
        assert_eq!(ids("JOBID|STATE|REASON\n"), Some(vec![]));
        assert_eq!(ids("CLUSTER: nautilus\nJOBID|STATE|REASON\n"), Some(vec![]));
        let banner = "*** maintenance on Tuesday ***\nJOBID|STATE|REASON\n7_0|PENDING|a|b\n";
        assert_eq!(ids(banner), Some(vec!["7_0".to_owned()]));
        let over =
            "7_0|COMPLETED|None\n7_1|CANCELLED|None\n7_2|COMPLETING|None\n7_3|REQUEUE_HOLD|x\n";
        assert_eq!(ids(over), Some(vec!["7_2".to_owned(), "7_3".to_owned()]));
        for answer in ["garbage\n", "slurm|is|down\n", "7_0|\n"] {
            assert_eq!(ids(answer), None, "{answer}");
        }
    }
}
