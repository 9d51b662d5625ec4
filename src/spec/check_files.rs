//! What the types cannot say of files.

use std::ops::Range;

use super::{DataSpec, Files, HeldOut, Source};
use crate::error::SpecError;

/// Checks what is said of files, in the source and as held out.
pub(super) fn check(data: &DataSpec) -> Result<(), SpecError> {
    let source = data.source.get_ref();
    if let Source::Files(files) = source {
        each("data.source", data.source.span(), files)?;
    }
    let Some(held_out) = &data.held_out else { return Ok(()) };
    match (source, held_out.get_ref()) {
        (Source::Files(_), HeldOut::Files(files)) => each("data.held_out", held_out.span(), files),
        (Source::Dataset(_), HeldOut::Raw) => Ok(()),
        _ => Err(SpecError::OutOfRange {
            field: "data.held_out",
            span: held_out.span(),
            got: format!("given beside {source}"),
            want: "{ files = [..] } beside source = { files = [..] }, or \"raw\" beside a dataset",
            hint: "other sources hold out documents of their own",
        }),
    }
}

fn each(field: &'static str, span: Range<usize>, files: &Files) -> Result<(), SpecError> {
    let (got, want, hint) = if files.paths.is_empty() {
        let hint = "files = [\"a.txt\", \"texts\", \"*.jsonl.gz\"]";
        ("an empty list of files", "at least one path", hint)
    } else if files.paragraphs == Some(0) {
        let hint = "paragraphs = 4096 cuts long texts into documents of about so many words";
        ("given with paragraphs = 0", "a number of words above 0", hint)
    } else {
        return Ok(());
    };
    Err(SpecError::OutOfRange { field, span, got: got.to_owned(), want, hint })
}
