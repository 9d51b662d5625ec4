//! What people write: sweep files, and tables of runs in any format.

use isoflop::fit::{Compute, Options, analyse};
use isoflop::import;
use isoflop::plan::{DataFacts, Plan};
use isoflop::predict::at_flops;
use isoflop::spec::{Source, Spec};

use crate::mutate::{fuzz, sound};

#[test]
fn sweep_files() {
    let facts = DataFacts {
        source: Source::PdProse,
        vocab: 256,
        train_tokens: Some(1_000_000),
        held_out_tokens: 100_000,
        sha256: "00".into(),
        bytes_per_token: Some(1.0),
        mixture: None,
        entropy: None,
    };
    fuzz("sweep", "sweep", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match Spec::parse(text) {
            Err(error) => assert!(!error.render("x.toml", text).is_empty()),
            // What is accepted can be planned.
            Ok(spec) => {
                let plan = Plan::new(&spec, &facts);
                assert!(plan.cells.iter().all(|c| c.recipe.flops() > 0.0));
            }
        }
    });
}

#[test]
fn tables_of_runs() {
    let options = Options { bootstrap: 0, holdout: 0, ..Options::default() };
    fuzz("table", "table", |bytes| {
        let read = match import::parse(bytes, "x.csv", &import::Options::default()) {
            Err(error) => return assert!(!error.to_string().is_empty()),
            Ok(read) => read,
        };
        for p in &read.table.points {
            let all = [p.params, p.tokens, p.flops, p.loss];
            assert!(all.iter().all(|v| v.is_finite() && *v > 0.0), "{p:?}");
        }
        let compute = Compute::fit(&read.table.flops_per_token());
        // One in sixteen is fitted.
        if bytes.iter().fold(0, |sum: u8, b| sum.wrapping_add(*b)) % 16 == 0
            && let Ok(analysis) = analyse(&read.table, compute, &options)
        {
            sound(&analysis);
            if let Ok(prediction) = at_flops(&analysis, 1e19) {
                sound(&prediction);
            }
        }
    });
}
