//! A storm from outside: runners, a tuning and readers on one results directory, killed, stopped and ended at random.
//! When it is over the directory must hold what an undisturbed run leaves, bit for bit.

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod record;

use std::time::Instant;

use common::{Dice, Place, grid, said};
use crowd::{Crowd, Tally};
use record::End;

/// Of the storm; each round draws from its own.
const SEED: u64 = 20_261_128;
/// Between two checkpoints [steps].
const INTERVAL: u64 = 7;
/// Four sizes at three horizons, in trunks and branches; rates are searched at one of the cells and beyond.
fn sweep() -> String {
    let trunk = "[schedule.trunk]\nwarmup = 1.0\ndecay = 0.25\nend = 0.0";
    let tune = "[tune]\ncells = [{ params = 6e3, tokens = 1.2e5 }]\n\
                learning_rate = { values = [0.01, 0.02, 0.04] }\n[fit]\nbootstrap = 20\n[eval]";
    grid("storm", "[3e3, 6e3, 1.2e4, 2e4]", "[6e4, 1.2e5, 2.4e5]")
        .replace("[schedule.cosine]\nwarmup = 0.1\nend = 0.02", trunk)
        .replace("batch_tokens = 2048", "batch_tokens = 512")
        .replace("[eval]", tune)
}

/// Trains, tunes and fits with nobody beside.
fn finish(place: &Place) {
    let run = ["run", "sweep.toml", "--workers", "2", "--checkpoint", "7steps"];
    let stuck = [&run[..], &["--retry", "stuck"]].concat();
    let tune = [&["tune"], &run[1..]].concat();
    for args in [stuck, tune, run.to_vec()] {
        let (code, out, err) = said(&place.command(&args).output().unwrap());
        assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    }
}

/// Rounds with fresh directories, each of so many deaths by SIGKILL, until there were `most`.
fn storm(most: u64, a_round: u64) {
    let begin = Instant::now();
    let place = Place::new(&sweep());
    finish(&place);
    let want = End::of(&place, "storm");
    want.whole();
    want.kept();
    assert!(want.branches() >= 8, "four trunks of two branches each");
    let (mut tally, mut rounds) = (Tally::default(), 0);
    while tally.kills < most {
        rounds += 1;
        let place = Place::new(&sweep());
        let mut crowd = Crowd::new(&place, Dice::new(SEED + rounds));
        crowd.storm(a_round.min(most - tally.kills));
        let round = crowd.calm();
        finish(&place);
        let got = End::of(&place, "storm");
        got.whole();
        got.kept();
        got.same(&want);
        let (cut, twice) = record::again(&place, "storm", INTERVAL);
        assert!(
            twice <= INTERVAL * (round.kills + round.second),
            "round {rounds}: {twice} steps twice, {round:?}"
        );
        left_clean(&place);
        tally.add(&round);
        tally.cut += cut;
        tally.twice += twice;
    }
    println!(
        "seed {SEED}: {rounds} rounds, {tally}, {:.0} s: the same bits, ledger, fit and tuning",
        begin.elapsed().as_secs_f64()
    );
}

/// Nothing is damaged, and what the dead left is where the documents say that it may be.
fn left_clean(place: &Place) {
    let output = place.command(&["check", "sweep.toml"]).output().unwrap();
    let (code, out, err) = said(&output);
    assert!(code == Some(0) && out.contains("0 damaged"), "{out}{err}");
    let named: Vec<&str> = out.lines().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    for path in record::scratch(&place.path("")) {
        let path = path.strip_prefix(place.path("")).unwrap();
        assert!(path.starts_with("results/storm"), "not made anew: {}", path.display());
        assert!(
            named.iter().any(|named| path.starts_with(named)),
            "`check` does not name {}: {out}",
            path.display()
        );
    }
    let runners = common::sorted(&place.path("results/storm/runners"));
    assert!(runners == [place.path("results/storm/runners/door")], "{runners:?}");
}

#[test]
fn after_a_storm_the_directory_holds_what_an_undisturbed_run_leaves() {
    storm(40, 40);
}

#[test]
#[ignore = "the long tier"]
fn deep_storm_of_two_thousand_kills() {
    storm(2000, 400);
}
