//! What commands leave for other commands: plans, fits, forecasts, backtests, tunings.

use std::collections::BTreeMap;

use isoflop::backtest::Backtest;
use isoflop::figure;
use isoflop::fit::Analysis;
use isoflop::forecast::{Basis, Entry, Forecast, Outcome, lock, sha256};
use isoflop::ledger::{Ledger, StateName};
use isoflop::plan::cost::{Left, step_flops};
use isoflop::plan::memory::Room;
use isoflop::plan::{self, Cell, Plan, Recipe, trunk};
use isoflop::points::Point;
use isoflop::predict::{
    Demand, Fixed, Quality, Repetition, at_flops, by_law, by_method, chosen, chosen_params,
    chosen_tokens, irreducible, limited, optimal_with, repeating, serving,
};
use isoflop::report;
use isoflop::spec::Spec;
use isoflop::tune::Tuning;
use serde_json::Value;

use crate::mutate::{corpus, fuzz, sound};

/// Each question of `predict`, where it has an answer; one of five a mutant, for some take a tenth of a second.
fn predicted(analysis: &Analysis, mutant: &[u8]) {
    let most = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let computes = [most, 10.0 * most, 1e21];
    let flops = computes[drawn(mutant) / 5 % computes.len()];
    let law = Repetition::known(analysis);
    let demand = Demand { tokens: 1e10, cost_ratio: 1.0 };
    match drawn(mutant) % 5 {
        0 => at_flops(analysis, flops).iter().for_each(sound),
        1 => {
            limited(analysis, flops, 1e7, &law).iter().for_each(sound);
            if let Ok(run) = chosen(analysis, 1e7, 1e9) {
                sound(&run);
                repeating(analysis, run, 1e8, &law).iter().for_each(sound);
            }
        }
        2 => {
            chosen_params(analysis, flops, 1e7).iter().for_each(sound);
            chosen_tokens(analysis, flops, 1e9).iter().for_each(sound);
        }
        3 => {
            serving(analysis, Quality::OptimalAt(flops), demand).iter().for_each(sound);
            serving(analysis, Quality::Loss(2.5), demand).iter().for_each(sound);
        }
        _ => {
            for fixed in [Fixed::Params(1e8), Fixed::Tokens(1e10), Fixed::Loss(2.5)] {
                optimal_with(analysis, fixed).iter().for_each(sound);
            }
        }
    }
    by_method(analysis, 1e7, 1e9).iter().for_each(sound);
    sound(&by_law(analysis, (1e7, 1e9, 6e16), Some(1e8), false));
    if let Some(floor) = irreducible(analysis) {
        assert!(floor.e.lo <= floor.e.value && floor.e.value <= floor.e.hi, "{floor:?}");
    }
}

/// A number of a mutant's own.
fn drawn(mutant: &[u8]) -> usize {
    crc32fast::hash(mutant) as usize
}

/// The page and its figures, of a part of the mutants: they cost a hundred times a prediction.
fn shown(analysis: &Analysis) {
    let most = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let predictions: Vec<_> = at_flops(analysis, 10.0 * most).into_iter().collect();
    let figures = figure::all(analysis, &[], &predictions, &[]);
    for figure in &figures {
        assert!(!figure.svg.contains("NaN"), "{} has a coordinate that is no number", figure.name);
    }
    page(analysis, |input| report::Input { figures: &figures, predictions: &predictions, ..input });
}

/// A page of one thing.
fn page<'a>(analysis: &'a Analysis, with: impl FnOnce(report::Input<'a>) -> report::Input<'a>) {
    let input = report::Input {
        analysis,
        figures: &[],
        predictions: &[],
        sweep_toml: None,
        cells: &[],
        forecasts: &[],
        tuning: None,
        backtest: None,
        continued: None,
        provenance: &[],
    };
    assert!(report::html(&with(input)).len() > 1000);
}

#[test]
fn fits() {
    let cell = one_forecast().cell;
    fuzz("fit", "fit", |bytes| {
        let Ok(analysis) = Analysis::read(bytes) else { return };
        predicted(&analysis, bytes);
        let basis = Basis {
            sweep: "t",
            analysis: &analysis,
            fit_sha256: "",
            ledger_sha256: "",
            train_tokens: None,
            optimal: false,
            now: "",
        };
        if (drawn(bytes) / 16).is_multiple_of(4)
            && let Ok(forecast) = lock(basis, &cell)
        {
            sound(&forecast);
            assert_eq!(Forecast::read(&forecast.bytes()).as_ref(), Ok(&forecast));
        }
        if (drawn(bytes) / 64).is_multiple_of(16) {
            shown(&analysis);
        }
    });
}

/// Any fit, to put other things beside on a page.
fn any_fit() -> Analysis {
    Analysis::read(&corpus("fit")[0].1).unwrap()
}

fn one_forecast() -> Forecast {
    Forecast::read(&corpus("forecast")[0].1).unwrap()
}

fn scored(bytes: &[u8], beside: &Analysis) {
    let Ok(forecast) = Forecast::read(bytes) else { return };
    sound(&forecast);
    let score = forecast.score(1.9, 0.01);
    sound(&score);
    let (lo, hi) = (forecast.loss.lo, forecast.loss.hi);
    assert_eq!(score.inside, (lo..=hi).contains(&1.9));
    let entry =
        Entry { file: "x".into(), forecast: Some(forecast), outcome: Outcome::Scored(score) };
    page(beside, |input| report::Input { forecasts: std::slice::from_ref(&entry), ..input });
}

#[test]
fn forecasts() {
    let beside = any_fit();
    fuzz("forecast", "forecast", |bytes| scored(bytes, &beside));
}

/// A lock that is right again, and the cell's name too.
#[test]
fn forecasts_with_right_locks() {
    let beside = any_fit();
    fuzz("forecast, sealed", "forecast", |bytes| {
        let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return };
        if let Ok(recipe) = serde_json::from_value::<Recipe>(value["cell"]["recipe"].clone()) {
            value["cell"]["id"] = recipe.id().into();
        }
        let Some(fields) = value.as_object_mut() else { return };
        fields.remove("sha256");
        let canonical: BTreeMap<&String, &Value> = fields.iter().collect();
        let hash = sha256(serde_json::to_string(&canonical).unwrap().as_bytes());
        fields.insert("sha256".into(), hash.into());
        scored(&serde_json::to_vec(&value).unwrap(), &beside);
    });
}

/// A plan that was accepted can be priced, ordered and shown.
fn planned(json: &[u8], specs: &[Spec]) {
    for spec in specs {
        let Ok(cells) = plan::read(json, Some(&plan::sealed(json)), spec) else { continue };
        for cell in &cells {
            let recipe = &cell.recipe;
            let tokens =
                recipe.steps as f64 * recipe.batch_sequences as f64 * recipe.shape.context as f64;
            assert!((recipe.tokens() as f64 / tokens - 1.0).abs() < 1e-9, "{recipe:?}");
            let numbers = [
                cell.params(),
                recipe.flops(),
                cell.flops_spent(),
                Room::Cpu.of(cell),
                Room::Gpu(1 << 30).of(cell),
                step_flops(cell),
                Left::all(cell).share(0) + 1.0,
            ];
            assert!(numbers.iter().all(|v| v.is_finite() && *v > 0.0), "{numbers:?} {cell:?}");
            trunk::forks(cell, &cells);
        }
        let plan = Plan { name: "t".into(), cells, warnings: Vec::new() };
        assert!(plan.flops() >= plan.flops_spent() * (1.0 - 1e-9));
        plan.trunk_share();
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::read(dir.path(), &plan.cells).unwrap();
        assert_eq!(ledger.count(StateName::Missing), plan.cells.len());
    }
}

fn specs() -> Vec<Spec> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    corpus("plan-sweep").into_iter().map(|(_, b)| Spec::parse(&text(b)).unwrap()).collect()
}

#[test]
fn plans_with_right_seals() {
    let specs = specs();
    fuzz("plan", "plan", |bytes| {
        for spec in &specs {
            let _ = plan::read(bytes, None, spec);
            assert!(plan::read(bytes, Some(b"another"), spec).is_err());
        }
        planned(bytes, &specs);
    });
}

/// Cells whose names follow from their recipes, whatever these are.
#[test]
fn plans_with_right_names() {
    let specs = specs();
    fuzz("plan, named", "plan", |bytes| {
        let Ok(mut cells) = serde_json::from_slice::<Vec<Cell>>(bytes) else { return };
        for cell in &mut cells {
            cell.id = cell.recipe.id();
        }
        trunk::join(&mut cells);
        planned(&serde_json::to_vec(&cells).unwrap(), &specs);
    });
}

#[test]
fn backtests() {
    let beside = any_fit();
    let points: Vec<Point> = beside.points.clone();
    fuzz("backtest", "backtest", |bytes| {
        let Ok(backtest) = Backtest::read(bytes) else { return };
        sound(&backtest);
        backtest.is_of(&points, &beside.pins);
        page(&beside, |input| report::Input { backtest: Some(&backtest), ..input });
    });
}

#[test]
fn tunings() {
    let (beside, spec) = (any_fit(), specs().remove(0));
    fuzz("tune", "tune", |bytes| {
        let Ok(tuning) = Tuning::read(bytes) else { return };
        sound(&tuning);
        let agreement = tuning.agreement(&spec.optim);
        for figure in figure::tuning(&tuning) {
            assert!(!figure.svg.contains("NaN"), "{}", figure.svg);
        }
        let told = Ok((tuning, agreement));
        page(&beside, |input| report::Input { tuning: Some(&told), ..input });
    });
}
