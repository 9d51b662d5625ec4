//! Designs that cannot answer the question, said before the compute is spent.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Cell, DataFacts};
use crate::spec::{Grid, ModelSpec, Parametrization, Schedule, Spec};
use crate::units::{count, few, flops, several};

/// Below this many budgets the frontier's exponent has no residual to judge it by.
const MIN_BUDGETS: usize = 3;
/// Fewer steps than this and warmup, not scale, decides the loss.
const MIN_STEPS: u64 = 100;
/// How far the sampled sizes may sit off the wished centre, as a factor.
const OFF_CENTRE: f64 = 1.3;

/// All warnings for a plan, each one sentence.
pub(super) fn warnings(spec: &Spec, data: &DataFacts, cells: &[Cell]) -> Vec<String> {
    let mut out = Vec::new();
    if let Grid::Isoflop(grid) = &spec.grid {
        let budgets = grid.budgets.get_ref().len();
        if budgets < MIN_BUDGETS {
            out.push(format!(
                "{budgets} budgets: at least {MIN_BUDGETS} are needed to see a power law, 5 over two decades are better"
            ));
        }
        let asked = *grid.sizes.get_ref();
        for budget in grid.budgets.get_ref() {
            out.extend(off_centre(super::centre(grid, budget.0), budget.0, asked, cells));
        }
        if asked < 5 {
            out.push(format!(
                "{asked} sizes in a budget: a parabola with an interval wants 5 or more"
            ));
        }
    }
    out.extend(collinear(cells));
    out.extend(swept(cells));
    out.extend(odd_heads(cells));
    out.extend(not_complete_p(&spec.model));
    let starved = cells.iter().filter(|c| c.recipe.steps < MIN_STEPS).count();
    if starved > 0 {
        out.push(format!(
            "{starved} cells have fewer than {MIN_STEPS} steps: lower optim.batch_tokens, or their loss says more about warmup than about scale"
        ));
    }
    let short = cells
        .iter()
        .filter(|c| matches!(c.recipe.schedule, Schedule::Trunk { .. }))
        .filter(|c| c.recipe.warmup_steps() > c.recipe.stable_steps())
        .count();
    if short > 0 {
        out.push(format!(
            "{short} cells cool down before their warmup is over: lower schedule.trunk.warmup, or their loss says more about warmup than about scale"
        ));
    }
    if data.mixture.is_some() {
        out.extend(repeated(data, cells));
    } else if let Some(unique) = data.train_tokens {
        let most = cells.iter().map(|c| c.recipe.tokens()).max().unwrap_or(0);
        if most > unique {
            let over = cells.iter().filter(|c| c.recipe.tokens() > unique).count();
            out.push(format!(
                "{over} cells want more tokens than the corpus holds ({} of {}, {:.1} epochs): repeated tokens are worth less (Muennighoff et al. 2023), so runs of more than 1.25 epochs are kept out of the laws of fresh tokens",
                count(most as f64),
                count(unique as f64),
                most as f64 / unique as f64
            ));
        }
    }
    let asked = spec.eval.tokens.get_ref().0;
    if asked > data.held_out_tokens as f64 {
        out.push(format!(
            "eval.tokens asks for {}, the held-out set has {}: all of it is used",
            count(asked),
            count(data.held_out_tokens as f64)
        ));
    }
    out
}

/// More passes than these over a domain are worth little (Muennighoff et al. 2023, 2305.16264) [epochs].
const MOST_EPOCHS: f64 = 4.0;
/// Up to here repetition costs nothing that can be seen [epochs].
const FRESH: f64 = 1.25;

/// Domains of a dataset that are gone through often.
fn repeated(data: &DataFacts, cells: &[Cell]) -> Vec<String> {
    let Some(mixture) = &data.mixture else { return Vec::new() };
    let epochs = |c: &Cell| mixture.epochs(c.recipe.tokens(), c.recipe.unique_tokens);
    let mut out = Vec::new();
    for (i, domain) in mixture.domains.iter().enumerate() {
        let over = cells.iter().filter(|c| epochs(c)[i] > MOST_EPOCHS).count();
        let most = cells.iter().map(|c| epochs(c)[i]).fold(0.0, f64::max);
        if over > 0 {
            out.push(format!(
                "{} go through the domain `{}` more than {MOST_EPOCHS:.0} times (up to {most:.1} epochs): repeated tokens \
                 are worth little from there on (Muennighoff et al. 2023); lower its weight in data.mix, or prepare more \
                 of it",
                several(over, "cell"),
                domain.name
            ));
        }
    }
    let passes = |c: &&Cell| {
        let tokens = c.recipe.tokens();
        let distinct = mixture.distinct(tokens, c.recipe.unique_tokens);
        tokens as f64 > FRESH * distinct as f64
    };
    let over = cells.iter().filter(passes).count();
    if over > 0 {
        out.push(format!(
            "{} see their distinct tokens more than {FRESH} times: they are kept out of the laws of fresh tokens, and the \
             law of repetition is fitted to them where there are enough",
            several(over, "cell")
        ));
    }
    out
}

/// Why a sweep that does not choose a parametrization has not that of the others.
fn not_complete_p(model: &ModelSpec) -> Option<String> {
    let chosen = model.parametrization.is_some();
    let why = match model.parametrization() {
        Parametrization::MupHiddenRates if !chosen && model.tied => "tied embeddings rule out",
        Parametrization::MupHiddenRates if !chosen => "reference_width = 0 rules out",
        _ => return None,
    };
    Some(format!(
        "model.parametrization is not given, and {why} complete-p: it is mup-hidden-rates, in which the best learning \
         rate moves with width and depth; write the key to choose"
    ))
}

/// Runs whose one batch is longer than they are: (tokens asked for, tokens planned) of each.
pub(super) fn raised(runs: &[(f64, f64)]) -> Option<String> {
    let (asked, planned) = runs.first()?;
    Some(format!(
        "{} asked for fewer tokens than one batch has, so D was raised to one step of it (from {} to {}): lower \
         optim.batch_tokens",
        several(runs.len(), "cell"),
        count(*asked),
        count(*planned)
    ))
}

/// Runs whose batch was asked for smaller than one sequence: (tokens asked for, tokens planned) of each.
pub(super) fn batch_raised(runs: &[(f64, f64)]) -> Option<String> {
    let (asked, planned) = runs.first()?;
    Some(format!(
        "{} asked for a batch smaller than one sequence, which is the least, so it was raised (from {} to {} tokens a \
         step): raise optim.batch_tokens, or lower model.context",
        several(runs.len(), "cell"),
        count(*asked),
        count(*planned)
    ))
}

/// Recipes that differ between runs of equal N and D: a sweep of rates or batches, of which a fit uses the best.
fn swept(cells: &[Cell]) -> Option<String> {
    type Recipe = (u64, u64);
    let mut recipes: BTreeMap<(u64, u64), BTreeSet<Recipe>> = BTreeMap::new();
    for cell in cells {
        let place = (cell.params().to_bits(), cell.recipe.tokens());
        let recipe = (cell.recipe.learning_rate.to_bits(), cell.recipe.batch_tokens());
        recipes.entry(place).or_default().insert(recipe);
    }
    let swept: Vec<&BTreeSet<Recipe>> = recipes.values().filter(|r| r.len() > 1).collect();
    let all = || swept.iter().copied().flatten();
    let rates: BTreeSet<u64> = all().map(|r| r.0).collect();
    let batches: BTreeSet<u64> = all().map(|r| r.1).collect();
    // Positive numbers are in the order of their bits.
    let ends = |of: &BTreeSet<u64>| of.first().copied().zip(of.last().copied());
    let (rate, batch) = (ends(&rates)?, ends(&batches)?);
    let mut what = Vec::new();
    if rates.len() > 1 {
        let [low, high] = [rate.0, rate.1].map(f64::from_bits);
        what.push(format!("learning rates ({low} to {high})"));
    }
    if batches.len() > 1 {
        let [low, high] = [batch.0, batch.1].map(|b| count(b as f64));
        what.push(format!("batches ({low} to {high} tokens)"));
    }
    Some(format!(
        "{} of {} pairs of N and D are trained with several {}: they are no seeds, so a fit uses the recipe of lowest \
         loss at each pair and leaves the other runs out by name; `isoflop tune` searches rates and batches at fewer cells",
        swept.len(),
        recipes.len(),
        what.join(" and ")
    ))
}

/// Entries of the grid that became the same run as another.
pub(super) fn merged(merged: usize, wished: usize) -> Option<String> {
    (merged > 0).then(|| {
        format!(
            "{merged} of {wished} entries of the grid give the same run as another (sizes are rounded to the shapes of \
             the family, tokens to whole steps) and are trained once: a smaller model.width_multiple has more shapes, \
             and `seeds` repeats runs"
        )
    })
}

/// Head sizes that fall where the width grows: the shape changes in more than size.
fn odd_heads(cells: &[Cell]) -> Option<String> {
    let mut shapes: Vec<(usize, usize)> =
        cells.iter().map(|c| (c.recipe.shape.width, c.recipe.shape.head_dim())).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let falls = shapes.windows(2).any(|w| 5 * w[1].1 < 4 * w[0].1);
    let sizes: Vec<String> = shapes.iter().map(|(_, head)| head.to_string()).collect();
    falls.then(|| {
        format!(
            "the head size jumps from width to width ({}), so sizes differ in more than size: make \
             model.width_multiple a multiple of model.head_dim, or head_dim a divisor of it",
            few(&sizes, 8)
        )
    })
}

/// A budget whose sizes are not where they were wished, because the family has no such shapes.
fn off_centre(centre: f64, budget: f64, asked: u64, cells: &[Cell]) -> Option<String> {
    let mut sizes: Vec<f64> =
        cells.iter().filter(|c| c.budget == Some(budget)).map(Cell::params).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let (low, high) = (*sizes.first()?, *sizes.last()?);
    if (sizes.len() as u64) < asked {
        return Some(format!(
            "budget {}: the family has only {} distinct shapes for the {asked} sizes asked for",
            flops(budget),
            sizes.len()
        ));
    }
    let offset = (low * high).sqrt() / centre;
    (offset.max(1.0 / offset) > OFF_CENTRE && sizes.len() > 1).then(|| {
        format!(
            "budget {}: sizes {} to {} sit {offset:.2}x off the wished centre {}",
            flops(budget),
            count(low),
            count(high),
            count(centre)
        )
    })
}

/// D proportional to N over the whole grid: the exponents of N and D cannot be told apart.
fn collinear(cells: &[Cell]) -> Option<String> {
    let ratio = |c: &Cell| (c.recipe.tokens() as f64 / c.params()).ln();
    let spread = |values: Vec<f64>| {
        let (low, high) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        high - low
    };
    let sizes = spread(cells.iter().map(|c| c.params().ln()).collect());
    (cells.len() > 1 && sizes > 0.1 && spread(cells.iter().map(ratio).collect()) < 0.1).then(|| {
        "D is proportional to N throughout: the exponents of N and D cannot be told apart; vary tokens per parameter"
            .to_owned()
    })
}
