//! Do the intervals hold beyond the runs? Every table cut short and predicted, one line a family.
//!
//! ```sh
//! cargo bench --bench backtest                        # synthetic laws, and the tables of ../shared/reference
//! cargo bench --bench backtest -- runs.csv ROLE=COLUMN...
//! ```
//!
//! Synthetic families: runs at five budgets of seven sizes on each form of law with 0.4% of noise, three draws
//! each. A table that is not there is named and left out. The last line is the mean over the families.

use std::path::Path;

use isoflop::backtest::{Backtest, Quality, backtest};
use isoflop::fit::Options;
use isoflop::fit::law::{Law, Run};
use isoflop::import;
use isoflop::points::{Convention, Point, Table};
use isoflop::random::Stream;

type Failure = Box<dyn std::error::Error>;

/// Forms with values as they have been published or fitted.
const TRUTHS: [(&str, &[f64]); 6] = [
    ("chinchilla", &[1.69, 406.4, 410.7, 0.34, 0.28]),
    ("shared", &[1.8, 420.0, 1400.0, 0.345]),
    ("coupled", &[1.2, 3e4, 2e5, 0.62, 0.66, 0.4]),
    ("interaction", &[1.69, 406.4, 410.7, 0.34, 0.28, -0.4]),
    ("kaplan", &[6.4e13, 1.8e13, 0.076, 0.103]),
    ("farseer", &[-0.091, -0.021, 0.169, -6.287, 88.01, -0.1, 0.424, -0.124, 0.123]),
];
const DRAWS: u64 = 3;
const NOISE: f64 = 0.004;

/// Pairs of names.
type Pairs = &'static [(&'static str, &'static str)];

/// Tables of the reference, with the roles and the rows that are asked of them.
const TABLES: [(&str, Pairs, Pairs); 4] = [
    ("epoch_chinchilla/chinchilla_runs.csv", &[], &[("in_published_fit", "1")]),
    (
        "gadre2024/gadre_testbed.csv",
        &[("params", "params"), ("tokens", "tokens"), ("loss", "loss_c4_val")],
        &[("train_dataset", "rpj")],
    ),
    ("muennighoff2023/datablations_val_loss.csv", &[("loss", "val_loss")], &[]),
    (
        "steplaw2025/dense_lr_bs_loss.csv",
        &[("params", "N"), ("tokens", "D"), ("loss", "smooth loss")],
        &[],
    ),
];

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let options = Options { bootstrap: 100, ..Options::default() };
    println!(
        "{:<28}{:>6}{:>8}{:>8}{:>8}{:>8}{:>8}   inside at 1, 3, 10, 30, 100x",
        "family", "n", "inside", "rms", "median", "score", "N*"
    );
    if let Some((path, map)) = words.split_first() {
        let map = map.iter().filter_map(|w| w.split_once('=')).map(|(r, c)| (r.into(), c.into()));
        let options_of = import::Options { map: map.collect(), ..import::Options::default() };
        let table = import::read(Path::new(path), &options_of)?.table;
        line(path, &[backtest(&table, &options)?]);
        return Ok(());
    }
    let mut families = Vec::new();
    for (law, values) in TRUTHS {
        let all: Vec<Backtest> = (0..DRAWS)
            .filter_map(|draw| backtest(&synthetic(law, values, draw), &options).ok())
            .collect();
        families.extend(line(&format!("synthetic {law}"), &all));
    }
    for (name, map, filters) in TABLES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference").join(name);
        let pairs = |of: &[(&str, &str)]| {
            of.iter().map(|(l, r)| ((*l).to_owned(), (*r).to_owned())).collect()
        };
        let read = import::Options {
            map: pairs(map),
            filters: pairs(filters),
            mixed: true,
            ..import::Options::default()
        };
        match import::read(&path, &read) {
            Ok(import::Imported { table, .. }) => {
                let family = name.split('/').next().unwrap_or(name);
                families.extend(line(family, &[backtest(&table, &options)?]));
            }
            Err(why) => {
                println!("{name}: left out: {}", why.to_string().lines().next().unwrap_or(""));
            }
        }
    }
    let mean =
        |of: &dyn Fn(&Quality) -> f64| families.iter().map(of).sum::<f64>() / families.len() as f64;
    println!(
        "{:<28}{:>6}{:>7.0}%{:>7.2}%{:>7.2}%{:>7.1}%",
        "mean over families",
        families.iter().map(|q| q.n).sum::<usize>(),
        100.0 * mean(&|q| q.coverage),
        100.0 * mean(&|q| q.rms),
        100.0 * mean(&|q| q.median),
        100.0 * mean(&|q| q.interval_score),
    );
    Ok(())
}

/// One line; the quality of all its predictions together.
fn line(name: &str, all: &[Backtest]) -> Option<Quality> {
    let parts: Vec<Quality> = all.iter().filter_map(|b| b.all).collect();
    let n: usize = parts.iter().map(|q| q.n).sum();
    if n == 0 {
        println!("{name:<28}  nothing could be predicted");
        return None;
    }
    let mean = |parts: &[Quality], of: &dyn Fn(&Quality) -> f64| {
        let n: usize = parts.iter().map(|q| q.n).sum();
        parts.iter().map(|q| q.n as f64 * of(q)).sum::<f64>() / n as f64
    };
    let reaches: Vec<String> = [1.0, 3.0, 10.0, 30.0, 100.0]
        .iter()
        .map(|from| {
            let at = all.iter().flat_map(|b| &b.by_reach).filter(|r| r.from == *from);
            let at: Vec<Quality> = at.map(|r| r.quality).collect();
            if at.is_empty() {
                "  -".into()
            } else {
                format!("{:.0}%", 100.0 * mean(&at, &|q| q.coverage))
            }
        })
        .collect();
    let sizes = all.iter().flat_map(|b| &b.sizes);
    let (inside, count) = sizes.fold((0, 0), |(i, c), s| (i + usize::from(s.inside), c + 1));
    let sizes = if count == 0 {
        "-".into()
    } else {
        format!("{:.0}%", 100.0 * f64::from(inside as u32) / f64::from(count))
    };
    let quality = Quality {
        n,
        clusters: parts.iter().map(|q| q.clusters).sum(),
        coverage: mean(&parts, &|q| q.coverage),
        bias: mean(&parts, &|q| q.bias),
        rms: mean(&parts, &|q| q.rms.powi(2)).sqrt(),
        median: mean(&parts, &|q| q.median),
        interval_score: mean(&parts, &|q| q.interval_score),
    };
    println!(
        "{name:<28}{n:>6}{:>7.0}%{:>7.2}%{:>7.2}%{:>7.1}%{sizes:>8}   {}",
        100.0 * quality.coverage,
        100.0 * quality.rms,
        100.0 * quality.median,
        100.0 * quality.interval_score,
        reaches.join(", ")
    );
    Some(quality)
}

/// Five budgets over three decades, seven sizes each.
fn synthetic(law: &str, values: &[f64], draw: u64) -> Table {
    let (form, noise) = (Law::named(law).expect("a form"), Stream::new(draw, law));
    let mut points = Vec::new();
    for (i, flops) in [1e18, 5.6e18, 3.2e19, 1.8e20, 1e21].into_iter().enumerate() {
        let middle = (flops / 120.0_f64).sqrt();
        for j in 0..7 {
            let params = middle * 1.6_f64.powi(j - 3);
            let tokens = flops / (6.0 * params);
            let loss = form.loss(values, &Run::new(params, tokens)).expect("a loss");
            let id = format!("{i}.{j}");
            points.push(Point {
                cluster: id.clone(),
                params,
                tokens,
                flops,
                loss: loss * (NOISE * noise.normal(points.len() as u64)).exp(),
                budget: Some(flops),
                unique_tokens: None,
                counts: None,
                id,
            });
        }
    }
    let convention = Convention::new("total", "6ND", "nats/token");
    Table::new(format!("synthetic {law}"), convention, points)
}
