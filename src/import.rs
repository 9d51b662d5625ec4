//! Anybody's table of runs: a CSV with parameters, tokens (or FLOPs) and loss.
//!
//! Rows that cannot be used become exclusions with a reason; a table that cannot be read is an error.
//! Reads: `points`, `units`. Read by: `cli`.

use std::path::Path;

use crate::error::{FileError, InputError};
use crate::points::{Convention, Counts, Exclusion, Point, Table};
use crate::units::parse_quantity;

/// Largest table that is read [bytes].
const MAX_BYTES: u64 = 256 << 20;

/// What a column may mean, and the names that are understood without `--map`, lower case.
///
/// They cover `chinchilla` (C, N, D, loss), Open-Athena (params, tokens, budget, loss), nanochat
/// (flops_budget, tokens_trained, val_bpb) and our own ledger.
const ROLES: [(&str, &[&str]); 8] = [
    ("params", &["params", "n", "n_params", "num_params", "parameters", "parameter_count"]),
    ("tokens", &["tokens", "d", "n_tokens", "num_tokens", "tokens_trained", "training_tokens"]),
    ("loss", &["loss", "l", "val_loss", "final_loss", "eval_loss", "val_bpb"]),
    ("flops", &["flops", "c", "flop", "training_flops", "total_training_flops", "compute"]),
    ("budget", &["budget", "flops_budget", "isoflop_budget"]),
    ("unique_tokens", &["unique_tokens", "u", "unique"]),
    ("id", &["id", "name", "run", "run_name"]),
    ("cluster", &["cluster", "trunk"]),
];

/// How to read a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// (role, column) pairs that the user gave, such as (`params`, `N`).
    pub map: Vec<(String, String)>,
    /// (column, value) pairs a row must match, all of them.
    pub filters: Vec<(String, String)>,
}

/// Table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its content, or the options.
    #[error(transparent)]
    Input(#[from] InputError),
}

/// Reads a CSV file with a header line.
///
/// Missing tokens are computed from FLOPs as D = C / 6N, missing FLOPs as C = 6ND.
///
/// # Errors
///
/// [`ImportError`]: no such file, no such column (the file's own are listed), or a line with another
/// number of fields than the header (named by its line).
pub fn read(path: &Path, options: &Options) -> Result<Table, ImportError> {
    let length = std::fs::metadata(path).map_err(FileError::new("read", path))?.len();
    if length > MAX_BYTES {
        let message =
            format!("`{}` has {length} bytes, at most {MAX_BYTES} are read", path.display());
        return Err(InputError::new(message, "a table of runs has one row a run").into());
    }
    let bytes = std::fs::read(path).map_err(FileError::new("read", path))?;
    Ok(parse(&bytes, &path.display().to_string(), options)?)
}

/// Reads a table from memory; `source` names it in errors.
///
/// # Errors
///
/// [`InputError`], see [`read`].
pub fn parse(bytes: &[u8], source: &str, options: &Options) -> Result<Table, InputError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let broken = |e: &csv::Error| {
        InputError::new(
            format!("{source}: {e}"),
            "every line must have as many fields as the header; a file cut short ends in the middle of a line",
        )
    };
    let header: Vec<String> =
        reader.headers().map_err(|e| broken(&e))?.iter().map(str::to_owned).collect();
    let columns = Columns::find(&header, source, options)?;
    let mut table = Table {
        source: source.to_owned(),
        convention: Convention {
            params: "as given".to_owned(),
            flops: if columns.at("flops").is_some() { "as given" } else { "6ND" }.to_owned(),
        },
        points: Vec::new(),
        excluded: Vec::new(),
        entropy: None,
        bytes_per_token: None,
    };
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| broken(&e))?;
        if !columns.keeps(&record) {
            continue;
        }
        let id =
            columns.text(&record, "id").map_or_else(|| format!("row {}", i + 1), str::to_owned);
        match columns.point(&record, &id) {
            Ok(point) => table.points.push(point),
            Err(reason) => {
                let what = format!("line {}", record.position().map_or(0, csv::Position::line));
                table.excluded.push(Exclusion { id, what, reason });
            }
        }
    }
    if table.points.is_empty() && table.excluded.is_empty() {
        return Err(InputError::new(
            format!("{source}: no row is left"),
            "check --where, and that the file has lines below its header",
        ));
    }
    Ok(table)
}

/// Where each role is in a row.
struct Columns {
    roles: Vec<(&'static str, usize)>,
    filters: Vec<(usize, String)>,
    counts: Option<[usize; 3]>,
}

impl Columns {
    fn find(header: &[String], source: &str, options: &Options) -> Result<Self, InputError> {
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
            let by_name =
                names.iter().find_map(|name| header.iter().position(|h| h.to_lowercase() == *name));
            roles.extend(by_name.map(|at| (role, at)));
        }
        let has = |role: &str| roles.iter().any(|(r, _)| *r == role);
        for (missing, there) in [
            ("params", has("params")),
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
        Ok(Self { roles, filters, counts })
    }

    fn at(&self, role: &str) -> Option<usize> {
        self.roles.iter().find(|(r, _)| *r == role).map(|(_, at)| *at)
    }

    fn text<'r>(&self, record: &'r csv::StringRecord, role: &str) -> Option<&'r str> {
        self.at(role).and_then(|at| record.get(at)).filter(|text| !text.is_empty())
    }

    /// Equal as text, or as numbers.
    fn keeps(&self, record: &csv::StringRecord) -> bool {
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

    fn point(&self, record: &csv::StringRecord, id: &str) -> Result<Point, String> {
        let need =
            |role: &str| self.number(record, role)?.ok_or_else(|| format!("{role} is missing"));
        let (params, loss) = (need("params")?, need("loss")?);
        let (tokens, flops) = match (self.number(record, "tokens")?, self.number(record, "flops")?)
        {
            (Some(tokens), Some(flops)) => (tokens, flops),
            (Some(tokens), None) => (tokens, 6.0 * params * tokens),
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
            // A study without a budget for this run is not an error.
            budget: self.text(record, "budget").and_then(parse_quantity),
            unique_tokens: self.number(record, "unique_tokens")?,
            counts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, map: &[(&str, &str)], filters: &[(&str, &str)]) -> Result<Table, String> {
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let options = Options { map: own(map), filters: own(filters) };
        parse(text.as_bytes(), "t.csv", &options)
            .map_err(|e| format!("{e} / {}", e.hint.as_deref().unwrap_or_default()))
    }

    #[test]
    fn the_tables_people_have_are_understood_by_their_headers() {
        for text in [
            "C,N,D,loss\n6e12,1e6,1e6,3.0\n",
            "params,tokens,loss\n1M,1M,3.0\n",
            "name,params,tokens,budget,loss\nx,1e6,1e6,6e12,3.0\n",
        ] {
            let table = read(text, &[], &[]).unwrap();
            let point = &table.points[0];
            assert_eq!((point.params, point.tokens, point.flops), (1e6, 1e6, 6e12), "{text}");
        }
    }

    #[test]
    fn columns_can_be_named_and_rows_chosen() {
        let text = "size,toks,bpb,ok\n1e6,1e6,3.0,1\n2e6,1e6,2.9,0\n";
        let map = [("params", "size"), ("tokens", "toks"), ("loss", "bpb")];
        assert_eq!(read(text, &map, &[("ok", "1.0")]).unwrap().points.len(), 1);
        assert_eq!(read(text, &map, &[]).unwrap().points.len(), 2);
        let none = read(text, &map, &[("ok", "7")]).unwrap_err();
        assert!(none.contains("no row is left"), "{none}");
    }

    #[test]
    fn a_bad_value_excludes_its_row_by_name_and_keeps_the_others() {
        let text = "N,D,loss\n1e6,1e6,3.0\n1e6,1e6,nan\n0,1e6,3\n1e6,,3\n1e6,-5,3\n1e6,2e6,inf\n";
        let table = read(text, &[], &[]).unwrap();
        assert_eq!(table.points.len(), 1);
        let reasons: Vec<&str> = table.excluded.iter().map(|e| e.reason.as_str()).collect();
        assert_eq!(table.excluded[0].id, "row 2");
        assert_eq!(table.excluded[0].what, "line 3");
        assert!(reasons[0].contains("loss is `nan`"), "{reasons:?}");
        assert!(reasons[2].contains("tokens is empty"), "{reasons:?}");
        assert_eq!(reasons.len(), 5);
    }

    #[test]
    fn a_table_that_cannot_be_read_says_which_line_or_column() {
        let cut = read("N,D,loss\n1e6,1e6,3.0\n1e6,1e", &[], &[]).unwrap_err();
        assert!(cut.contains("line: 3"), "{cut}");
        let missing = read("a,b\n1,2\n", &[], &[]).unwrap_err();
        assert!(missing.contains("--map params=COLUMN") && missing.contains("a, b"), "{missing}");
        let role = read("N,D,loss\n1,1,1\n", &[("colour", "N")], &[]).unwrap_err();
        assert!(role.contains("`colour`"), "{role}");
        let column = read("N,D,loss\n1,1,1\n", &[], &[("seed", "1")]).unwrap_err();
        assert!(column.contains("no column `seed`"), "{column}");
    }
}
