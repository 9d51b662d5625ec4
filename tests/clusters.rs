//! Runs that share noise are worth fewer than their number, wherever an interval or a p-value is quoted.

use isoflop::fit::{Analysis, Compute, Options, analyse};
use isoflop::points::{Convention, Point, Table};
use isoflop::predict::{Estimate, at_flops, chosen};
use isoflop::random::Stream;

/// Hoffmann et al. 2022, approach 3, as printed: budgets of sizes about the optimum, 0.4% of noise.
fn study(budgets: usize, sizes: usize) -> Vec<Point> {
    let noise = Stream::new(5, "clusters");
    let mut points = Vec::new();
    for b in 0..budgets {
        let flops = 1e18 * 100.0_f64.powf(b as f64 / (budgets - 1) as f64);
        for i in 0..sizes {
            let place = 4.0_f64.powf(2.0 * i as f64 / (sizes - 1) as f64 - 1.0);
            let params = 0.0915 * flops.powf(0.4985) * place;
            let tokens = flops / (6.0 * params);
            let law: f64 = 1.69 + 406.4 * params.powf(-0.34) + 410.7 * tokens.powf(-0.28);
            let id = format!("{b}.{i}");
            points.push(Point {
                cluster: id.clone(),
                id,
                params,
                tokens,
                flops,
                loss: law * (0.004 * noise.normal((b * sizes + i) as u64)).exp(),
                budget: Some(flops),
                unique_tokens: None,
                counts: None,
            });
        }
    }
    points
}

/// Each run `times` times, a hair apart.
fn repeated(points: &[Point], times: usize) -> Vec<Point> {
    let hair = Stream::new(6, "jitter");
    let again = |(i, p): (usize, &Point)| -> Vec<Point> {
        (0..times)
            .map(|k| Point {
                id: format!("{} again {k}", p.id),
                loss: p.loss * (1e-6 * hair.normal((i * times + k) as u64)).exp(),
                ..p.clone()
            })
            .collect()
    };
    points.iter().enumerate().flat_map(again).collect()
}

fn fitted(points: Vec<Point>) -> Analysis {
    let convention = Convention::new("total", "6ND", "nats/token");
    let table = Table::new("clusters", convention, points);
    analyse(&table, Compute::SixNd, &Options { bootstrap: 1000, ..Options::default() }).unwrap()
}

/// The width of every interval that is quoted, by name.
fn widths(a: &Analysis) -> Vec<(String, f64)> {
    let mut out = Vec::new();
    for fit in &a.fits {
        // The envelope is the luckiest run of each copy; A and B vary over decades.
        for (name, [lo, hi]) in &fit.intervals {
            if fit.method != "envelope" && !["A", "B"].contains(&name.as_str()) {
                out.push((format!("{} {name}", fit.method), hi - lo));
            }
        }
        out.extend(fit.residual_sd.map(|sd| (format!("{} scatter", fit.method), sd)));
    }
    for (i, b) in a.isoflop.iter().enumerate() {
        out.extend(b.params_interval.map(|[lo, hi]| (format!("N* of budget {i}"), (hi / lo).ln())));
    }
    for p in &a.profile {
        if let (Some(lo), Some(hi)) = (p.lo, p.hi) {
            out.push((format!("profile {} {:?}", p.quantity, p.flops), (hi / lo).ln()));
        }
    }
    for law in a.laws.iter().filter(|l| ["chinchilla", "shared", "kaplan"].contains(&&*l.law)) {
        out.push((format!("{} scatter", law.law), law.residual_sd));
        let sds = law.params.iter().filter_map(|p| Some((&p.name, p.sd?)));
        out.extend(sds.map(|(name, sd)| (format!("{} sd of {name}", law.law), sd)));
    }
    for run in &a.holdout.as_ref().unwrap().runs {
        let name = format!("held out {}", run.id.split(' ').next().unwrap());
        if !out.iter().any(|(n, _)| *n == name) {
            out.push((name, run.interval[1] - run.interval[0]));
        }
    }
    let wide = |e: &Estimate| (e.hi / e.lo).ln();
    let ahead = at_flops(a, 1e21).unwrap();
    out.push(("N* ahead".into(), wide(&ahead.params)));
    out.push(("loss ahead".into(), wide(&ahead.loss)));
    out.push(("loss of a run".into(), wide(&chosen(a, 1e9, 1e10).unwrap().loss)));
    out
}

/// Thirty runs are drawn as noise about the law, 64 as whole clusters.
#[test]
fn copies_of_a_run_narrow_no_interval() {
    for (budgets, sizes) in [(5, 6), (8, 8)] {
        let points = study(budgets, sizes);
        let (once, four) = (fitted(points.clone()), fitted(repeated(&points, 4)));
        let size = four.sample_size.unwrap();
        assert_eq!((size.runs, size.clusters), (4 * points.len(), points.len()));
        assert!((size.effective / points.len() as f64 - 1.0).abs() < 0.01, "{size}");
        assert_eq!(once.sample_size.unwrap().effective, points.len() as f64);
        assert_eq!(four.noise, None, "copies tell nothing of seeds");
        let (want, got) = (widths(&once), widths(&four));
        assert!(want.len() > 40, "{want:?}");
        let mut unlike = Vec::new();
        for ((name, want), (again, got)) in want.iter().zip(&got) {
            assert_eq!(name, again);
            if (got / want - 1.0).abs() > 0.15 {
                unlike.push(format!("{name}: {want:.4e} once, {got:.4e} four times"));
            }
        }
        assert!(unlike.is_empty(), "{budgets} x {sizes}:\n{}", unlike.join("\n"));
    }
}
