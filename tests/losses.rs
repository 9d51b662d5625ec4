//! What a loss is measured in, on every screen and in every file; and lines that fit the terminal.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Thirty runs, five budgets of six sizes, with the columns that `head` names and a law of these constants.
fn table(head: &str, [e, a, b]: [f64; 3]) -> String {
    let mut csv = format!("{head}\n");
    for (i, flops) in [1e18, 3e18, 1e19, 3e19, 1e20_f64].into_iter().enumerate() {
        for j in 0..6 {
            let n = 0.14 * flops.sqrt() * 1.7_f64.powf(f64::from(j) - 2.5);
            let d = flops / 6.0 / n;
            let scatter = 1.0 + 0.002 * (5.0 * i as f64 + 3.0 * f64::from(j)).sin();
            let loss = (e + a / n.powf(0.34) + b / d.powf(0.28)) * scatter;
            csv += &format!("{n},{d},{loss}\n");
        }
    }
    csv
}

/// The law of Hoffmann et al. 2022 in bits per byte, at 4.3 bytes a token.
fn bits() -> String {
    table("params,tokens,val_bpb", [1.69, 406.4, 410.7].map(|v| v / std::f64::consts::LN_2 / 4.3))
}

struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isoflop"));
        command.current_dir(self.0.path()).args(args).env_remove("COLUMNS");
        command
    }

    /// Both streams of a command that must succeed.
    #[track_caller]
    fn told(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(stdout), text(stderr));
        assert!(status.success(), "{args:?}: {err}");
        out + &err
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let output = self.command(&[args, &["--json"]].concat()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Every question of `predict`, as the flags that ask it.
const QUESTIONS: [&[&str]; 9] = [
    &["--flops", "1e21"],
    &["--flops", "1e21,1e22"],
    &["--params", "2e9"],
    &["--tokens", "5e10"],
    &["--params", "2e9", "--tokens", "1e11"],
    &["--flops", "1e21", "--params", "2e9"],
    &["--flops", "1e21", "--inference-tokens", "1e12"],
    &["--flops", "1e22", "--tokens-available", "2e10"],
    &["--hours", "720", "--gpu", "h100-sxm", "--count", "8", "--usd-per-hour", "2"],
];

/// Every text file below `dir`.
fn texts(dir: &Path) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(texts(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            out.push((path.display().to_string(), text));
        }
    }
    out
}

#[test]
fn a_table_in_bits_per_byte_is_bits_per_byte_everywhere() {
    let place = Place::new(&[("runs.csv", &bits())]);
    let quick = ["--bootstrap", "40"];
    let mut said = vec![place.told(&[&["fit", "runs.csv", "--out", "out"], &quick[..]].concat())];
    let fit = "out/fit.json";
    let loss = ["--loss", "0.75"];
    for question in QUESTIONS.into_iter().chain([&loss[..]]) {
        let args = [&["predict", fit], question].concat();
        let text = place.told(&args);
        assert!(text.contains("bits/byte"), "{question:?}: {text}");
        said.push(text);
        let answer = place.json(&args);
        let first = if answer.is_array() { &answer[0] } else { &answer };
        assert_eq!(first["loss_unit"], "bits/byte", "{question:?}");
        said.push(answer.to_string());
    }
    said.push(place.told(&["report", fit]));
    said.push(place.told(&["backtest", "runs.csv", "--bootstrap", "20"]));
    let backtest = place.json(&["backtest", "runs.csv", "--bootstrap", "20"]);
    assert_eq!(backtest["loss_unit"], "bits/byte");
    said.push(backtest.to_string());
    said.push(place.told(&["selftest", fit, "--studies", "2", "--bootstrap", "20"]));
    let refused = place.command(&["predict", fit, "--loss", "0.1"]).output().unwrap();
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && why.contains("bits/byte"), "{why}");
    said.push(why);
    for text in &said {
        assert!(!text.contains("nats"), "{text}");
    }
    let written = texts(&place.0.path().join("out"));
    let named = |name: &str| written.iter().find(|(path, _)| path.ends_with(name)).unwrap();
    for name in ["fit.json", "report.html", "loss-vs-compute.svg", "residuals.svg"] {
        assert!(named(name).1.contains("bits/byte"), "{name}");
    }
    for (path, text) in &written {
        assert!(!text.contains("nats"), "{path}");
    }
    let fit: Value = serde_json::from_str(&named("fit.json").1).unwrap();
    let value = |law: &str, name: &str| {
        let of = |list: &Value, key: &str, name: &str| {
            list.as_array().unwrap().iter().find(|v| v[key] == name).unwrap().clone()
        };
        of(&of(&fit["laws"], "law", law)["params"], "name", name)["unit"].clone()
    };
    assert_eq!(value("chinchilla", "A"), "bits/byte parameters^alpha");
    assert_eq!(value("coupled", "B"), "(bits/byte)^(1/gamma) tokens^beta");
}

#[test]
fn a_loss_that_no_run_had_is_said_by_its_code() {
    let place = Place::new(&[("runs.csv", &bits())]);
    place.told(&["fit", "runs.csv", "--out", "out", "--bootstrap", "40"]);
    let codes = |args: &[&str]| {
        let answer = place.json(&[&["predict", "out/fit.json"], args].concat());
        let warnings = answer["warnings"].as_array().unwrap();
        warnings.iter().map(|w| w["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let small = ["--params", "1e7", "--tokens", "1e8"];
    assert!(codes(&small).iter().any(|code| code == "loss-above-runs"));
    assert!(!codes(&["--flops", "1e21"]).iter().any(|code| code == "loss-above-runs"));
    let text = place.told(&[&["predict", "out/fit.json"], &small[..]].concat());
    assert!(text.contains("above every measured one"), "{text}");
}

/// Lines of a command's output that are wider than the terminal, but for single words.
fn too_wide(text: &str, width: usize) -> Vec<String> {
    let wide = |line: &&str| line.chars().count() > width && line.trim().contains(' ');
    text.lines().filter(wide).map(str::to_owned).collect()
}

#[test]
fn every_line_fits_in_eighty_columns() {
    let nats = table("N,D,\"loss, nats\"", [1.69, 406.4, 410.7]);
    let given =
        table("a_rather_long_name_of_parameters,tokens_trained,validation", [0.9, 30.0, 60.0]);
    let few = nats.lines().take(10).collect::<Vec<_>>().join("\n");
    let place = Place::new(&[
        ("bits.csv", &bits()),
        ("nats.csv", &nats),
        ("given.csv", &given),
        ("few.csv", &few),
    ]);
    let mapped =
        ["--map", "params=a_rather_long_name_of_parameters,tokens=tokens_trained,loss=validation"];
    let told = |args: &[&str], columns: Option<&str>| {
        let mut command = place.command(args);
        if let Some(columns) = columns {
            command.env("COLUMNS", columns);
        }
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    let mut tables: Vec<(String, Vec<&str>)> = vec![
        ("bits.csv".into(), vec![]),
        ("nats.csv".into(), vec![]),
        ("given.csv".into(), mapped.to_vec()),
        ("few.csv".into(), vec![]),
    ];
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/tables");
    if cases.is_dir() {
        for name in ["wide-law.csv", "swept-rate.csv", "run-states.csv", "crashed-rows.csv"] {
            tables
                .push((fs::canonicalize(cases.join(name)).unwrap().display().to_string(), vec![]));
        }
    } else {
        eprintln!("no ../shared/cases here: its tables are left out");
    }
    for (at, (file, map)) in tables.iter().enumerate() {
        let out = format!("out{at}");
        let fit =
            [&["fit", file.as_str(), "--out", &out, "--bootstrap", "20"], map.as_slice()].concat();
        let backtest = [&["backtest", file.as_str(), "--bootstrap", "20"], map.as_slice()].concat();
        let json = format!("{out}/fit.json");
        let mut texts = vec![told(&fit, None), told(&backtest, None)];
        for question in QUESTIONS {
            let args = [&["predict", json.as_str()], question].concat();
            texts.push(told(&args, None));
        }
        for text in &texts {
            assert_eq!(too_wide(text, 80), Vec::<String>::new(), "{file}");
        }
        if at > 0 {
            continue;
        }
        assert_eq!(told(&fit, Some("80")), texts[0]);
        // Room that there is is used: nothing is broken that fits.
        let wide = told(&fit, Some("1000"));
        let words = |text: &str| text.split_whitespace().count();
        assert!(wide.lines().any(|line| line.chars().count() > 100), "{wide}");
        assert!(
            words(&wide) <= words(&texts[0]) && wide.lines().count() < texts[0].lines().count()
        );
    }
}

#[test]
fn several_losses_have_a_law_each_and_none_overwrites_another() {
    let one = bits();
    let mut csv = String::from("N,D,c4/val,wiki\n");
    for line in one.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let loss: f64 = cells[2].parse().unwrap();
        // The second falls twice as far above a floor of 0.4.
        csv += &format!("{},{},{loss},{}\n", cells[0], cells[1], 2.0 * loss - 0.4);
    }
    let place = Place::new(&[("runs.csv", &csv)]);
    let both = ["--map", "loss=c4/val", "--map", "loss=wiki", "--bootstrap", "40"];
    let args = [&["fit", "runs.csv"], &both[..]].concat();
    let text = place.told(&args);
    for needle in ["2 losses of runs.csv", "c4/val", "wiki", "N*", "1.00e21"] {
        assert!(text.contains(needle), "{needle}: {text}");
    }
    assert_eq!(too_wide(&text, 80), Vec::<String>::new());
    let all = place.json(&args);
    let losses = all["losses"].as_array().unwrap();
    assert_eq!(losses.len(), 2);
    let read = |at: usize| -> Value {
        let dir = place.0.path().join(losses[at]["directory"].as_str().unwrap());
        assert!(dir.join("report.html").is_file() && dir.join("figures").is_dir());
        serde_json::from_slice(&fs::read(dir.join("fit.json")).unwrap()).unwrap()
    };
    let (first, second) = (read(0), read(1));
    assert_ne!(losses[0]["directory"], losses[1]["directory"]);
    assert_eq!((&losses[0]["fit"], &losses[1]["fit"]), (&first, &second));
    // An affine loss has the same frontier, and E moves with it.
    let of = |fit: &Value, path: &str| fit.pointer(path).unwrap().as_f64().unwrap();
    let lead = "/fits/1/params";
    let want = 2.0 * of(&first, &format!("{lead}/E")) - 0.4;
    assert!((of(&second, &format!("{lead}/E")) / want - 1.0).abs() < 1e-4, "varpro is affine");
    let alone = ["fit", "runs.csv", "--map", "loss=wiki", "--bootstrap", "40", "--out", "alone"];
    place.told(&alone);
    let alone: Value =
        serde_json::from_slice(&fs::read(place.0.path().join("alone/fit.json")).unwrap()).unwrap();
    assert_eq!(alone, second, "the law of a loss does not depend on the others");

    // Another table of this name goes elsewhere.
    fs::create_dir(place.0.path().join("other")).unwrap();
    fs::write(place.0.path().join("other/runs.csv"), &csv).unwrap();
    let other = place.json(&[&["fit", "other/runs.csv"], &both[..]].concat());
    assert_ne!(other["losses"][0]["directory"], losses[0]["directory"]);
    assert_eq!(read(0), first);

    let refused: [(&[&str], &str); 4] = [
        (&["fit", "runs.csv", "--map", "loss=wiki", "--map", "loss=wiki"], "twice"),
        (&["fit", "runs.csv", "--map", "loss=wiki,loss=none"], "none"),
        (
            &["backtest", "runs.csv", "--map", "loss=wiki,loss=c4/val"],
            "more than one column of losses",
        ),
        (&["fit", "alone/fit.json", "--map", "loss=wiki,loss=c4/val"], "has one loss"),
    ];
    for (args, why) in refused {
        let output = place.command(args).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && told.contains(why), "{args:?}: {told}");
    }
}
