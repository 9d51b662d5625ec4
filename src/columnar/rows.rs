//! The values of one column, row by row.
//!
//! Text is decoded one value at a time, so that no more is held than a dictionary and a page; numbers by the thousand.

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType};

use super::{Budget, Unread, Value, contained};

/// Numbers that are decoded at a time.
const BATCH: usize = 1024;

/// One column of one row group.
pub(crate) struct Rows {
    pub(super) cells: Box<dyn Cells>,
    pub(super) name: String,
    pub(super) budget: Budget,
}

impl Rows {
    /// Hands the next row's value, or its null, to `take`; `None` after the last row.
    ///
    /// # Errors
    ///
    /// [`Unread`], with the column's name.
    pub(crate) fn next<T>(
        &mut self,
        take: impl FnOnce(Option<Value<'_>>) -> T,
    ) -> Result<Option<T>, Unread> {
        match self.cells.next() {
            Ok(cell) => Ok(cell.map(take)),
            Err(why) => Err(named(why, &self.name, &self.budget)),
        }
    }
}

/// The error with the column's name; where the budget is over, that is the error.
pub(super) fn named(why: Unread, name: &str, budget: &Budget) -> Unread {
    match why {
        _ if budget.over() => Unread::TooLarge,
        Unread::Damaged(why) => Unread::Damaged(format!("column `{name}`: {why}")),
        Unread::Unsupported(what) => Unread::Unsupported(format!("column `{name}`: {what}")),
        other => other,
    }
}

/// Values and nulls, one after another.
pub(super) trait Cells: Send {
    /// The next one; `None` after the last, the inner `None` for a null.
    #[allow(clippy::option_option)]
    fn next(&mut self) -> Result<Option<Option<Value<'_>>>, Unread>;
}

/// The cells of a column of numbers or truth values.
pub(super) fn typed<T: DataType + 'static>(
    reader: ColumnReaderImpl<T>,
    optional: bool,
    rows: usize,
    value: for<'v> fn(&'v T::T) -> Result<Value<'v>, Unread>,
) -> Box<dyn Cells> {
    Box::new(Typed::new(reader, optional, rows, BATCH, value))
}

/// The cells of a column of text.
pub(super) fn text(
    reader: ColumnReaderImpl<ByteArrayType>,
    optional: bool,
    rows: usize,
) -> Box<dyn Cells> {
    fn value(value: &ByteArray) -> Result<Value<'_>, Unread> {
        std::str::from_utf8(value.data()).map(Value::Text).map_err(|_| Unread::NoText)
    }
    Box::new(Typed::new(reader, optional, rows, 1, value))
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    optional: bool,
    rows: usize,
    batch: usize,
    value: for<'v> fn(&'v T::T) -> Result<Value<'v>, Unread>,
    levels: Vec<i16>,
    values: Vec<T::T>,
    /// Rows that were decoded, and those of them that were handed out.
    decoded: usize,
    given: usize,
    /// Rows and values of the present batch that were handed out.
    row: usize,
    at: usize,
}

impl<T: DataType> Typed<T> {
    fn new(
        reader: ColumnReaderImpl<T>,
        optional: bool,
        rows: usize,
        batch: usize,
        value: for<'v> fn(&'v T::T) -> Result<Value<'v>, Unread>,
    ) -> Self {
        let (levels, values) = (Vec::new(), Vec::new());
        let (decoded, given, row, at) = (0, 0, 0, 0);
        Self { reader, optional, rows, batch, value, levels, values, decoded, given, row, at }
    }

    fn decode(&mut self) -> Result<(), Unread> {
        self.levels.clear();
        self.values.clear();
        (self.row, self.at) = (0, 0);
        let want = self.batch.min(self.rows - self.decoded);
        let Self { reader, levels, values, .. } = self;
        let (records, ..) =
            contained(|| Ok(reader.read_records(want, Some(levels), None, values)?))?;
        if records == 0 {
            let why = format!("it ends after {} of {} rows", self.decoded, self.rows);
            return Err(Unread::Damaged(why));
        }
        self.decoded += records;
        Ok(())
    }
}

impl<T: DataType> Cells for Typed<T>
where
    ColumnReaderImpl<T>: Send,
{
    #[allow(clippy::option_option)]
    fn next(&mut self) -> Result<Option<Option<Value<'_>>>, Unread> {
        if self.given == self.decoded {
            if self.decoded == self.rows {
                return Ok(None);
            }
            self.decode()?;
        }
        let null = self.optional && self.levels.get(self.row) != Some(&1);
        self.row += 1;
        self.given += 1;
        if null {
            return Ok(Some(None));
        }
        let Some(value) = self.values.get(self.at) else {
            let why = format!("it lacks a value in row {}", self.given);
            return Err(Unread::Damaged(why));
        };
        self.at += 1;
        (self.value)(value).map(|value| Some(Some(value)))
    }
}
