//! The columns of a Parquet file: numbers, truth values and text, one value a row; all of a column, or row by row in the
//! memory of a page.
//!
//! Knows nothing of what columns mean. What a file declares is bounded by a budget before room is made for it
//! (`footer`, `pages`), and what the format's reader does to a damaged file (it may panic) ends here as an error.

mod footer;
mod pages;
mod rows;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

pub(crate) use pages::Budget;
use pages::{Codec, Pages};
use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;
pub(crate) use rows::Rows;

/// Why a file or a column is not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Bytes that are not what the format says, and which.
    Damaged(String),
    /// A part of the format that is not read, and which.
    Unsupported(String),
    /// More bytes than the budget has.
    TooLarge,
    /// A column without a mark of text, whose bytes are none.
    NoText,
}

impl From<ParquetError> for Unread {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::NYI(what) => Self::Unsupported(what),
            ParquetError::General(what) | ParquetError::EOF(what) => Self::Damaged(what),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'v> {
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Text(&'v str),
}

/// A column that can be read.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its place among the leaves of the schema.
    at: usize,
    unsigned: bool,
}

/// A Parquet file.
pub(crate) struct Parquet<R> {
    reader: Arc<R>,
    metadata: ParquetMetaData,
    /// The columns that can be read, in the file's order.
    pub(crate) columns: Vec<Column>,
    /// The other ones by name, each with what it holds.
    pub(crate) left_out: Vec<(String, &'static str)>,
}

impl<R: ChunkReader + 'static> Parquet<R> {
    /// Reads the footer.
    ///
    /// # Errors
    ///
    /// [`Unread`]: no Parquet file, or a damaged or encrypted one.
    pub(crate) fn open(reader: R) -> Result<Self, Unread> {
        contained(|| footer::check(&reader))?;
        let metadata = contained(|| Ok(ParquetMetaDataReader::new().parse_and_finish(&reader)?))?;
        let (mut columns, mut left_out): (_, Vec<(String, &'static str)>) =
            (Vec::new(), Vec::new());
        for (at, leaf) in metadata.file_metadata().schema_descr().columns().iter().enumerate() {
            let name = leaf.path().parts()[0].clone();
            match unsigned(leaf) {
                Ok(unsigned) => columns.push(Column { name, at, unsigned }),
                Err(_) if left_out.last().is_some_and(|(last, _)| *last == name) => {}
                Err(what) => left_out.push((name, what)),
            }
        }
        Ok(Self { reader: Arc::new(reader), metadata, columns, left_out })
    }

    /// How many row groups the file has.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Bytes of a row group when unpacked, as the file says: to be believed for no allocation.
    pub(crate) fn unpacked(&self, group: usize) -> u64 {
        u64::try_from(self.metadata.row_group(group).total_byte_size()).unwrap_or(0)
    }

    /// Bytes of a row group as it lies in the file, as the file says.
    pub(crate) fn packed(&self, group: usize) -> u64 {
        u64::try_from(self.metadata.row_group(group).compressed_size()).unwrap_or(0)
    }

    /// Hands one column of one row group to `each`, a value or a null for each row.
    ///
    /// # Errors
    ///
    /// [`Unread`], also what `each` returns.
    pub(crate) fn read(
        &self,
        group: usize,
        column: &Column,
        budget: &Budget,
        mut each: impl FnMut(Option<Value<'_>>) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        let mut rows = self.rows(group, column, budget)?;
        while rows.next(&mut each)?.transpose()?.is_some() {}
        Ok(())
    }

    /// One column of one row group, to be read row by row.
    ///
    /// # Errors
    ///
    /// [`Unread`].
    pub(crate) fn rows(
        &self,
        group: usize,
        column: &Column,
        budget: &Budget,
    ) -> Result<Rows, Unread> {
        self.chunk(group, column, budget).map_err(|e| rows::named(e, &column.name, budget))
    }

    fn chunk(&self, group: usize, column: &Column, budget: &Budget) -> Result<Rows, Unread> {
        let damaged = |why: &str| Unread::Damaged(why.to_owned());
        let group = self.metadata.row_group(group);
        let rows = usize::try_from(group.num_rows()).map_err(|_| damaged("a negative size"))?;
        let chunk = group.column(column.at).clone();
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let end = start.checked_add(chunk.compressed_size());
        let inside =
            end.is_some_and(|end| u64::try_from(end).is_ok_and(|e| e <= self.reader.len()));
        if start < 0 || chunk.compressed_size() < 0 || !inside {
            return Err(damaged("it is not inside the file"));
        }
        let codec = Codec::of(chunk.compression()).ok_or_else(|| {
            Unread::Unsupported(format!("it is compressed by {}", chunk.compression_codec()))
        })?;
        let width = match chunk.column_type() {
            Type::INT64 | Type::DOUBLE => 8,
            _ => 4,
        };
        let leaf = chunk.column_descr_ptr();
        // So the pages come as they lie in the file.
        let chunk = chunk.into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let reader = Arc::clone(&self.reader);
        let packed = contained(|| Ok(SerializedPageReader::new(reader, &chunk, rows, None)?))?;
        let pages = Pages { packed, codec, width, budget: budget.clone() };
        let optional = leaf.max_def_level() > 0;
        let cells: Box<dyn rows::Cells> = match get_column_reader(leaf, Box::new(pages)) {
            ColumnReader::BoolColumnReader(r) => {
                rows::typed(r, optional, rows, |v| Ok(Value::Bool(*v)))
            }
            ColumnReader::Int32ColumnReader(r) if column.unsigned => {
                rows::typed(r, optional, rows, |v| Ok(Value::Unsigned(v.cast_unsigned().into())))
            }
            ColumnReader::Int32ColumnReader(r) => {
                rows::typed(r, optional, rows, |v| Ok(Value::Int((*v).into())))
            }
            ColumnReader::Int64ColumnReader(r) if column.unsigned => {
                rows::typed(r, optional, rows, |v| Ok(Value::Unsigned(v.cast_unsigned())))
            }
            ColumnReader::Int64ColumnReader(r) => {
                rows::typed(r, optional, rows, |v| Ok(Value::Int(*v)))
            }
            ColumnReader::FloatColumnReader(r) => {
                rows::typed(r, optional, rows, |v| Ok(Value::Float(*v)))
            }
            ColumnReader::DoubleColumnReader(r) => {
                rows::typed(r, optional, rows, |v| Ok(Value::Double(*v)))
            }
            ColumnReader::ByteArrayColumnReader(r) => rows::text(r, optional, rows),
            _ => return Err(Unread::Unsupported("values of its type".to_owned())),
        };
        Ok(Rows { cells, name: column.name.clone(), budget: budget.clone() })
    }
}

/// Whether the integers of a leaf have no sign; `Err` says what it holds where that is no plain value.
fn unsigned(leaf: &ColumnDescriptor) -> Result<bool, &'static str> {
    if leaf.path().parts().len() > 1 || leaf.max_rep_level() > 0 || leaf.max_def_level() > 1 {
        return Err("nested");
    }
    let logical = leaf.logical_type_ref();
    let converted = leaf.converted_type();
    match leaf.physical_type() {
        Type::BOOLEAN => Ok(false),
        Type::FLOAT | Type::DOUBLE if logical.is_none() => Ok(false),
        Type::INT32 | Type::INT64 => {
            use ConvertedType::{
                DECIMAL, INT_8, INT_16, INT_32, INT_64, NONE, UINT_8, UINT_16, UINT_32, UINT_64,
            };
            match (logical, converted) {
                (Some(LogicalType::Integer(of)), _) => Ok(!of.is_signed),
                (Some(LogicalType::Decimal(_)), _) | (_, DECIMAL) => Err("decimals"),
                (None, UINT_8 | UINT_16 | UINT_32 | UINT_64) => Ok(true),
                (None, NONE | INT_8 | INT_16 | INT_32 | INT_64) => Ok(false),
                _ => Err("dates or times"),
            }
        }
        Type::INT96 => Err("dates or times"),
        Type::BYTE_ARRAY => {
            use ConvertedType::{DECIMAL, ENUM, JSON, NONE, UTF8};
            match (logical, converted) {
                // Text of old writers has no mark.
                (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _)
                | (None, UTF8 | ENUM | JSON | NONE) => Ok(false),
                (Some(LogicalType::Decimal(_)), _) | (_, DECIMAL) => Err("decimals"),
                _ => Err("bytes"),
            }
        }
        _ => Err("bytes of a fixed length"),
    }
}

thread_local! {
    /// Whether this thread is where a panic is an answer.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs the format's reader: its panics over damaged bytes become errors, and print nothing.
fn contained<T>(work: impl FnOnce() -> Result<T, Unread>) -> Result<T, Unread> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !EXPECTED.get() {
                usual(panic);
            }
        }));
    });
    EXPECTED.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(false);
    done.unwrap_or_else(|panic| Err(Unread::Damaged(crate::error::panic_text(&*panic))))
}
