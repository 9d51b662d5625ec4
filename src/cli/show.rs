//! Tables for the terminal.

use std::collections::HashMap;

pub(super) use super::layout::table;
use super::layout::wrapped;
use crate::ledger::{Ledger, State};
use crate::plan::memory::Room;
use crate::plan::mixture::{BLOCK, Portion};
use crate::plan::{Cell, Recipe};
use crate::units::{NATS_PER_TOKEN, bits_per_byte, bytes, count, digits3, duration, flops};

/// Warnings, one a line.
pub(super) fn warnings<T: std::fmt::Display>(warnings: &[T]) -> String {
    warnings.iter().fold(String::new(), |out, w| out + &wrapped(&format!("warning: {w}\n")))
}

/// Each domain of a dataset: its realised weight, the tokens that there are, the fewest and most epochs of a cell.
pub(super) fn domains(domains: &[(&Portion, u64, [f64; 2])]) -> String {
    let rows = domains.iter().map(|(portion, tokens, [least, most])| {
        let epochs = [least, most].map(|e| digits3(*e));
        vec![
            portion.name.clone(),
            format!("{}/{BLOCK} = {:.2}%", portion.share, 100.0 * portion.weight()),
            count(*tokens as f64),
            if epochs[0] == epochs[1] { epochs[0].clone() } else { epochs.join(" to ") },
        ]
    });
    table(&["domain", "weight", "tokens", "epochs"], 1, &rows.collect::<Vec<_>>())
}

/// Every planned cell, smallest budget first, with times if they are known, and costs if seconds have some.
/// Cells that differ by their seeds alone are one row, with the id of the first and the time of one.
pub(super) fn plan(
    cells: &[Cell],
    room: Room,
    seconds: &dyn Fn(&Cell) -> Option<f64>,
    usd: Option<&dyn Fn(f64) -> f64>,
) -> String {
    let groups = by_seeds(cells);
    let seeded = groups.iter().any(|(_, seeds)| *seeds > 1);
    let rows = groups.iter().map(|(cell, seeds)| {
        let (recipe, shape) = (&cell.recipe, &cell.recipe.shape);
        let (n, per_token) = (shape.counts(), shape.flops_per_token());
        let share = |part: f64| format!("{:.0}%", 100.0 * part / per_token.total());
        let mut row = vec![
            cell.short().to_owned(),
            shape.short(),
            flops(recipe.flops()),
            count(n.matmul),
            count(n.total),
            count(n.non_embedding),
            count(recipe.tokens() as f64),
            digits3(recipe.tokens() as f64 / n.matmul),
            count(per_token.total()),
            count(6.0 * n.matmul),
            share(per_token.attention),
            share(per_token.head),
            recipe.steps.to_string(),
            count(recipe.batch_tokens() as f64),
            format!("{:.2e}", recipe.learning_rate),
            bytes(room.of(cell)),
            seconds(cell).map_or_else(|| "-".to_owned(), duration),
        ];
        if seeded {
            row.insert(2, seeds.to_string());
        }
        if let Some(usd) = usd {
            row.push(seconds(cell).map_or_else(|| "-".to_owned(), |s| dollars(usd(s))));
        }
        row
    });
    let mut header = vec![
        "cell",
        "shape",
        "C",
        "N",
        "N total",
        "N non-emb",
        "D",
        "D/N",
        "FLOP/tok",
        "6N",
        "attn",
        "head",
        "steps",
        "batch",
        "lr",
        "memory",
        "time",
    ];
    if seeded {
        header.insert(2, "seeds");
    }
    if usd.is_some() {
        header.push("cost");
    }
    table(&header, 2, &rows.collect::<Vec<_>>())
        + "\n  N: matrices of blocks and head (matmul). C = FLOP/tok x D, exact: attention (causal) and \
           head counted, input embedding not. 6N beside it is what C = 6ND would take for FLOP/tok.\n"
}

/// The cells by budget and size, those that differ by their seeds alone as the first and how many they are.
fn by_seeds(cells: &[Cell]) -> Vec<(&Cell, usize)> {
    let mut cells: Vec<&Cell> = cells.iter().collect();
    // Cells that differ by their seeds alone stand together.
    let by = |l: &Cell, r: &Cell| {
        let key = |c: &Cell| c.budget.unwrap_or_else(|| c.recipe.flops());
        key(l).total_cmp(&key(r)).then(l.params().total_cmp(&r.params()))
    };
    cells.sort_by(|l, r| by(l, r));
    let mut groups: Vec<(&Cell, Recipe, usize)> = Vec::new();
    for cell in cells {
        let unseeded = Recipe { init_seed: 0, order_seed: None, ..cell.recipe.clone() };
        let near = |(c, ..): &&mut (&Cell, Recipe, usize)| by(c, cell).is_eq();
        match groups
            .iter_mut()
            .rev()
            .take_while(near)
            .find(|(c, recipe, _)| c.budget == cell.budget && *recipe == unseeded)
        {
            Some((.., seeds)) => *seeds += 1,
            None => groups.push((cell, unseeded, 1)),
        }
    }
    groups.into_iter().map(|(cell, _, seeds)| (cell, seeds)).collect()
}

/// Money, to three digits: `$0.0123`, `$4.56`, `$789`.
pub(super) fn dollars(usd: f64) -> String {
    format!("${}", digits3(usd))
}

/// Every cell of a ledger by budget and size, with its loss or why there is none.
pub(super) fn ledger(ledger: &Ledger) -> String {
    let mut cells: Vec<&(Cell, State)> = ledger.cells.iter().collect();
    cells.sort_by(|(l, _), (r, _)| {
        let key = |c: &Cell| c.budget.unwrap_or_else(|| c.recipe.flops());
        key(l).total_cmp(&key(r)).then(l.params().total_cmp(&r.params()))
    });
    // The best loss of each budget is what an IsoFLOP study looks for.
    let mut best: HashMap<u64, f64> = HashMap::new();
    for (cell, state) in &ledger.cells {
        if let (Some(budget), Some(loss)) = (cell.budget, loss(state)) {
            let least = best.entry(budget.to_bits()).or_insert(loss);
            *least = least.min(loss);
        }
    }
    let bits = |loss: f64| {
        ledger
            .truth
            .bytes_per_token
            .map_or_else(|| "-".to_owned(), |bytes| format!("{:.3}", bits_per_byte(loss, bytes)))
    };
    let rows = cells.iter().map(|(cell, state)| {
        let d = cell.recipe.tokens() as f64;
        let measured = loss(state);
        let mark = cell
            .budget
            .is_some_and(|b| measured.is_some() && best.get(&b.to_bits()).copied() == measured);
        let (seconds, rate) = match state {
            State::Completed { seconds, tokens_per_second, .. } => {
                (duration(*seconds), count(*tokens_per_second))
            }
            _ => ("-".to_owned(), "-".to_owned()),
        };
        vec![
            cell.short().to_owned(),
            flops(cell.recipe.flops()),
            count(cell.params()),
            count(d),
            digits3(d / cell.params()),
            // Where there is no loss, why.
            measured.map_or_else(
                || state.name().word().to_owned(),
                |l| format!("{l:.4}{}", if mark { "*" } else { " " }),
            ),
            measured.map_or_else(|| "-".into(), bits),
            rate,
            seconds,
        ]
    });
    let header = ["cell", "C", "N", "D", "D/N", "loss ", "bits/byte", "tok/s", "time"];
    let mut out = table(&header, 1, &rows.collect::<Vec<_>>());
    if ledger.cells.iter().any(|(c, _)| c.budget.is_some()) {
        out += &format!("  * lowest loss of its budget [{NATS_PER_TOKEN}, held-out]\n");
    }
    for (cell, state) in cells {
        // What was never begun says so in the table.
        if matches!(state, State::Missing { attempts: 0, .. }) {
            continue;
        }
        if let Some(why) = state.why() {
            out += &format!("  {} {why}\n", cell.short());
        }
    }
    out
}

fn loss(state: &State) -> Option<f64> {
    match state {
        State::Completed { loss, .. } => Some(*loss),
        _ => None,
    }
}

/// A difference with its sign and `places` digits after the point; never `-0.0`.
pub(super) fn signed(value: f64, places: usize) -> String {
    let text = format!("{value:+.places$}");
    if text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { text } else { text.replace('-', "+") }
}

/// Three to five significant digits, exponents for the very large and small.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if !(1e-3..1e5).contains(&v) => format!("{value:.2e}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
