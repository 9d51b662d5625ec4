//! Whether the intervals of a backtest hold what they promise: a binomial test of each share, whose trials are
//! clusters (for N*: budgets), so that runs which share noise, and cuts which ask for one run again, count once.
//!
//! Limits: the runs beyond a cut share the error of one fit as well, so the trials are fewer than clusters and a
//! p-value is a lower bound: a warning means that chance alone is a poor reason, no warning means little.

use std::collections::BTreeSet;

use statrs::distribution::{Binomial, DiscreteCDF as _};

use super::Backtest;
use crate::fit::{Code, Warning};

/// A share is called unlike the promise where less than this probability has it so by chance, all tests of a
/// backtest together (Bonferroni) [-].
const SIGNIFICANT: f64 = 0.05;

/// What is tested: its name, what its intervals should hold, the share of them that does, and the trials.
struct Share<'a> {
    name: String,
    what: &'a str,
    inside: f64,
    trials: usize,
    of: &'a str,
}

/// Warnings of all runs, or else of each reach, of each range of epochs and of N*, where their intervals hold clearly
/// fewer than promised; and of all runs, where they hold clearly more: that costs money and misleads nobody.
pub(super) fn judged(b: &Backtest) -> Vec<Warning> {
    let budgets: BTreeSet<u64> = b.sizes.iter().map(|s| s.flops.to_bits()).collect();
    let all = b.all.iter().map(|q| (ALL.to_owned(), q));
    let reaches = b.by_reach.iter().zip(b.rows());
    let reaches = reaches.map(|(r, [name, ..])| (format!("{REACH}{name}"), &r.quality));
    let epochs = b.by_epochs.iter().zip(b.epoch_rows());
    let epochs = epochs.map(|(r, [name, ..])| (format!("{name} epochs"), &r.quality));
    let runs = all.chain(reaches).chain(epochs).map(|(name, q)| Share {
        name,
        what: "the measured loss",
        inside: q.coverage,
        trials: q.clusters,
        of: "clusters",
    });
    let sizes = b.size_coverage.map(|inside| Share {
        name: "N*".into(),
        what: "the vertex of the budget's parabola",
        inside,
        trials: budgets.len(),
        of: "budgets",
    });
    let shares: Vec<Share<'_>> = runs.chain(sizes).collect();
    let allowed = SIGNIFICANT / shares.len().max(1) as f64;
    let told: Vec<(&Share<'_>, Warning)> =
        shares.iter().filter_map(|share| Some((share, told(share, b.level, allowed)?))).collect();
    // Where all runs together miss, the table says at which reach; a warning for each would be the same one again.
    let all = told.iter().any(|(share, w)| share.name == ALL && w.code == Code::CoverageBelow);
    let part = |share: &Share<'_>| all && share.name.starts_with(REACH);
    told.into_iter().filter(|(share, _)| !part(share)).map(|(_, warning)| warning).collect()
}

/// The name of the row that holds all runs on fresh tokens.
const ALL: &str = "all reaches";
/// How the name of a row of one reach begins.
const REACH: &str = "reach ";

fn told(share: &Share<'_>, level: f64, allowed: f64) -> Option<Warning> {
    let [fewer, more] = chances(share.inside, share.trials, level)?;
    let (code, p, than, so) = if fewer < allowed {
        let so = "such predictions miss more often than their intervals say";
        (Code::CoverageBelow, fewer, "fewer", so)
    } else if more < allowed && share.name == ALL {
        let so = "the intervals are wider than these runs need";
        (Code::CoverageAbove, more, "more", so)
    } else {
        return None;
    };
    // Smaller ones would claim what the shared error of a fit forbids.
    let p = if p < 1e-3 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
    let text = format!(
        "{}: {:.0}% of the {:.0}% intervals hold {}, significantly {than} than promised (binomial test on {} {}: \
         {p}): {so}",
        share.name,
        100.0 * share.inside,
        100.0 * level,
        share.what,
        share.trials,
        share.of
    );
    Some(Warning::new(code, text))
}

/// The probabilities that of so many independent trials at most, and at least, the share that was seen succeeds,
/// where each does with probability `level`. A share between two counts is taken for the one nearer to the promise.
fn chances(share: f64, trials: usize, level: f64) -> Option<[f64; 2]> {
    let of = Binomial::new(level, trials as u64).ok().filter(|_| trials > 0)?;
    let seen = share * trials as f64;
    // A whole number of successes may come out a hair beside it.
    let (up, down) = ((seen - 1e-9).ceil() as u64, (seen + 1e-9).floor() as u64);
    let at_least = if down == 0 { 1.0 } else { of.sf(down - 1) };
    Some([of.cdf(up), at_least])
}

#[cfg(test)]
mod tests {
    use super::super::Quality;
    use super::*;
    use crate::fit::Pins;

    /// By hand: 0.9^24, and the sum of the first eight terms of (0.1 + 0.9)^10 without the last three.
    #[test]
    fn chances_are_those_of_a_binomial_law() {
        let [fewer, more] = chances(1.0, 24, 0.9).unwrap();
        assert!((fewer - 1.0).abs() < 1e-12 && (more - 0.9_f64.powi(24)).abs() < 1e-12, "{more}");
        let last = |k: i32, ways: f64| ways * 0.9_f64.powi(k) * 0.1_f64.powi(10 - k);
        let want = 1.0 - last(8, 45.0) - last(9, 10.0) - last(10, 1.0);
        for share in [0.7, 0.65] {
            let [fewer, _] = chances(share, 10, 0.9).unwrap();
            assert!((fewer - want).abs() < 1e-12, "{share} {fewer} {want}");
        }
        assert!(chances(0.5, 0, 0.9).is_none());
        assert_eq!(chances(0.0, 5, 0.9).unwrap()[1], 1.0);
    }

    fn backtest(coverage: f64, clusters: usize) -> Backtest {
        let quality = Quality {
            n: 10 * clusters,
            clusters,
            coverage,
            bias: 0.0,
            rms: 0.01,
            median: 0.01,
            interval_score: 0.1,
        };
        Backtest {
            source: "t".into(),
            loss_unit: "nats/token".into(),
            pins: Pins::default(),
            runs_sha256: String::new(),
            level: 0.9,
            bootstrap: 200,
            seed: 0,
            all: Some(quality),
            by_reach: Vec::new(),
            by_epochs: Vec::new(),
            size_coverage: None,
            warnings: Vec::new(),
            cuts: Vec::new(),
            runs: Vec::new(),
            sizes: Vec::new(),
        }
    }

    /// 65% of 300 intervals are few, but not where the runs are three clusters.
    #[test]
    fn coverage_far_from_the_promise_is_told_where_clusters_are_many() {
        let told = judged(&backtest(0.65, 30));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].code, Code::CoverageBelow);
        assert!(
            told[0].text.contains("65% of the 90% intervals")
                && told[0].text.contains("30 clusters")
        );
        assert!(judged(&backtest(0.65, 3)).is_empty());
        assert!(judged(&backtest(0.87, 30)).is_empty());
        assert_eq!(judged(&backtest(0.99, 200))[0].code, Code::CoverageAbove);
        assert!(judged(&backtest(1.0, 20)).is_empty());
    }

    /// A backtest that an older isoflop wrote has no warnings of its own: they are made where it is read.
    #[test]
    fn one_that_was_written_before_is_judged_too() {
        let mut json = serde_json::to_value(backtest(0.65, 30)).unwrap();
        json.as_object_mut().unwrap().remove("warnings").unwrap();
        let read = Backtest::read(&serde_json::to_vec(&json).unwrap()).unwrap();
        assert_eq!(read.warnings.len(), 1);
    }
}
