//! A search of rate, batch and decay at a sweep's tuning cells, and the rules in (N, D) that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::failure::json;
use super::sweep::TUNE;
use super::training::{Setup, Training};
use super::{Failure, Observer, Sweep, figures};
use crate::error::InputError;
use crate::figure;
use crate::fs::{Disk as _, Os};
use crate::ledger::{Ledger, State};
use crate::plan::{Cell, Given, Plan, trunk};
use crate::spec::{Spec, TuneSpec};
use crate::tune::design::{Config, Design, Tried};
use crate::tune::{Place, Run, Tuning};
use crate::units::several;

/// Longest outcome that is read [bytes].
const MAX_FILE: u64 = 256 << 20;

/// A search at every tuning cell of a sweep.
pub struct Tuner<'a> {
    sweep: &'a Sweep,
    tune: &'a TuneSpec,
    searches: Vec<Search>,
    cells: Vec<Cell>,
}

/// One tuning cell while it is searched.
struct Search {
    place: Place,
    design: Design,
    /// Every configuration asked for, with the ids of its seeds.
    asked: Vec<(Config, Vec<String>)>,
}

impl<'a> Tuner<'a> {
    /// The searches of a sweep, none of which has asked for a run.
    ///
    /// # Errors
    ///
    /// [`Failure`] where the sweep has no `[tune]` block.
    pub fn new(sweep: &'a Sweep) -> Result<Self, Failure> {
        let tune = block(&sweep.spec)?;
        Ok(Self { sweep, tune, searches: searches(sweep, tune), cells: Vec::new() })
    }

    /// How many tuning cells are searched.
    pub fn places(&self) -> usize {
        self.searches.len()
    }

    /// The runs of the first round.
    pub fn first_round(&mut self) -> &[Cell] {
        self.next(&BTreeMap::new());
        &self.cells
    }

    /// Searches to the end, round by round; the runs that are planned so far are written before each. `None` when a
    /// signal ended it.
    ///
    /// # Errors
    ///
    /// [`Failure`] where a record cannot be read or written, or the device is lost.
    pub fn search(
        &mut self,
        results: &Path,
        setup: Setup<'_>,
        observer: &dyn Observer,
    ) -> Result<Option<(Tuning, Ledger)>, Failure> {
        let name = self.sweep.spec.name.get_ref();
        // A run is tried again once, and not in every round.
        let mut begun: BTreeSet<String> = BTreeSet::new();
        loop {
            let ledger = Ledger::read(results, &self.cells)?;
            if !self.next(&states(&ledger)) {
                let places: Vec<Place> = self.searches.iter().map(|s| s.place).collect();
                let runs = runs(&self.searches, &states(&ledger));
                return Ok(Some((Tuning::new(name, &places, runs), ledger)));
            }
            let json = json(&self.cells);
            Os.write_atomic(&results.join(TUNE), &json)?;
            let ledger = Ledger::read(results, &self.cells)?;
            let wanted = |(cell, state): &&(Cell, State)| {
                state.is_open() || setup.again(state) && !begun.contains(&cell.id)
            };
            let todo: Vec<&Cell> =
                ledger.cells.iter().filter(wanted).map(|(cell, _)| cell).collect();
            if !todo.is_empty() {
                let runs = several(self.cells.len(), "run");
                let left = todo.len();
                observer.note(&format!("Tuning {name}: {runs} so far, {left} to train."));
            }
            let training = Training {
                sweep: self.sweep,
                results,
                setup,
                planned: &self.cells,
                tasks: &[],
                forecast: None,
                before: None,
            };
            if !training.train(&todo, observer)? {
                return Ok(None);
            }
            begun.extend(todo.into_iter().map(|cell| cell.id.clone()));
        }
    }

    /// Asks every search for its next runs and adds their cells; whether there were any.
    fn next(&mut self, states: &BTreeMap<String, Option<f64>>) -> bool {
        let (sweep, cells) = (self.sweep, &mut self.cells);
        let mut any = false;
        for search in &mut self.searches {
            let mean = |ids: &[String]| {
                let all = losses(ids, states);
                (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
            };
            let tried: Vec<Tried> = search
                .asked
                .iter()
                .map(|(config, ids)| Tried { config: *config, loss: mean(ids) })
                .collect();
            for config in search.design.next(&tried) {
                any = true;
                let [rate, batch, decay] = search.design.values(config);
                let given = Given {
                    learning_rate: Some(rate),
                    batch_tokens: Some(batch),
                    weight_decay: Some(decay),
                };
                let at = (search.place.params, search.place.tokens);
                let mut ids = Vec::new();
                for seed in 0..*self.tune.seeds.get_ref() {
                    let cell = Plan::tune_cell(&sweep.spec, &sweep.data.facts, at, given, seed);
                    ids.push(cell.id.clone());
                    if !cells.iter().any(|c| c.id == cell.id) {
                        cells.push(cell);
                    }
                }
                search.asked.push((config, ids));
            }
        }
        cells.sort_by(|l, r| {
            r.recipe.flops().total_cmp(&l.recipe.flops()).then_with(|| l.id.cmp(&r.id))
        });
        trunk::join(cells);
        any
    }
}

/// The `[tune]` block of a sweep.
///
/// # Errors
///
/// [`Failure`] where it has none.
pub fn block(spec: &Spec) -> Result<&TuneSpec, Failure> {
    spec.tune.as_ref().map(toml::Spanned::get_ref).ok_or_else(|| {
        let message = format!("sweep `{}` has no [tune] block", spec.name.get_ref());
        let hint = "[tune] cells = [{ params = \"10k\", tokens = \"600k\" }], learning_rate = { factor = 1.6, points = 5 }; docs/FORMATS.md lists the keys";
        InputError::new(message, hint).into()
    })
}

/// The outcome where a sweep was tuned; what is wrong with it where it cannot be read.
pub fn read(analysis: &Path) -> Option<Result<Tuning, String>> {
    let path = analysis.join(TUNE);
    let bad = |why: String| {
        Err(format!("{} cannot be used: {why}; `isoflop tune` writes it anew", path.display()))
    };
    let json = match Os.read(&path, MAX_FILE) {
        Ok(json) => json,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => return Some(bad(e.to_string())),
    };
    Some(Tuning::read(&json).or_else(bad))
}

fn searches(sweep: &Sweep, tune: &TuneSpec) -> Vec<Search> {
    let (spec, facts) = (&sweep.spec, &sweep.data.facts);
    let search = |cell: &crate::spec::TuneCell| {
        let at = (cell.params.get_ref().0, cell.tokens.get_ref().0);
        let planned = Plan::tune_cell(spec, facts, at, Given::default(), 0);
        let (params, tokens) = (planned.params(), at.1);
        let place = Place {
            params,
            tokens,
            learning_rate: spec.optim.learning_rate.get_ref().at(params, tokens),
            batch_tokens: planned.recipe.batch_tokens() as f64,
            weight_decay: planned.recipe.weight_decay,
        };
        let design = Design::new(tune, &place, spec.model.context as f64);
        Search { place, design, asked: Vec::new() }
    };
    tune.cells.get_ref().iter().map(search).collect()
}

/// Loss of every cell that ended, none where it ended without.
fn states(ledger: &Ledger) -> BTreeMap<String, Option<f64>> {
    let loss = |state: &State| match state {
        State::Completed { loss, .. } => Some(*loss),
        _ => None,
    };
    ledger.cells.iter().map(|(cell, state)| (cell.id.clone(), loss(state))).collect()
}

/// Losses of the seeds of one configuration.
fn losses(ids: &[String], states: &BTreeMap<String, Option<f64>>) -> Vec<f64> {
    ids.iter().filter_map(|id| states.get(id).copied().flatten()).collect()
}

fn runs(searches: &[Search], states: &BTreeMap<String, Option<f64>>) -> Vec<Run> {
    let mut out = Vec::new();
    for (place, search) in searches.iter().enumerate() {
        for (config, ids) in &search.asked {
            let [learning_rate, batch_tokens, weight_decay] = search.design.values(*config);
            out.push(Run {
                place,
                learning_rate,
                batch_tokens,
                weight_decay,
                decay_search: config.searches_decay(),
                losses: losses(ids, states),
            });
        }
    }
    out
}

/// Writes tune.json and its figures.
///
/// # Errors
///
/// [`Failure`] where one cannot be written.
pub fn write(out: &Path, tuning: &Tuning) -> Result<(), Failure> {
    Os.create_dirs(&out.join("figures"))?;
    let json = json(tuning);
    Os.write_atomic(&out.join(TUNE), &json)?;
    figures::write(out, &figure::tuning(tuning))
}
