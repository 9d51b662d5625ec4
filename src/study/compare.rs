//! Two studies held against each other: whether they may be, and what differs.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::{Failure, Runs, corpus, input};
use crate::compare::{Difference, Run, difference};
use crate::error::InputError;
use crate::import::Options;
use crate::points::Table;
use crate::units::{BITS_PER_BYTE, NATS_PER_TOKEN, bits_per_byte};

/// What a comparison says.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The first study.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Unit of both losses.
    pub loss_unit: String,
    /// Whether both were measured on the same held-out text; null where a table does not tell.
    pub same_held_out: Option<bool>,
    /// Over runs of equal N, D and seeds; nothing where fewer than two clusters of them are there.
    pub paired: Option<Difference>,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

/// One of the studies.
#[derive(Debug, Serialize)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Runs with a loss.
    pub runs: usize,
}

/// Holds the runs at one path against those at another.
///
/// # Errors
///
/// [`Failure`] where they cannot be read, were measured on different text, or in units that cannot be converted.
pub fn compare(paths: [&Path; 2], options: &Options, level: f64) -> Result<Comparison, Failure> {
    let [a, b] = paths.map(|path| input::open(path, options).map(|(runs, _)| runs));
    let (a, b) = (a?, b?);
    let mut warnings = Vec::new();
    let same_held_out = match (held_out(&a), held_out(&b)) {
        (Some(one), Some(other)) if one != other => {
            let message =
                format!("`{}` and `{}` were not measured on the same text", a.name, b.name);
            let hint = "data.held_out = \"raw\" measures every treatment of one source on the same documents; \
                        data.held_out = { files = [..] } on text of your own; domains must have the same weights (data.mix)";
            return Err(InputError::new(message, hint).into());
        }
        (Some(_), Some(_)) => Some(true),
        _ => {
            warnings.push(
                "nothing tells whether both were measured on the same text: if not, the difference is that of the texts too"
                    .to_owned(),
            );
            None
        }
    };
    if let (Some(one), Some(other)) = (context(&a), context(&b))
        && one != other
    {
        warnings.push(format!(
            "the models read {one} and {other} tokens at once: part of the difference is that of their contexts"
        ));
    }
    let (loss_unit, scales) = unit(&a, &b)?;
    let [runs_a, runs_b] = [keyed(&a, scales[0]), keyed(&b, scales[1])];
    let paired = difference(&runs_a, &runs_b, level);
    if paired.is_none() {
        warnings.push(
            "fewer than two independent pairs of runs have equal N, D and seeds: nothing is told without a law"
                .to_owned(),
        );
    }
    let side = |runs: Runs| Side { name: runs.name, runs: runs.table.points.len() };
    Ok(Comparison { a: side(a), b: side(b), loss_unit, same_held_out, paired, warnings })
}

/// What the losses of a sweep were measured on: a hash.
fn held_out(runs: &Runs) -> Option<String> {
    let kept = runs.results.as_deref().and_then(corpus::read);
    let own = kept.and_then(|corpus| corpus.held_out.sha256);
    let (first, _) = runs.ledger.as_ref()?.cells.first()?;
    own.or_else(|| Some(first.recipe.data_sha256.clone()))
}

/// Tokens that the models of a sweep read at once.
fn context(runs: &Runs) -> Option<usize> {
    Some(runs.ledger.as_ref()?.cells.first()?.0.recipe.shape.context)
}

/// A unit in which both can be told, and what the losses of each are multiplied with.
fn unit(a: &Runs, b: &Runs) -> Result<(String, [f64; 2]), Failure> {
    let (one, other) = (&a.table, &b.table);
    let per_byte = |table: &Table| match (table.convention.loss.as_str(), table.bytes_per_token) {
        (BITS_PER_BYTE, _) => Some(1.0),
        (NATS_PER_TOKEN, Some(bytes)) => Some(bits_per_byte(1.0, bytes)),
        _ => None,
    };
    let alike = |x: Option<f64>, y: Option<f64>| match (x, y) {
        (Some(x), Some(y)) => (x / y - 1.0).abs() < 1e-6,
        _ => true,
    };
    if one.convention.loss == other.convention.loss
        && alike(one.bytes_per_token, other.bytes_per_token)
    {
        return Ok((one.convention.loss_unit().to_owned(), [1.0, 1.0]));
    }
    let (Some(scale_a), Some(scale_b)) = (per_byte(one), per_byte(other)) else {
        let message = format!(
            "the losses of `{}` are in {} and those of `{}` in {}, and nothing tells how they convert",
            a.name, one.convention.loss, b.name, other.convention.loss
        );
        let hint = "give both in bits/byte, or both in nats/token of one tokenizer";
        return Err(InputError::new(message, hint).into());
    };
    Ok((BITS_PER_BYTE.to_owned(), [scale_a, scale_b]))
}

/// The runs, each with what its partner has in common with it. Rows of a table that say nothing of seeds are counted.
fn keyed(runs: &Runs, scale: f64) -> Vec<Run> {
    let seeds: HashMap<&str, String> = runs
        .ledger
        .iter()
        .flat_map(|ledger| &ledger.cells)
        .map(|(cell, _)| {
            let recipe = &cell.recipe;
            (cell.id.as_str(), format!("{} {}", recipe.init_seed, recipe.order()))
        })
        .collect();
    let mut times: HashMap<String, usize> = HashMap::new();
    runs.table
        .points
        .iter()
        .map(|point| {
            let size = format!("{:.5e} {:.5e}", point.params, point.tokens);
            let key = seeds.get(point.id.as_str()).map_or_else(
                || {
                    let nth = times.entry(size.clone()).or_default();
                    *nth += 1;
                    format!("{size} {nth}")
                },
                |seeds| format!("{size} {seeds}"),
            );
            Run {
                key,
                cluster: point.cluster.clone(),
                flops: point.flops,
                loss: scale * point.loss,
            }
        })
        .collect()
}
