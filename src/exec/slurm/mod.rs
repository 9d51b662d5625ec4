//! A job array of runners on a Slurm cluster.
//!
//! Every task of the array is a whole runner on the shared directory, that of a sweep's results or of a dataset, and
//! takes whatever cell or unit is free, so tasks may come, go and be repeated as the cluster likes. Slurm is asked by
//! its own commands, each with a time limit. Jobs are known by their name: nothing is submitted while one of that
//! name is in the queue or was submitted and may still come up there.

mod ask;
mod environment;
mod queue;
mod submit;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use environment::Environment;
pub use queue::{Task, summary};
pub use submit::{Live, Submission, SubmitError, Submitted, state, submission_path, submit};

use crate::error::{InputError, exit};
use crate::plan::hex;
use crate::spec::SlurmSpec;
use crate::terminal;

/// Directory of script, submission and outputs in the shared directory.
const DIR: &str = "slurm";

/// Name of the jobs of a sweep or a dataset: the same for the same directory, another for any other.
pub fn job_name(of: &str, dir: &Path) -> String {
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let hash = hex(&Sha256::digest(whole.to_string_lossy().as_bytes()));
    format!("isoflop-{of}-{}", &hash[..8])
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
                "the directory `{}` has {what} in its path, and `#SBATCH --output=` takes a single plain word",
                terminal::name(&whole.to_string_lossy())
            ),
            "choose a path of letters, digits and -_./ with --results, of a dataset with --out",
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

/// A job array, as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    name: String,
    results: PathBuf,
    /// Lines of the script for Slurm: `--name=value`.
    options: Vec<String>,
    /// What every task runs.
    command: Vec<String>,
}

impl Job {
    /// The job of a sweep or a dataset, by its name and directory; `command` is run by every task.
    ///
    /// # Errors
    ///
    /// [`InputError`] where a path or a word cannot go into a script.
    pub fn new(
        spec: &SlurmSpec,
        of: &str,
        results: &Path,
        command: Vec<String>,
    ) -> Result<Self, InputError> {
        let output = output(results)?;
        if let Some(word) = command.iter().find(|word| word.contains(char::is_control)) {
            let message = format!("`{}` has a control character", terminal::name(word));
            return Err(InputError::new(message, "give the file and its directories plain names"));
        }
        let name = job_name(of, results);
        let mut options = vec![
            format!("--job-name={name}"),
            format!("--array=0-{}", spec.tasks.max(1) - 1),
            format!("--output={output}"),
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
            // Warned this long before the time limit, the shell first: it passes it on.
            format!("--signal=B:USR2@{}", spec.grace),
        ];
        let mut option = |name: &str, value: &Option<String>| {
            options.extend(value.iter().map(|value| format!("--{name}={value}")));
        };
        option("partition", &spec.partition);
        option("account", &spec.account);
        option("time", &spec.time);
        option("mem", &spec.mem);
        option("cpus-per-task", &spec.cpus_per_task.map(|n| n.to_string()));
        option("gpus-per-task", &spec.gpus_per_task.map(|n| n.to_string()));
        options.extend(spec.extra.iter().cloned());
        Ok(Self { name, results: results.to_owned(), options, command })
    }

    /// Its name in the queue.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `sbatch` takes from this process's environment, and what it does not.
    pub fn environment(&self) -> Environment {
        Environment::of(&self.options)
    }

    /// The cluster that the sweep asks for, where it names one.
    pub fn cluster(&self) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix("--clusters="))
    }

    /// The batch script.
    pub fn script(&self) -> String {
        let header: Vec<String> =
            self.options.iter().map(|option| format!("#SBATCH {option}")).collect();
        let command: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        format!(
            "#!/bin/bash\n{}\n\n\
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
            header.join("\n"),
            command.join(" "),
            exit::AGAIN
        )
    }
}

/// Whether Slurm's commands are here.
pub fn is_here() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join("squeue").is_file())
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
        let job = Job::new(&spec(), "x", Path::new("/shared/results/x"), command.to_vec());
        let text = job.unwrap().script();
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
            let job = Job::new(&spec(), "x", Path::new(results), command.to_vec());
            job.map_err(|e| e.to_string())
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
        assert!(Job::new(&spec(), "x", Path::new("/a"), named.to_vec()).is_err());
    }

    #[test]
    fn the_name_is_that_of_the_directory() {
        let name = |dir: &str| job_name("x", Path::new(dir));
        assert_eq!(name("/a/x"), name("/a/x"));
        assert_ne!(name("/a/x"), name("/b/x"));
    }
}
