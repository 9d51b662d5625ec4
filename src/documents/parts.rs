//! Long files in parts, and short files together, so that work comes in units of about one size.

use super::{Found, Kind, Packing, Part, Range, ReadError, parquet};

/// A file in parts of about `size` bytes of text: line ranges of plain JSON lines, row groups of Parquet. Other files
/// are one part. The parts of a file together are all of it, each document once, in its order.
///
/// # Errors
///
/// [`ReadError`]: a Parquet file whose footer cannot be read.
pub fn parts(file: &Found, size: u64) -> Result<Vec<Part>, ReadError> {
    let part = |range| Part { file: file.clone(), range };
    let size = size.max(1);
    match (file.kind, file.packing) {
        (Kind::Jsonl, Packing::Plain) if file.bytes > size => {
            let n = file.bytes.div_ceil(size);
            let end = |i: u64| (u128::from(file.bytes) * u128::from(i) / u128::from(n)) as u64;
            let last = |i| if i == n { u64::MAX } else { end(i) };
            let range = |i| Range::Lines { from: end(i), to: last(i + 1) };
            Ok((0..n).map(|i| part(range(i))).collect())
        }
        (Kind::Parquet, _) => {
            let footer = parquet::footer(file)?;
            let (mut out, mut from, mut held) = (Vec::new(), 0, 0_u64);
            for group in 0..footer.groups() {
                let bytes = footer.unpacked(group);
                if group > from && held.saturating_add(bytes) > size {
                    out.push(part(Range::RowGroups { from, to: group }));
                    (from, held) = (group, 0);
                }
                held = held.saturating_add(bytes);
            }
            out.push(part(Range::RowGroups { from, to: footer.groups() }));
            Ok(out)
        }
        _ => Ok(vec![part(Range::All)]),
    }
}

/// All files in units of about `size` bytes: parts of long files, and short ones that are neighbours together.
///
/// # Errors
///
/// [`ReadError`], as of [`parts()`].
pub fn units(files: &[Found], size: u64) -> Result<Vec<Vec<Part>>, ReadError> {
    let (mut out, mut open, mut held) = (Vec::new(), Vec::new(), 0_u64);
    for file in files {
        let parts = parts(file, size)?;
        if parts.len() > 1 || held.saturating_add(file.bytes) > size {
            out.extend((!open.is_empty()).then(|| std::mem::take(&mut open)));
            held = 0;
        }
        if parts.len() > 1 {
            out.extend(parts.into_iter().map(|part| vec![part]));
        } else {
            open.extend(parts);
            held = held.saturating_add(file.bytes);
        }
    }
    out.extend((!open.is_empty()).then_some(open));
    Ok(out)
}
