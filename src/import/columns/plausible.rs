//! Whether a column could play a role by its numbers: what is offered to the user, and ends of intervals, which are
//! no quantity of a run.

use super::{Column, nothing};
use crate::import::grid::Grid;
use crate::import::magnitude::{GUESS, LEAST};
use crate::import::names::Name;
use crate::import::number::{Evidence, Style};
use crate::import::roles::is_own;

/// Words of the two ends of an interval, which mean it where both are there.
const ENDS: [(&str, &str); 4] = [("lo", "hi"), ("low", "high"), ("lb", "ub"), ("min", "max")];

/// Whether the most filled cells of a column are numbers above 0 in it, of a size that the role has, or under a
/// name that is the role's own (whose numbers may want a unit).
pub(super) fn could_be(grid: &Grid, name: &Name, at: usize, role: &str) -> bool {
    let filled = || grid.rows.iter().map(|r| r.cells[at].as_str()).filter(|c| !nothing(c));
    let evidence = Evidence::of(filled());
    let comma = evidence.comma > evidence.point
        || evidence.point == 0 && evidence.either > 0 && role == "loss";
    let style = if comma { Style::Comma } else { Style::Point };
    let column = Column { at, unit: name.unit, style, mapped: false, confirmed: false };
    let mut values: Vec<f64> = filled()
        .filter_map(|cell| column.value(cell))
        .filter(|v| v.is_finite() && *v > 0.0)
        .collect();
    if 2 * values.len() <= filled().count() {
        return false;
    }
    values.sort_by(f64::total_cmp);
    let middle = values[values.len() / 2];
    is_own(role, name)
        || match role {
            "params" => middle >= LEAST.0,
            "tokens" => middle >= LEAST.1,
            "loss" => middle <= GUESS,
            _ => middle >= 6.0 * LEAST.0 * LEAST.1,
        }
}

/// Whether a column is an end of an interval, such as `loss_lo95`.
pub(super) fn interval_end(grid: &Grid, names: &[Name], at: usize) -> bool {
    let name = &names[at];
    let alone = name.words().any(|word| {
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
        match stem {
            "lower" | "upper" | "ci" | "lcb" | "ucb" => true,
            "lo" | "hi" | "low" | "high" | "lb" | "ub" => stem.len() < word.len(),
            _ => false,
        }
    });
    let partner = |from: &str, to: &str| {
        let other: Vec<&str> = name.words().map(|w| if w == from { to } else { w }).collect();
        let other = other.join("_");
        names.iter().position(|n| n.plain == other && n.plain != name.plain)
    };
    let pair = || {
        ENDS.iter().find_map(|(low, high)| {
            let above = partner(low, high).map(|other| (at, other));
            above.or_else(|| partner(high, low).map(|other| (other, at)))
        })
    };
    let plain = |at: usize, cell: &str| {
        Column { at, unit: None, style: Style::Point, mapped: false, confirmed: false }.value(cell)
    };
    alone
        || pair().is_some_and(|(low, high)| {
            grid.rows.iter().all(|row| {
                match (plain(low, &row.cells[low]), plain(high, &row.cells[high])) {
                    (Some(low), Some(high)) => low <= high,
                    _ => true,
                }
            })
        })
}
