//! Token shards of another tool, taken in place and trained on: mixtures, distinct tokens, damage.

mod common;

use std::fs;

use common::{Place, chance, said, sorted};

/// Two domains: ids below 64, a separator, 0, after every 50.
fn place() -> Place {
    let sweep = r#"
name = "one"
[data]
source = { dataset = "shards" }
mix = { web = 3, code = 1 }
unique_tokens = ["2k", "8k"]
[model]
context = 32
width_multiple = 4
[grid.product]
params = [2e4]
tokens = ["8k", "16k"]
[optim]
learning_rate = 0.02
batch_tokens = 512
[schedule.cosine]
warmup = 0.1
end = 0.02
[eval]
tokens = 1024
times = 2
"#;
    let place = Place::new(sweep);
    for (seed, domain, tokens) in [(0, "web", 60_000_u64), (1, "code", 6_000)] {
        let id = |i: u64| match i % 51 {
            50 => 0,
            _ => 1 + (63.0 * chance((seed << 32) + i).powi(2)) as u16,
        };
        let bytes: Vec<u8> = (0..tokens).flat_map(|i| id(i).to_le_bytes()).collect();
        fs::create_dir_all(place.path("shards").join(domain)).unwrap();
        fs::write(place.path("shards").join(domain).join("part.bin"), bytes).unwrap();
    }
    place
}

fn call(place: &Place, args: &[&str]) -> (Option<i32>, String, String) {
    said(&place.command(args).output().unwrap())
}

const TAKE: [&str; 8] =
    ["data", "--index", "shards", "--format", "nanogpt", "--separator", "0", "--held-out=0.1"];

#[test]
fn shards_of_another_tool_are_taken_in_place_and_trained_on() {
    let place = place();
    let (code, _, told) = call(&place, &["plan", "sweep.toml", "--no-probe"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("shards` is not whole: it has no manifest.json"), "{told}");
    let (code, out, told) = call(&place, &TAKE);
    assert_eq!(code, Some(0), "{told}");
    assert!(out.contains("web") && out.contains("64 ids, separator 0"), "{out}");
    assert_eq!(call(&place, &["check", "shards"]).0, Some(0));

    let (code, out, told) = call(&place, &["plan", "sweep.toml", "--no-probe"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(out.contains("768/1024 = 75.00%") && out.contains("256/1024 = 25.00%"), "{out}");
    // 16k tokens are 4k of code, of whose share of 2k distinct tokens, 500, 15 windows are whole.
    assert!(told.contains("`code` more than 4 times (up to 8.3 epochs)"), "{told}");
    let json = call(&place, &["plan", "sweep.toml", "--no-probe", "--json"]).1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["domains"][0]["name"], "code");
    assert_eq!(json["domains"][1]["weight"], 0.75);
    let recipe = &json["cells"][0]["cell"]["recipe"];
    assert_eq!(recipe["mix"], serde_json::json!({ "code": 256, "web": 768 }));
    assert_eq!(recipe["source"], serde_json::json!({ "dataset": "" }));

    let (code, _, told) = call(&place, &["run", "sweep.toml", "--train-only"]);
    assert_eq!(code, Some(0), "{told}");
    call(&place, &["report", "sweep.toml"]);
    let ledger = fs::read_to_string(place.path("results/one/ledger.csv")).unwrap();
    let mut lines = ledger.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|h| *h == name).unwrap();
    let of = ["tokens", "unique_tokens", "epochs"].map(column);
    let mut rows = Vec::new();
    for line in lines {
        let [tokens, unique, epochs] = of.map(|at| line[at].parse::<f64>().unwrap());
        assert!((epochs - tokens / unique).abs() < 1e-9, "{ledger}");
        rows.push((tokens as u64, unique as u64));
    }
    rows.sort_unstable();
    // 46 and 15 windows of 32 tokens, or 187 and 62.
    let few = (46 + 15) * 32;
    let many = (187 + 62) * 32;
    assert_eq!(rows, [(8192, few), (8192, many), (15_872, few), (15_872, many)]);
}

#[test]
fn damage_ends_a_run_with_3_before_it_is_trained_on_and_check_finds_it() {
    let place = place();
    assert_eq!(call(&place, &TAKE).0, Some(0));
    let shard = place.path("shards/web/part.bin");
    let right = fs::read(&shard).unwrap();
    let mut wrong = right.clone();
    wrong[66_000] ^= 1;
    fs::write(&shard, &wrong).unwrap();
    let (code, out, _) = call(&place, &["check", "shards"]);
    assert_eq!(code, Some(3));
    assert!(out.contains("part.bin") && out.contains("block 1 (from byte 65536)"), "{out}");
    let (code, _, told) = call(&place, &["run", "sweep.toml", "--train-only"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("part.bin` is damaged: block 1, bytes 65536 to 119999"), "{told}");
    // No cell is recorded as failed, and the same command goes on once it is mended.
    for attempt in place.attempts("one").concat() {
        let log = fs::read_to_string(attempt.join("run.log")).unwrap();
        assert!(!log.contains("\"completed\"") && !log.contains("\"failed\""), "{log}");
    }
    fs::write(&shard, &right).unwrap();
    let (code, _, told) = call(&place, &["run", "sweep.toml", "--train-only"]);
    assert_eq!(code, Some(0), "{told}");
}

/// The sweep file and the dataset beside it may lie anywhere, and cells do not know where.
#[test]
fn a_dataset_is_looked_for_beside_the_sweep_file() {
    let place = place();
    assert_eq!(call(&place, &TAKE).0, Some(0));
    let plan = |path: &str| {
        let (code, out, told) = call(&place, &["plan", path, "--no-probe", "--json"]);
        assert_eq!(code, Some(0), "{told}");
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        json["cells"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["cell"]["id"].clone())
            .collect::<Vec<_>>()
    };
    let here = plan("sweep.toml");
    fs::create_dir(place.path("far")).unwrap();
    fs::rename(place.path("shards"), place.path("far/shards")).unwrap();
    fs::copy(place.path("sweep.toml"), place.path("far/sweep.toml")).unwrap();
    assert_eq!(plan("far/sweep.toml"), here);
    assert_eq!(sorted(&place.path("far")).len(), 2);
}
