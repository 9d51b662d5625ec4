//! Numbers that cannot be what their column is taken for: millions without their unit, logarithms, FLOPs in
//! units of 1e21, a perplexity for a loss.
//!
//! Such a table gives a law like any other, of wrong numbers, so it is refused with what to do. The user's word
//! on a unit, `--map "params=N (1)"`, makes a remark of a refusal.

use super::columns::Columns;
use crate::error::InputError;
use crate::points::{Exclusion, Point, Remark, Table, Topic};
use crate::units::{BITS_PER_BYTE, count, digits3, flops};

/// No language model is smaller [parameters], and no run shorter [tokens].
pub(super) const LEAST: (f64, f64) = (100.0, 1000.0);
/// D/N that no study has: from models that hardly train to tiny ones on a million tokens a parameter.
const RATIOS: (f64, f64) = (1e-2, 1e5);
/// C is 6ND within this factor under every usual way of counting.
const COUNTING: f64 = 20.0;
/// Beyond this factor the counting differs by more than embeddings and attention explain as a rule.
const WORTH_SAYING: f64 = 3.0;
/// Below this factor numbers are not off by a unit, whose steps are thousands.
const UNIT: f64 = 1e3 / WORTH_SAYING;
/// A row whose C / 6ND is so far from the others' is a slip of the pen.
const SLIP: f64 = 100.0;
/// ln of a vocabulary of a million: a guess among so many has this loss [nats/token].
pub(super) const GUESS: f64 = 13.9;
/// Eight bits a byte: the raw text [bits/byte].
const RAW: f64 = 8.0;

/// Refuses or remarks numbers of an impossible size; single rows become exclusions.
///
/// # Errors
///
/// [`InputError`] with the column, its numbers and the next step.
pub(super) fn check(
    table: &mut Table,
    columns: &Columns,
    source: &str,
    remarks: &mut Vec<Remark>,
) -> Result<(), InputError> {
    if table.points.is_empty() {
        return Ok(());
    }
    let mut doubts = Doubts { points: &table.points, columns, source, remarks };
    doubts.loss()?;
    doubts.too_small()?;
    doubts.ratio()?;
    if let Some(middle) = doubts.compute()? {
        strike_slips(table, middle);
    }
    Ok(())
}

/// Says that losses are worse than guesses among their V token ids, which the user's word keeps.
pub(super) fn worse_than_guesses(vocabularies: &[f64]) -> Option<Remark> {
    let least = vocabularies.iter().copied().min_by(f64::total_cmp)?;
    let n = vocabularies.len();
    let text = format!(
        "{n} {} above ln V, {:.3} nats per token of {} token ids, where a guess stands",
        if n == 1 { "loss is" } else { "losses are" },
        least.ln(),
        count(least)
    );
    Some(Remark { topic: Topic::Magnitude, text })
}

/// What is doubted of a table, one quantity after another.
struct Doubts<'a> {
    points: &'a [Point],
    columns: &'a Columns,
    source: &'a str,
    remarks: &'a mut Vec<Remark>,
}

impl Doubts<'_> {
    /// Refuses, or remarks where the user said what the numbers of the role's column are.
    fn object(&mut self, role: &str, message: String, hint: String) -> Result<(), InputError> {
        self.object_unless(self.columns.confirmed(role), message, hint)
    }

    /// Refuses, or remarks where the user's word stands.
    fn object_unless(
        &mut self,
        word: bool,
        message: String,
        hint: String,
    ) -> Result<(), InputError> {
        if word {
            self.remarks.push(Remark { topic: Topic::Magnitude, text: message });
            return Ok(());
        }
        Err(InputError::new(format!("{}: {message}", self.source), hint))
    }

    /// The option that gives the role's column this unit.
    fn as_it_is(&self, role: &str, unit: &str) -> String {
        format!("--map \"{role}={} ({unit})\"", self.columns.name(role))
    }

    /// Smallest and largest of a quantity.
    fn range(&self, of: fn(&Point) -> f64) -> (f64, f64) {
        let all = || self.points.iter().map(of);
        (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max))
    }

    /// A loss that is more than a guess has, or raw text.
    fn loss(&mut self) -> Result<(), InputError> {
        let loss = median(self.points.iter().map(|p| p.loss));
        let name = self.columns.name("loss");
        if self.columns.loss_unit() == BITS_PER_BYTE {
            if loss <= RAW {
                return Ok(());
            }
            let message = format!(
                "`{name}` is {} in the middle, and raw text has 8 bits a byte",
                digits3(loss)
            );
            let hint = format!(
                "give the column of the loss with --map loss=COLUMN; {} takes this one as it is",
                self.as_it_is("loss", "bits/byte")
            );
            return self.object("loss", message, hint);
        }
        if loss <= GUESS {
            return Ok(());
        }
        self.object(
            "loss",
            format!(
                "`{name}` is {} in the middle, more than ln V of a vocabulary of a million: no loss in nats per token; a \
                 perplexity?",
                digits3(loss)
            ),
            format!(
                "if it is one, {} takes its ln; if these are the losses after all, {}",
                self.as_it_is("loss", "ppl"),
                self.as_it_is("loss", "nats")
            ),
        )
    }

    /// Sizes or tokens of which all are below what any run has.
    fn too_small(&mut self) -> Result<(), InputError> {
        let (sizes, lengths) = (self.range(|p| p.params), self.range(|p| p.tokens));
        for (role, symbol, (low, high), floor) in
            [("params", "N", sizes, LEAST.0), ("tokens", "D", lengths, LEAST.1)]
        {
            if self.columns.at(role).is_none() || high >= floor {
                continue;
            }
            let log = low > 3.0 && high < 20.0;
            // The `d` of a model, which only a user takes for tokens.
            let width = role == "tokens"
                && self.columns.name(role).eq_ignore_ascii_case("d")
                && self.points.iter().all(|p| p.tokens.fract() == 0.0);
            let (units, hint) = if log {
                let hint =
                    format!("say the unit: {}, or (ln), (M), (B)", self.as_it_is(role, "log10"));
                ("base-10 logarithms, or millions or billions", hint)
            } else if width {
                let hint = "if they are widths, leave them out of --map; if not, say the unit: "
                    .to_owned();
                (
                    "those of a width, or millions or billions",
                    hint + &self.as_it_is(role, "M") + ", or (B)",
                )
            } else {
                let hint = format!("say the unit: {}, or (B)", self.as_it_is(role, "M"));
                ("millions or billions", hint)
            };
            self.object(
                role,
                format!(
                    "`{}` is {} to {}: too small for {symbol}, so its numbers may be {units}",
                    self.columns.name(role),
                    digits3(low),
                    digits3(high)
                ),
                format!("{hint}; (1) takes them as they are"),
            )?;
        }
        Ok(())
    }

    /// Tokens per parameter that no study has.
    fn ratio(&mut self) -> Result<(), InputError> {
        let columns = self.columns;
        let ratio = median(self.points.iter().map(|p| p.tokens / p.params));
        if (RATIOS.0..=RATIOS.1).contains(&ratio) {
            return Ok(());
        }
        // What is not there was computed from C.
        let role = if columns.at("tokens").is_none() {
            if columns.at("flops").is_some() { "flops" } else { "budget" }
        } else if ratio > RATIOS.1 {
            "params"
        } else {
            "tokens"
        };
        let unit = if role == "params" || role == "tokens" { "M" } else { "ZFLOP" };
        let (sizes, lengths) = (self.range(|p| p.params), self.range(|p| p.tokens));
        let near = ratio > RATIOS.0 / UNIT && ratio < RATIOS.1 * UNIT;
        let others = ["params", "tokens"].iter().any(|r| columns.confirmed(r));
        self.object_unless(
            columns.confirmed(role) || near && others,
            format!(
                "D/N is {:.1e} tokens per parameter in the middle (N {} to {}, D {} to {}): the units of `{}` and `{}` do \
                 not go together",
                ratio,
                count(sizes.0),
                count(sizes.1),
                count(lengths.0),
                count(lengths.1),
                columns.name("params"),
                columns.name(if columns.at("tokens").is_some() { "tokens" } else { role })
            ),
            format!(
                "say the unit: {}, or another such as (B) or (1e9); (1) takes them as they are",
                self.as_it_is(role, unit)
            ),
        )
    }

    /// C that is not about 6ND, where all three are given. The share of 6ND in the middle, where it is one that
    /// counting explains.
    fn compute(&mut self) -> Result<Option<f64>, InputError> {
        let columns = self.columns;
        let role = if columns.at("flops").is_some() { "flops" } else { "budget" };
        let given = columns.at(role).is_some()
            && columns.at("tokens").is_some()
            && (columns.at("params").is_some() || columns.params_convention() == "matmul");
        if !given {
            return Ok(None);
        }
        let middle = median(self.points.iter().map(share));
        let off = middle.max(1.0 / middle);
        if off > COUNTING {
            self.other_unit(role, middle)?;
        } else if off > WORTH_SAYING {
            self.remarks.push(Remark {
                topic: Topic::Magnitude,
                text: format!(
                    "`{}` is {} times 6ND in the middle: N, D and C may count unlike things",
                    columns.name(role),
                    digits3(middle)
                ),
            });
        }
        Ok((off <= COUNTING).then_some(middle))
    }

    /// Objects to a C that is `middle` times 6ND, with the unit that its numbers look like.
    fn other_unit(&mut self, role: &str, middle: f64) -> Result<(), InputError> {
        let (least, most) = self.range(|p| p.flops);
        let what = format!(
            "`{}` is {:.1e} of 6ND in the middle ({} to {} FLOP)",
            self.columns.name(role),
            middle,
            flops(least),
            flops(most)
        );
        let likely = [
            ("ZFLOP", 1e21),
            ("EFLOP", 1e18),
            ("PFLOP", 1e15),
            ("TFLOP", 1e12),
            ("GFLOP", 1e9),
            ("PF-days", 8.64e19),
        ]
        .into_iter()
        .find(|(_, f)| (middle * f).ln().abs() < WORTH_SAYING.ln());
        let unit = likely.map_or("FLOP", |(unit, _)| unit);
        let guess =
            likely.map_or_else(String::new, |(unit, _)| format!("; its numbers look like {unit}"));
        // What the user named is taken where no unit explains the difference, and what they gave the unit of where
        // C does not look like another one.
        let any = |of: fn(&Columns, &str) -> bool| {
            [role, "params", "tokens"].into_iter().any(|role| of(self.columns, role))
        };
        let word = self.columns.confirmed(role)
            || likely.is_none() && any(Columns::confirmed)
            || middle.max(1.0 / middle) < UNIT && any(Columns::mapped);
        let own = ["params", "tokens"]
            .into_iter()
            .filter(|r| self.columns.mapped(r) && likely.is_none())
            .fold(String::new(), |out, r| {
                out + &format!(
                    "; {} takes `{}` as it is",
                    self.as_it_is(r, "1"),
                    self.columns.name(r)
                )
            });
        self.object_unless(
            word,
            what + &guess,
            format!(
                "say the unit: {}; if C is right and N or D is another column, name it with --map; (FLOP) takes C as \
                 it is{own}",
                self.as_it_is(role, unit)
            ),
        )
    }
}

/// C over 6ND [-].
fn share(p: &Point) -> f64 {
    p.flops / (6.0 * p.params * p.tokens)
}

/// Excludes rows whose C is far from what that of the others is of 6ND, which is `middle`.
fn strike_slips(table: &mut Table, middle: f64) {
    let slips = |p: &Point| {
        let off = share(p) / middle;
        off.max(1.0 / off) > SLIP
    };
    let (bad, good): (Vec<Point>, Vec<Point>) =
        std::mem::take(&mut table.points).into_iter().partition(slips);
    table.points = good;
    for p in bad {
        table.excluded.push(Exclusion {
            what: format!("N {}, D {}", count(p.params), count(p.tokens)),
            reason: format!(
                "its C is {:.1e} of 6ND, that of the others {}",
                share(&p),
                digits3(middle)
            ),
            id: p.id,
        });
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
