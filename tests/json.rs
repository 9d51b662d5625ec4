//! docs/JSON.md names every field that `--json` prints, and no other: each command is run and both are compared.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use common::{ONE, Place, grid, said, sorted};
use serde_json::Value;

/// A field as docs/JSON.md has it.
#[derive(Debug)]
struct Field {
    /// `number`, `text` ...; several where it may be one or the other.
    kinds: Vec<String>,
    /// May be null.
    null: bool,
    /// May be missing from an object that has its neighbours.
    absent: bool,
    /// Comes up only where the runs of this test do not lead.
    rare: bool,
}

type Section = BTreeMap<String, Field>;

/// The tables of the page, by the name in their heading: `` ## `fit` ``.
fn documented() -> BTreeMap<String, Section> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/JSON.md");
    let page = fs::read_to_string(page).unwrap();
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut name = String::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## `") {
            heading.split('`').next().unwrap().clone_into(&mut name);
        }
        if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [path, kinds, _, may] = cells[..4] else { panic!("a row of four cells: {line}") };
            let field = Field {
                kinds: kinds.split(" or ").map(str::to_owned).collect(),
                null: may.contains("null"),
                absent: may.contains("absent"),
                rare: may.contains("rare"),
            };
            let path = path.trim_end_matches('`').to_owned();
            let before = sections.entry(name.clone()).or_default().insert(path, field);
            assert!(before.is_none(), "twice: {line}");
        }
    }
    sections
}

/// What was found in the outputs of one section.
struct Reader<'a> {
    sections: &'a BTreeMap<String, Section>,
    /// (section, path) of every field that had a value.
    seen: BTreeSet<(String, String)>,
    wrong: BTreeSet<String>,
}

impl Reader<'_> {
    fn read(&mut self, name: &str, path: &str, value: &Value) {
        let Some(field) = self.sections[name].get(path) else {
            if !path.is_empty() {
                self.wrong.insert(format!("{name}: `{path}` is not documented: {}", kind(value)));
            }
            return self.inside(name, path, value);
        };
        if value.is_null() {
            if !field.null {
                self.wrong.insert(format!("{name}: `{path}` is null"));
            }
            return;
        }
        self.seen.insert((name.to_owned(), path.to_owned()));
        let fits = |of: &&String| match of.as_str() {
            "number" | "integer" => value.is_number(),
            "text" => value.is_string(),
            "bool" => value.is_boolean(),
            "list" => value.is_array(),
            "estimate" => is_estimate(value),
            _ => value.is_object(),
        };
        match field.kinds.iter().find(fits).map(String::as_str) {
            None => {
                let told = field.kinds.join(" or ");
                self.wrong.insert(format!("{name}: `{path}` is {}, not {told}", kind(value)));
            }
            Some("list" | "object") => self.inside(name, path, value),
            Some(other) if self.sections.contains_key(other) => self.inside(other, "", value),
            Some(_) => {}
        }
    }

    /// What a list or an object holds.
    fn inside(&mut self, name: &str, path: &str, value: &Value) {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.read(name, &format!("{path}[]"), item);
                }
            }
            Value::Object(fields) if !is_estimate(value) => {
                let section = &self.sections[name];
                let child = |key: &str| {
                    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
                };
                for (known, field) in section {
                    let inner = known.strip_prefix(path).map(|k| k.trim_start_matches('.'));
                    let own = inner.filter(|k| *known == child(k) && !k.contains(['.', '[']));
                    if let Some(key) = own.filter(|k| *k != "*" && !field.absent)
                        && !fields.contains_key(key)
                    {
                        self.wrong.insert(format!("{name}: `{known}` is missing"));
                    }
                }
                for (key, value) in fields {
                    let (own, any) = (child(key), child("*"));
                    let known = section.contains_key(&own) || !section.contains_key(&any);
                    self.read(name, if known { &own } else { &any }, value);
                }
            }
            _ => {}
        }
    }
}

fn is_estimate(value: &Value) -> bool {
    let Value::Object(fields) = value else { return false };
    fields.keys().map(String::as_str).eq(["hi", "lo", "value"])
        || fields.len() == 3 && ["hi", "lo", "value"].iter().all(|key| fields.contains_key(*key))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) if is_estimate(value) => "estimate",
        Value::Object(_) => "object",
    }
}

/// Six budgets of seven sizes, two seeds at some, two losses, some tokens seen twice, a broken row.
fn table() -> String {
    let mut csv = String::from("N,D,unique_tokens,budget,bpb_a,bpb_b\n");
    for (i, flops) in [1e17, 3e17, 1e18, 3e18, 1e19, 3e19_f64].into_iter().enumerate() {
        for j in 0..7 {
            let n = 0.14 * flops.sqrt() * 1.6_f64.powf(f64::from(j) - 3.0);
            let d = flops / 6.0 / n;
            let loss = 0.56 + 136.0 / n.powf(0.34) + 138.0 / d.powf(0.28);
            let copies = if j == 3 { 2 } else { 1 };
            for seed in 0..copies {
                let off = 1.0
                    + 0.003 * (5.0 * i as f64 + 3.0 * f64::from(j) + 2.0 * f64::from(seed)).sin();
                let unique = d / [1.0, 2.0, 4.0][(i + j as usize) % 3];
                csv += &format!("{n},{d},{unique},{flops},{},{}\n", loss * off, 1.1 * loss / off);
            }
        }
    }
    csv + "1e9,1e10,1e10,6e19,,\n"
}

/// The outputs of every command, by the section that describes them.
fn outputs() -> Vec<(&'static str, Value)> {
    let fit = "[fit]\nbootstrap = 40\nholdout = 1\n";
    let sweep = grid("one", "[2e3, 5e3, 1.2e4]", "[5e4, 1e5, 2e5]") + fit;
    let place = Place::new(&sweep);
    let mut all = Vec::new();
    let mut call = |section: &'static str, args: &[&str]| {
        let (_, out, told) = said(&place.command(&[args, &["--json"]].concat()).output().unwrap());
        let value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {told}"));
        all.push((section, value));
    };
    fs::write(place.path("runs.csv"), table()).unwrap();
    let trunk = "[schedule.trunk]\nwarmup = 1.0\ndecay = 0.25\nend = 0.0";
    let cosine = "[schedule.cosine]\nwarmup = 0.1\nend = 0.02";
    fs::write(place.path("trunk.toml"), sweep.replace(cosine, trunk)).unwrap();
    let tuning = "[tune]\ncells = [{ params = 2e4, tokens = 6e4 }, { params = 5e3, tokens = 6e4 }]\n\
                  learning_rate = { values = [0.005, 0.01, 0.02, 0.04] }\nweight_decay = { values = [0.0, 0.1] }\n";
    let tuned = ONE.replace("name = \"one\"", "name = \"tuned\"");
    fs::write(place.path("tune.toml"), format!("{tuned}{tuning}")).unwrap();

    call("plan", &["plan", "sweep.toml", "--usd-per-hour", "2", "--fit-in", "1s"]);
    let lines = |n: u32| {
        (0..40).map(|i| format!("line {} of {n}\n", i * n % 977)).collect::<Vec<_>>().concat()
    };
    fs::create_dir(place.path("texts")).unwrap();
    for n in 0..600 {
        fs::write(place.path(&format!("texts/{n}.txt")), lines(n)).unwrap();
    }
    let files =
        "extends = \"sweep.toml\"\nname = \"files\"\ndata.source = { files = [\"texts\"] }\n";
    fs::write(place.path("files.toml"), files).unwrap();
    call("plan", &["plan", "files.toml", "--no-probe"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [prose, quickstart, results] =
        ["sweeps/prose.toml", "sweeps/quickstart.toml", "results/prose"].map(|p| root.join(p));
    for sweep in [Path::new("trunk.toml"), &prose, &quickstart] {
        call("plan", &["plan", sweep.to_str().unwrap(), "--no-probe"]);
    }
    call("fit", &["fit", results.to_str().unwrap(), "--bootstrap", "0", "--out", "prose"]);
    let (code, _, told) = said(&place.run().output().unwrap());
    assert_eq!(code, Some(0), "{told}");
    call("status", &["status", "sweep.toml"]);
    common::walk_task(&place);
    call("eval", &["eval", "sweep.toml", "--tasks", "walk.toml"]);
    call("target", &["fit", "results/one", "--target", "walk", "--bootstrap", "40"]);
    call("compare", &["compare", "results/one", "results/one"]);
    call("check", &["check", "sweep.toml"]);
    let words =
        ONE.replace("graph-walk = { nodes = 16, degree = 4, skew = 0.0 }", "files = [\"texts\"]");
    let words = words.replace("\"one\"", "\"words\"").replace("4e5", "2e4");
    fs::write(place.path("words.toml"), words).unwrap();
    let ran = place.command(&["run", "words.toml"]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    call("sample", &["sample", "words.toml", "--tokens", "9"]);
    call("fit", &["fit", "results/one", "--out", "own"]);
    call("lock", &["predict", "analysis/one/fit.json", "--flops", "3e10", "--lock"]);
    let forecasts = sorted(&place.path("analysis/one/forecasts"));
    let file = forecasts[0].to_str().unwrap();
    call("score", &["score", file]);
    let ran = place.command(&["run", "sweep.toml", "--forecast", file]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    call("score", &["score", file]);
    call("tune", &["tune", "tune.toml", "--workers", "1"]);

    let quick = ["--bootstrap", "40"];
    let pins = |e: f64| format!("E={e},alpha=0.34,beta=0.28");
    let map = ["--map", "loss=bpb_a"];
    let pin = pins(0.56);
    let pinned = [&map[..], &["--pin", &pin]].concat();
    call("fit", &[&["fit", "runs.csv", "--out", "out"], &map[..], &quick[..]].concat());
    call("fit", &[&["fit", "runs.csv", "--out", "pinned"], &pinned[..], &quick[..]].concat());
    let both = ["fit", "runs.csv", "--map", "loss=bpb_a,loss=bpb_b"];
    call("losses", &[&both[..], &quick[..]].concat());
    // Above every loss of the first column, and below those of the second.
    let table = table();
    let first = table.lines().skip(1).filter_map(|line| line.split(',').nth(4)?.parse().ok());
    let between = pins(1.05 * first.fold(f64::INFINITY, f64::min));
    call("losses", &[&both[..], &["--pin", &between, "--bootstrap", "0"]].concat());
    let gpu = ["--gpu", "h100-sxm", "--usd-per-hour", "2"];
    let questions: [(&str, &[&str]); 10] = [
        ("optimum", &["--flops", "1e20"]),
        ("optimum", &["--flops", "1e20,1e21"]),
        ("inverse", &["--params", "1e9"]),
        ("inverse", &["--tokens", "1e10"]),
        ("inverse", &["--loss", "0.8"]),
        ("chosen", &["--params", "1e9", "--tokens", "1e10"]),
        ("chosen", &["--params", "1e9", "--tokens", "1e10", "--tokens-available", "2e9"]),
        ("serving", &["--flops", "1e20", "--inference-tokens", "1e12"]),
        ("serving", &["--loss", "0.8", "--inference-tokens", "1e12"]),
        ("limited", &["--flops", "1e20", "--tokens-available", "1e9"]),
    ];
    for (section, question) in questions {
        call(section, &[&["predict", "out/fit.json"], question, &gpu[..]].concat());
        call(section, &[&["predict", "pinned/fit.json"], question].concat());
    }
    call("gpus", &["predict", "--gpus"]);
    let backtest = ["backtest", "runs.csv", "--bootstrap", "20"];
    call("backtest", &[&backtest[..], &map[..]].concat());
    call("backtest", &[&backtest[..], &pinned[..]].concat());
    call("selftest", &["selftest", "--studies", "3", "--bootstrap", "20"]);
    call("device", &["device"]);
    call("device-check", &["device", "check", "--only", "twice"]);
    call("device-bench", &["device", "bench", "30k:64", "--steps", "2", "--peak-tflops", "0.1"]);

    let damaged = place.attempts("one").concat()[0].join("steps.f32");
    fs::write(damaged, b"x").unwrap();
    call("check", &["check", "sweep.toml"]);
    call("check", &["check", "sweep.toml", "--repair"]);
    call("status", &["status", "sweep.toml"]);
    all
}

#[test]
fn every_field_of_every_command_is_documented_and_there() {
    let sections = documented();
    let mut reader = Reader { sections: &sections, seen: BTreeSet::new(), wrong: BTreeSet::new() };
    let outputs = outputs();
    if let Ok(folder) = std::env::var("ISOFLOP_JSON") {
        for (i, (section, value)) in outputs.iter().enumerate() {
            fs::write(format!("{folder}/{section}.{i}.json"), value.to_string()).unwrap();
        }
    }
    for (section, value) in &outputs {
        assert!(sections.contains_key(*section), "no table `{section}` in docs/JSON.md");
        // Several answers at once are a list of what each alone would be.
        let several = value.as_array().filter(|_| !sections[*section].contains_key("[]"));
        for answer in several.map_or(std::slice::from_ref(value), Vec::as_slice) {
            reader.read(section, "", answer);
        }
    }
    for (name, section) in &sections {
        for (path, field) in section {
            let seen = reader.seen.contains(&(name.clone(), path.clone()));
            if !seen && !field.rare {
                reader.wrong.insert(format!("{name}: `{path}` is documented and was not seen"));
            }
        }
    }
    let wrong: Vec<String> = reader.wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
