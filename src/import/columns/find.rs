//! Which column is taken for which role: as the user says, else the preferred one.

use super::candidates::{a_width, candidates, others};
use super::refuse::{contradictions, unequal_twins};
use super::{Column, Columns, MATRICES};
use crate::error::InputError;
use crate::import::Options;
use crate::import::grid::Grid;
use crate::import::names::{self, Name, Unit};
use crate::import::number::{Evidence, Style};
use crate::import::roles::{ROLES, convention, rank};
use crate::points::{Remark, Topic};

/// Columns in which rows of one study agree: a law mixes neither data nor tokenizers nor evaluations.
const ONE_STUDY: [&str; 7] = [
    "experiment",
    "dataset",
    "train_dataset",
    "train_set_id",
    "tokenizer",
    "eval_set",
    "data_sha256",
];

/// Roles that no column can play two of.
const APART: [&str; 3] = ["params", "tokens", "loss"];

impl Columns {
    /// Finds the columns of `grid`; what a user should know of the choices goes to `remarks`.
    pub(in crate::import) fn find(
        grid: &Grid,
        source: &str,
        options: &Options,
        remarks: &mut Vec<Remark>,
    ) -> Result<Self, InputError> {
        let header = &grid.header;
        let position = |name: &str| header.iter().position(|h| h == name);
        let names: Vec<Name> = header.iter().map(|h| Name::of(h)).collect();
        let roles = asked(grid, &names, source, options)?;
        let counts = ["params_total", "params_non_embedding", "params_flops_over_6"].map(position);
        let given = roles.iter().find(|(r, _)| *r == "params").map(|(_, c)| c.at);
        let counts = match counts {
            // Of the matrices, which are N where the user does not name another count.
            [Some(a), Some(b), Some(c)] if given.is_none_or(|at| names[at].plain == "params") => {
                Some([a, b, c])
            }
            _ => None,
        };
        let matrices = match MATRICES.map(position) {
            [Some(blocks), Some(head)] if given.is_none() => Some([blocks, head]),
            _ => None,
        };
        let conventions = (0..names.len()).filter(|at| convention(&names[*at]).is_some());
        let one_study = ONE_STUDY.iter().filter_map(|n| position(n)).chain(conventions).collect();
        let vocab = names.iter().position(|n| {
            ["vocab", "vocab_size", "vocabulary", "vocabulary_size", "n_vocab"].contains(&&*n.plain)
        });
        let filters = Vec::new();
        let mut columns =
            Self { header: header.clone(), roles, matrices, filters, counts, one_study, vocab };
        columns.choose(grid, &names, source, remarks)?;
        columns.filters = filters_of(header, source, options)?;
        columns.lacking(grid, source)?;
        columns.steps_alone(source)?;
        columns.styles(grid);
        columns.units(source)?;
        columns.params_by_compute(grid, &names, remarks);
        Ok(columns)
    }

    /// The preferred column of every role that the user did not map.
    fn choose(
        &mut self,
        grid: &Grid,
        names: &[Name],
        source: &str,
        remarks: &mut Vec<Remark>,
    ) -> Result<(), InputError> {
        for role in ROLES {
            if self.at(role).is_some() || self.follows(role) {
                continue;
            }
            let mut candidates = candidates(grid, names, role);
            candidates.retain(|at| !self.mapped_apart(role, *at));
            if role == "params" && self.counts.is_some() {
                // Our own ledger: `params` is the count of the matrices.
                candidates.retain(|at| names[*at].plain == "params");
            }
            if role == "params" && self.matrices.is_some() {
                candidates.retain(|at| rank(role, &names[*at]).is_some_and(|r| r < 50));
                if !candidates.is_empty() {
                    self.matrices = None;
                }
            }
            if role == "tokens" {
                candidates.retain(|at| !a_width(grid, &names[*at], *at, &self.roles, remarks));
            }
            let Some(first) = candidates.first().copied() else { continue };
            unequal_twins(grid, first, &grid.header[first], source)?;
            self.roles.push((
                role,
                Column {
                    at: first,
                    unit: names[first].unit,
                    style: Style::Point,
                    mapped: false,
                    confirmed: false,
                },
            ));
            if ["params", "tokens", "loss", "flops", "budget"].contains(&role) {
                others(role, first, &candidates, grid, names, remarks);
            }
        }
        Ok(())
    }

    /// Whether a role follows from what the user mapped, so that no column is looked for.
    fn follows(&self, role: &str) -> bool {
        let stepped = self.mapped("steps") || self.mapped("batch");
        let ratio = self.mapped("ratio");
        let sizes = self.at("params").is_some() || self.matrices.is_some();
        match role {
            "params" => ratio && (stepped || self.mapped("tokens")),
            "tokens" => stepped || ratio && sizes,
            "steps" | "batch" => ratio && sizes && !stepped,
            _ => false,
        }
    }

    /// Whether the user named a column for another quantity, which it cannot be both.
    fn mapped_apart(&self, role: &str, at: usize) -> bool {
        let other = |(r, c): &(&str, Column)| c.mapped && c.at == at && APART.contains(r);
        APART.contains(&role) && self.roles.iter().any(other)
    }

    /// What the commas of each column mean.
    fn styles(&mut self, grid: &Grid) {
        let evidence = |at: usize| Evidence::of(grid.rows.iter().map(|r| r.cells[at].as_str()));
        let all: Vec<Evidence> = self.roles.iter().map(|(_, c)| evidence(c.at)).collect();
        let commas = all.iter().any(|e| e.comma > 0) && all.iter().all(|e| e.point == 0);
        for ((role, column), e) in self.roles.iter_mut().zip(&all) {
            // Alone, `4,512` is a loss of 4.5 and a count of four thousand.
            let alone = e.point == 0 && e.either > 0 && *role == "loss";
            if e.comma > e.point || e.point == 0 && (commas || alone) {
                column.style = Style::Comma;
            }
        }
    }

    /// Of several counts of N, the one whose 6ND is C, where C and D are both there.
    fn params_by_compute(&mut self, grid: &Grid, names: &[Name], remarks: &mut Vec<Remark>) {
        let Some(chosen) = self.roles.iter().position(|(r, c)| *r == "params" && !c.mapped) else {
            return;
        };
        let compute = if self.at("flops").is_some() { "flops" } else { "budget" };
        if self.at("tokens").is_none() || self.at(compute).is_none() || self.counts.is_some() {
            return;
        }
        let all = candidates(grid, names, "params");
        if all.len() < 2 || !all.contains(&self.roles[chosen].1.at) {
            return;
        }
        let miss = |at: usize| {
            let column = Column { at, unit: names[at].unit, ..self.roles[chosen].1.clone() };
            let mut misses: Vec<f64> = grid
                .rows
                .iter()
                .filter_map(|row| {
                    let n = column.value(&row.cells[at])?;
                    let d = self.number(&row.cells, "tokens").ok()??;
                    let c = self.number(&row.cells, compute).ok()??;
                    Some((c / (6.0 * n * d)).ln().abs())
                })
                .collect();
            misses.sort_by(f64::total_cmp);
            misses.get(misses.len() / 2).copied().unwrap_or(f64::INFINITY)
        };
        let now = self.roles[chosen].1.at;
        let best = all.iter().copied().min_by(|l, r| miss(*l).total_cmp(&miss(*r))).unwrap_or(now);
        // A factor of 1.5: conventions of C differ by less.
        if best != now && miss(best) + 1.5_f64.ln() < miss(now) {
            self.roles[chosen].1.at = best;
            self.roles[chosen].1.unit = names[best].unit;
            let (best, now) = (&self.header[best], &self.header[now]);
            remarks.retain(|r| !r.text.starts_with("N is "));
            remarks.push(Remark {
                topic: Topic::Columns,
                text: format!(
                    "N is `{best}`, because C is about 6ND with it and not with `{now}`; --map params=\"{now}\" takes \
                     the other"
                ),
            });
        }
    }
}

/// The column of a name that a user gave with `option`, or that there is none.
fn named(
    header: &[String],
    column: &str,
    source: &str,
    option: &str,
) -> Result<(usize, Option<Unit>), InputError> {
    mapped(header, column).ok_or_else(|| {
        InputError::new(
            format!("{source}: {option}no column `{column}`"),
            format!("its columns are: {}", header.join(", ")),
        )
    })
}

/// The columns of `--map`.
fn asked(
    grid: &Grid,
    names: &[Name],
    source: &str,
    options: &Options,
) -> Result<Vec<(&'static str, Column)>, InputError> {
    let mut roles: Vec<(&'static str, Column)> = Vec::new();
    for (role, column) in &options.map {
        let Some(role) = ROLES.iter().find(|r| *r == role) else {
            return Err(InputError::new(
                format!("--map: `{role}` is not something a fit reads"),
                format!("it reads: {}", ROLES.join(", ")),
            ));
        };
        let (at, unit) = named(&grid.header, column, source, "")?;
        if roles.iter().any(|(r, _)| r == role) {
            let message = format!("--map names {role} twice, the second time as `{column}`");
            return Err(InputError::new(message, "give each role one column"));
        }
        let both =
            |(r, c): &&(&str, Column)| c.at == at && APART.contains(r) && APART.contains(role);
        if let Some((other, _)) = roles.iter().find(both) {
            let message = format!("--map takes `{column}` for {other} and for {role}");
            return Err(InputError::new(
                message,
                "they are different quantities: give each its own column",
            ));
        }
        unequal_twins(grid, at, column, source)?;
        let confirmed = unit.is_some();
        roles.push((
            *role,
            Column {
                at,
                unit: unit.or(names[at].unit),
                style: Style::Point,
                mapped: true,
                confirmed,
            },
        ));
    }
    contradictions(&roles)?;
    Ok(roles)
}

/// The columns of `--where`, each with the value that a row must have.
fn filters_of(
    header: &[String],
    source: &str,
    options: &Options,
) -> Result<Vec<(usize, String)>, InputError> {
    let filter = |(column, value): &(String, String)| {
        Ok((named(header, column, source, "--where: ")?.0, value.clone()))
    };
    options.filters.iter().map(filter).collect()
}

/// A column by the name that a user gave: as it stands, by its place (`#3`), with a unit behind it, or in
/// another spelling that fits one column only.
fn mapped(header: &[String], column: &str) -> Option<(usize, Option<Unit>)> {
    let exact = |name: &str| header.iter().position(|h| h == name);
    let place = |name: &str| {
        let n: usize = name.strip_prefix('#')?.parse().ok()?;
        (1..=header.len()).contains(&n).then(|| n - 1)
    };
    let spelled = |name: &str| {
        let plain = Name::of(name).plain;
        let mut fits = (0..header.len()).filter(|i| Name::of(&header[*i]).plain == plain);
        fits.next().filter(|_| fits.next().is_none() && !plain.is_empty())
    };
    if let Some(at) = exact(column).or_else(|| place(column)) {
        return Some((at, None));
    }
    if let Some((base, inside)) = names::bracketed(column)
        && let Some(unit) = names::unit(inside)
        && let Some(at) = exact(base).or_else(|| place(base)).or_else(|| spelled(base))
    {
        return Some((at, Some(unit)));
    }
    spelled(column).map(|at| (at, None))
}
