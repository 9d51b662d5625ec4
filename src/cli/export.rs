//! `isoflop export`: the runs in a format that other tools read.

use super::{args::ExportArgs, print_as_is};
use crate::export::csv;
use crate::fs::{Disk as _, Os};
use crate::study::{Failure, input};
use crate::terminal::note;

pub(super) fn execute(args: &ExportArgs) -> Result<u8, Failure> {
    let (runs, _) = input::open(&args.input, &args.columns.options()?)?;
    let text = csv(&runs.table, args.format)?;
    match &args.out {
        Some(path) => {
            Os.write_atomic(path, text.as_bytes())?;
            note!("wrote {}", path.display());
        }
        None => print_as_is(&text),
    }
    for remark in &runs.remarks {
        note!("warning: {}", remark.text);
    }
    for row in &runs.table.excluded {
        note!("left out: {} ({}): {}", row.id, row.what, row.reason);
    }
    Ok(0)
}
