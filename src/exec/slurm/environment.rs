//! Environment variables of `sbatch`: they count for more than the lines of a script, so those that would change
//! what a sweep says are not passed on.

use crate::terminal;

/// What `sbatch` would take from the environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Variables that are passed on, with their values: the script says nothing of them.
    pub taken: Vec<(String, String)>,
    /// Variables that are not, and the option of the script that counts instead.
    pub overruled: Vec<(String, String)>,
}

impl Environment {
    /// Sorts this process's variables by the options of a script, each `--name` or `--name=value`.
    pub(super) fn of(options: &[String]) -> Self {
        let all = std::env::vars_os();
        let texts = all.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::sorted(texts, options)
    }

    fn sorted(variables: impl Iterator<Item = (String, String)>, options: &[String]) -> Self {
        let mut out = Self::default();
        for (name, value) in variables.filter(|(name, _)| name.starts_with("SBATCH_")) {
            match overruling(&name, options) {
                Some(option) => out.overruled.push((name, option)),
                None => out.taken.push((name, value)),
            }
        }
        out.taken.sort();
        out.overruled.sort();
        out
    }

    /// Lines for a person; none where nothing is set.
    pub fn lines(&self) -> Vec<String> {
        let taken = self.taken.iter().map(|(name, value)| {
            format!("{name}={} is set: sbatch takes it for this job", terminal::name(value))
        });
        let overruled = self.overruled.iter().map(|(name, option)| {
            format!("{name} is set and not passed on: the job says {option}")
        });
        taken.chain(overruled).collect()
    }
}

/// The option that counts in the place of a variable.
pub(super) fn overruling(variable: &str, options: &[String]) -> Option<String> {
    // With it `sbatch` returns at the end of the job.
    if variable == "SBATCH_WAIT" {
        return Some("that it is not waited for".to_owned());
    }
    let option = options.iter().find(|option| {
        let name = option.trim_start_matches('-').split('=').next().unwrap_or_default();
        variables(name).iter().any(|v| v == variable)
    })?;
    Some(option.clone())
}

/// The variables that set an option or one that excludes it.
fn variables(option: &str) -> Vec<String> {
    let names: &[&str] = match option {
        "array" => &["ARRAY_INX"],
        "time" => &["TIMELIMIT"],
        "mem" | "mem-per-cpu" | "mem-per-gpu" => &["MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"],
        "requeue" | "no-requeue" => &["REQUEUE", "NO_REQUEUE"],
        "gpus-per-task" => &["GPUS_PER_TASK", "GPUS", "GPUS_PER_NODE", "GPUS_PER_SOCKET", "GRES"],
        _ => &[],
    };
    let own = option.replace('-', "_").to_uppercase();
    names
        .iter()
        .map(|name| (*name).to_owned())
        .chain([own])
        .map(|n| format!("SBATCH_{n}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_would_change_what_the_job_says_is_not_passed_on() {
        let options = ["--array=0-1", "--time=4:00:00", "--mem=8G", "--requeue", "--qos=long"];
        let options = options.map(str::to_owned);
        let set = [
            "SBATCH_ACCOUNT",
            "SBATCH_ARRAY_INX",
            "SBATCH_MEM_PER_CPU",
            "SBATCH_NO_REQUEUE",
            "SBATCH_PARTITION",
            "SBATCH_QOS",
            "SBATCH_TIMELIMIT",
            "SBATCH_WAIT",
            "SLURM_CLUSTERS",
        ];
        let set = set.iter().map(|name| ((*name).to_owned(), "x".to_owned()));
        let sorted = Environment::sorted(set, &options);
        let names = |pairs: &[(String, String)]| {
            pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&sorted.taken), "SBATCH_ACCOUNT SBATCH_PARTITION");
        assert_eq!(
            names(&sorted.overruled),
            "SBATCH_ARRAY_INX SBATCH_MEM_PER_CPU SBATCH_NO_REQUEUE SBATCH_QOS SBATCH_TIMELIMIT SBATCH_WAIT"
        );
        assert!(sorted.lines().iter().any(|line| line.contains("the job says --time=4:00:00")));
    }
}
