//! What to leave out of a sweep so that it fits a span of time, at the least loss of what it is for.
//!
//! A sweep can do without seeds, the highest first; outermost sizes, of all budgets alike; and its largest
//! budgets. Each is one change of the sweep file that keeps the identity of every other cell. There are few
//! such designs, so all of them are tried. Of those that fit, the best is the one whose predicted intervals of N* and
//! of the loss, at ten times the largest compute, are narrowest: the variances of both by J'J of the
//! Chinchilla law at the cells that stay (V-optimality), with the published exponents at the grid's centre.
//!
//! Limits: errors of ln L alike and independent; a law that holds. What seeds say about the scatter itself,
//! and outer sizes about the form of the law, is not counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::Spanned;

use crate::plan::cost::makespan;
use crate::plan::{Cell, DataFacts, Plan, Recipe, centre};
use crate::spec::{Grid, Spec};
use crate::units::{Quantity, duration};

/// Least sizes and budgets that stay: a parabola, and a power law with a residual to judge it by.
const LEAST: (usize, usize) = (5, 4);
/// Sizes that stay on either side of the guessed optimum, so that the minimum stays inside.
const BESIDE: usize = 2;
/// Least entries of `[[grid.cells]]` that stay: more than the law's five parameters.
const LEAST_CELLS: usize = 8;
/// Most that is left out of one axis.
const MOST: usize = 6;
/// Where the intervals are held: this many times the largest compute.
const AHEAD: f64 = 10.0;
/// Exponents of size and data (Hoffmann et al. 2022, unrounded as in arXiv:2404.10102).
const EXPONENTS: (f64, f64) = (0.3392, 0.2849);
/// Share of the loss at the centre that size and data can take away, as at Chinchilla's smaller runs.
const REDUCIBLE: f64 = 0.33;
/// Variance of the noise over that of a weak prior of each parameter, (0.01 / 1)^2: no design is singular.
const PRIOR: f64 = 1e-4;

/// A planned cell, with the seconds it will still take: 0 where it is completed.
pub type Priced<'a> = (&'a Cell, f64);

/// How much of each axis is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Drops {
    seeds: u64,
    /// Smallest and largest sizes.
    small: usize,
    large: usize,
    /// Largest budgets, token counts or explicit cells.
    top: usize,
}

/// A smaller sweep that fits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// Predicted wall-clock of what is left of the whole sweep [s].
    pub before: f64,
    /// The same of the smaller one [s].
    pub seconds: f64,
    /// What is left out, one axis after the other. Empty where everything fits.
    pub drop: Vec<Drop>,
    /// Keys of the sweep file and their new values, as TOML.
    pub change: Vec<(String, String)>,
    /// Interval of N* at ten times the largest compute, over that of the whole sweep, minus one [-].
    pub params_wider: f64,
    /// The same of the loss there [-].
    pub loss_wider: f64,
}

/// One thing to leave out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drop {
    /// In words.
    pub what: String,
    /// Ids of the cells.
    pub cells: Vec<String>,
    /// Wall-clock that it saves [s].
    pub saves: f64,
    /// By how much the interval of N* is wider with this and everything before it left out [-].
    pub params_wider: f64,
}

/// The design that says most among those that take at most `target` seconds.
///
/// # Errors
///
/// A line for a person, where none does.
pub fn propose(
    spec: &Spec,
    data: &DataFacts,
    cells: &[Priced<'_>],
    workers: usize,
    target: f64,
) -> Result<Proposal, String> {
    let search = Search::new(spec, data, cells, workers);
    let whole = search.judge(Drops::default());
    let Some(whole) = whole else { return Err("this plan cannot be taken apart".to_owned()) };
    if whole.seconds <= target {
        return Ok(search.proposal(Drops::default(), &whole, &whole));
    }
    let all = search.all();
    let judged = || all.iter().filter_map(|d| Some((*d, search.judge(*d)?)));
    let best = judged()
        .filter(|(_, j)| j.seconds <= target)
        .min_by(|(_, l), (_, r)| l.loss().total_cmp(&r.loss()).then(r.kept.len().cmp(&l.kept.len())));
    if let Some((drops, judged)) = best {
        return Ok(search.proposal(drops, &whole, &judged));
    }
    let least = judged().map(|(_, j)| j.seconds).fold(f64::INFINITY, f64::min);
    Err(format!(
        "what is left takes about {}, and the smallest design of this grid that can still be fitted ({}) about {}",
        duration(whole.seconds),
        least_of(&spec.grid),
        duration(least)
    ))
}

fn least_of(grid: &Grid) -> String {
    match grid {
        Grid::Isoflop(_) => format!("1 seed, {} sizes, {} budgets", LEAST.0, LEAST.1),
        Grid::Product(_) => format!("1 seed, {} sizes, {} token counts", LEAST.0, LEAST.1),
        Grid::Cells(_) => format!("1 seed, {LEAST_CELLS} cells"),
    }
}

/// A design, judged.
struct Judged {
    /// Places of the cells that stay.
    kept: Vec<usize>,
    seconds: f64,
    /// Variances of ln N* and of ln L ahead, in units of the noise's.
    variance: (f64, f64),
}

impl Judged {
    /// What is to be small.
    fn loss(&self) -> f64 {
        self.variance.0.ln() + self.variance.1.ln()
    }
}

struct Search<'a> {
    spec: &'a Spec,
    data: &'a DataFacts,
    cells: &'a [Priced<'a>],
    workers: usize,
    /// The id of each cell with the first seed.
    sibling: Vec<String>,
    law: Local,
    rows: Vec<[f64; 5]>,
}

impl<'a> Search<'a> {
    fn new(
        spec: &'a Spec,
        data: &'a DataFacts,
        cells: &'a [Priced<'a>],
        workers: usize,
    ) -> Self {
        let sibling =
            cells.iter().map(|(c, _)| Recipe { seed: 0, ..c.recipe.clone() }.id()).collect();
        let law = Local::about(cells.iter().map(|(c, _)| *c));
        let rows = cells.iter().map(|(c, _)| law.row(c)).collect();
        Self { spec, data, cells, workers, sibling, law, rows }
    }

    /// Every design that can still be fitted.
    fn all(&self) -> Vec<Drops> {
        let (sizes, tops, least_tops) = match &self.spec.grid {
            Grid::Isoflop(g) => (*g.sizes.get_ref() as usize, g.budgets.get_ref().len(), LEAST.1),
            Grid::Product(g) => {
                let counts = g.tokens.as_ref().or(g.tokens_per_param.as_ref());
                (g.params.get_ref().len(), counts.map_or(0, |t| t.get_ref().len()), LEAST.1)
            }
            Grid::Cells(cells) => (0, cells.get_ref().len(), LEAST_CELLS),
        };
        let seeds = *self.spec.seeds.get_ref();
        let sizes = (0..=MOST).flat_map(|small| (0..=MOST).map(move |large| (small, large))).filter(
            |(small, large)| {
                (*small == 0 && *large == 0)
                    || small + large + LEAST.0 <= sizes
                        && sizes / 2 >= BESIDE + small.max(large)
            },
        );
        let tops = 0..=tops.saturating_sub(least_tops).min(MOST);
        let mut out = Vec::new();
        for (small, large) in sizes {
            for top in tops.clone() {
                out.extend((0..seeds).map(|seeds| Drops { seeds, small, large, top }));
            }
        }
        out
    }

    /// Nothing where the smaller sweep would train cells that this one does not.
    fn judge(&self, drops: Drops) -> Option<Judged> {
        let one = Spec { seeds: plain(1), ..drops.apply(self.spec) };
        let planned: BTreeSet<String> =
            Plan::new(&one, self.data).cells.into_iter().map(|c| c.id).collect();
        let known: BTreeSet<&String> = self.sibling.iter().collect();
        // Cells that ended without a loss are not among ours.
        let seeds = self.spec.seeds.get_ref() - drops.seeds;
        let kept: Vec<usize> = (0..self.cells.len())
            .filter(|i| {
                self.cells[*i].0.recipe.seed < seeds && planned.contains(&self.sibling[*i])
            })
            .collect();
        let strange = planned.iter().filter(|id| !known.contains(id)).count();
        if kept.is_empty() || strange > self.missing() {
            return None;
        }
        let seconds = makespan(kept.iter().map(|i| self.cells[*i].1), self.workers);
        let variance = self.law.variances(kept.iter().map(|i| &self.rows[*i]));
        Some(Judged { kept, seconds, variance })
    }
}
