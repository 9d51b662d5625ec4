//! Text as it lies in files: what names stand for, and every document of it in memory.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::DataError;
use crate::documents::{
    Cut, Document, Fields, Found, Kind, Listing, Part, Range, ReadError, Tally, find, read,
};
use crate::error::InputError;
use crate::spec::Files;
use crate::units::{bytes, several};

/// A long text file is cut into documents of about this size [bytes].
pub(super) const DOCUMENT: usize = 32 << 10;
/// Largest total of documents held in memory [bytes].
const MAX_TEXT: u64 = 4 << 30;

/// One whole text, as its file has it.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    /// What decides whether it is held out, where that is by whole documents: the hash of its group, or of its text.
    pub(super) key: u64,
    /// Its documents: those of a long text file are several.
    pub(super) documents: Vec<String>,
}

/// What files hold.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) wholes: Vec<Whole>,
    /// What was read, by kind of file: files and documents.
    pub(super) kinds: BTreeMap<Kind, (u64, u64)>,
    pub(super) bytes: u64,
    /// What a person should know of what was left out and of where it lies.
    pub(super) notes: Vec<String>,
}

/// Reads all documents of files; `what` names the list in messages.
///
/// # Errors
///
/// [`DataError`]: a name that stands for nothing, a file that cannot be read, more than is held in memory.
pub(super) fn gather(files: &Files, base: &Path, what: &str) -> Result<Text, DataError> {
    let mut text = Text::default();
    let listing = listing(&files.paths, base, &mut text.notes)?;
    let cut = files.paragraphs.map_or(Cut::Lines(DOCUMENT), Cut::Paragraphs);
    let fields = Fields {
        text: files.text.clone().unwrap_or_else(|| "text".to_owned()),
        group: files.group.clone(),
        filter: files.filter.clone(),
        cut,
        ..Fields::default()
    };
    let mut tally = Tally::default();
    for found in &listing.files {
        one(found, &fields, what, &mut text, &mut tally)?;
    }
    if text.wholes.is_empty() {
        let (n, empty) = (listing.files.len(), tally.empty);
        let filtered = match tally.filtered {
            0 => String::new(),
            n => format!(", and `where` left out {n}"),
        };
        return Err(InputError::new(
            format!(
                "{what} hold no document: {}, {empty} of them empty{filtered}",
                several(n, "file")
            ),
            "name files with text in them; `isoflop plan` says what was read",
        )
        .into());
    }
    note(&listing, &tally, &mut text.notes);
    Ok(text)
}

/// What names stand for, beside the sweep file; a name that stands for nothing there is looked for where the command
/// runs, as it was until 28 November 2026.
fn listing(names: &[String], base: &Path, notes: &mut Vec<String>) -> Result<Listing, ReadError> {
    let mut all = Listing::default();
    for name in names {
        let one = std::slice::from_ref(name);
        let found = find(one, base).or_else(|error| {
            if base.as_os_str().is_empty() || Path::new(name).is_absolute() {
                return Err(error);
            }
            let here = find(one, Path::new("")).map_err(|_| error)?;
            notes.push(format!(
                "`{name}` is not beside the sweep file and was taken from where the command runs: write its path from the directory of the sweep file, `{}`",
                base.display()
            ));
            Ok(here)
        })?;
        all.files.extend(found.files);
        for (kind, left) in found.left_out {
            let known = all.left_out.entry(kind).or_default();
            known.count += left.count;
            known.examples.extend(left.examples);
        }
    }
    all.files.sort();
    all.files.dedup();
    Ok(all)
}

fn one(
    found: &Found,
    fields: &Fields,
    what: &str,
    text: &mut Text,
    tally: &mut Tally,
) -> Result<(), DataError> {
    let part = Part { file: found.clone(), range: Range::All };
    let mut documents = read(&part, fields)?;
    // A text file is one whole; of other files every document is.
    let (mut whole, mut file) = (Sha256::new(), Vec::new());
    for document in documents.by_ref() {
        let Document { text: document, group, .. } = document?;
        text.bytes += document.len() as u64;
        if text.bytes > MAX_TEXT {
            return Err(too_much(found, what).into());
        }
        if found.kind == Kind::Text && fields.cut == Cut::Lines(DOCUMENT) {
            whole.update(&document);
            file.push(document);
        } else {
            let key = match &group {
                Some(group) => key(&Sha256::digest(format!("group {group}"))),
                None => key(&Sha256::digest(&document)),
            };
            text.wholes.push(Whole { key, documents: vec![document] });
        }
    }
    if !file.is_empty() {
        text.wholes.push(Whole { key: key(&whole.finalize()), documents: file });
    }
    let counted = text.kinds.entry(found.kind).or_default();
    counted.0 += 1;
    counted.1 += documents.tally().documents;
    tally.add(documents.tally());
    Ok(())
}

/// The first 8 bytes of a hash.
pub(super) fn key(digest: &[u8]) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

fn too_much(found: &Found, what: &str) -> InputError {
    InputError::new(
        format!(
            "`{}` brings {what} to more than {}, the most that is held in memory",
            found.path.display(),
            bytes(MAX_TEXT as f64)
        ),
        "prepare it once as a dataset, which is read from disk: `isoflop data RECIPE`; or name fewer files",
    )
}

/// What was left out, as a person should know it.
fn note(listing: &Listing, tally: &Tally, notes: &mut Vec<String>) {
    for (kind, left) in &listing.left_out {
        let example = left
            .examples
            .first()
            .map_or(String::new(), |path| format!(", such as `{}`", path.display()));
        notes.push(format!("left out of what is named: {} {kind}{example}", left.count));
    }
    if tally.unread > 0 {
        let first = tally.first_unread.as_deref().unwrap_or_default();
        notes.push(format!(
            "{} could not be read and were left out; the first is {first}",
            several(tally.unread as usize, "line")
        ));
    }
    for (n, why) in [(tally.empty, "without text"), (tally.filtered, "left out by `where`")] {
        if n > 0 {
            notes.push(format!("{} {why}", several(n as usize, "document")));
        }
    }
}
