//! From the bytes of a file to text: compression, encodings, and the kinds of file that are no table.
//!
//! What is read: UTF-8, UTF-16 with its mark, and what is no UTF-8 but text as Windows-1252, of which Latin-1's
//! letters are a part; all also under gzip or zstd. The encoding of eight-bit text is a guess, and it is said:
//! digits, separators and names of columns in ASCII are the same in all such encodings, so a wrong guess garbles a
//! note and never a number. Everything else is named, with what to do about it.

use std::io::Read as _;

use super::MAX_BYTES;
use crate::error::InputError;

/// Files that are no text, by how they begin: what they are, and the way out.
const FOREIGN: [(&[u8], &str, &str); 13] = [
    (
        b"PAR1",
        "a Parquet file that is compressed once more",
        "unpack it: gunzip FILE, or zstd -d FILE",
    ),
    (b"ARROW1", "an Arrow file", TO_CSV),
    (
        b"PK\x03\x04",
        "a zip archive, such as an Excel workbook",
        "unpack it; of a workbook save the sheet as CSV",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (
        b"SQLite format 3",
        "an SQLite database",
        "write the table as CSV: sqlite3 -header -csv FILE 'select * from TABLE'",
    ),
    (b"\x89HDF", "an HDF5 file", TO_CSV),
    (b"\x93NUMPY", "a NumPy array", "write it with numpy.savetxt and a header line"),
    (b"BZh", "compressed by bzip2", "unpack it: bunzip2 -k FILE"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it: unxz -k FILE"),
    (b"%PDF", "a PDF", "copy its table into a CSV file"),
    (b"\x89PNG", "a picture", "digitise its points into a CSV file"),
    (b"\x80\x04", "a Python pickle", TO_CSV),
    (b"\x80\x05", "a Python pickle", TO_CSV),
];

const TO_CSV: &str = "write it as CSV: in Python, pandas.read_parquet(FILE).to_csv('runs.csv', index=False), or the \
                      reader of its format";

/// Text, and what a reader must know of its encoding.
pub(super) type Decoded = (String, Option<String>);

/// The text of a file; `source` names it in errors.
///
/// # Errors
///
/// [`InputError`]: a format that is not read, damaged compression, or bytes that are no text.
pub(super) fn text(bytes: &[u8], source: &str) -> Result<Decoded, InputError> {
    if bytes.starts_with(b"\x1f\x8b") {
        let inner = unpacked(flate2::read::MultiGzDecoder::new(bytes), "gzip", source)?;
        return plain(&inner, source);
    }
    if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        let broken = |e: &dyn std::fmt::Display| damaged("zstd", source, e);
        let reader = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|e| broken(&e))?;
        return plain(&unpacked(reader, "zstd", source)?, source);
    }
    plain(bytes, source)
}

fn unpacked(reader: impl std::io::Read, by: &str, source: &str) -> Result<Vec<u8>, InputError> {
    let mut inner = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut inner).map_err(|e| damaged(by, source, &e))?;
    if inner.len() as u64 > MAX_BYTES {
        return Err(InputError::new(
            format!("{source}: more than {MAX_BYTES} bytes when unpacked"),
            "a table of runs has one row a run",
        ));
    }
    Ok(inner)
}

fn damaged(by: &str, source: &str, why: &dyn std::fmt::Display) -> InputError {
    InputError::new(
        format!("{source}: compressed by {by}, and cannot be unpacked: {why}"),
        "the file may be cut short: fetch it again, or unpack it yourself",
    )
}

fn plain(bytes: &[u8], source: &str) -> Result<Decoded, InputError> {
    if let Some((_, what, hint)) = FOREIGN.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        return Err(InputError::new(
            format!("{source} is {what}; a table is read as CSV, JSON or Parquet"),
            *hint,
        ));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return Ok((utf16(rest, u16::from_le_bytes, source)?, None));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return Ok((utf16(rest, u16::from_be_bytes, source)?, None));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let line = |at: usize| bytes[..at].split(|b| *b == b'\n').count();
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            None => Ok((text.to_owned(), None)),
            Some(at) => Err(InputError::new(
                format!("{source}: line {} holds a zero byte", line(at)),
                "if it is UTF-16 without its mark, save it as UTF-8: iconv -f UTF-16LE -t UTF-8 FILE; otherwise it \
                 is no text, and a table is read as CSV, JSON or Parquet",
            )),
        },
        Err(e) => {
            let at = e.valid_up_to();
            let strange =
                bytes.iter().take(4096).filter(|b| **b < 9 || (14..32).contains(*b)).count();
            if strange > 8 {
                return Err(InputError::new(
                    format!("{source} is no text, and of no format that isoflop knows"),
                    "write the table as CSV with a header line",
                ));
            }
            let (text, ..) = encoding_rs::WINDOWS_1252.decode(bytes);
            let note = format!(
                "the file is not UTF-8 (line {}, byte 0x{:02X}) and is read as Windows-1252 (Latin-1); if letters \
                 look wrong, write it as UTF-8: iconv -f ENCODING -t UTF-8 FILE > runs.csv",
                line(at),
                bytes[at]
            );
            Ok((text.into_owned(), Some(note)))
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, source: &str) -> Result<String, InputError> {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    match text {
        Ok(text) if bytes.len().is_multiple_of(2) => Ok(text),
        _ => Err(InputError::new(
            format!("{source} is marked as UTF-16, and is none"),
            "it may be cut short; save it as UTF-8",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TABLE: &str = "N,D,loss\n1,2,3\n";

    #[test]
    fn text_is_read_whatever_wraps_it() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(TABLE.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let units = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}".chars().chain(TABLE.chars()).flat_map(|c| order(c as u16)).collect()
        };
        let marked = format!("\u{feff}{TABLE}");
        for bytes in [
            TABLE.as_bytes(),
            marked.as_bytes(),
            &units(u16::to_le_bytes),
            &units(u16::to_be_bytes),
            &gzip,
        ] {
            assert_eq!(text(bytes, "t").unwrap(), (TABLE.to_owned(), None));
        }
        let cut = text(&gzip[..gzip.len() - 6], "t").unwrap_err();
        assert!(cut.message.contains("gzip"), "{cut}");
    }

    #[test]
    fn eight_bit_text_is_read_and_said() {
        let (read, note) = text(b"N,D,loss,note\n1,2,3,premi\xe8re \x80\n", "t").unwrap();
        assert_eq!(read, "N,D,loss,note\n1,2,3,première €\n");
        let note = note.unwrap();
        assert!(note.contains("line 2, byte 0xE8") && note.contains("Windows-1252"), "{note}");
    }

    #[test]
    fn what_is_no_table_is_named_with_the_way_out() {
        for (bytes, word) in [
            (&b"PAR1\x15\x04"[..], "Parquet"),
            (b"PK\x03\x04\x14\x00", "Excel"),
            (b"N\0,\0D\0\n\0", "zero byte"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0e\xff\xfe", "no text"),
            (b"\xff\xfeN", "UTF-16"),
        ] {
            let error = text(bytes, "t").unwrap_err();
            assert!(error.message.contains(word) && error.hint.is_some(), "{error}");
        }
    }
}
