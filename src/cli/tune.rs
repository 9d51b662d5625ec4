//! `isoflop tune`: searches rate, batch and decay at the sweep's tuning cells and fits rules in (N, D).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::args::TuneArgs;
use super::study::Study;
use super::train::{Training, stop_on_signals};
use super::{Failure, print, print_json, show};
use crate::device::{self, Wanted};
use crate::error::{InputError, exit};
use crate::figure;
use crate::fs::{Disk as _, Os};
use crate::ledger::{FAILURES, Ledger, State};
use crate::plan::{Cell, Given, Plan, trunk};
use crate::spec::{OptimSpec, TuneSpec};
use crate::terminal::note;
use crate::tune::design::{Config, Design, Tried};
use crate::tune::{Place, Run, Tuning, Vertex, VertexState};
use crate::units::{count, flops, plain3, several};

/// Name of the planned cells in the results directory, and of the outcome in the analysis directory.
pub(super) const FILE: &str = "tune.json";
/// Longest outcome that is read [bytes].
const MAX_FILE: u64 = 256 << 20;

/// One tuning cell while it is searched.
struct Search {
    place: Place,
    design: Design,
    /// Every configuration asked for, with the ids of its seeds.
    asked: Vec<(Config, Vec<String>)>,
}

pub(super) fn execute(args: &TuneArgs) -> Result<u8, Failure> {
    let (spec, text) = super::study::read_spec(&args.sweep)?;
    let name = spec.name.get_ref().clone();
    if spec.tune.is_none() {
        let message = format!("sweep `{name}` has no [tune] block");
        let hint = "[tune] cells = [{ params = \"10k\", tokens = \"600k\" }], learning_rate = { factor = 1.6, points = 5 }; docs/FORMATS.md lists the keys";
        return Err(InputError::new(message, hint).into());
    }
    let device = device::choose(&Wanted::of(&spec.device, args.device, args.matmul))?;
    let (results, out) = (args.dirs.results.join(&name), args.dirs.analysis.join(&name));
    let hold = if args.dry_run {
        None
    } else {
        Os.create_dirs(&results)?;
        Some(super::study::hold(&results, &text)?)
    };
    let study = Study::open(&args.sweep, &args.dirs.results, hold.is_some())?;
    let Some(tune) = study.spec.tune.as_ref().map(toml::Spanned::get_ref) else {
        return Ok(exit::BUG);
    };
    let mut searches = searches(&study, tune);
    let mut cells: Vec<Cell> = Vec::new();
    if args.dry_run {
        next(&study, tune, &mut searches, &BTreeMap::new(), &mut cells);
        let spent: f64 = cells.iter().map(Cell::flops_spent).sum();
        print(&format!(
            "{}\nFirst round of tuning {name}: {} at {}, {} FLOP. Axes whose best lies at an edge are \
             extended, decays come last.\n",
            show::plan(&cells, device.room(1), &|_| None, None),
            several(cells.len(), "run"),
            several(searches.len(), "cell"),
            flops(spent)
        ));
        return Ok(0);
    }
    Os.create_dirs(&out)?;
    let stop = stop_on_signals()?;
    let again = |state: &State| args.again.includes(state);
    // A run is tried again once, and not in every round.
    let mut begun: BTreeSet<String> = BTreeSet::new();
    let ledger = loop {
        let ledger = Ledger::read(&results, &cells)?;
        if !next(&study, tune, &mut searches, &states(&ledger), &mut cells) {
            break ledger;
        }
        let json =
            serde_json::to_vec_pretty(&cells).expect("cells have no map with other keys than text");
        Os.write_atomic(&results.join(FILE), &json)?;
        let ledger = Ledger::read(&results, &cells)?;
        let wanted = |(cell, state): &&(Cell, State)| {
            state.is_open() || again(state) && !begun.contains(&cell.id)
        };
        let todo: Vec<&Cell> = ledger.cells.iter().filter(wanted).map(|(cell, _)| cell).collect();
        if !todo.is_empty() {
            note!(
                "Tuning {name}: {} so far, {} to train.",
                several(cells.len(), "run"),
                todo.len()
            );
        }
        let training = Training {
            study: &study,
            results: &results,
            device: &device,
            planned: &cells,
            workers: args.workers,
            every: args.checkpoint,
            forecast: None,
            before: None,
        };
        if !training.train(&todo, &stop, &again)? {
            return Ok(exit::AGAIN);
        }
        begun.extend(todo.into_iter().map(|cell| cell.id.clone()));
    };
    stop.at_once();
    let places: Vec<Place> = searches.iter().map(|s| s.place).collect();
    let tuning = Tuning::new(&name, &places, runs(&searches, &states(&ledger)));
    write(&out, &tuning)?;
    if args.json {
        print_json(&tuning);
    } else {
        print(&told(&tuning, &study.spec.optim, &out));
    }
    // A high rate that diverges is an answer; nothing else is.
    let is_fault = |state: &State| FAILURES.contains(&state.name()) && state.name() != "diverged";
    let failed: Vec<String> = ledger
        .cells
        .iter()
        .filter(|(_, state)| is_fault(state))
        .map(|(cell, state)| format!("{}, {}", cell.short(), state.why().unwrap_or_default()))
        .collect();
    if !failed.is_empty() {
        note!(
            "{} failed and missing from the tuning: {}. `--retry failed` (damaged, stuck, disputed) trains them again.",
            several(failed.len(), "run"),
            failed.join("; ")
        );
    }
    if ledger.count("damaged") > 0 {
        return Ok(exit::DAMAGED);
    }
    Ok(u8::from(!failed.is_empty() || tuning.found.is_empty()))
}

/// The outcome where a sweep was tuned; what is wrong with it where it cannot be read.
pub(super) fn read(analysis: &Path) -> Option<Result<Tuning, String>> {
    let path = analysis.join(FILE);
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

fn searches(study: &Study, tune: &TuneSpec) -> Vec<Search> {
    let (spec, facts) = (&study.spec, &study.data.facts);
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

/// Asks every search for its next runs and adds their cells; whether there were any.
fn next(
    study: &Study,
    tune: &TuneSpec,
    searches: &mut [Search],
    states: &BTreeMap<String, Option<f64>>,
    cells: &mut Vec<Cell>,
) -> bool {
    let mut any = false;
    for search in searches {
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
            for seed in 0..*tune.seeds.get_ref() {
                let cell = Plan::tune_cell(&study.spec, &study.data.facts, at, given, seed);
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

/// tune.json and its figures.
fn write(out: &Path, tuning: &Tuning) -> Result<(), Failure> {
    Os.create_dirs(&out.join("figures"))?;
    let json = serde_json::to_vec_pretty(tuning).expect("no map with other keys than text");
    Os.write_atomic(&out.join(FILE), &json)?;
    super::analysis::write_figures(out, &figure::tuning(tuning))
}

fn vertex(v: Option<&Vertex>) -> String {
    let Some(v) = v else { return "-".to_owned() };
    let value = plain3(v.value);
    match (v.state, v.interval) {
        (VertexState::Resolved, Some([lo, hi])) => {
            format!("{value} ({}..{})", plain3(lo), plain3(hi))
        }
        (VertexState::Resolved, None) => value,
        (VertexState::Zero, _) => format!("0, {}", v.state.name()),
        (state, _) => format!("{value}, {}", state.name()),
    }
}

fn told(tuning: &Tuning, optim: &OptimSpec, out: &Path) -> String {
    let percent = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{:+.2}%", 100.0 * v));
    let rows = tuning.found.iter().map(|f| {
        vec![
            count(f.place.params),
            count(f.place.tokens),
            plain3(f.place.learning_rate),
            vertex(f.learning_rate.as_ref()),
            count(f.place.batch_tokens),
            vertex(f.batch.as_ref()),
            vertex(f.weight_decay.as_ref()),
            format!("{:.4}", f.best_loss),
            percent(f.left_on_the_table),
        ]
    });
    let header = [
        "N",
        "D",
        "lr rule",
        "lr best",
        "batch rule",
        "batch best",
        "decay best",
        "loss",
        "rule costs",
    ];
    let mut out_text = format!(
        "Tuning of {}: {}, intervals at {:.0}%\n{}",
        tuning.sweep,
        several(tuning.runs.len(), "run"),
        100.0 * tuning.level,
        show::table(&header, 0, &rows.collect::<Vec<_>>())
    );
    if let Some(noise) = tuning.noise {
        let of = if noise.from_seeds { "between seeds" } else { "about the parabolas" };
        out_text += &format!(
            "\nScatter of ln L {of}: {:.5} ({:.0} degrees of freedom).\n",
            noise.sd, noise.dof
        );
    }
    for f in &tuning.found {
        if let Some(s) = &f.sufficiency {
            let place = format!("N {}, D {}", count(f.place.params), count(f.place.tokens));
            out_text += &format!("  {place}: {} tried, {}\n", s.tried, s.verdict);
        }
    }
    for rule in &tuning.rules {
        let terms: Vec<String> = rule
            .terms
            .iter()
            .map(|t| {
                let interval = t.interval.map_or_else(
                    || "no interval".to_owned(),
                    |[lo, hi]| format!("{}..{}", plain3(lo), plain3(hi)),
                );
                format!("{} {} ({interval})", t.name, plain3(t.value))
            })
            .collect();
        let note = rule.note.as_ref().map_or(String::new(), |n| format!("; {n}"));
        out_text += &format!(
            "\n{}: {} [{} of {} cells resolved{note}]\n",
            rule.name,
            terms.join(", "),
            rule.resolved,
            rule.searched
        );
    }
    if let Some(t) = &tuning.transfer {
        let interval =
            t.interval.map_or("no interval".to_owned(), |[lo, hi]| format!("{lo:.2}..{hi:.2}"));
        let tokens: Vec<String> = t.tokens.iter().map(|d| count(*d)).collect();
        out_text += &format!(
            "\nTransfer: at equal D ({}) the best rate goes as N^{:.2} ({interval}), N from {} to {}.\n",
            tokens.join(", "),
            t.exponent,
            count(t.params[0]),
            count(t.params[1])
        );
    }
    if let Some(horizon) = tuning.horizon() {
        out_text += &format!("\n{horizon}\n");
    }
    out_text += &agreement(tuning, optim);
    out_text +=
        &format!("\n[optim]\n{}\n\n  numbers  {}\n", tuning.toml(), out.join(FILE).display());
    out_text
}

/// The sweep's own values beside the vertices.
fn agreement(tuning: &Tuning, optim: &OptimSpec) -> String {
    let rows = tuning.agreement(optim).into_iter().map(|a| {
        let inside = match a.inside {
            Some(true) => "inside",
            Some(false) => "outside",
            None => "no interval",
        };
        vec![
            a.name.clone(),
            count(a.params),
            count(a.tokens),
            plain3(a.says),
            plain3(a.vertex),
            a.ratio().map_or("-".to_owned(), |r| format!("{r:.2}")),
            inside.to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["[optim]", "N", "D", "sweep says", "best", "ratio", "interval"];
    format!("\nThe sweep's own [optim] against the vertices:\n{}", show::table(&header, 1, &rows))
}
