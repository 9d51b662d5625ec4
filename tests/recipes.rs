//! `isoflop data RECIPE` as a person uses it: planned, made, cut and made on, and trained on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn isoflop(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isoflop"));
    command.env("COLUMNS", "1000").current_dir(dir).args(args).output().unwrap()
}

fn good(dir: &Path, args: &[&str]) -> String {
    let output = isoflop(dir, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Words of a text that no other number has.
fn text(n: u64, words: u64) -> String {
    let word = |i: u64| {
        let mixed = (n * 1_000_003 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let letters = |k: u32| char::from(b'a' + ((mixed >> (4 * k)) % 16) as u8);
        (0..4).map(letters).collect::<String>()
    };
    (0..words).map(word).collect::<Vec<_>>().join(" ") + ".\n"
}

/// Two kinds of text, with copies.
fn corpus(dir: &Path, documents: u64) {
    fs::create_dir_all(dir.join("raw")).unwrap();
    let line = |n: u64| serde_json::json!({ "text": text(n, 120), "id": n }).to_string();
    for file in 0..4 {
        let part: Vec<String> =
            (0..documents).map(|n| line(file * documents * 9 / 10 + n)).collect();
        fs::write(dir.join(format!("raw/{file}.jsonl")), part.join("\n") + "\n").unwrap();
    }
    let books: Vec<String> = (0..documents / 4).map(|n| text(1_000_000 + n, 600)).collect();
    fs::write(dir.join("raw/book.txt"), books.join("\n")).unwrap();
    fs::write(dir.join("small.toml"), RECIPE).unwrap();
}

const RECIPE: &str = r#"
name = "small"
tokenizer = { bpe = { vocab = 400, sample = "200kB" } }
held_out = 0.05
[domain.web]
read = { jsonl = ["raw/*.jsonl"] }
filters = [{ gopher-quality = { words = [20, 1000], stop_words_least = 0 } }]
[domain.books]
read = { text = ["raw/book.txt"] }
paragraphs = 300
"#;

/// Every file below a directory with its hash.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut out, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                out.insert(name, Sha256::digest(fs::read(path).unwrap()).to_vec());
            }
        }
    }
    out
}

#[test]
fn a_recipe_is_planned_made_and_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    corpus(dir, 600);
    let plan = good(dir, &["data", "small.toml", "--plan"]);
    assert!(plan.contains("web") && plan.contains("books") && plan.contains("worker"), "{plan}");
    assert!(!dir.join("datasets").exists(), "a plan writes nothing");
    let card: Value =
        serde_json::from_str(&good(dir, &["data", "small.toml", "--json", "--workers", "2"]))
            .unwrap();
    let web = &card["domains"][0];
    // A tenth of each file is in the next one too.
    assert_eq!(
        (web["documents"].as_u64(), web["copies"]["copy"].as_u64().map(|n| n > 100)),
        (Some(2400), Some(true))
    );
    assert!(web["held_out_documents"].as_u64().unwrap() > 50, "{web}");
    let again = isoflop(dir, &["data", "small.toml"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing is left to do"));
    let check = good(dir, &["check", "datasets/small"]);
    assert!(check.contains("0 damaged") || check.contains("verified"), "{check}");
    fs::write(dir.join("sweep.toml"), SWEEP).unwrap();
    let plan = good(dir, &["plan", "sweep.toml", "--no-probe"]);
    assert!(plan.contains("web") && plan.contains("epochs"), "{plan}");
    // Its raw held-out set is another measurement, so other cells.
    let ids = |sweep: &str| good(dir, &["plan", sweep, "--no-probe", "--json"]);
    fs::write(
        dir.join("raw.toml"),
        "extends = \"sweep.toml\"\nname = \"raw\"\ndata.held_out = \"raw\"\n",
    )
    .unwrap();
    let cells = |sweep: &str| {
        let plan: Value = serde_json::from_str(&ids(sweep)).unwrap();
        plan["cells"].to_string()
    };
    assert_ne!(cells("sweep.toml"), cells("raw.toml"));
    // Another recipe does not replace it.
    fs::write(dir.join("small.toml"), RECIPE.replace("0.05", "0.1")).unwrap();
    let other = isoflop(dir, &["data", "small.toml"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("another recipe"));
}

const SWEEP: &str = r#"
name = "on-small"
data.source = { dataset = "datasets/small" }
model.context = 32
grid.product = { params = [5e3, 1e4], tokens = ["20k", "40k"] }
optim = { learning_rate = 0.01, batch_tokens = 512 }
schedule.cosine = { warmup = 0.1, end = 0.02 }
eval.tokens = 2048
"#;

#[test]
fn kills_at_any_moment_and_any_number_of_workers_leave_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    corpus(dir, 800);
    good(dir, &["data", "small.toml", "--out", "whole", "--workers", "1"]);
    let want = files(&dir.join("whole"));
    assert!(want.len() > 10);
    good(dir, &["data", "small.toml", "--out", "many", "--workers", "4"]);
    assert_eq!(files(&dir.join("many")), want);
    let mut kills = 0;
    for n in 0..40_u64 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isoflop"));
        command.current_dir(dir).args(["data", "small.toml", "--out", "cut", "--workers", "2"]);
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + 67 * n % 400));
        let group = format!("-{}", child.id());
        let ended = child.try_wait().unwrap();
        // The workers too.
        Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status().unwrap();
        child.wait().unwrap();
        if ended.is_some_and(|status| status.success()) {
            break;
        }
        kills += 1;
    }
    assert!(kills > 3, "{kills} kills");
    good(dir, &["data", "small.toml", "--out", "cut"]);
    assert_eq!(files(&dir.join("cut")), want);
}

#[test]
fn what_cannot_be_made_says_what_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    corpus(dir, 50);
    let refused = |recipe: &str, want: &str| {
        fs::write(dir.join("bad.toml"), recipe).unwrap();
        let out = format!("out-{}", want.len());
        let output = isoflop(dir, &["data", "bad.toml", "--out", &out]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(want) && said.contains("hint"), "{said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
    };
    refused(&RECIPE.replace("raw/book.txt", "raw/none.txt"), "none.txt");
    refused(&RECIPE.replace("held_out = 0.05", "held_out = 2"), "held_out");
    refused(
        &RECIPE.replace("words = [20, 1000]", "words = [900, 1000]").replace(
            "[domain.books]\nread = { text = [\"raw/book.txt\"] }\nparagraphs = 300\n",
            "",
        ),
        "no document is left",
    );
    fs::write(dir.join("raw/0.jsonl"), "{\"text\": \"torn\n".repeat(200)).unwrap();
    refused(RECIPE, "0.jsonl");
    let look = isoflop(dir, &["data", "small.toml", "--look", "none"]);
    assert!(String::from_utf8_lossy(&look.stderr).contains("no domain `none`"));
}
