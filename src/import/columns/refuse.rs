//! Tables whose columns cannot be read as runs: what is lacking, units left open, two columns of one name.

use super::{Column, Columns};
use crate::error::InputError;
use crate::import::grid::Grid;
use crate::import::names::Unit;
use crate::import::number::{Style, number};

impl Columns {
    /// Refuses a table without sizes, tokens or losses, or what gives them.
    pub(super) fn lacking(&self, grid: &Grid, source: &str) -> Result<(), InputError> {
        let has = |role: &str| self.at(role).is_some();
        let params = has("params") || self.matrices.is_some();
        let compute = has("flops") || has("budget");
        let tokens = has("tokens") || has("steps") && has("batch");
        let known = params && (tokens || compute || has("ratio"))
            || tokens && (compute || has("ratio"))
            || compute && has("ratio");
        let missing = match () {
            () if !(params || has("ratio") || tokens && compute) => "params",
            () if !has("loss") => "loss",
            () if !known => "tokens",
            () => return Ok(()),
        };
        let names: Vec<&str> = grid.header.iter().map(String::as_str).collect();
        let values = names.iter().filter(|h| number(h, Style::Point).is_some()).count();
        if values >= 2 && 2 * values >= names.len() {
            return Err(InputError::new(
                format!(
                    "{source}: its columns are values ({}), so it is a wide table, one row many runs",
                    names
                        .iter()
                        .filter(|h| number(h, Style::Point).is_some())
                        .take(4)
                        .copied()
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                "write one row a run, with columns for params, budget (or tokens) and loss; in Python pandas.melt \
                 does it",
            ));
        }
        if names.len() == 1 {
            return Err(InputError::new(
                format!("{source}: one column only, `{}`", names[0]),
                "cells are separated by commas, semicolons, tabs, bars or spaces, and none of them separates these",
            ));
        }
        let instead = match missing {
            "tokens" => "; a column of FLOPs or budgets gives them too, by D = C / 6N",
            "params" => "; tokens and FLOPs together give them too, by N = C / 6D",
            _ => "",
        };
        Err(InputError::new(
            format!("{source}: no column for {missing}"),
            format!(
                "name it with --map {missing}=COLUMN{instead}; its columns are: {}",
                grid.header.join(", ")
            ),
        ))
    }

    /// Refuses steps without the tokens of one, or the other way, where the user named the one.
    pub(super) fn steps_alone(&self, source: &str) -> Result<(), InputError> {
        for (one, other) in [("steps", "batch"), ("batch", "steps")] {
            if self.mapped(one) && self.at(other).is_none() {
                return Err(InputError::new(
                    format!(
                        "{source}: `{}` gives tokens only together with a column for {other}",
                        self.name(one)
                    ),
                    format!("name it with --map {other}=COLUMN, or leave out {one}"),
                ));
            }
        }
        Ok(())
    }

    /// Refuses units that a name leaves open.
    pub(super) fn units(&self, source: &str) -> Result<(), InputError> {
        for (role, column) in &self.roles {
            let name = &self.header[column.at];
            match column.unit {
                Some(Unit::Log) => {
                    return Err(InputError::new(
                        format!(
                            "{source}: `{name}` is a logarithm, and does not say to which base"
                        ),
                        format!(
                            "say it: --map \"{role}={name} (log10)\", or (ln); or write plain numbers"
                        ),
                    ));
                }
                Some(Unit::Log10 | Unit::Ln) if *role == "loss" => {
                    return Err(InputError::new(
                        format!("{source}: `{name}` is the logarithm of a loss"),
                        "write the loss itself, in nats per token",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Refuses a map that gives one quantity twice: D, or D/N beside N and D.
pub(super) fn contradictions(roles: &[(&'static str, Column)]) -> Result<(), InputError> {
    let has = |role: &str| roles.iter().any(|(r, _)| *r == role);
    let stepped = has("steps") || has("batch");
    let twice = match () {
        () if has("tokens") && stepped => "tokens, and steps or batch, which give them too",
        () if has("params") && has("ratio") && (has("tokens") || stepped) => {
            "params and tokens, and their ratio too"
        }
        () => return Ok(()),
    };
    Err(InputError::new(format!("--map names columns for {twice}"), "leave out one of them"))
}

/// Refuses a column whose name stands over another one too, with other cells.
pub(super) fn unequal_twins(
    grid: &Grid,
    at: usize,
    asked: &str,
    source: &str,
) -> Result<(), InputError> {
    let name = &grid.header[at];
    if asked.starts_with('#') {
        return Ok(());
    }
    let twin = (0..grid.header.len()).find(|i| {
        *i != at && grid.header[*i] == *name && grid.rows.iter().any(|r| r.cells[*i] != r.cells[at])
    });
    twin.map_or(Ok(()), |twin| {
        Err(InputError::new(
            format!(
                "{source}: columns {} and {} are both named `{name}`, with other values",
                at.min(twin) + 1,
                at.max(twin) + 1
            ),
            format!(
                "rename one, or choose by its place: --map ROLE=#{} or ROLE=#{}",
                at.min(twin) + 1,
                at.max(twin) + 1
            ),
        ))
    })
}
