//! How a table of runs is read, and what of its law is given.

use clap::Args;

use super::values::{Pairs, pair, pairs, pin};
use crate::error::InputError;
use crate::fit::Pins;
use crate::import;

/// The role of a table's losses in `--map`.
const LOSS: &str = "loss";

/// How to read a CSV of runs.
#[derive(Debug, Clone, Args)]
pub struct Columns {
    /// Which column means what: params=N,tokens=D,loss=L,flops=C,budget=B; a unit may follow: "params=N (M)". For
    /// `fit`, loss= may be given several times: a law for each.
    #[arg(long, value_parser = pairs, value_name = "ROLE=COLUMN")]
    pub map: Vec<Pairs>,
    /// Use only rows with this value in this column; may be given several times.
    #[arg(long = "where", value_parser = pair, value_name = "COLUMN=VALUE")]
    pub filters: Vec<(String, String)>,
    /// Fit runs of several data sets, tokenizers, experiments or conventions of N as one study.
    #[arg(long)]
    pub mixed: bool,
    /// Take every row for a run of its own, also where rows look like checkpoints of one.
    #[arg(long)]
    pub separate: bool,
}

impl Columns {
    /// The same for `import`, of one loss.
    pub(in crate::cli) fn options(&self) -> Result<import::Options, InputError> {
        let options = self.each();
        if options.map.iter().filter(|(role, _)| role == LOSS).count() > 1 {
            let hint = "`isoflop fit` takes several and fits a law to each; here give one";
            return Err(InputError::new("--map names more than one column of losses", hint));
        }
        Ok(options)
    }

    /// The same for each loss that is named, with its column; none where fewer than two are.
    pub(in crate::cli) fn losses(&self) -> Vec<(String, import::Options)> {
        let all = self.each();
        let of = |role: &str| role == LOSS;
        let losses: Vec<&String> =
            all.map.iter().filter(|(role, _)| of(role)).map(|(_, column)| column).collect();
        let one = |column: &&String| {
            let mut map: Vec<_> = all.map.iter().filter(|(role, _)| !of(role)).cloned().collect();
            map.push((LOSS.to_owned(), (*column).clone()));
            ((*column).clone(), import::Options { map, ..all.clone() })
        };
        if losses.len() < 2 { Vec::new() } else { losses.iter().map(one).collect() }
    }

    fn each(&self) -> import::Options {
        import::Options {
            map: self.map.iter().flat_map(|pairs| pairs.0.clone()).collect(),
            filters: self.filters.clone(),
            mixed: self.mixed,
            separate: self.separate,
        }
    }
}

/// Parameters that are given and not fitted.
#[derive(Debug, Clone, Args)]
pub struct Pinned {
    /// Hold a parameter of the law instead of fitting it: E=1.6 (in the unit of the losses), alpha=0.34, beta=0.28.
    #[arg(long, value_delimiter = ',', value_parser = pin, value_name = "NAME=VALUE")]
    pub pin: Vec<(String, f64)>,
}

impl Pinned {
    /// The same for `fit`.
    pub(in crate::cli) fn pins(&self) -> Result<Pins, InputError> {
        Pins::new(self.pin.iter().map(|(name, value)| (name.as_str(), *value))).ok_or_else(|| {
            InputError::new("--pin names a parameter twice", "give each of E, alpha and beta once")
        })
    }
}
