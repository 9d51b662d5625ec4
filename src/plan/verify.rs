//! Whether cells that were read are those that a plan had: their ids follow from their recipes, their budgets from
//! the grid, their trunks from each other. Sizes and tokens of a fit come from them.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{Cell, check, hex, trunk};
use crate::spec::{Grid, Spec};

/// Name of a plan's file in its results directory.
pub const FILE: &str = "plan.json";
/// Name of its seal; plans of older versions have none.
pub const SEAL: &str = "plan.json.sha256";

/// The cells of a plan as it was written. One without a seal is of an older version, or was being written; its
/// cells speak for themselves.
///
/// # Errors
///
/// What is not as it was written.
pub fn read(json: &[u8], seal: Option<&[u8]>, spec: &Spec) -> Result<Vec<Cell>, String> {
    if seal.is_some_and(|seal| seal != sealed(json)) {
        return Err(format!("its hash is not that of `{SEAL}`"));
    }
    let cells: Vec<Cell> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    verify(&cells, spec)?;
    Ok(cells)
}

/// The seal of a plan: its SHA-256, as `sha256sum` writes it.
pub fn sealed(json: &[u8]) -> Vec<u8> {
    format!("{}  {FILE}\n", hex(&Sha256::digest(json))).into_bytes()
}

/// Why these are not cells of a plan of this sweep, if they are not.
///
/// # Errors
///
/// The first cell that is not as it was planned.
pub fn verify(cells: &[Cell], spec: &Spec) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for cell in cells {
        let made = cell.recipe.id();
        if made != cell.id {
            return Err(format!("a cell is called {:?}, its recipe makes it {made}", cell.id));
        }
        if !ids.insert(&cell.id) {
            return Err(format!("cell {made} is there twice"));
        }
        possible(cell)?;
        budget(cell, spec)?;
    }
    let mut joined = cells.to_vec();
    trunk::join(&mut joined);
    match joined.iter().zip(cells).find(|(made, cell)| made.trunk != cell.trunk) {
        Some((_, cell)) => Err(format!("cell {} has the trunk of another", cell.id)),
        None => Ok(()),
    }
}

/// Why no plan can have a cell that was read: no such model, no step, or rules that come to nothing.
///
/// # Errors
///
/// The reason.
pub fn possible(cell: &Cell) -> Result<(), String> {
    let recipe = &cell.recipe;
    if recipe.shape.is_possible() && recipe.steps > 0 && recipe.batch_sequences > 0 {
        return check::check(cell).map_err(|e| e.to_string());
    }
    Err(format!("cell {} has a shape, steps or a batch that no model is trained with", cell.id))
}

/// A budget is one of the grid's, and spent to half a step.
fn budget(cell: &Cell, spec: &Spec) -> Result<(), String> {
    let planned = match &spec.grid {
        Grid::Isoflop(grid) => grid.budgets.get_ref().iter().any(|b| cell.budget == Some(b.0)),
        _ => cell.budget.is_none(),
    };
    let flops = cell.recipe.flops();
    let step = flops / cell.recipe.steps as f64;
    let missed = cell.budget.map_or(0.0, |budget| (flops - budget).abs());
    // A run of one step may spend more than it has.
    if planned && (cell.recipe.steps == 1 || missed <= 0.5 * step + 1e-9 * flops) {
        return Ok(());
    }
    Err(format!(
        "cell {} has a budget of {:?} FLOP, which is none of the grid's",
        cell.id, cell.budget
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SWEEP, plan};
    use super::*;

    #[test]
    fn a_plan_verifies_and_no_cell_that_was_changed_does() {
        let trunk = "[schedule.trunk]\nwarmup = 0.5\ndecay = 0.2\nend = 0.0\n";
        let trunks = format!("{}{trunk}", &SWEEP[..SWEEP.find("[schedule").unwrap()]);
        for text in [SWEEP, &trunks] {
            let (spec, cells) = (Spec::parse(text).unwrap(), plan(text).cells);
            assert_eq!(verify(&cells, &spec), Ok(()));
            let changes: [fn(&mut Vec<Cell>); 9] = [
                |c| c[0].id = "0123456789abcdef".into(),
                |c| c[0].id = "é".into(),
                |c| c[1].id = c[0].id.clone(),
                |c| c.push(c[0].clone()),
                |c| c[0].recipe.shape.width += 8,
                |c| c[0].recipe.steps += 1,
                |c| c[0].budget = Some(1e12 + 1.0),
                |c| c[0].budget = Some(3e10),
                |c| c[0].budget = None,
            ];
            for (i, change) in changes.iter().enumerate() {
                let mut changed = cells.clone();
                change(&mut changed);
                assert!(verify(&changed, &spec).is_err(), "{i}");
            }
            let mut joined = cells.clone();
            joined[2].trunk = Some(cells[3].id.clone());
            assert!(verify(&joined, &spec).is_err());
        }
    }
}
