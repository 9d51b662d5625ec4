//! Parquet files: a row a document, one column its text.

use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;

use super::text::clean;
use super::{Document, Fields, Found, MAX_DOCUMENT, Part, Range, ReadError, Source, Tally};
use crate::columnar::{Budget, Column, Parquet, Rows, Unread, Value};
use crate::error::{FileError, InputError};
use crate::fs::open_regular;
use crate::spec::Scalar;

/// Most bytes that one page is unpacked to, and the dictionary of a column [bytes].
const PAGE: u64 = 8 * MAX_DOCUMENT as u64;

/// A file whose reader asks for no more than a page at a time.
pub(super) struct Bounded(File);

impl Length for Bounded {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |m| m.len())
    }
}

impl ChunkReader for Bounded {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut file = self.0.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length as u64 > PAGE {
            return Err(ParquetError::General(format!("a page of {length} bytes")));
        }
        self.0.get_bytes(start, length)
    }
}

/// Opens a file's footer.
pub(super) fn footer(file: &Found) -> Result<Parquet<Bounded>, ReadError> {
    let opened = open_regular(&file.path).map_err(FileError::new("read", &file.path))?;
    Parquet::open(Bounded(opened)).map_err(|why| refused(why, file).into())
}

/// The columns that are looked at: the text, and what else is asked for.
struct Columns {
    text: Column,
    others: Vec<(Column, Use)>,
}

/// What a column is for.
enum Use {
    Id,
    Group,
    Equal(Scalar),
}

/// A file whose row groups are read one after another.
pub(super) struct Table {
    parquet: Parquet<Bounded>,
    file: Found,
    columns: Columns,
    /// The row groups that are yet to be read.
    groups: std::ops::Range<usize>,
    open: Option<Group>,
    consumed: Arc<AtomicU64>,
}

/// A row group that is being read.
struct Group {
    text: (Rows, Budget),
    others: Vec<(Rows, Budget)>,
    /// Bytes of it as it lies in the file [bytes].
    packed: u64,
}

pub(super) fn open(
    part: &Part,
    fields: &Fields,
    consumed: &Arc<AtomicU64>,
) -> Result<Table, ReadError> {
    let parquet = footer(&part.file)?;
    let groups = match part.range {
        Range::RowGroups { from, to } => from..to.min(parquet.groups()),
        _ => 0..parquet.groups(),
    };
    let columns = columns(&parquet, fields, &part.file)?;
    let (file, consumed) = (part.file.clone(), Arc::clone(consumed));
    Ok(Table { parquet, file, columns, groups, open: None, consumed })
}

fn columns(
    parquet: &Parquet<Bounded>,
    fields: &Fields,
    file: &Found,
) -> Result<Columns, InputError> {
    let find = |name: &str| parquet.columns.iter().find(|c| c.name == name).cloned();
    let named = |name: &str| {
        find(name).ok_or_else(|| {
            let held = parquet.left_out.iter().find(|(left, _)| left == name);
            let why = match held {
                Some((_, what)) => {
                    format!("a column `{name}` of {what}, where plain values are read")
                }
                None => format!("no column `{name}`"),
            };
            let there: Vec<String> =
                parquet.columns.iter().map(|c| format!("`{}`", c.name)).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            InputError::new(
                format!("`{}` has {why}; columns of plain values: {there}", file.path.display()),
                "say which one: `text = \"NAME\"` for the text, and so `id`, `group` and `where`",
            )
        })
    };
    let mut others = Vec::new();
    match &fields.id {
        Some(id) => others.push((named(id)?, Use::Id)),
        None => others.extend(find("id").map(|column| (column, Use::Id))),
    }
    if let Some(group) = &fields.group {
        others.push((named(group)?, Use::Group));
    }
    for (name, value) in &fields.filter {
        others.push((named(name)?, Use::Equal(value.clone())));
    }
    Ok(Columns { text: named(&fields.text)?, others })
}

impl Table {
    /// Opens the next row group; `false` where there is none.
    fn advance(&mut self) -> Result<bool, Unread> {
        let Some(group) = self.groups.next() else { return Ok(false) };
        let rows = |column: &Column| {
            let budget = Budget::new(PAGE);
            self.parquet.rows(group, column, &budget).map(|rows| (rows, budget))
        };
        let text = rows(&self.columns.text)?;
        let others = self.columns.others.iter().map(|(column, _)| rows(column));
        let others = others.collect::<Result<_, _>>()?;
        self.open = Some(Group { text, others, packed: self.parquet.packed(group) });
        Ok(true)
    }

    /// The next row of the open group: `None` after its last one, else its document if its fields have the values
    /// that are wanted.
    #[allow(clippy::option_option)]
    fn row(&mut self) -> Result<Option<Option<Document>>, Unread> {
        let Some(group) = &mut self.open else { return Ok(None) };
        let (mut id, mut name, mut wanted) = (None, None, true);
        let mut ended = 0;
        for ((rows, budget), (_, of)) in group.others.iter_mut().zip(&self.columns.others) {
            budget.refill(PAGE);
            match (rows.next(|value| value.map_or(Scalar::Other, scalar))?, of) {
                (None, _) => ended += 1,
                (Some(value), Use::Id) => id = value.into_text(),
                (Some(value), Use::Group) => name = value.into_text(),
                (Some(value), Use::Equal(want)) => wanted &= value == *want,
            }
        }
        let (rows, budget) = &mut group.text;
        budget.refill(PAGE);
        let text = rows.next(|value| match value {
            Some(Value::Text(text)) if text.len() > MAX_DOCUMENT => Err(Unread::TooLarge),
            Some(Value::Text(text)) if wanted => Ok(clean(text.into()).into_owned()),
            None | Some(Value::Text(_)) => Ok(String::new()),
            Some(_) => Err(Unread::NoText),
        });
        match text? {
            None if ended == self.columns.others.len() => Ok(None),
            Some(_) if ended > 0 => Err(uneven()),
            None => Err(uneven()),
            Some(text) => {
                let text = text?;
                Ok(Some(wanted.then_some(Document { text, id, group: name })))
            }
        }
    }
}

fn uneven() -> Unread {
    Unread::Damaged("its columns have different numbers of rows".to_owned())
}

fn scalar(value: Value<'_>) -> Scalar {
    match value {
        Value::Bool(value) => Scalar::Bool(value),
        Value::Int(value) => Scalar::Int(value),
        Value::Unsigned(value) => {
            i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Int)
        }
        Value::Float(value) => Scalar::Float(value.into()),
        Value::Double(value) => Scalar::Float(value),
        Value::Text(text) => Scalar::Text(text.to_owned()),
    }
}

impl Source for Table {
    fn next(&mut self, tally: &mut Tally) -> Result<Option<Document>, ReadError> {
        loop {
            match self.row().map_err(|why| refused(why, &self.file))? {
                Some(Some(document)) => return Ok(Some(document)),
                Some(None) => tally.filtered += 1,
                None => {
                    if let Some(group) = self.open.take() {
                        self.consumed.fetch_add(group.packed, Ordering::Relaxed);
                    }
                    if !self.advance().map_err(|why| refused(why, &self.file))? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

fn refused(why: Unread, file: &Found) -> InputError {
    let path = file.path.display();
    match why {
        Unread::Damaged(why) => InputError::new(
            format!("`{path}` cannot be read as Parquet: {why}"),
            "the file may be cut short: fetch it again",
        ),
        Unread::Unsupported(what) => InputError::new(
            format!("`{path}` is Parquet in a way that is not read: {what}"),
            "write it again: in Python, pandas.read_parquet(FILE).to_parquet('text.parquet', compression='zstd')",
        ),
        Unread::TooLarge => InputError::new(
            format!(
                "`{path}` has a document of more than {} MiB, or a page of more than {} MiB, the most that is read at once",
                MAX_DOCUMENT >> 20,
                PAGE >> 20
            ),
            "write it again in smaller pages, which is the default of most writers (pyarrow: data_page_size)",
        ),
        Unread::NoText => InputError::new(
            format!("`{path}`: the column of the text holds values that are no text"),
            "say which column is the text: `text = \"NAME\"`",
        ),
    }
}
