//! `isoflop export`: runs, or the model of one cell, in a format that other tools read.

use std::path::Path;

use super::args::{ExportArgs, Format};
use super::watch::Stderr;
use super::{print_as_is, show};
use crate::error::InputError;
use crate::export::{self, csv};
use crate::fs::{Disk as _, Os};
use crate::hf::Precision;
use crate::study::models::Model;
use crate::study::{Failure, exporting, input};
use crate::terminal::note;

pub(super) fn execute(args: &ExportArgs) -> Result<u8, Failure> {
    match args.format {
        Format::Hf => model(args),
        Format::Runs(_) if args.cell.is_some() || args.dtype != Precision::F32 => {
            let message = "--cell and --dtype are of a model, and this format is of a table";
            Err(InputError::new(message, "--format hf writes the model of a cell").into())
        }
        Format::Runs(format) => runs(args, format),
    }
}

fn runs(args: &ExportArgs, format: export::Format) -> Result<u8, Failure> {
    let (runs, _) = input::open(&args.input, &args.columns.options()?)?;
    let text = csv(&runs.table, format)?;
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

fn model(args: &ExportArgs) -> Result<u8, Failure> {
    let out = args
        .out
        .as_ref()
        .ok_or_else(|| InputError::new("--format hf writes a directory", "say which: --out DIR"))?;
    let model = Model::open(&args.input, Path::new("results"), args.cell.as_deref())?;
    let exported = exporting::write(&model, out, args.dtype, &Stderr)?;
    let done = if exported.was_there { "is there already" } else { "written" };
    note!("{}: {} {done}", out.display(), model.origin.name());
    exported.notes.iter().for_each(|text| note!("{}", show::warnings(&[text])));
    Ok(0)
}
