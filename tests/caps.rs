//! Numbers and tables that are too large are refused with the name of what is, before anything is made of them.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{ONE, Place, said};

/// Refused with exit code 2, these words, and no panic, within a minute: machines that test are busy.
fn refused(place: &Place, args: &[&str], words: &[&str]) {
    let begin = Instant::now();
    let (code, out, err) = said(&place.command(args).output().unwrap());
    assert_eq!(code, Some(2), "{args:?}: {out}{err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is missing for {args:?}: {err}");
    }
    assert!(begin.elapsed() < Duration::from_mins(1), "{args:?} took {:?}", begin.elapsed());
}

#[test]
fn a_sweep_whose_numbers_go_too_far_is_refused_by_the_key() {
    let steep = "{ value = 1.0, params_exponent = 4.0, params_ref = 1e-300 }";
    let zipf = "{ zipf-fact = { keys = 100, a = 0.5, values = 256, key_tokens = 8, noise = 0.0 } }";
    let wide = "{ graph-walk = { nodes = 1048576, degree = 4096, skew = 0.0 } }";
    let source = "{ graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }";
    for (from, to, words) in [
        ("tokens = [4e5]", "tokens = [1e308]", &["grid.product.tokens", "1e18"][..]),
        ("tokens = [4e5]", "tokens = [\"1e25\"]", &["grid.product.tokens", "1e18"]),
        ("params = [2e4]", "params = [1e30]", &["grid.product.params", "1e15"]),
        ("batch_tokens = 2048", "batch_tokens = 1e308", &["optim.batch_tokens", "1e9"]),
        ("batch_tokens = 2048", "batch_tokens = 1e12", &["optim.batch_tokens", "1e9"]),
        (
            "learning_rate = 0.02",
            &format!("learning_rate = {steep}"),
            &["optim.learning_rate", "inf"],
        ),
        ("batch_tokens = 2048", &format!("batch_tokens = {steep}"), &["optim.batch_tokens"]),
        (source, zipf, &["data.source", "values^key_tokens"]),
        (source, wide, &["data.source", "2^26"]),
        ("[eval]", "[fit]\nholdout = 99999\n[eval]", &["fit.holdout", "1000"]),
    ] {
        assert!(ONE.contains(from), "{from}");
        let place = Place::new(&ONE.replace(from, to).replace("context = 32", "context = 36"));
        refused(&place, &["plan", "sweep.toml", "--no-probe"], words);
        refused(&place, &["run", "sweep.toml", "--workers", "1"], words);
        assert!(!place.path("results/one/plan.json").exists(), "{to}: nothing was written");
    }
}

fn table(rows: usize, equal: bool) -> String {
    (0..rows).fold(String::from("id,params,tokens,loss\n"), |mut out, i| {
        let (n, d) = if equal { (0, 0) } else { (i % 317, i / 317) };
        out += &format!(
            "r{i},{},{},{}\n",
            1_000_000 + 1000 * n,
            100_000_000 + 100_000 * d,
            3.0 - 1e-3 * (n + d) as f64
        );
        out
    })
}

#[test]
fn options_of_a_fit_that_make_no_sense_are_refused() {
    let place = Place::new(ONE);
    fs::write(place.path("t.csv"), table(40, false)).unwrap();
    let all = u64::MAX.to_string();
    refused(&place, &["fit", "t.csv", "--holdout", &all], &["holdout", "1 to 1000"]);
    let twice = "params=params,params=tokens";
    refused(&place, &["fit", "t.csv", "--map", twice], &["--map names params twice"]);
    let same = "params=params,tokens=params";
    refused(
        &place,
        &["fit", "t.csv", "--map", same],
        &["--map takes `params` for params and for tokens"],
    );
}

#[test]
fn more_rows_than_can_be_fitted_are_refused_and_not_endured() {
    for equal in [false, true] {
        let place = Place::new(ONE);
        fs::write(place.path("t.csv"), table(200_000, equal)).unwrap();
        refused(&place, &["fit", "t.csv"], &["200000 runs", "at most 50000", "--where"]);
    }
}

/// Somebody's copy in a cell's directory is no attempt, and no number wraps.
#[test]
fn a_directory_that_only_looks_like_an_attempt_is_none() {
    let place = Place::new(ONE);
    assert!(place.run().arg("--train-only").output().unwrap().status.success());
    let cell = common::sorted(&place.path("results/one/cells")).remove(0);
    for name in ["attempt-4294967295", "attempt-00001", "attempt-0001 (copy)", "attempt-+002"] {
        fs::create_dir(cell.join(name)).unwrap();
    }
    let (code, out, err) = said(&place.command(&["status", "sweep.toml"]).output().unwrap());
    assert!(code == Some(0) && out.contains("1 completed"), "{out}{err}");
    let again = place.run().arg("--train-only").output().unwrap();
    assert!(again.status.success(), "{}", common::text(&again.stderr));
}

/// The library that trains BPE holds some hundred bytes for each byte of what it is given at once.
#[cfg(target_os = "linux")]
#[test]
fn a_line_of_megabytes_takes_bpe_no_more_memory_than_many_lines() {
    let source = r#"source = { files = { paths = ["line.txt", "lines.txt"] } }
tokenizer = { bpe = { vocab = 512 } }"#;
    let graph = "source = { graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }";
    let place = Place::new(&ONE.replace(graph, source));
    fs::write(place.path("line.txt"), "the whale rolled on ".repeat(200_000)).unwrap();
    fs::write(place.path("lines.txt"), "and the sea rolled on\n".repeat(5_000)).unwrap();
    let plan = |limit: &str| {
        let isoflop = env!("CARGO_BIN_EXE_isoflop");
        let script = format!("ulimit -v {limit}; exec '{isoflop}' plan sweep.toml --no-probe");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).current_dir(place.path("."));
        // A thread has a stack and an arena of its own.
        said(&shell.env("RAYON_NUM_THREADS", "1").output().unwrap())
    };
    let (code, out, err) = plan("300000");
    assert!(code == Some(0) && out.contains("1 cell"), "{out}{err}");
    // A line alone is cut at its spaces.
    fs::write(place.path("lines.txt"), "").unwrap();
    let (code, out, err) = plan("300000");
    assert!(code == Some(0) && out.contains("1 cell"), "{out}{err}");
    fs::write(place.path("line.txt"), "the whale rolled on ".repeat(100)).unwrap();
    let (code, _, err) = plan("300000");
    assert!(code == Some(2) && err.contains("is one document"), "{err}");
}
