//! A table of runs in the formats that other tools read.
//!
//! What a format has no column for is left out; what it has a column for and the table does not know is
//! left empty. Reads: `points`. Read by: `cli`.

use crate::error::InputError;
use crate::points::{Point, Table};
use crate::units::BITS_PER_BYTE;

/// A format that other tools read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Every format, by name.
    pub const ALL: [(&str, Self); 4] = [
        ("chinchilla", Self::Chinchilla),
        ("open-athena", Self::OpenAthena),
        ("nanochat", Self::Nanochat),
        ("simple-scaling-laws", Self::SimpleScalingLaws),
    ];

    fn header(self) -> &'static [&'static str] {
        match self {
            Self::Chinchilla => &["C", "N", "D", "loss"],
            Self::OpenAthena => &["experiment", "tokens", "params", "budget", "loss"],
            Self::Nanochat => &[
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
            Self::SimpleScalingLaws => &[
                "training_run_id",
                "model_size__params",
                "dataset_size__tokens",
                "test_loss__nats",
            ],
        }
    }
}

/// The runs of `table` as CSV with a header line. Numbers have every digit they need to be read back.
///
/// # Errors
///
/// [`InputError`] where the format asks for what the table does not have: nanochat's wants every
/// parameter counted by kind and the loss in bits per byte.
pub fn csv(table: &Table, format: Format) -> Result<String, InputError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |e: &dyn std::fmt::Display| {
        InputError::new(format!("cannot write CSV: {e}"), "this is a bug of isoflop")
    };
    writer.write_record(format.header()).map_err(|e| broken(&e))?;
    for point in &table.points {
        let row = match format {
            Format::Chinchilla => numbers(&[point.flops, point.params, point.tokens, point.loss]),
            Format::OpenAthena => {
                let budget = point.budget.unwrap_or(point.flops);
                let mut row = vec![neutral(&table.source)];
                row.extend(numbers(&[point.tokens, point.params, budget, point.loss]));
                row
            }
            Format::Nanochat => nanochat(table, point)?,
            Format::SimpleScalingLaws => {
                let mut row = vec![neutral(&point.cluster)];
                row.extend(numbers(&[point.params, point.tokens, point.loss]));
                row
            }
        };
        writer.write_record(&row).map_err(|e| broken(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| broken(&e))?;
    String::from_utf8(bytes).map_err(|e| broken(&e))
}

fn nanochat(table: &Table, point: &Point) -> Result<Vec<String>, InputError> {
    let lacks = |what: &str| {
        InputError::new(
            format!("{}: {} has no {what}, which nanochat's table holds", table.source, point.id),
            "export a results directory of text, or another format",
        )
    };
    let counts = point.counts.ok_or_else(|| lacks("count of embedding, head and blocks"))?;
    let bits = match (table.convention.loss.as_str(), table.bytes_per_token) {
        (BITS_PER_BYTE, _) => point.loss,
        (_, Some(bytes)) => point.loss / std::f64::consts::LN_2 / bytes,
        _ => return Err(lacks("loss in bits per byte")),
    };
    let head = counts.matmul - counts.non_embedding;
    let number = |value: f64| value.to_string();
    Ok(vec![
        number(point.budget.unwrap_or(point.flops)),
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

/// A text cell that no spreadsheet takes for a formula.
pub(crate) fn neutral(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        for (name, format) in Format::ALL {
            let text = csv(&table, format).unwrap();
            let read = import::parse(text.as_bytes(), name, &import::Options::default()).unwrap();
            let read = read.table;
            assert!(read.excluded.is_empty(), "{name}: {:?}", read.excluded);
            for (got, want) in read.points.iter().zip(&table.points) {
                let loss = match format {
                    Format::Nanochat => want.loss / std::f64::consts::LN_2 / 4.0,
                    _ => want.loss,
                };
                assert_eq!((got.params, got.tokens, got.loss), (want.params, want.tokens, loss));
                if format != Format::SimpleScalingLaws {
                    assert_eq!(got.flops, want.flops, "{name}");
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
