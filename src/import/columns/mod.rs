//! Which column of a stranger's table means what, why, and one row's numbers.
//!
//! A column is taken by `--map`, or by its name and what is in it: held-out losses before training losses,
//! counts that say what is in them before totals, full columns before empty ones. Where C and D are there, the
//! N whose 6ND is C is taken. Every choice is told.

mod candidates;
mod find;
mod plausible;
mod refuse;
mod told;

use super::names::Unit;
use super::number::{Number, Style, number};
use crate::points::{Counts, Point};
use crate::units::{BITS_PER_BYTE, count, parse_quantity};

/// nanochat counts its matrices apart; together they are the parameters that multiply activations.
const MATRICES: [&str; 2] = ["params_transformer", "params_lm_head"];

/// A column that is read.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) at: usize,
    pub(super) unit: Option<Unit>,
    style: Style,
    /// The user named it.
    pub(super) mapped: bool,
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
    one_study: Vec<usize>,
    vocab: Option<usize>,
}

/// The numbers of a row by role, as far as they are there.
type Numbers = Result<Option<f64>, String>;

impl Columns {
    /// The columns in which rows of one study agree, with this row's values.
    pub(super) fn study<'r>(
        &'r self,
        cells: &'r [String],
    ) -> impl Iterator<Item = (&'r str, &'r str)> {
        let of = |at: &usize| Some((self.header[*at].as_str(), cells.get(*at)?.as_str()));
        self.one_study.iter().filter_map(of)
    }

    pub(super) fn column(&self, role: &str) -> Option<&Column> {
        self.roles.iter().find(|(r, _)| *r == role).map(|(_, column)| column)
    }

    pub(super) fn at(&self, role: &str) -> Option<usize> {
        self.column(role).map(|c| c.at)
    }

    /// Whether the user named the role's column.
    pub(super) fn mapped(&self, role: &str) -> bool {
        self.column(role).is_some_and(|c| c.mapped)
    }

    /// Whether the user said what the numbers of the role's column are.
    pub(super) fn confirmed(&self, role: &str) -> bool {
        self.column(role).is_some_and(|c| c.confirmed)
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

    /// A finite number above zero, nothing where the cell is empty, or why not. An empty cell of a column that the
    /// user named for N, D or C is no run of theirs: nothing else is put in its place.
    pub(super) fn number(&self, cells: &[String], role: &str) -> Numbers {
        let Some(column) = self.column(role) else { return Ok(None) };
        let text = cells.get(column.at).map_or("", String::as_str);
        if nothing(text) {
            let needed = ["params", "tokens", "flops", "ratio", "steps", "batch"].contains(&role);
            return if column.mapped && needed {
                Err(format!("{role} is empty"))
            } else {
                Ok(None)
            };
        }
        match column.value(text) {
            Some(value) if value.is_finite() && value > 0.0 => Ok(Some(value)),
            _ => Err(format!("{role} is `{text}`, want a finite number above 0")),
        }
    }

    /// The same of a column that only helps out: what is no number is nothing there, unless the user named it.
    fn helps(&self, cells: &[String], role: &str) -> Numbers {
        self.number(cells, role).or_else(|e| if self.mapped(role) { Err(e) } else { Ok(None) })
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

    /// The V of a row whose loss is worse than a guess among V token ids, where a column gives V.
    pub(super) fn below_guess(&self, cells: &[String], loss: f64) -> Option<f64> {
        let vocab = parse_quantity(cells.get(self.vocab?)?)?;
        let worse = vocab > 1.0 && loss > 1.02 * vocab.ln();
        (worse && self.loss_unit() != BITS_PER_BYTE).then_some(vocab)
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
        let budget = self.helps(cells, "budget")?;
        let given = self.number(cells, "flops")?;
        // A budget that a table states is what its runs were trained for, however they count.
        let compute = given.or(budget);
        let ratio = self.helps(cells, "ratio")?;
        let told = self.mapped("ratio");
        let stepped = match (self.helps(cells, "steps")?, self.helps(cells, "batch")?) {
            (Some(steps), Some(batch)) => Some(steps * batch),
            _ => None,
        };
        let tokens =
            self.number(cells, "tokens")?.or(stepped.filter(|_| self.at("tokens").is_none()));
        let (params, tokens) = match (params, tokens, compute, ratio) {
            (Some(n), Some(d), ..) => (n, d),
            (Some(n), None, _, Some(r)) if told => (n, r * n),
            (None, Some(d), _, Some(r)) if told => (d / r, d),
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
        let repeated = self.helps(cells, "epochs")?.map(|e| tokens / e.max(1.0));
        if let Some(vocab) = self.below_guess(cells, loss)
            && !self.confirmed("loss")
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
