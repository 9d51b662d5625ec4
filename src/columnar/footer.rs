//! The footer of a Parquet file, looked at before the reader of the format trusts it.
//!
//! The crate's reader makes room for as many children as a group of the schema declares, and follows groups by
//! recursion. A few bytes can declare 2^31 of the one or a million levels of the other; here they are counted first.
//! The footer is a struct in Thrift's compact protocol.

use parquet::file::metadata::FooterTail;
use parquet::file::reader::ChunkReader;

use super::Unread;

/// Largest footer that is read [bytes].
const MAX_BYTES: usize = 16 << 20;

/// Deepest schema that is read.
const MAX_DEPTH: usize = 64;

/// Length of what stands behind the footer: its length and the magic [bytes].
const TAIL: u64 = 8;

/// The types of the compact protocol that matter here.
const I32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// The fields: the schema of the file, and the children of one of its elements.
const SCHEMA: i64 = 2;
const CHILDREN: i64 = 5;

/// Checks what the footer declares.
///
/// # Errors
///
/// [`Unread`]: no footer, an encrypted one, or one that declares more than it holds.
pub(super) fn check<R: ChunkReader>(reader: &R) -> Result<(), Unread> {
    let damaged = |why: &str| Unread::Damaged(why.to_owned());
    let whole = reader.len();
    if whole < TAIL + 4 {
        return Err(damaged("it is shorter than any Parquet file"));
    }
    let tail = reader.get_bytes(whole - TAIL, TAIL as usize)?;
    let tail = FooterTail::try_from(&tail[..])
        .map_err(|_| damaged("it does not end as a Parquet file ends"))?;
    if tail.is_encrypted_footer() {
        return Err(Unread::Unsupported("its footer is encrypted".to_owned()));
    }
    let length = tail.metadata_length();
    if length as u64 > whole - TAIL {
        return Err(damaged("its footer is said to be longer than the file"));
    }
    if length > MAX_BYTES {
        return Err(Unread::TooLarge);
    }
    let bytes = reader.get_bytes(whole - TAIL - length as u64, length)?;
    let children = Walk(&bytes).schema().ok_or_else(|| damaged("its footer is cut or changed"))?;
    if fits(&children) { Ok(()) } else { Err(damaged("its schema is no tree of its elements")) }
}

/// Whether the elements, in order, are a tree of a bounded depth.
fn fits(children: &[i64]) -> bool {
    let mut open: Vec<i64> = Vec::new();
    for (i, n) in children.iter().enumerate() {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let held = usize::try_from(*n).is_ok_and(|n| n < children.len() - i);
        if !held || open.len() >= MAX_DEPTH {
            return false;
        }
        open.push(*n);
    }
    true
}

/// Bytes in the compact protocol; `None` where they end early or are none of it.
struct Walk<'b>(&'b [u8]);

impl Walk<'_> {
    /// The declared children of each element of the schema.
    fn schema(mut self) -> Option<Vec<i64>> {
        let mut children = None;
        let mut last = 0;
        while let Some((kind, id)) = self.field(&mut last)? {
            if id != SCHEMA {
                self.skip(kind, 0)?;
                continue;
            }
            // A second schema would be the one that counts.
            if kind != LIST || children.is_some() {
                return None;
            }
            let (of, n) = self.list()?;
            if of != STRUCT && n > 0 {
                return None;
            }
            let mut found = Vec::new();
            for _ in 0..n {
                found.push(self.element()?);
            }
            children = Some(found);
        }
        children
    }

    fn element(&mut self) -> Option<i64> {
        let (mut last, mut children) = (0, 0);
        while let Some((kind, id)) = self.field(&mut last)? {
            if id == CHILDREN {
                if kind != I32 {
                    return None;
                }
                let n = zigzag(self.varint()?);
                children = if n < 0 { n } else { n.max(children) };
            } else {
                self.skip(kind, 0)?;
            }
        }
        Some(children)
    }

    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The type and the number of the next field of a struct; the inner `None` at the struct's end.
    #[allow(clippy::option_option)]
    fn field(&mut self, last: &mut i64) -> Option<Option<(u8, i64)>> {
        let head = self.byte()?;
        let (kind, step) = (head & 0x0f, head >> 4);
        if kind == 0 {
            return Some(None);
        }
        *last = match step {
            0 => zigzag(self.varint()?),
            step => *last + i64::from(step),
        };
        Some(Some((kind, *last)))
    }

    /// The type of the elements of a list, and how many there are.
    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let n = match head >> 4 {
            15 => self.varint()?,
            n => u64::from(n),
        };
        Some((head & 0x0f, n))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => drop(self.take(8)?),
            8 => {
                let n = self.varint()?;
                self.take(usize::try_from(n).ok()?)?;
            }
            LIST | 10 => {
                let (of, n) = self.list()?;
                // Lists of truth values are none of a footer, and readers differ on their length.
                if n > 0 && of < 3 {
                    return None;
                }
                for _ in 0..n {
                    self.skip(of, depth + 1)?;
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some((kind, _)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn zigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// A file of one footer whose schema has elements of so many children.
    fn file(children: &[u32]) -> Bytes {
        let mut footer = vec![0x29, 0xf0 | STRUCT];
        let varint = |out: &mut Vec<u8>, mut n: u64| {
            while n >= 0x80 {
                out.push(n as u8 | 0x80);
                n >>= 7;
            }
            out.push(n as u8);
        };
        varint(&mut footer, children.len() as u64);
        for n in children {
            footer.push(0x50 | I32);
            varint(&mut footer, u64::from(*n) << 1);
            footer.push(0);
        }
        footer.push(0);
        let mut file = b"PAR1".to_vec();
        file.extend(&footer);
        file.extend((footer.len() as u32).to_le_bytes());
        file.extend(b"PAR1");
        file.into()
    }

    #[test]
    fn a_schema_that_declares_more_than_it_holds_is_refused_before_room_is_made() {
        check(&file(&[2, 0, 0])).unwrap();
        check(&file(&[2, 1, 0, 0])).unwrap();
        for children in [vec![i32::MAX as u32, 0, 0], vec![1; 100_000]] {
            let error = check(&file(&children)).unwrap_err();
            assert!(matches!(&error, Unread::Damaged(why) if why.contains("tree")), "{error:?}");
        }
        let whole = file(&[2, 0, 0]);
        for cut in 0..whole.len() {
            assert!(check(&whole.slice(..cut)).is_err(), "{cut}");
        }
    }
}
