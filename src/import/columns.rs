//! Which column of a stranger's table means what.
//!
//! The names cover the tables people have: `chinchilla` (C, N, D, loss), Open-Athena (experiment,
//! params, tokens, budget, loss), nanochat (flops_budget, params_transformer, params_lm_head,
//! tokens_trained, val_bpb), simple-scaling-laws (training_run_id, model_size__*, dataset_size__*,
//! test_loss__*) and our own `ledger.csv`. Anything else is named with `--map`.
//!
//! Reads: `points`, `units`. Read by: the reader beside it.

use super::Options;
use crate::error::InputError;
use crate::points::{Counts, Point};
use crate::units::parse_quantity;

/// What a column may mean, and the names that are understood without `--map`, lower case, the first
/// match winning. A name that ends in `__` is a prefix.
const ROLES: [(&str, &[&str]); 8] = [
    (
        "params",
        &["params", "n", "n_params", "num_params", "parameters", "parameter_count", "model_size__"],
    ),
    (
        "tokens",
        &[
            "tokens",
            "d",
            "n_tokens",
            "num_tokens",
            "tokens_trained",
            "training_tokens",
            "dataset_size__",
        ],
    ),
    (
        "loss",
        &[
            "loss",
            "l",
            "val_loss",
            "final_loss",
            "eval_loss",
            "test_loss",
            "test_loss__",
            "val_bpb",
            "bpb",
        ],
    ),
    ("flops", &["flops", "c", "flop", "training_flops", "total_training_flops", "compute"]),
    ("budget", &["budget", "flops_budget", "isoflop_budget"]),
    ("unique_tokens", &["unique_tokens", "u", "unique"]),
    ("id", &["id", "name", "run", "run_name", "training_run_id"]),
    ("cluster", &["cluster", "trunk"]),
];

/// Columns in which rows of one study agree: a law mixes neither data nor tokenizers nor evaluations.
const ONE_STUDY: [&str; 7] = [
    "experiment",
    "dataset",
    "train_dataset",
    "train_set_id",
    "tokenizer",
    "eval_set",
    "data_sha256",
];

/// nanochat counts its matrices apart; together they are the parameters that multiply activations.
const MATRICES: [&str; 2] = ["params_transformer", "params_lm_head"];

/// Where each role is in a row.
pub(super) struct Columns {
    roles: Vec<(&'static str, usize)>,
    /// nanochat's blocks and head, where no column gives their sum.
    matrices: Option<[usize; 2]>,
    filters: Vec<(usize, String)>,
    counts: Option<[usize; 3]>,
    one_study: Vec<(usize, &'static str)>,
    bits_per_byte: bool,
}

impl Columns {
    pub(super) fn find(
        header: &[String],
        source: &str,
        options: &Options,
    ) -> Result<Self, InputError> {
        let known = || format!("its columns are: {}", header.join(", "));
        let position = |name: &str| header.iter().position(|h| h == name);
        let mut roles = Vec::new();
        for (role, column) in &options.map {
            let Some((role, _)) = ROLES.iter().find(|(r, _)| r == role) else {
                let roles: Vec<&str> = ROLES.iter().map(|(r, _)| *r).collect();
                return Err(InputError::new(
                    format!("--map: `{role}` is not something a fit reads"),
                    format!("it reads: {}", roles.join(", ")),
                ));
            };
            let at = position(column).ok_or_else(|| {
                InputError::new(format!("{source}: no column `{column}`"), known())
            })?;
            roles.push((*role, at));
        }
        for (role, names) in ROLES {
            if roles.iter().any(|(r, _)| *r == role) {
                continue;
            }
            let by_name = names.iter().find_map(|name| {
                header.iter().position(|h| {
                    let h = h.to_lowercase();
                    if name.ends_with("__") { h.starts_with(name) } else { h == *name }
                })
            });
            roles.extend(by_name.map(|at| (role, at)));
        }
        let has = |role: &str| roles.iter().any(|(r, _)| *r == role);
        let matrices = match MATRICES.map(position) {
            [Some(blocks), Some(head)] if !has("params") => Some([blocks, head]),
            _ => None,
        };
        for (missing, there) in [
            ("params", has("params") || matrices.is_some()),
            ("loss", has("loss")),
            ("tokens", has("tokens") || has("flops")),
        ] {
            if !there {
                return Err(InputError::new(
                    format!("{source}: no column for {missing}"),
                    format!("name it with --map {missing}=COLUMN; {}", known()),
                ));
            }
        }
        let mut filters = Vec::new();
        for (column, value) in &options.filters {
            let at = position(column).ok_or_else(|| {
                InputError::new(format!("{source}: --where: no column `{column}`"), known())
            })?;
            filters.push((at, value.clone()));
        }
        let counts = ["params_total", "params_non_embedding", "params_flops_over_6"].map(position);
        let counts = match counts {
            [Some(a), Some(b), Some(c)] => Some([a, b, c]),
            _ => None,
        };
        let one_study =
            ONE_STUDY.iter().filter_map(|name| Some((position(name)?, *name))).collect();
        let loss =
            roles.iter().find(|(r, _)| *r == "loss").map(|(_, at)| header[*at].to_lowercase());
        let bits_per_byte =
            loss.is_some_and(|name| name.contains("bpb") || name.contains("bits_per_byte"));
        Ok(Self { roles, matrices, filters, counts, one_study, bits_per_byte })
    }

    /// What C counts, as far as the header tells.
    pub(super) fn flops_convention(&self) -> &'static str {
        if self.at("flops").is_some() {
            "as given"
        } else if self.at("budget").is_some() {
            "budget"
        } else {
            "6ND"
        }
    }

    /// What N counts, as far as the header tells.
    pub(super) fn params_convention(&self) -> &'static str {
        if self.matrices.is_some() || self.counts.is_some() { "matmul" } else { "as given" }
    }

    /// What the loss is measured in, as far as the header tells.
    pub(super) fn loss_unit(&self) -> &'static str {
        if self.bits_per_byte { "bits/byte" } else { "as given" }
    }

    /// The columns in which rows of one study agree, with this row's values.
    pub(super) fn study<'r>(
        &self,
        record: &'r csv::StringRecord,
    ) -> impl Iterator<Item = (&'static str, &'r str)> {
        self.one_study.iter().filter_map(|(at, name)| Some((*name, record.get(*at)?)))
    }

    fn at(&self, role: &str) -> Option<usize> {
        self.roles.iter().find(|(r, _)| *r == role).map(|(_, at)| *at)
    }

    pub(super) fn text<'r>(&self, record: &'r csv::StringRecord, role: &str) -> Option<&'r str> {
        self.at(role).and_then(|at| record.get(at)).filter(|text| !text.is_empty())
    }

    /// Equal as text, or as numbers.
    pub(super) fn keeps(&self, record: &csv::StringRecord) -> bool {
        self.filters.iter().all(|(at, want)| {
            let got = record.get(*at).unwrap_or("");
            got == want || parse_quantity(got).is_some_and(|g| Some(g) == parse_quantity(want))
        })
    }

    /// A finite number above zero, or why not.
    fn number(&self, record: &csv::StringRecord, role: &str) -> Result<Option<f64>, String> {
        let Some(text) = self.text(record, role) else {
            return match self.at(role) {
                Some(_) => Err(format!("{role} is empty")),
                None => Ok(None),
            };
        };
        match parse_quantity(text) {
            Some(value) if value > 0.0 => Ok(Some(value)),
            _ => Err(format!("{role} is `{text}`, want a finite number above 0")),
        }
    }

    fn params(&self, record: &csv::StringRecord) -> Result<f64, String> {
        let Some(at) = self.matrices else {
            return self.number(record, "params")?.ok_or_else(|| "params is missing".to_owned());
        };
        let mut sum = 0.0;
        for (at, name) in at.into_iter().zip(MATRICES) {
            let text = record.get(at).unwrap_or("");
            sum += parse_quantity(text)
                .filter(|v| *v > 0.0)
                .ok_or_else(|| format!("{name} is `{text}`, want a finite number above 0"))?;
        }
        Ok(sum)
    }

    /// One run.
    ///
    /// # Errors
    ///
    /// Why the row cannot be used, as a person reads it.
    pub(super) fn point(&self, record: &csv::StringRecord, id: &str) -> Result<Point, String> {
        let params = self.params(record)?;
        let loss = self.number(record, "loss")?.ok_or_else(|| "loss is missing".to_owned())?;
        // A study without a budget for this run is not an error.
        let budget = self.text(record, "budget").and_then(parse_quantity).filter(|b| *b > 0.0);
        let (tokens, flops) = match (self.number(record, "tokens")?, self.number(record, "flops")?)
        {
            (Some(tokens), Some(flops)) => (tokens, flops),
            // A budget that a table states is what its runs were trained for, however they count.
            (Some(tokens), None) => (tokens, budget.unwrap_or(6.0 * params * tokens)),
            (None, Some(flops)) => (flops / (6.0 * params), flops),
            (None, None) => return Err("neither tokens nor flops".to_owned()),
        };
        let counts = self.counts.and_then(|at| {
            let [total, non_embedding, flops_over_6] =
                at.map(|i| record.get(i).and_then(parse_quantity));
            Some(Counts {
                total: total?,
                non_embedding: non_embedding?,
                matmul: params,
                flops_over_6: flops_over_6?,
            })
        });
        Ok(Point {
            id: id.to_owned(),
            cluster: self.text(record, "cluster").unwrap_or(id).to_owned(),
            params,
            tokens,
            flops,
            loss,
            budget,
            unique_tokens: self.number(record, "unique_tokens")?,
            counts,
        })
    }
}
