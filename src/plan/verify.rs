//! Whether cells that were read are those that a plan had: their ids follow from their recipes, their budgets from
//! the grid, their trunks from each other. Sizes and tokens of a fit come from them.

use std::collections::BTreeSet;

use super::{Cell, trunk};
use crate::spec::{Grid, Spec};

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
        budget(cell, spec)?;
    }
    let mut joined = cells.to_vec();
    trunk::join(&mut joined);
    match joined.iter().zip(cells).find(|(made, cell)| made.trunk != cell.trunk) {
        Some((_, cell)) => Err(format!("cell {} has the trunk of another", cell.id)),
        None => Ok(()),
    }
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
