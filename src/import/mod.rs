//! Anybody's table of runs: CSV or another separator, JSON records, Parquet, with parameters, tokens (or FLOPs) and loss.
//!
//! Bytes become text (`decode`), text becomes cells (`grid`, `records`), as do the columns of a
//! Parquet file (`parquet`), columns get their meaning (`columns`), rows
//! become runs, and what is odd about them is looked at (`magnitude`, `settings`, `checkpoints`). Rows that cannot be
//! used become exclusions with a reason; a table that cannot be read is an error.

mod checkpoints;
mod columns;
mod decode;
mod grid;
mod magnitude;
mod names;
mod number;
mod parquet;
mod records;
mod roles;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use columns::Columns;

use crate::covariates;
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os};
use crate::points::{Convention, Exclusion, Remark, Table, Topic};
use crate::terminal;
use crate::units::few;

/// Largest table that is read [bytes].
const MAX_BYTES: u64 = 256 << 20;

/// How to read a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// (role, column) pairs that the user gave, such as (`params`, `N`).
    pub map: Vec<(String, String)>,
    /// (column, value) pairs a row must match, all of them.
    pub filters: Vec<(String, String)>,
    /// Take runs of several data sets, tokenizers, experiments or conventions of N as one study.
    pub mixed: bool,
    /// Take every row for a run of its own, also where rows look like checkpoints of one.
    pub separate: bool,
}

/// A table as it was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The runs.
    pub table: Table,
    /// Where N, D, C and L come from.
    pub taken: Vec<Taken>,
    /// What a reader must know of it.
    pub remarks: Vec<Remark>,
}

/// Where a quantity of the law comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// `N`, `D`, `C` or `L`.
    pub symbol: &'static str,
    /// The column, or the formula: `` `num_params` `` or `C / 6N`.
    pub from: String,
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

/// Reads a table: cells separated by commas, semicolons, tabs, bars or spaces below a header line, or JSON records;
/// in UTF-8, UTF-16 with its mark, or Windows-1252 (Latin-1); as it is or under gzip or zstd. Or a Parquet file.
///
/// Missing tokens are D = C / 6N and missing sizes N = C / 6D, from FLOPs or budgets. Missing FLOPs are the run's
/// budget where the table has one (Open-Athena, nanochat: C as its authors counted it), otherwise C = 6ND. Where
/// rates or batches were swept the best of each (N, D) is kept.
///
/// # Errors
///
/// [`ImportError`]: no such file, a format that is not read, no such column (the file's own are listed), a line with
/// another number of cells than the header (named by its line), or numbers that cannot be what they are taken for.
pub fn read(path: &Path, options: &Options) -> Result<Imported, ImportError> {
    let bytes = match Os.read(path, MAX_BYTES) {
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => {
            let message =
                format!("`{}` has more than the {MAX_BYTES} bytes that are read", path.display());
            return Err(InputError::new(message, "a table of runs has one row a run").into());
        }
        bytes => bytes.map_err(FileError::new("read", path))?,
    };
    Ok(parse(&bytes, &path.display().to_string(), options)?)
}

/// Reads a table from memory; `source` names it in errors.
///
/// # Errors
///
/// [`InputError`], see [`read`].
///
/// # Example
///
/// ```
/// let csv = "model size,tokens,val loss\n10M,200M,4.1\n30M,200M,3.8\n30M,600M,\n";
/// let read = isoflop::import::parse(csv.as_bytes(), "runs.csv", &Default::default())?;
/// let run = &read.table.points[1];
/// assert_eq!((run.params, run.tokens, run.loss), (30e6, 200e6, 3.8));
/// assert_eq!(run.flops, 6.0 * 30e6 * 200e6);
/// // A row that cannot be used is left out by name.
/// assert_eq!(read.table.excluded.len(), 1);
/// # Ok::<(), isoflop::error::InputError>(())
/// ```
pub fn parse(bytes: &[u8], source: &str, options: &Options) -> Result<Imported, InputError> {
    let (grid, encoding) = if parquet::is_parquet(bytes) {
        (parquet::read(bytes, source)?, None)
    } else {
        let (text, encoding) = decode::text(bytes, source)?;
        let json = records::is_json(&text);
        let grid = if json { records::read(&text, source) } else { grid::read(&text, source) };
        (grid?, encoding)
    };
    let mut remarks = Vec::new();
    let columns = Columns::find(&grid, source, options, &mut remarks)?;
    let (params, flops) = (columns.params_convention(), columns.flops_convention());
    let convention = Convention::new(params, flops, columns.loss_unit());
    let mut table = Table::new(source, convention, Vec::new());
    let mut studies: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut rows = Vec::new();
    let mut worse = Vec::new();
    for (i, row) in grid.rows.iter().enumerate() {
        if !columns.keeps(&row.cells) {
            continue;
        }
        let id = columns.text(&row.cells, "id");
        let id = id.map_or_else(|| format!("row {}", i + 1), |id| terminal::name(id).into_owned());
        let unfinished = settings::unfinished(&grid.header, &row.cells);
        let point = unfinished.map_or_else(|| columns.point(&row.cells, &id), Err);
        match point {
            Ok(point) => {
                worse.extend(columns.below_guess(&row.cells, point.loss));
                for (column, value) in columns.study(&row.cells) {
                    studies.entry(column).or_default().insert(value.to_owned());
                }
                rows.push(i);
                table.points.push(point);
            }
            Err(reason) => {
                let what = format!("{} {}", grid.place, row.line);
                table.excluded.push(Exclusion { id, what, reason });
            }
        }
    }
    if table.points.is_empty() {
        return Err(none_left(&table, source));
    }
    if !options.mixed {
        one_study(&studies, source)?;
    }
    tell_apart(&mut table);
    let ids: Vec<(usize, String)> =
        rows.into_iter().zip(table.points.iter().map(|p| p.id.clone())).collect();
    remarks.extend(magnitude::worse_than_guesses(&worse));
    magnitude::check(&mut table, &columns, source, &mut remarks)?;
    let settings = settings::settings(&grid, &columns, &ids);
    let named = columns.at("id").is_some() || columns.at("cluster").is_some();
    if !named && !options.separate {
        let identities = settings::identities(&grid, &ids);
        let of = |id: &str| {
            let values = settings.iter().map(|s| s.values.get(id).map_or("", String::as_str));
            let own = identities.get(id).map_or("", String::as_str);
            values.chain([own]).collect::<Vec<_>>().join("\u{1f}")
        };
        remarks.extend(checkpoints::gather(&mut table, of));
    }
    remarks.extend(covariates::keep_best(&mut table, &settings));
    let notes = encoding.iter().chain(&grid.notes);
    let notes = notes.map(|text| Remark { topic: Topic::Columns, text: text.clone() });
    remarks.splice(0..0, notes);
    Ok(Imported { taken: columns.taken(), table, remarks })
}

/// Refuses a table of which no row is left, with the commonest reasons.
fn none_left(table: &Table, source: &str) -> InputError {
    if table.excluded.is_empty() {
        return InputError::new(
            format!("{source}: no row is left"),
            "check --where, and that the file has lines below its header",
        );
    }
    // `params is `x`, want ...` of many rows is one reason.
    let mut reasons: Vec<(String, usize, &Exclusion)> = Vec::new();
    for row in &table.excluded {
        let kind: String = row.reason.split('`').step_by(2).collect();
        match reasons.iter_mut().find(|(k, ..)| *k == kind) {
            Some((_, n, _)) => *n += 1,
            None => reasons.push((kind, 1, row)),
        }
    }
    reasons.sort_by_key(|(_, n, _)| std::cmp::Reverse(*n));
    let told: Vec<String> = reasons
        .iter()
        .take(3)
        .map(|(_, n, row)| format!("{n} like {}: {}", row.what, row.reason))
        .collect();
    let more = match reasons.len() - told.len() {
        0 => String::new(),
        more => format!("; and {more} reasons more"),
    };
    let n = table.excluded.len();
    InputError::new(
        format!(
            "{source}: {} can be used; {}{more}",
            if n == 1 {
                "its one row cannot be".to_owned() + " read, so none"
            } else {
                format!("none of its {n} rows")
            },
            told.join("; ")
        ),
        "write plain numbers, such as 7085551, 7.09M or 1e18, or name other columns with --map ROLE=COLUMN",
    )
}

/// Refuses a table of several studies: their losses are not points of one law.
fn one_study(studies: &BTreeMap<&str, BTreeSet<String>>, source: &str) -> Result<(), InputError> {
    let Some((column, values)) = studies.iter().find(|(_, values)| values.len() > 1) else {
        return Ok(());
    };
    let (n, named) = (values.len(), values.iter().collect::<Vec<_>>());
    let named = few(&named, 8);
    let (message, why) = match roles::convention(&names::Name::of(column)) {
        Some(of) => (
            format!("{source}: {n} conventions of {of} in one table, by `{column}`: {named}"),
            "what is counted otherwise follows another law",
        ),
        None => (
            format!("{source}: {n} values of `{column}` in one table: {named}"),
            "runs on other data or with another tokenizer follow another law",
        ),
    };
    let next = format!("choose with --where {column}=VALUE, or say --mixed to fit them as one");
    Err(InputError::new(message, format!("{why}; {next}")))
}

/// Rows of one name are checkpoints or branches of one run: they keep its name as their cluster, and
/// get their row for an id.
fn tell_apart(table: &mut Table) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for point in &table.points {
        *seen.entry(point.id.clone()).or_default() += 1;
    }
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    for point in &mut table.points {
        if seen[&point.id] > 1 {
            let nth = place.entry(point.id.clone()).or_default();
            *nth += 1;
            point.id = format!("{} #{nth}", point.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, map: &[(&str, &str)], filters: &[(&str, &str)]) -> Result<Table, String> {
        imported(text, map, filters).map(|i| i.table)
    }

    fn imported(
        text: &str,
        map: &[(&str, &str)],
        filters: &[(&str, &str)],
    ) -> Result<Imported, String> {
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let options = Options { map: own(map), filters: own(filters), ..Options::default() };
        parse(text.as_bytes(), "t.csv", &options)
            .map_err(|e| format!("{e} / {}", e.hint.as_deref().unwrap_or_default()))
    }

    #[test]
    fn the_tables_people_have_are_understood_by_their_headers() {
        for text in [
            "C,N,D,loss\n6e12,1e6,1e6,3.0\n",
            "params,tokens,loss\n1M,1M,3.0\n",
            "name,params,tokens,budget,loss\nx,1e6,1e6,6e12,3.0\n",
            "training_run_id,model_size__n,dataset_size__d,test_loss__ce\nx,1e6,1e6,3.0\n",
            "flops_budget,depth,params_wte,params_lm_head,params_transformer,tokens_trained,val_bpb\n\
             6e12,4,3e5,4e5,6e5,1e6,1.0\n",
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
    fn nothing_takes_the_place_of_a_mapped_column() {
        // An empty or bad cell leaves its row out; a budget may be missing.
        let text = "N,D,F,C,g,loss\n1e6,1e6,6e12,6e12,6e12,3.0\n1e6,2e6,,12e12,,3.0\n1e6,4e6,24e12,24e12,x,3.0\n";
        let reasons = |map: &[(&str, &str)]| {
            let table = read(text, map, &[]).unwrap();
            table.excluded.iter().map(|e| e.reason.clone()).collect::<Vec<_>>()
        };
        assert_eq!(reasons(&[]), Vec::<String>::new());
        assert_eq!(reasons(&[("flops", "F")]), ["flops is empty"]);
        assert_eq!(reasons(&[("budget", "g")]), ["budget is `x`, want a finite number above 0"]);
        // A column is one quantity: what the user takes for N is not found for D.
        let table = read("D,C,loss\n1e6,12e12,3.0\n", &[("params", "D")], &[]).unwrap();
        assert_eq!((table.points[0].params, table.points[0].tokens), (1e6, 2e6));
        // Another count than that of the matrices is not told as theirs.
        let text = "params,params_total,params_non_embedding,params_flops_over_6,tokens,loss\n\
                    1e6,3e6,5e5,2e6,1e6,3.0\n";
        for (column, convention, counts) in
            [("params", "matmul", true), ("params_total", "as given", false)]
        {
            let table = read(text, &[("params", column)], &[]).unwrap();
            let got = (table.convention.params.as_str(), table.points[0].counts.is_some());
            assert_eq!(got, (convention, counts), "{column}");
        }
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
        assert!(cut.contains("line 3"), "{cut}");
        let missing = read("a,b\n1,2\n", &[], &[]).unwrap_err();
        assert!(missing.contains("--map params=COLUMN") && missing.contains("a, b"), "{missing}");
        let role = read("N,D,loss\n1,1,1\n", &[("colour", "N")], &[]).unwrap_err();
        assert!(role.contains("`colour`"), "{role}");
        let column = read("N,D,loss\n1,1,1\n", &[], &[("seed", "1")]).unwrap_err();
        assert!(column.contains("no column `seed`"), "{column}");
    }

    #[test]
    fn runs_of_several_studies_are_not_one_law() {
        let text = "experiment,N,D,loss\na,1e6,1e6,3.0\nb,1e6,2e6,2.9\na,1e6,4e6,2.8\n";
        let refused = read(text, &[], &[]).unwrap_err();
        assert!(
            refused.contains("2 values of `experiment`") && refused.contains("--mixed"),
            "{refused}"
        );
        assert_eq!(read(text, &[], &[("experiment", "a")]).unwrap().points.len(), 2);
        let options = Options { mixed: true, ..Options::default() };
        assert_eq!(parse(text.as_bytes(), "t.csv", &options).unwrap().table.points.len(), 3);
    }

    #[test]
    fn checkpoints_of_one_run_share_its_noise() {
        let table =
            read("run,N,D,loss\nx,1e6,1e6,3.0\nx,1e6,2e6,2.9\ny,2e6,1e6,2.8\n", &[], &[]).unwrap();
        let ids: Vec<(&str, &str)> =
            table.points.iter().map(|p| (p.id.as_str(), p.cluster.as_str())).collect();
        assert_eq!(ids, [("x #1", "x"), ("x #2", "x"), ("y", "y")]);
    }

    /// nanochat's own arithmetic: blocks and head multiply activations, the budget is what was spent.
    #[test]
    fn nanochats_matrices_are_summed_and_its_loss_is_in_bits() {
        let header =
            "flops_budget,params_wte,params_lm_head,params_transformer,tokens_trained,val_bpb";
        let table = read(&format!("{header}\n7e12,3e5,4e5,6e5,1e6,1.0\n"), &[], &[]).unwrap();
        let point = &table.points[0];
        assert_eq!((point.params, point.flops, point.budget), (1e6, 7e12, Some(7e12)));
        assert_eq!(table.convention.loss, "bits/byte");
        assert_eq!(table.convention.params, "matmul");
    }
}
