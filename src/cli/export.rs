//! `isoflop export`: the runs in a format that other tools read.

use std::path::PathBuf;

use super::analysis::Study;
use super::study::Recorded;
use super::{Failure, args::ExportArgs, print};
use crate::export::{Format, csv};
use crate::fs::{Disk as _, Os};
use crate::import;

pub(super) fn execute(args: &ExportArgs) -> Result<u8, Failure> {
    let study = if args.input.is_dir() {
        Study::recorded(Recorded::open(&args.input, &PathBuf::from("results"))?)
    } else {
        let options = import::Options {
            map: args.map.clone(),
            filters: args.filters.clone(),
            mixed: args.mixed,
        };
        Study::imported(String::new(), import::read(&args.input, &options)?)
    };
    let format = Format::ALL.iter().find(|(name, _)| *name == args.format).map(|(_, f)| *f);
    let text = csv(&study.table, format.expect("clap lists the formats"))?;
    match &args.out {
        Some(path) => {
            Os.write_atomic(path, text.as_bytes())?;
            eprintln!("wrote {}", path.display());
        }
        None => print(&text),
    }
    for row in &study.table.excluded {
        eprintln!("left out: {} ({}): {}", row.id, row.what, row.reason);
    }
    Ok(0)
}
