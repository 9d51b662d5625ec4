//! Which column of a stranger's table means what, why, and one row's numbers.
//!
//! A column is taken by `--map`, or by its name and what is in it: held-out losses before training losses,
//! counts that say what is in them before totals, full columns before empty ones. Where C and D are there, the
//! N whose 6ND is C is taken. Every choice is told.

use super::grid::Grid;
use super::names::{self, Name, Unit};
use super::number::{Evidence, Number, Style, number};
use super::roles::{ROLES, held_out, rank};
use super::{Options, Taken};
use crate::error::InputError;
use crate::points::{Counts, Point, Remark, Topic};
use crate::units::{AS_GIVEN, BITS_PER_BYTE, NATS_PER_TOKEN, count, parse_quantity};

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

/// nanochat counts its matrices apart; together they are the parameters that multiply activations.
const MATRICES: [&str; 2] = ["params_transformer", "params_lm_head"];

/// A column that is read.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) at: usize,
    pub(super) unit: Option<Unit>,
    style: Style,
    /// The user said what its numbers are.
    pub(super) confirmed: bool,
}

/// Where each role is in a row.
pub(super) struct Columns {
    header: Vec<String>,
    roles: Vec<(&'static str, Column)>,
    /// nanochat's blocks and head, where no column gives their sum.
    matrices: Option<[usize; 2]>,
    filters: Vec<(usize, String)>,
    counts: Option<[usize; 3]>,
    one_study: Vec<(usize, &'static str)>,
    vocab: Option<usize>,
}

/// The numbers of a row by role, as far as they are there.
type Numbers = Result<Option<f64>, String>;

impl Columns {
    /// Finds the columns of `grid`; what a user should know of the choices goes to `remarks`.
    pub(super) fn find(
        grid: &Grid,
        source: &str,
        options: &Options,
        remarks: &mut Vec<Remark>,
    ) -> Result<Self, InputError> {
        let header = &grid.header;
        let known = || format!("its columns are: {}", header.join(", "));
        let position = |name: &str| header.iter().position(|h| h == name);
        let names: Vec<Name> = header.iter().map(|h| Name::of(h)).collect();
        let mut roles: Vec<(&'static str, Column)> = Vec::new();
        for (role, column) in &options.map {
            let Some(role) = ROLES.iter().find(|r| *r == role) else {
                return Err(InputError::new(
                    format!("--map: `{role}` is not something a fit reads"),
                    format!("it reads: {}", ROLES.join(", ")),
                ));
            };
            let (at, unit) = mapped(header, column).ok_or_else(|| {
                InputError::new(format!("{source}: no column `{column}`"), known())
            })?;
            if roles.iter().any(|(r, _)| r == role) {
                let message = format!("--map names {role} twice, the second time as `{column}`");
                return Err(InputError::new(message, "give each role one column"));
            }
            if let Some((other, _)) = roles.iter().find(|(r, c)| {
                c.at == at
                    && ["params", "tokens", "loss"].contains(r)
                    && ["params", "tokens", "loss"].contains(role)
            }) {
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
                Column { at, unit: unit.or(names[at].unit), style: Style::Point, confirmed },
            ));
        }
        let counts = ["params_total", "params_non_embedding", "params_flops_over_6"].map(position);
        let counts = match counts {
            [Some(a), Some(b), Some(c)] => Some([a, b, c]),
            _ => None,
        };
        let mut matrices = match MATRICES.map(position) {
            [Some(blocks), Some(head)] => Some([blocks, head]),
            _ => None,
        };
        if roles.iter().any(|(r, _)| *r == "params") {
            matrices = None;
        }
        for role in ROLES {
            if roles.iter().any(|(r, _)| *r == role) {
                continue;
            }
            let mut candidates = candidates(grid, &names, role);
            if role == "params" && counts.is_some() {
                // Our own ledger: `params` is the count of the matrices.
                candidates.retain(|at| names[*at].plain == "params");
            }
            if role == "params" && matrices.is_some() {
                candidates.retain(|at| rank(role, &names[*at]).is_some_and(|r| r < 50));
                if !candidates.is_empty() {
                    matrices = None;
                }
            }
            if role == "tokens" {
                candidates.retain(|at| !a_width(grid, &names[*at], *at, &roles, remarks));
            }
            let Some(first) = candidates.first().copied() else { continue };
            unequal_twins(grid, first, &header[first], source)?;
            roles.push((
                role,
                Column {
                    at: first,
                    unit: names[first].unit,
                    style: Style::Point,
                    confirmed: false,
                },
            ));
            if ["params", "tokens", "loss", "flops", "budget"].contains(&role) {
                others(role, first, &candidates, header, &names, remarks);
            }
        }
        let mut filters = Vec::new();
        for (column, value) in &options.filters {
            let at = mapped(header, column).ok_or_else(|| {
                InputError::new(format!("{source}: --where: no column `{column}`"), known())
            })?;
            filters.push((at.0, value.clone()));
        }
        let one_study =
            ONE_STUDY.iter().filter_map(|name| Some((position(name)?, *name))).collect();
        let vocab = names.iter().position(|n| {
            ["vocab", "vocab_size", "vocabulary", "vocabulary_size", "n_vocab"].contains(&&*n.plain)
        });
        let mut columns =
            Self { header: header.clone(), roles, matrices, filters, counts, one_study, vocab };
        columns.lacking(grid, source)?;
        columns.styles(grid);
        columns.units(source)?;
        columns.params_by_compute(grid, &names, remarks);
        Ok(columns)
    }

    /// Refuses a table without sizes, tokens or losses, or what gives them.
    fn lacking(&self, grid: &Grid, source: &str) -> Result<(), InputError> {
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

    /// Refuses units that a name leaves open.
    fn units(&self, source: &str) -> Result<(), InputError> {
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

    /// Of several counts of N, the one whose 6ND is C, where C and D are both there.
    fn params_by_compute(&mut self, grid: &Grid, names: &[Name], remarks: &mut Vec<Remark>) {
        let Some(chosen) = self.roles.iter().position(|(r, c)| *r == "params" && !c.confirmed)
        else {
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

    /// What C counts, as far as the header tells.
    pub(super) fn flops_convention(&self) -> &'static str {
        if self.at("flops").is_some() {
            "as given"
        } else if self.at("budget").is_some() {
            "budget"
        } else {
            "6ND"
        }
    }

    /// What N counts, as far as the header tells.
    pub(super) fn params_convention(&self) -> &'static str {
        if self.matrices.is_some() || self.counts.is_some() { "matmul" } else { "as given" }
    }

    /// What the loss is measured in, as far as the header tells.
    pub(super) fn loss_unit(&self) -> &'static str {
        match self.column("loss").and_then(|c| c.unit) {
            Some(Unit::BitsPerByte) => BITS_PER_BYTE,
            Some(Unit::Nats | Unit::Bits | Unit::Perplexity) => NATS_PER_TOKEN,
            _ => AS_GIVEN,
        }
    }

    /// Where N, D, C and L come from, as a person reads it.
    pub(super) fn taken(&self) -> Vec<Taken> {
        let of = |role: &str| {
            self.column(role).map(|c| {
                let unit = match c.unit {
                    Some(Unit::Times(f)) if f != 1.0 => format!(" times {f:e}"),
                    Some(Unit::Log10) => ", as 10 to its power".to_owned(),
                    Some(Unit::Ln) => ", as e to its power".to_owned(),
                    Some(Unit::Perplexity) => ", a perplexity, as its ln".to_owned(),
                    Some(Unit::Bits) => ", in bits, times ln 2".to_owned(),
                    _ => String::new(),
                };
                format!("`{}`{unit}", self.header[c.at])
            })
        };
        let compute = of("flops").or_else(|| of("budget"));
        let steps = || Some(format!("{} times {}", of("steps")?, of("batch")?));
        let tokens = of("tokens");
        let params = match self.matrices {
            Some([a, b]) => format!("`{}` + `{}`", self.header[a], self.header[b]),
            None => of("params").unwrap_or_else(|| {
                let by_compute = compute.is_some() && (tokens.is_some() || steps().is_some());
                if by_compute { "C / 6D" } else { "D over its ratio" }.to_owned()
            }),
        };
        let derived = || {
            if compute.is_some() {
                "C / 6N".to_owned()
            } else if let Some(ratio) = of("ratio") {
                format!("{ratio} times N")
            } else {
                steps().unwrap_or_default()
            }
        };
        let loss = of("loss").unwrap_or_default();
        let kind = self.column("loss").and_then(|c| held_out(&Name::of(&self.header[c.at])));
        let kind = match kind {
            Some(true) => " (held-out)",
            Some(false) => " (of training data)",
            None => "",
        };
        [
            ("N", params),
            ("D", tokens.unwrap_or_else(derived)),
            ("C", compute.clone().unwrap_or_else(|| "6ND".to_owned())),
            ("L", loss + kind),
        ]
        .map(|(symbol, from)| Taken { symbol, from })
        .to_vec()
    }

    /// The columns in which rows of one study agree, with this row's values.
    pub(super) fn study<'r>(
        &self,
        cells: &'r [String],
    ) -> impl Iterator<Item = (&'static str, &'r str)> {
        self.one_study.iter().filter_map(|(at, name)| Some((*name, cells.get(*at)?.as_str())))
    }

    pub(super) fn column(&self, role: &str) -> Option<&Column> {
        self.roles.iter().find(|(r, _)| *r == role).map(|(_, column)| column)
    }

    pub(super) fn at(&self, role: &str) -> Option<usize> {
        self.column(role).map(|c| c.at)
    }

    /// The name of a role's column, for a message.
    pub(super) fn name<'a>(&'a self, role: &'a str) -> &'a str {
        match (self.at(role), self.matrices) {
            (Some(at), _) => &self.header[at],
            (None, Some([at, _])) if role == "params" => &self.header[at],
            _ => role,
        }
    }

    /// Whether a column is read for some role.
    pub(super) fn reads(&self, at: usize) -> bool {
        self.roles.iter().any(|(_, c)| c.at == at) || self.matrices.is_some_and(|m| m.contains(&at))
    }

    pub(super) fn text<'r>(&self, cells: &'r [String], role: &str) -> Option<&'r str> {
        self.at(role).and_then(|at| cells.get(at)).map(String::as_str).filter(|t| !t.is_empty())
    }

    /// Equal as text, or as numbers.
    pub(super) fn keeps(&self, cells: &[String]) -> bool {
        self.filters.iter().all(|(at, want)| {
            let got = cells.get(*at).map_or("", String::as_str);
            got == want || parse_quantity(got).is_some_and(|g| Some(g) == parse_quantity(want))
        })
    }

    /// A finite number above zero, nothing where the cell is empty, or why not.
    pub(super) fn number(&self, cells: &[String], role: &str) -> Numbers {
        let Some(column) = self.column(role) else { return Ok(None) };
        let text = cells.get(column.at).map_or("", String::as_str);
        if nothing(text) {
            return Ok(None);
        }
        match column.value(text) {
            Some(value) if value.is_finite() && value > 0.0 => Ok(Some(value)),
            _ => Err(format!("{role} is `{text}`, want a finite number above 0")),
        }
    }

    fn params(&self, cells: &[String]) -> Numbers {
        let Some(at) = self.matrices else { return self.number(cells, "params") };
        let mut sum = 0.0;
        for (at, name) in at.into_iter().zip(MATRICES) {
            let text = &cells[at];
            sum += number(text, Style::Point)
                .map(|n| n.value)
                .filter(|v| *v > 0.0)
                .ok_or_else(|| format!("{name} is `{text}`, want a finite number above 0"))?;
        }
        Ok(Some(sum))
    }

    /// One run.
    ///
    /// # Errors
    ///
    /// Why the row cannot be used, as a person reads it.
    pub(super) fn point(&self, cells: &[String], id: &str) -> Result<Point, String> {
        let empty = |role: &str| match self.at(role) {
            Some(_) => format!("{role} is empty"),
            None => format!("{role} is missing"),
        };
        let params = self.params(cells)?;
        let loss = self.number(cells, "loss")?.ok_or_else(|| empty("loss"))?;
        // A study without a budget for this run is not an error.
        let budget = self.number(cells, "budget").unwrap_or(None);
        let given = self.number(cells, "flops")?;
        // A budget that a table states is what its runs were trained for, however they count.
        let compute = given.or(budget);
        let ratio = self.number(cells, "ratio").unwrap_or(None);
        let stepped = match (self.number(cells, "steps"), self.number(cells, "batch")) {
            (Ok(Some(steps)), Ok(Some(batch))) => Some(steps * batch),
            _ => None,
        };
        let tokens =
            self.number(cells, "tokens")?.or(stepped.filter(|_| self.at("tokens").is_none()));
        let (params, tokens) = match (params, tokens, compute, ratio) {
            (Some(n), Some(d), ..) => (n, d),
            (Some(n), None, Some(c), _) => (n, c / (6.0 * n)),
            (Some(n), None, None, Some(r)) => (n, r * n),
            (None, Some(d), Some(c), _) => (c / (6.0 * d), d),
            (None, Some(d), None, Some(r)) => (d / r, d),
            // C = 6 N D = 6 r N^2.
            (None, None, Some(c), Some(r)) => {
                let n = (c / (6.0 * r)).sqrt();
                (n, r * n)
            }
            (None, ..) => return Err(empty("params")),
            (_, None, ..) => return Err(empty("tokens")),
        };
        let flops = compute.unwrap_or(6.0 * params * tokens);
        // What follows from extreme numbers may leave the range of all numbers.
        if [params, tokens, flops].iter().any(|v| !(v.is_finite() && *v > 0.0)) {
            return Err(format!("N {params:e}, D {tokens:e} and C {flops:e} do not go together"));
        }
        let counts = self.counts.and_then(|at| {
            let [total, non_embedding, flops_over_6] =
                at.map(|i| cells.get(i).and_then(|c| parse_quantity(c)));
            Some(Counts {
                total: total?,
                non_embedding: non_embedding?,
                matmul: params,
                flops_over_6: flops_over_6?,
            })
        });
        let unique = self.number(cells, "unique_tokens")?;
        let repeated = self.number(cells, "epochs").unwrap_or(None).map(|e| tokens / e.max(1.0));
        if let Some(vocab) = self.vocab.and_then(|at| parse_quantity(&cells[at]))
            && self.loss_unit() != BITS_PER_BYTE
            && vocab > 1.0
            && loss > 1.02 * vocab.ln()
        {
            return Err(format!(
                "loss {loss} is above ln V = {:.3} of its {} token ids, where a guess stands",
                vocab.ln(),
                count(vocab)
            ));
        }
        Ok(Point {
            id: id.to_owned(),
            cluster: self.text(cells, "cluster").unwrap_or(id).to_owned(),
            params,
            tokens,
            flops,
            loss,
            budget,
            unique_tokens: unique.or(repeated),
            counts,
        })
    }
}

impl Column {
    /// The number of a cell in plain units.
    fn value(&self, text: &str) -> Option<f64> {
        let Number { value, unit } = number(text, self.style)?;
        let value = match self.unit {
            // A cell's own unit counts for more than the header's.
            Some(Unit::Times(_)) if unit => value,
            Some(Unit::Times(factor)) => value * factor,
            Some(Unit::Log10) => 10_f64.powf(value),
            Some(Unit::Ln) => value.exp(),
            Some(Unit::Perplexity) => value.ln(),
            Some(Unit::Bits) => value * std::f64::consts::LN_2,
            Some(Unit::Log | Unit::Nats | Unit::BitsPerByte) | None => value,
        };
        value.is_finite().then_some(value)
    }
}

/// A cell that says that there is nothing.
fn nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || ["-", "—", "–", "na", "n/a", "none", "null", "<na>", "?"]
            .iter()
            .any(|n| text.eq_ignore_ascii_case(n))
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

/// Refuses a column whose name stands over another one too, with other cells.
fn unequal_twins(grid: &Grid, at: usize, asked: &str, source: &str) -> Result<(), InputError> {
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

/// Empty, class, sparse, rank, place: the least is preferred.
type Key = (bool, u32, bool, u32, usize);

/// The columns that may play a role, the preferred one first: by class, then those with many filled cells, then
/// by name.
fn candidates(grid: &Grid, names: &[Name], role: &str) -> Vec<usize> {
    let text = ["id", "cluster"].contains(&role);
    let filled = |at: usize| {
        let full = |cell: &str| !nothing(cell) && (text || number_in_any(cell));
        grid.rows.iter().filter(|r| full(&r.cells[at])).count()
    };
    let mut all: Vec<(u32, usize, usize)> = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| Some((rank(role, name)?, at, filled(at))))
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
fn a_width(
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
                "`{}` is not taken for tokens: its numbers are those of a width; --map tokens=\"{}\" says otherwise",
                grid.header[at], grid.header[at]
            ),
        });
    }
    found
}

/// Tells which other columns could have played a role, where the choice changes the numbers.
fn others(
    role: &str,
    chosen: usize,
    candidates: &[usize],
    header: &[String],
    names: &[Name],
    remarks: &mut Vec<Remark>,
) {
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
