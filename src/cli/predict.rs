//! `isoflop predict`: the run one would buy.

use super::{Failure, args::PredictArgs, print, print_json, show};
use crate::error::{FileError, InputError, exit};
use crate::fit::{Analysis, FIT_VERSION};
use crate::predict::at_flops;

pub(super) fn execute(args: &PredictArgs) -> Result<u8, Failure> {
    let path = &args.fit;
    let json = std::fs::read(path).map_err(FileError::new("read", path))?;
    let analysis: Analysis = serde_json::from_slice(&json).map_err(|e| {
        let message = format!("`{}` is not a fit.json: {e}", path.display());
        InputError::new(message, "`isoflop fit` writes one under analysis/")
    })?;
    if analysis.version > FIT_VERSION {
        let message = format!("`{}` was written by a newer isoflop", path.display());
        return Err(InputError::new(message, "update isoflop, or fit again")
            .with_code(exit::INPUT)
            .into());
    }
    let predictions: Vec<_> =
        args.flops.iter().map(|c| at_flops(&analysis, *c)).collect::<Result<_, _>>()?;
    if args.json {
        match predictions.as_slice() {
            [one] => print_json(one),
            all => print_json(&all),
        }
        return Ok(0);
    }
    for p in &predictions {
        print(&(show::prediction(p) + "\n"));
    }
    Ok(0)
}
