//! A table of runs in the formats that other tools read.
//!
//! What a format has a column for and the table does not know is left empty. What it has no column for and a fit
//! reads (C, budget, cluster, unique tokens) stands behind its own columns, which its readers pass over: a table
//! that is read back gives the same fit. Where a format wants budgets and none were planned, they are those of
//! approach 2.

use crate::error::InputError;
use crate::fit::budget_of_each;
use crate::points::{Point, Table, neutral};
use crate::units::{BITS_PER_BYTE, bits_per_byte};

/// A format that other tools read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `C,N,D,loss`, the table of the `chinchilla` package.
    Chinchilla,
    /// `experiment,tokens,params,budget,loss`, Open-Athena's IsoFLOP tables.
    OpenAthena,
    /// `flops_budget,...,val_bpb`, the results file of nanochat's sweep.
    Nanochat,
    /// `training_run_id,model_size__params,dataset_size__tokens,test_loss__nats`.
    SimpleScalingLaws,
}

impl Format {
    fn header(self, table: &Table) -> Vec<&'static str> {
        match self {
            Self::Chinchilla => vec!["C", "N", "D", "loss"],
            Self::OpenAthena => vec!["experiment", "tokens", "params", "budget", "loss"],
            Self::Nanochat => vec![
                "flops_budget",
                "depth",
                "model_dim",
                "params_wte",
                "params_value_embeds",
                "params_lm_head",
                "params_transformer",
                "params_scalars",
                "params_total",
                "num_iterations",
                "tokens_trained",
                "val_bpb",
                "core_score",
                "train_time_sec",
            ],
            Self::SimpleScalingLaws => vec![
                "training_run_id",
                "model_size__params",
                "dataset_size__tokens",
                match table.convention.loss.as_str() {
                    "nats/token" => "test_loss__nats",
                    "bits/byte" => "test_loss__bpb",
                    _ => "test_loss",
                },
            ],
        }
    }
}

/// A column behind those of a format: its name, and a run's value.
type Extra = (&'static str, fn(&Point) -> String);

/// What a fit reads and a format has no column for.
struct More(Vec<Extra>);

impl More {
    fn of(table: &Table, format: Format) -> Self {
        let any = |of: fn(&Point) -> bool| table.points.iter().any(of);
        let budget = !matches!(format, Format::OpenAthena | Format::Nanochat);
        let cluster = format != Format::SimpleScalingLaws;
        let mut extra: Vec<Extra> = Vec::new();
        if format != Format::Chinchilla {
            extra.push(("flops", |p| p.flops.to_string()));
        }
        if budget && any(|p| p.budget.is_some()) {
            extra.push(("budget", |p| optional(p.budget)));
        }
        // Also where every run is its own: rows of a table without it may look like checkpoints of one run.
        if cluster {
            extra.push(("cluster", |p| neutral(&p.cluster)));
        }
        if any(|p| p.unique_tokens.is_some()) {
            extra.push(("unique_tokens", |p| optional(p.unique_tokens)));
        }
        Self(extra)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    fn cells(&self, point: &Point) -> impl Iterator<Item = String> {
        self.0.iter().map(|(_, of)| of(point))
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}

/// The runs of `table` as CSV with a header line. Numbers have every digit they need to be read back.
///
/// # Errors
///
/// [`InputError`] where the format asks for what the table does not have: nanochat's wants every
/// parameter counted by kind and the loss in bits per byte.
///
/// # Example
///
/// ```
/// use isoflop::export::{Format, csv};
///
/// let runs = "params,tokens,loss\n10M,200M,4.1\n30M,200M,3.8\n";
/// let table = isoflop::import::parse(runs.as_bytes(), "runs.csv", &Default::default())?.table;
/// let text = csv(&table, Format::Chinchilla)?;
/// assert!(text.starts_with("C,N,D,loss"));
/// // A table that is read back gives the same fit.
/// let again = isoflop::import::parse(text.as_bytes(), "runs.csv", &Default::default())?.table;
/// assert_eq!(again.flops_per_token(), table.flops_per_token());
/// # Ok::<(), isoflop::error::InputError>(())
/// ```
pub fn csv(table: &Table, format: Format) -> Result<String, InputError> {
    let more = More::of(table, format);
    let budgets = budget_of_each(&table.points);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |e: &dyn std::fmt::Display| {
        InputError::new(format!("cannot write CSV: {e}"), "this is a bug of isoflop")
    };
    let header = format.header(table).into_iter().chain(more.names());
    writer.write_record(header).map_err(|e| broken(&e))?;
    for (point, budget) in table.points.iter().zip(budgets) {
        let mut row = match format {
            Format::Chinchilla => numbers(&[point.flops, point.params, point.tokens, point.loss]),
            Format::OpenAthena => {
                let mut row = vec![neutral(&table.source)];
                row.extend(numbers(&[point.tokens, point.params]));
                row.extend([optional(budget), point.loss.to_string()]);
                row
            }
            Format::Nanochat => nanochat(table, point, budget)?,
            Format::SimpleScalingLaws => {
                let mut row = vec![neutral(&point.cluster)];
                row.extend(numbers(&[point.params, point.tokens, point.loss]));
                row
            }
        };
        row.extend(more.cells(point));
        writer.write_record(&row).map_err(|e| broken(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| broken(&e))?;
    String::from_utf8(bytes).map_err(|e| broken(&e))
}

fn nanochat(table: &Table, point: &Point, budget: Option<f64>) -> Result<Vec<String>, InputError> {
    let lacks = |what: &str| {
        InputError::new(
            format!("{}: {} has no {what}, which nanochat's table holds", table.source, point.id),
            "export a results directory of text, or another format",
        )
    };
    let counts = point.counts.ok_or_else(|| lacks("count of embedding, head and blocks"))?;
    let bits = match (table.convention.loss.as_str(), table.bytes_per_token) {
        (BITS_PER_BYTE, _) => point.loss,
        (_, Some(bytes)) => bits_per_byte(point.loss, bytes),
        _ => return Err(lacks("loss in bits per byte")),
    };
    let head = counts.matmul - counts.non_embedding;
    let number = |value: f64| value.to_string();
    Ok(vec![
        optional(budget),
        String::new(),
        String::new(),
        number((counts.total - counts.matmul).max(0.0)),
        number(0.0),
        number(head),
        number(counts.non_embedding),
        number(0.0),
        number(counts.total),
        String::new(),
        number(point.tokens),
        number(bits),
        String::new(),
        String::new(),
    ])
}

fn numbers(values: &[f64]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::fit::{Compute, Options, analyse};
    use crate::import;
    use crate::points::{Convention, Counts};

    fn table() -> Table {
        let counts =
            Counts { total: 1.3e6, non_embedding: 8e5, matmul: 1.05e6, flops_over_6: 1.1e6 };
        let point = |id: &str, tokens: f64, loss: f64| Point {
            id: id.into(),
            cluster: id.into(),
            params: counts.matmul,
            tokens,
            flops: 6.6e6 * tokens,
            loss,
            budget: Some(6.6e6 * tokens),
            unique_tokens: None,
            counts: Some(counts),
        };
        Table {
            source: "=evil".into(),
            convention: Convention {
                params: "matmul".into(),
                flops: "exact".into(),
                loss: "nats/token".into(),
            },
            points: vec![point("a", 1e7, 2.5), point("b", 3e7, 1.0 / 3.0)],
            excluded: Vec::new(),
            entropy: None,
            bytes_per_token: Some(4.0),
        }
    }

    /// Oracle: the reader beside it, which is tested against tables that others wrote.
    #[test]
    fn what_is_written_is_read_back() {
        let table = table();
        for &format in Format::value_variants() {
            let read = back(&table, format);
            for (got, want) in read.points.iter().zip(&table.points) {
                let loss = match format {
                    Format::Nanochat => want.loss / std::f64::consts::LN_2 / 4.0,
                    _ => want.loss,
                };
                assert_eq!((got.params, got.tokens, got.loss), (want.params, want.tokens, loss));
                assert_eq!((got.flops, got.budget), (want.flops, want.budget), "{format:?}");
            }
        }
    }

    fn back(table: &Table, format: Format) -> Table {
        let text = csv(table, format).unwrap();
        let read = import::parse(text.as_bytes(), "table", &import::Options::default()).unwrap();
        assert!(read.table.excluded.is_empty(), "{format:?}: {:?}", read.table.excluded);
        read.table
    }

    /// Trunks of seven sizes at five budgets that none meets exactly, C far from 6ND for small models: the fit of
    /// what is read back is the fit of what was written, by every method, for every format, with planned budgets
    /// and with budgets that are looked for.
    #[test]
    fn a_table_that_is_read_back_gives_the_same_fit() {
        let mut planned = table();
        planned.points.clear();
        for (b, budget) in [1e18, 3e18, 1e19, 3e19, 1e20_f64].into_iter().enumerate() {
            for (i, place) in [0.25, 0.4, 0.63, 1.0, 1.6, 2.5, 4.0].into_iter().enumerate() {
                let n = 0.12 * budget.powf(0.49) * place;
                let per_token = 6.0 * n + 3e4 * n.powf(0.6);
                let spent = budget * (1.0 + 0.02 * ((3 * i + b) as f64).sin());
                let d = spent / per_token;
                let noise = (0.002 * ((7 * b + i) as f64 * 1.9).sin()).exp();
                planned.points.push(Point {
                    id: format!("{b} {i}"),
                    cluster: format!("trunk {i}"),
                    params: n,
                    tokens: d,
                    flops: spent,
                    loss: (1.69 + 406.4 * n.powf(-0.34) + 410.7 * d.powf(-0.28)) * noise,
                    budget: Some(budget),
                    unique_tokens: None,
                    counts: Some(Counts {
                        total: 1.2 * n,
                        non_embedding: 0.9 * n,
                        matmul: n,
                        flops_over_6: per_token / 6.0,
                    }),
                });
            }
        }
        let mut sought = planned.clone();
        sought.points.iter_mut().for_each(|p| p.budget = None);
        for table in [planned, sought] {
            let fitted = |table: &Table| {
                let options = Options { bootstrap: 20, holdout: 0, ..Options::default() };
                let analysis =
                    analyse(table, Compute::fit(&table.flops_per_token()), &options).unwrap();
                let fits: Vec<(String, f64, f64)> = analysis
                    .fits
                    .iter()
                    .map(|f| (f.method.clone(), f.exponents.a, f.intervals["a"][1]))
                    .collect();
                (fits, analysis.sample_size.unwrap())
            };
            let (want, size) = fitted(&table);
            assert!(want.iter().any(|f| f.0 == "isoflop") && size.clusters == 7, "{want:?}");
            for &format in Format::value_variants() {
                let (got, again) = fitted(&back(&table, format));
                assert_eq!((again.runs, again.clusters), (size.runs, size.clusters), "{format:?}");
                for (got, want) in got.iter().zip(&want) {
                    assert_eq!(got.0, want.0, "{format:?}");
                    // nanochat's losses are in other units.
                    let near = |l: f64, r: f64| (l / r - 1.0).abs() < 1e-3;
                    assert!(
                        near(got.1, want.1) && near(got.2, want.2),
                        "{format:?}: {got:?} {want:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_format_that_asks_for_more_than_there_is_says_so() {
        let mut table = table();
        table.points[0].counts = None;
        let refused = csv(&table, Format::Nanochat).unwrap_err().to_string();
        assert!(refused.contains("a has no count"), "{refused}");
    }

    #[test]
    fn a_name_cannot_become_a_formula() {
        assert!(csv(&table(), Format::OpenAthena).unwrap().contains("\n'=evil,"));
    }
}
