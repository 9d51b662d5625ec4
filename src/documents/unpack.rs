//! A file's bytes, unpacked as they are read: gzip of several members, Zstandard of several frames.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Found, Packing, ReadError};
use crate::error::{FileError, InputError};
use crate::fs::open_regular;

/// Bytes that are read at a time.
const BUFFER: usize = 128 << 10;
/// Largest window of Zstandard, as of its own tool: `--long=27` [bytes].
const MAX_WINDOW: u64 = 128 << 20;

/// What is read from.
pub(super) type Reader = Box<dyn BufRead + Send>;

/// Opens a file. What is read of it, packed, is added to `consumed`.
pub(super) fn open(file: &Found, consumed: &Arc<AtomicU64>) -> Result<Reader, FileError> {
    let opened = open_regular(&file.path).map_err(FileError::new("read", &file.path))?;
    Ok(unpacked(opened, file.packing, consumed))
}

/// A file from where it stands, unpacked.
pub(super) fn unpacked(file: File, packing: Packing, consumed: &Arc<AtomicU64>) -> Reader {
    let counted = Counted { file, consumed: Arc::clone(consumed) };
    let packed = BufReader::with_capacity(BUFFER, counted);
    match packing {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(packed)))
        }
        Packing::Zstd => Box::new(BufReader::with_capacity(BUFFER, Frames::new(packed))),
    }
}

/// An error of reading a file, by whose fault it is.
pub(super) fn failed(file: &Found, error: Error) -> ReadError {
    let name = match file.packing {
        Packing::Gzip => "gzip",
        Packing::Zstd => "Zstandard",
        Packing::Plain => return FileError::new("read", &file.path)(error).into(),
    };
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
            InputError::new(
                format!("`{}` cannot be unpacked as {name}: {error}", file.path.display()),
                "the file may be cut short: fetch or write it again (`gzip -t` and `zstd -t` test files)",
            )
            .into()
        }
        _ => FileError::new("read", &file.path)(error).into(),
    }
}

/// Counts what is read of a file.
struct Counted {
    file: File,
    consumed: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(to)?;
        self.consumed.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Frames of Zstandard, one after another.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    inside: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { source, decoder, inside: false }
    }

    /// Begins the next frame, or skips one that holds no text; `false` at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.inside = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let mut skipped = (&mut self.source).take(length.into());
                if io::copy(&mut skipped, &mut io::sink())? < length.into() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Err(e) => return Err(broken(e)),
        }
        Ok(true)
    }

    fn end(&mut self) -> io::Result<()> {
        self.inside = false;
        let (told, is) =
            (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        if told.is_some() && told != is { Err(broken("its checksum differs")) } else { Ok(()) }
    }
}

fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                if !self.begin()? {
                    return Ok(0);
                }
                continue;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(to);
            }
            if self.decoder.is_finished() {
                self.end()?;
            } else {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(broken)?;
            }
        }
    }
}
