//! The `[slurm]` block: what a job array on a cluster asks for.

use serde::Deserialize;

/// What a job array on a Slurm cluster asks for; each task is a runner that shares the sweep.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmSpec {
    /// Tasks of the array.
    pub tasks: u32,
    /// Partition.
    pub partition: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// Time limit, as Slurm writes it: `4:00:00`.
    pub time: Option<String>,
    /// Memory, as Slurm writes it: `16G`.
    pub mem: Option<String>,
    /// Cores of a task.
    pub cpus_per_task: Option<u32>,
    /// GPUs of a task.
    pub gpus_per_task: Option<u32>,
    /// Warning before the time limit, for the checkpoint [s].
    pub grace: u32,
    /// More options of `sbatch`, as `--constraint=h100`.
    pub extra: Vec<String>,
}

impl Default for SlurmSpec {
    fn default() -> Self {
        Self {
            tasks: 1,
            partition: None,
            account: None,
            time: None,
            mem: None,
            cpus_per_task: None,
            gpus_per_task: None,
            grace: 120,
            extra: Vec::new(),
        }
    }
}

impl SlurmSpec {
    /// Sets one key from text, as the sweep file would; the reason where it cannot be.
    ///
    /// # Errors
    ///
    /// A line for a person.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse().map_err(|_| format!("`{key}` is `{value}`, want a number"));
        let text = Some(value.to_owned());
        match key {
            "tasks" => self.tasks = number()?,
            "grace" => self.grace = number()?,
            "cpus_per_task" => self.cpus_per_task = Some(number()?),
            "gpus_per_task" => self.gpus_per_task = Some(number()?),
            "partition" => self.partition = text,
            "account" => self.account = text,
            "time" => self.time = text,
            "mem" => self.mem = text,
            "extra" => self.extra.push(value.to_owned()),
            _ => {
                return Err(format!(
                    "no key `{key}`; there are tasks, partition, account, time, mem, cpus_per_task, \
                     gpus_per_task, grace, extra"
                ));
            }
        }
        self.unfit().map_or(Ok(()), Err)
    }

    /// What cannot go into a batch script, if anything: a value must stay the value of its line.
    pub fn unfit(&self) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:=/@+%".contains(c);
        let words = [&self.partition, &self.account, &self.time, &self.mem];
        let mut words = words.into_iter().flatten();
        if let Some(word) =
            words.find(|w| w.is_empty() || w.starts_with('-') || !w.chars().all(plain))
        {
            return Some(format!("`{}`", word.escape_debug()));
        }
        let mut extra = self.extra.iter();
        let bad = |w: &&String| !w.starts_with("--") || !w.chars().all(plain);
        if let Some(word) = extra.find(bad) {
            return Some(format!("extra `{}`", word.escape_debug()));
        }
        let counts = (1..=100_000).contains(&self.tasks) && (10..=65_535).contains(&self.grace);
        (!counts).then(|| format!("tasks {} or grace {}", self.tasks, self.grace))
    }
}
