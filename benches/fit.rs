//! Time of the fit engine on a table of runs, alone or in turn with others.
//!
//! ```sh
//! cargo bench --bench fit -- runs.csv [COLUMN=VALUE...]    # medians of every piece
//! fit --serve runs.csv [COLUMN=VALUE...]                   # one piece for each line of stdin
//! ```
//!
//! A piece is what a user asks for: `varpro` and `lse` are one fit each, `bootstrap` both fits with
//! 1,000 refits each, `analyse` all that `isoflop fit` computes. With `--serve` the table is read once
//! and each piece is answered by a line of JSON, so that `benches/peers/fit.py` can take turns with it
//! and neither side pays for a start. The clock runs around the fit alone.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use isoflop::fit::{Compute, Fit, Method, Options, analyse, surfaces};
use isoflop::import;
use isoflop::points::Table;
use serde_json::{Value, json};

const PIECES: [&str; 4] = ["varpro", "lse", "bootstrap", "analyse"];

/// Least time and least number of runs behind a median.
const ENOUGH: (Duration, usize) = (Duration::from_secs(2), 5);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // `cargo bench` adds `--bench` to what it passes on.
    let mut words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let serving = words.first().is_some_and(|a| a == "--serve");
    if serving {
        words.remove(0);
    }
    let Some((path, filters)) = words.split_first() else {
        return Err("no table: cargo bench --bench fit -- runs.csv [COLUMN=VALUE...]".into());
    };
    let filters = filters
        .iter()
        .map(|f| match f.split_once('=') {
            Some((column, value)) => Ok((column.to_owned(), value.to_owned())),
            None => Err(format!("`{f}` is not COLUMN=VALUE")),
        })
        .collect::<Result<Vec<_>, String>>()?;
    let options = import::Options { filters, ..import::Options::default() };
    let table = import::read(Path::new(path), &options)?.table;
    if serving { serve(&table) } else { measure(&table) }
}

/// Says what is ready, then answers each line of stdin.
fn serve(table: &Table) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let ready = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "rows": table.points.len(),
        "threads": rayon::current_num_threads(),
        "pieces": PIECES,
    });
    writeln!(out, "{ready}")?;
    out.flush()?;
    for piece in std::io::stdin().lock().lines() {
        let (seconds, fits) = timed(table, piece?.trim())?;
        writeln!(out, "{}", json!({ "seconds": seconds, "fits": fits }))?;
        out.flush()?;
    }
    Ok(())
}

/// Prints the median and the range of each piece.
fn measure(table: &Table) -> Result<(), Failure> {
    println!("{} runs, {} threads", table.points.len(), rayon::current_num_threads());
    println!("{:<12}{:>12}{:>12}{:>12}{:>8}", "piece", "median ms", "least", "most", "times");
    for piece in PIECES {
        let (begin, mut seconds) = (Instant::now(), Vec::new());
        while seconds.len() < ENOUGH.1 || begin.elapsed() < ENOUGH.0 {
            seconds.push(timed(table, piece)?.0 * 1e3);
        }
        seconds.sort_by(f64::total_cmp);
        let (median, most) = (seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
        println!("{piece:<12}{median:>12.3}{:>12.3}{most:>12.3}{:>8}", seconds[0], seconds.len());
    }
    Ok(())
}

/// Does one piece: seconds, and the surfaces that came of it.
fn timed(table: &Table, piece: &str) -> Result<(f64, Vec<Value>), Failure> {
    let begin = Instant::now();
    let fits = run(table, piece)?;
    let seconds = begin.elapsed().as_secs_f64();
    let surfaces = fits
        .iter()
        .filter_map(|fit| {
            let (law, certificate) = (fit.params?, &fit.certificate);
            Some(json!({
                "method": fit.method,
                "objective": fit.objective,
                "E": law.e, "A": law.a, "B": law.b, "alpha": law.alpha, "beta": law.beta,
                "starts": certificate.starts,
                "refits": fit.draws.len(),
            }))
        })
        .collect();
    Ok((seconds, surfaces))
}

fn run(table: &Table, piece: &str) -> Result<Vec<Fit>, Failure> {
    let alone = |methods: &[Method], bootstrap| {
        let options = Options { methods: methods.to_vec(), bootstrap, ..Options::default() };
        surfaces(table, Compute::SixNd, &options)
    };
    Ok(match piece {
        "varpro" => alone(&[Method::Varpro], 0)?,
        "lse" => alone(&[Method::LseHuber], 0)?,
        "bootstrap" => alone(&[Method::LseHuber, Method::Varpro], 1000)?,
        "analyse" => analyse(table, Compute::SixNd, &Options::default())?.fits,
        _ => return Err(format!("`{piece}` is none of {}", PIECES.join(", ")).into()),
    })
}
