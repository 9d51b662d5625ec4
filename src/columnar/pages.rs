//! The pages of one column, unpacked within a budget.
//!
//! The format's own reader makes room for what a page declares. Here it hands pages out as they lie in the file, and
//! they are unpacked by the codecs that the project has anyway, none beyond what the budget leaves. An encoding whose
//! decoder makes room by a number in the page is refused.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

/// So many bytes may yet be unpacked or handed out; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicU64>);

/// What a budget holds once more was asked of it than it had.
const OVER: u64 = u64::MAX;

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// Takes so many bytes; whether they were there.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let left = self.left();
        let enough = bytes <= left && !self.over();
        self.0.store(if enough { left - bytes } else { OVER }, Ordering::Relaxed);
        enough
    }

    /// Makes it one of so many bytes again, unless more was asked than there was.
    pub(crate) fn refill(&self, bytes: u64) {
        if !self.over() {
            self.0.store(bytes, Ordering::Relaxed);
        }
    }

    /// Whether more was asked than there was.
    pub(super) fn over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OVER
    }

    fn left(&self) -> u64 {
        if self.over() { 0 } else { self.0.load(Ordering::Relaxed) }
    }

    fn spend(&self, bytes: u64) -> Result<()> {
        if self.take(bytes) {
            Ok(())
        } else {
            Err(ParquetError::General("more bytes than are read".to_owned()))
        }
    }
}

/// How the pages of a column are compressed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstd,
}

impl Codec {
    /// The codec by the format's name for it; `None` where it is not read.
    pub(super) fn of(compression: Compression) -> Option<Self> {
        match compression {
            Compression::UNCOMPRESSED => Some(Self::None),
            Compression::SNAPPY => Some(Self::Snappy),
            Compression::GZIP(_) => Some(Self::Gzip),
            Compression::ZSTD(_) => Some(Self::Zstd),
            _ => None,
        }
    }

    fn unpack(self, packed: Bytes, budget: &Budget) -> Result<Bytes> {
        if packed.is_empty() {
            return Ok(packed);
        }
        match self {
            Self::None => {
                budget.spend(packed.len() as u64)?;
                Ok(packed)
            }
            Self::Snappy => {
                let length = snap::raw::decompress_len(&packed).map_err(|e| broken("snappy", e))?;
                budget.spend(length as u64)?;
                let plain = snap::raw::Decoder::new().decompress_vec(&packed);
                Ok(plain.map_err(|e| broken("snappy", e))?.into())
            }
            Self::Gzip => all(flate2::read::MultiGzDecoder::new(&packed[..]), "gzip", budget),
            Self::Zstd => {
                let reader = ruzstd::decoding::StreamingDecoder::new(&packed[..]);
                all(reader.map_err(|e| broken("zstd", e))?, "zstd", budget)
            }
        }
    }
}

fn all(reader: impl std::io::Read, codec: &str, budget: &Budget) -> Result<Bytes> {
    let mut plain = Vec::new();
    let most = budget.left().saturating_add(1);
    reader.take(most).read_to_end(&mut plain).map_err(|e| broken(codec, e))?;
    budget.spend(plain.len() as u64)?;
    Ok(plain.into())
}

fn broken(codec: &str, why: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(format!("a page compressed by {codec} cannot be unpacked: {why}"))
}

/// The pages of a column.
pub(super) struct Pages<R: ChunkReader> {
    /// Hands pages out as they lie in the file.
    pub(super) packed: SerializedPageReader<R>,
    pub(super) codec: Codec,
    /// Fewest bytes of a value in a dictionary.
    pub(super) width: u64,
    pub(super) budget: Budget,
}

impl<R: ChunkReader> Pages<R> {
    fn unpacked(&self, page: Page) -> Result<Page> {
        match page {
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = self.codec.unpack(buf, &self.budget)?;
                if u64::from(num_values) * self.width > buf.len() as u64 {
                    let why = format!("{num_values} values in {} bytes of a dictionary", buf.len());
                    return Err(ParquetError::General(why));
                }
                Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted })
            }
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                ..
            } => {
                bounded(encoding)?;
                let buf = self.codec.unpack(buf, &self.budget)?;
                Ok(Page::DataPage {
                    buf,
                    num_values,
                    encoding,
                    def_level_encoding,
                    rep_level_encoding,
                    statistics: None,
                })
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                ..
            } => {
                bounded(encoding)?;
                // The levels are never compressed.
                let levels = u64::from(def_levels_byte_len) + u64::from(rep_levels_byte_len);
                if levels > buf.len() as u64 {
                    return Err(ParquetError::General(
                        "a page is shorter than its levels".to_owned(),
                    ));
                }
                let buf = if is_compressed {
                    let values = self.codec.unpack(buf.slice(levels as usize..), &self.budget)?;
                    [&buf[..levels as usize], &values].concat().into()
                } else {
                    buf
                };
                Ok(Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics: None,
                })
            }
        }
    }
}

/// Refuses an encoding whose decoder makes room for as many values as the page says.
fn bounded(encoding: Encoding) -> Result<()> {
    match encoding {
        Encoding::PLAIN
        | Encoding::PLAIN_DICTIONARY
        | Encoding::RLE_DICTIONARY
        | Encoding::RLE
        | Encoding::DELTA_BINARY_PACKED
        | Encoding::BYTE_STREAM_SPLIT => Ok(()),
        other => Err(ParquetError::NYI(format!("its values are encoded as {other}"))),
    }
}

impl<R: ChunkReader> Iterator for Pages<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<R: ChunkReader> PageReader for Pages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.packed.get_next_page()?;
        page.map(|page| self.unpacked(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.packed.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.packed.skip_next_page()
    }
}
