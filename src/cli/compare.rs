//! `isoflop compare A B`.

use super::args::CompareArgs;
use super::show::{self, table};
use super::{print, print_json};
use crate::compare::Difference;
use crate::describe::{loss, percent};
use crate::predict::Estimate;
use crate::study::Failure;
use crate::study::compare::{Comparison, compare};
use crate::terminal::note;
use crate::units::{flops, several};

pub(super) fn execute(args: &CompareArgs) -> Result<u8, Failure> {
    let found = compare([&args.a, &args.b], &args.columns.options()?, args.level)?;
    if args.json {
        print_json(&found);
        return Ok(0);
    }
    print(&text(&found));
    if !found.warnings.is_empty() {
        note!("{}", show::warnings(&found.warnings));
    }
    Ok(0)
}

fn text(found: &Comparison) -> String {
    let side = |name: &str, runs| format!("{name} ({})", several(runs, "run"));
    let mut out = format!(
        "A: {}\nB: {}\n",
        side(&found.a.name, found.a.runs),
        side(&found.b.name, found.b.runs)
    );
    if found.same_held_out == Some(true) {
        out += "Both are measured on the same held-out text.\n";
    }
    if let Some(paired) = &found.paired {
        out += &told(paired, &found.loss_unit);
    }
    out
}

/// A mean of logarithms as a ratio: `+2.31% (+1.90%..+2.72%)`.
fn ratio(e: &Estimate) -> String {
    let [value, lo, hi] = [e.value, e.lo, e.hi].map(|log| percent(log.exp_m1()));
    format!("{value} ({lo}..{hi})")
}

fn told(paired: &Difference, unit: &str) -> String {
    let mut out = format!(
        "\nWithout a law, over {} of equal N, D and seeds ({:.0}% intervals, {}):\n  loss of B over A  {}\n",
        several(paired.pairs, "pair"),
        100.0 * paired.level,
        several(paired.clusters, "cluster"),
        ratio(&paired.mean)
    );
    if let Some(slope) = &paired.slope {
        out += &format!("  by compute        {} more for each e-fold of C\n", ratio(slope));
    }
    let rows = paired.by_flops.iter().map(|at| {
        vec![
            flops(at.flops),
            at.pairs.to_string(),
            loss(at.a),
            loss(at.b),
            percent(at.difference.exp_m1()),
        ]
    });
    out.push('\n');
    out += &table(&["C", "pairs", "A", "B", "B over A"], 0, &rows.collect::<Vec<_>>());
    out + &format!(
        "  C in FLOP. A, B: mean held-out loss [{unit}]. B over A: geometric mean of the ratios.\n"
    )
}
