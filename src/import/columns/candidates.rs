//! The columns that may play a role, and the one that is preferred.

use super::plausible::{could_be, interval_end};
use super::{Column, nothing};
use crate::import::grid::Grid;
use crate::import::names::Name;
use crate::import::number::{Style, number};
use crate::import::roles::{held_out, rank};
use crate::points::{Remark, Topic};

/// Empty, class, sparse, rank, place: the least is preferred.
type Key = (bool, u32, bool, u32, usize);

/// The columns that may play a role, the preferred one first: by class, then those with many filled cells, then
/// by name.
pub(super) fn candidates(grid: &Grid, names: &[Name], role: &str) -> Vec<usize> {
    let text = ["id", "cluster"].contains(&role);
    let filled = |at: usize| {
        let full = |cell: &str| !nothing(cell) && (text || number_in_any(cell));
        grid.rows.iter().filter(|r| full(&r.cells[at])).count()
    };
    let mut all: Vec<(u32, usize, usize)> = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| Some((rank(role, name)?, at, filled(at))))
        .filter(|(_, at, _)| text || !interval_end(grid, names, *at))
        .filter(|(rank, at, _)| {
            // An `L` of whole numbers counts layers.
            let whole = |cell: &str| cell.parse::<u64>().is_ok();
            !(role == "loss"
                && *rank == 120
                && !grid.rows.is_empty()
                && grid.rows.iter().all(|r| nothing(&r.cells[*at]) || whole(&r.cells[*at])))
                || grid.rows.len() < 3
        })
        .collect();
    let most = all.iter().map(|(.., filled)| *filled).max().unwrap_or(0);
    let in_class = |class: u32| {
        all.iter().filter(|(r, ..)| r / 100 == class).map(|(.., f)| *f).max().unwrap_or(0)
    };
    let sparse: Vec<bool> =
        all.iter().map(|(rank, _, filled)| 2 * filled < in_class(rank / 100)).collect();
    let mut keyed: Vec<(Key, usize)> = all
        .drain(..)
        .zip(sparse)
        .map(|((rank, at, filled), sparse)| {
            ((filled == 0 && most > 0, rank / 100, sparse, rank, at), at)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, at)| at).collect()
}

fn number_in_any(cell: &str) -> bool {
    number(cell, Style::Point).is_some() || number(cell, Style::Comma).is_some()
}

/// A `d` beside a column of sizes that is far too small for tokens is the width of a model.
pub(super) fn a_width(
    grid: &Grid,
    name: &Name,
    at: usize,
    roles: &[(&'static str, Column)],
    remarks: &mut Vec<Remark>,
) -> bool {
    let largest = |at: usize| {
        let values = grid.rows.iter().filter_map(|r| number(&r.cells[at], Style::Point));
        values.map(|n| n.value).fold(0.0, f64::max)
    };
    let Some((_, sizes)) = roles.iter().find(|(r, _)| *r == "params") else { return false };
    let found = name.plain == "d"
        && name.unit.is_none()
        && largest(at) > 0.0
        && largest(at) < 1e5
        && largest(at).fract() == 0.0
        && largest(sizes.at) > 1e5;
    if found {
        remarks.push(Remark {
            topic: Topic::Columns,
            text: format!(
                "`{}` is not taken for tokens: its numbers are those of a width; if they are tokens, --map \"tokens={} \
                 (1)\" takes them",
                grid.header[at], grid.header[at]
            ),
        });
    }
    found
}

/// Tells which other columns could have played a role, where the choice changes the numbers.
pub(super) fn others(
    role: &str,
    chosen: usize,
    candidates: &[usize],
    grid: &Grid,
    names: &[Name],
    remarks: &mut Vec<Remark>,
) {
    let header = &grid.header;
    let symbol = match role {
        "params" => "N",
        "tokens" => "D",
        "loss" => "the loss",
        "flops" => "C",
        _ => "the budget",
    };
    let why = match role {
        "loss" => match held_out(&names[chosen]) {
            Some(true) => ", which is of held-out data",
            Some(false) => ", which is of training data: a law of held-out loss is another one",
            None => "",
        },
        "params" if rank(role, &names[chosen]) == Some(0) => ", which says what it counts",
        _ => "",
    };
    let rest: Vec<String> = candidates
        .iter()
        .filter(|at| **at != chosen && header[**at] != header[chosen])
        .filter(|at| could_be(grid, &names[**at], **at, role))
        .take(4)
        .map(|at| format!("`{}`", header[*at]))
        .collect();
    if rest.is_empty() {
        if role == "loss" && held_out(&names[chosen]) == Some(false) {
            remarks.push(Remark {
                topic: Topic::Columns,
                text: format!("the loss is `{}`{why}", header[chosen]),
            });
        }
        return;
    }
    remarks.push(Remark {
        topic: Topic::Columns,
        text: format!(
            "{symbol} is `{}`{why}; {} {} there too, and --map {role}=COLUMN takes another",
            header[chosen],
            rest.join(", "),
            if rest.len() == 1 { "is" } else { "are" }
        ),
    });
}
