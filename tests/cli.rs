//! The command as a person uses it: what it prints, writes and returns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

/// A study of nine cells in two seconds.
const TINY: &str = r#"
name = "tiny"
[data]
source = { graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }
[model]
context = 16
width_multiple = 4
[grid.product]
params = [1e3, 3e3, 6e3]
tokens = [1e4, 3e4, 9e4]
[optim]
learning_rate = 0.02
batch_tokens = 256
[schedule.cosine]
warmup = 0.1
end = 0.02
[eval]
tokens = 4096
times = 2
[fit]
bootstrap = 50
"#;

/// A directory of its own, with a sweep file in it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(sweep: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sweep.toml"), sweep).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn isoflop(&self, args: &[&str]) -> Output {
        Command::cargo_bin("isoflop")
            .unwrap()
            .current_dir(self.dir.path())
            // Sentences are looked for, and a terminal of 80 columns breaks them.
            .env("COLUMNS", "1000")
            .args(args)
            .output()
            .unwrap()
    }

    /// Output of a command that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.isoflop(args);
        assert!(output.status.success(), "{args:?}: {}", err(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Every attempt's directory, by path.
    fn attempts(&self) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for cell in fs::read_dir(self.path("results/tiny/cells")).unwrap() {
            let entries = fs::read_dir(cell.unwrap().path()).unwrap();
            out.extend(entries.map(|e| e.unwrap().path()).filter(|p| p.is_dir()));
        }
        out.sort();
        out
    }

    fn losses(&self) -> Vec<Vec<u8>> {
        self.attempts().iter().map(|a| fs::read(a.join("steps.f32")).unwrap()).collect()
    }
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_sweep_ends_in_a_table_a_fit_figures_and_a_page_that_needs_nothing_else() {
    let bench = Bench::new(TINY);
    let out = bench.ok(&["run", "sweep.toml"]);
    for part in ["bits/byte", "lse-huber", "varpro", "report.html", "exact entropy"] {
        assert!(out.contains(part), "{part} is missing in:\n{out}");
    }
    let page = fs::read_to_string(bench.path("analysis/tiny/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("graph-walk"));
    for foreign in ["src=\"http", "href=\"http", "<script", "url(http"] {
        assert!(!page.contains(foreign), "the page asks for {foreign}");
    }
    let figures: Vec<_> = fs::read_dir(bench.path("analysis/tiny/figures")).unwrap().collect();
    assert!(figures.len() >= 4 && figures.len() % 2 == 0, "SVG and PNG of each: {}", figures.len());
    let fit: Value =
        serde_json::from_slice(&fs::read(bench.path("analysis/tiny/fit.json")).unwrap()).unwrap();
    assert_eq!(fit["points"].as_array().unwrap().len(), 9);
    assert!((fit["entropy"].as_f64().unwrap() - 4_f64.ln()).abs() < 1e-12);
    let ledger = fs::read_to_string(bench.path("results/tiny/ledger.csv")).unwrap();
    assert_eq!(ledger.lines().count(), 10);
}

#[test]
fn the_same_command_again_trains_nothing_and_says_the_same() {
    let bench = Bench::new(TINY);
    bench.ok(&["run", "sweep.toml"]);
    let files = ["results/tiny/ledger.csv", "analysis/tiny/fit.json", "analysis/tiny/report.html"];
    let read = || files.map(|f| fs::read(bench.path(f)).unwrap());
    let (before, attempts) = (read(), bench.attempts());
    let output = bench.isoflop(&["run", "sweep.toml"]);
    assert!(err(&output).contains("9 completed, 0 to go"), "{}", err(&output));
    assert_eq!(bench.attempts(), attempts);
    assert!(read() == before, "derived files are a function of the record");
}

#[test]
fn any_number_of_workers_gives_the_same_bits() {
    let runs = ["1", "2", "3"].map(|workers| {
        let bench = Bench::new(TINY);
        bench.ok(&["run", "sweep.toml", "--workers", workers]);
        bench.losses()
    });
    assert_eq!(runs[0].len(), 9);
    assert!(runs[0].iter().all(|steps| steps.len() >= 8 * 39), "losses were recorded");
    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[0], runs[2]);
}

#[test]
fn a_cut_cell_is_trained_again_and_only_that_one() {
    let bench = Bench::new(TINY);
    bench.ok(&["run", "sweep.toml"]);
    let before = bench.losses();
    let cut = &bench.attempts()[2];
    let log = cut.join("run.log");
    let text = fs::read_to_string(&log).unwrap();
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    assert!(text[last..].contains("completed"));
    // As if the power had gone while the last line was written.
    fs::write(&log, &text[..last + 20]).unwrap();
    let output = bench.isoflop(&["run", "sweep.toml"]);
    assert!(err(&output).contains("8 completed, 1 to go"), "{}", err(&output));
    assert!(err(&output).contains("last line torn"), "{}", err(&output));
    assert_eq!(bench.attempts().len(), 10);
    let again = fs::read(cut.with_file_name("attempt-0002").join("steps.f32")).unwrap();
    assert_eq!(again, before[2], "the same cell gives the same bits");
}

#[test]
fn a_damaged_record_is_named_and_nothing_else_is_lost() {
    let bench = Bench::new(TINY);
    bench.ok(&["run", "sweep.toml"]);
    let log = bench.attempts()[0].join("run.log");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("\"loss\":", "\"loss\": ", 1)).unwrap();
    let output = bench.isoflop(&["run", "sweep.toml"]);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(out.contains("damaged record") && out.contains("run.log:"), "{out}");
    assert_eq!(bench.attempts().len(), 9, "a damaged cell is not retried unasked");
    bench.ok(&["run", "sweep.toml", "--retry", "failed,damaged"]);
    assert_eq!(bench.attempts().len(), 10);
}

#[test]
fn a_diverged_cell_is_excluded_by_name_and_the_others_go_on() {
    let grid = "[[grid.cells]]\nparams = 1e3\ntokens = 2e4\n\
                [[grid.cells]]\nparams = 3e3\ntokens = 4e4\nlearning_rate = 1e30\n\
                [[grid.cells]]\nparams = 6e3\ntokens = 2e4\n";
    let (start, end) = (TINY.find("[grid").unwrap(), TINY.find("[optim]").unwrap());
    let bench = Bench::new(&format!("{}{grid}{}", &TINY[..start], &TINY[end..]));
    let output = bench.isoflop(&["run", "sweep.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(out.contains("diverged: step"), "{out}");
    assert_eq!(out.matches("  diverged  ").count(), 1, "{out}");
    let fit: Value =
        serde_json::from_slice(&fs::read(bench.path("analysis/tiny/fit.json")).unwrap()).unwrap();
    let excluded = &fit["excluded"][0];
    assert!(excluded["reason"].as_str().unwrap().contains("not a number"), "{excluded}");
    assert!(excluded["what"].as_str().unwrap().starts_with("N 3"), "{excluded}");
    // It would do the same again, so it is not tried again.
    bench.isoflop(&["run", "sweep.toml", "--retry", "failed,damaged"]);
    assert_eq!(bench.attempts().len(), 3);
}

#[test]
fn bad_input_names_the_thing_the_place_and_the_next_step() {
    let edits = [
        ("wrong key", "batch_tokens = 256", "batch_token = 256"),
        ("negative budget", "params = [1e3, 3e3, 6e3]", "params = [1e3, -3e3]"),
        ("a name with a path", "name = \"tiny\"", "name = \"../tiny\""),
        ("no seeds", "name = \"tiny\"", "name = \"tiny\"\nseeds = 0"),
        ("a grid of 10^9 cells", "name = \"tiny\"", "name = \"tiny\"\nseeds = 200_000_000"),
        ("both token axes", "tokens = [1e4, 3e4, 9e4]", "tokens = [2e4]\ntokens_per_param = [20]"),
        ("not a number", "learning_rate = 0.02", "learning_rate = \"fast\""),
    ];
    let mut all = String::new();
    for (what, from, to) in edits {
        assert!(TINY.contains(from));
        let bench = Bench::new(&TINY.replace(from, to));
        let output = bench.isoflop(&["run", "sweep.toml"]);
        assert_eq!(output.status.code(), Some(2), "{what}");
        assert!(!bench.path("results").exists(), "{what}: nothing is written");
        all += &format!("## {what}\n{}\n", err(&output));
    }
    insta::assert_snapshot!("bad_sweeps", all);
}

#[test]
fn tables_that_cannot_be_read_say_why() {
    let bench = Bench::new(TINY);
    let tables = [
        ("cut.csv", "N,D,loss\n1e6,1e7,3.0\n1e6,2e"),
        ("columns.csv", "size,toks,value\n1,2,3\n"),
        ("empty.csv", ""),
        ("few.csv", "N,D,loss\n1e6,1e7,3.0\n"),
    ];
    let mut all = String::new();
    for (name, text) in tables {
        fs::write(bench.path(name), text).unwrap();
        let output = bench.isoflop(&["fit", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        all += &format!("## {name}\n{}\n", err(&output));
    }
    let output = bench.isoflop(&["fit", "missing.csv"]);
    assert_eq!(output.status.code(), Some(2));
    all += &format!("## missing.csv\n{}\n", err(&output));
    let output = bench.isoflop(&["predict", "few.csv", "--flops", "1e20"]);
    assert_eq!(output.status.code(), Some(2));
    all += &format!("## predict from a table\n{}\n", err(&output));
    insta::assert_snapshot!("bad_tables", all);
}

#[test]
fn a_directory_that_cannot_be_written_is_found_before_any_training() {
    let bench = Bench::new(TINY);
    fs::write(bench.path("taken"), "a file").unwrap();
    for flag in ["--results", "--analysis"] {
        let output = bench.isoflop(&["run", "sweep.toml", flag, "taken"]);
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
        assert!(err(&output).contains("taken"), "{}", err(&output));
        assert!(!err(&output).contains("Training"), "{}", err(&output));
    }
}

#[test]
fn without_a_gpu_cuda_is_refused_with_what_to_do() {
    let gpu = Path::new("/dev/nvidiactl").exists();
    if gpu {
        println!("skipped: this machine has a GPU");
        return;
    }
    let bench = Bench::new(TINY);
    let output = bench.isoflop(&["run", "sweep.toml", "--device", "cuda"]);
    assert_eq!(output.status.code(), Some(2));
    let message = err(&output);
    assert!(message.starts_with("error: device `cuda`: "), "{message}");
    assert!(message.lines().count() == 2 && message.contains("\nhint: "), "{message}");
    assert!(!bench.path("results").exists());
}

#[test]
fn every_shipped_sweep_can_be_planned() {
    let sweeps = Path::new(env!("CARGO_MANIFEST_DIR")).join("sweeps");
    let bench = Bench::new(TINY);
    let mut seen = 0;
    for file in fs::read_dir(sweeps).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("dataset = ") {
            // Its dataset is to be prepared first, and the refusal says how.
            let output = bench.isoflop(&["plan", path.to_str().unwrap(), "--no-probe", "--json"]);
            let name = text.split("datasets/").nth(1).unwrap().split('"').next().unwrap();
            let prepared = path.parent().unwrap().join("../datasets").join(name).is_dir();
            assert!(prepared || err(&output).contains("isoflop data RECIPE"), "{}", err(&output));
            continue;
        }
        let plan = bench.json(&["plan", path.to_str().unwrap(), "--no-probe", "--json"]);
        assert_eq!(plan["sweep"], path.file_stem().unwrap().to_str().unwrap());
        // A study, or a search for a recipe.
        let tunes = text.contains("\n[tune]");
        let cells = plan["cells"].as_array().unwrap().len();
        assert!(cells >= 9 || tunes && cells >= 4, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn plan_and_predict_speak_json_for_machines() {
    let bench = Bench::new(TINY);
    let plan = bench.json(&["plan", "sweep.toml", "--json"]);
    let cells = plan["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 9);
    for cell in cells {
        let n = cell["params"]["matmul"].as_f64().unwrap();
        let d = cell["tokens"].as_f64().unwrap();
        let per_token = &cell["flops_per_token"];
        let total: f64 =
            ["blocks", "attention", "head"].iter().map(|k| per_token[k].as_f64().unwrap()).sum();
        assert!((cell["flops"].as_f64().unwrap() / (total * d) - 1.0).abs() < 1e-12);
        assert!((cell["flops_6nd"].as_f64().unwrap() / (6.0 * n * d) - 1.0).abs() < 1e-12);
        assert!(cell["seconds"].as_f64().unwrap() > 0.0);
    }
    assert!(!bench.path("results").exists(), "a plan writes nothing");

    bench.ok(&["run", "sweep.toml"]);
    let fit = "analysis/tiny/fit.json";
    let one = bench.json(&["predict", fit, "--flops", "1e11", "--json"]);
    for field in ["params", "tokens", "tokens_per_param", "loss"] {
        let value = |part: &str| one[field][part].as_f64().unwrap();
        assert!(value("lo") <= value("value") && value("value") <= value("hi"), "{field}: {one}");
    }
    let two = bench.json(&["predict", fit, "--flops", "1e11,1e12", "--json"]);
    assert_eq!(two.as_array().unwrap().len(), 2);
    let status = bench.json(&["status", "sweep.toml", "--json"]);
    assert!(status.as_array().unwrap().iter().all(|c| c["state"] == "completed"));
}

#[test]
fn a_plan_is_priced_and_says_what_to_leave_out() {
    let bench = Bench::new(&format!("seeds = 2\n{TINY}"));
    for (option, bad) in [
        ("--fit-in", "2"),
        ("--fit-in", "soon"),
        ("--fit-in", "0m"),
        ("--fit-in", "30m1h"),
        ("--usd-per-hour", "-1"),
        ("--usd-per-hour", "cheap"),
    ] {
        let output = bench.isoflop(&["plan", "sweep.toml", &format!("{option}={bad}")]);
        assert_eq!(output.status.code(), Some(2), "{option} {bad}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(option) && said.contains("write "), "{said}");
    }
    let output = bench.isoflop(&["plan", "sweep.toml", "--fit-in=1h", "--no-probe"]);
    assert_eq!(output.status.code(), Some(2), "nothing to fit without times");

    let args = ["plan", "sweep.toml", "--json", "--usd-per-hour=3600", "--fit-in"];
    let plan = bench.json(&[&args[..], &["100h"]].concat());
    assert_eq!(plan["fit_in"]["drops"].as_array().unwrap().len(), 0);
    assert_eq!(plan["fit_in"]["fits"], true);
    let (usd, seconds) = (plan["usd"].as_f64().unwrap(), plan["seconds"].as_f64().unwrap());
    assert!((usd / seconds - 1.0).abs() < 1e-12, "a dollar a second: {plan}");
    assert_eq!(plan["seconds_left"], plan["seconds"], "nothing is trained yet");
    // A grid without budgets can lose its second seed and nothing else, and that only where the clock of this
    // machine sees a saving; `plan::fit_in` tests the choice on times that are given.
    let plan = bench.json(&[&args[..], &["0.0001s"]].concat());
    let drops = plan["fit_in"]["drops"].as_array().unwrap();
    assert!(drops.len() <= 1 && plan["fit_in"]["fits"] == Value::Bool(false), "{plan}");
    for drop in drops {
        assert_eq!(drop["cells"].as_array().unwrap().len(), 9);
        assert!(drop["params_wider"].as_f64().unwrap() > 0.2, "half the runs: {plan}");
    }
    assert!(!bench.path("results").exists(), "a plan writes nothing");
}

#[test]
fn a_table_of_anybody_is_fitted_and_bad_rows_are_named() {
    let bench = Bench::new(TINY);
    // The Chinchilla surface of Hoffmann et al. 2022 (table A3 as printed), without noise.
    let surface = |n: f64, d: f64| 1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28);
    let mut csv = String::from("N,D,loss\n");
    for n in [1e8, 3e8, 1e9, 3e9, 1e10] {
        for d in [1e9, 4e9, 1.6e10, 6.4e10] {
            csv += &format!("{n},{d},{}\n", surface(n, d));
        }
    }
    csv += "1e9,1e10,nan\n";
    fs::write(bench.path("runs.csv"), csv).unwrap();
    let fit = bench.json(&["fit", "runs.csv", "--json", "--bootstrap", "0"]);
    let varpro = fit["fits"].as_array().unwrap().iter().find(|f| f["method"] == "varpro").unwrap();
    for (name, want) in [("E", 1.69), ("A", 406.4), ("B", 410.7), ("alpha", 0.34), ("beta", 0.28)] {
        let got = varpro["params"][name].as_f64().unwrap();
        assert!((got / want - 1.0).abs() < 1e-6, "{name} is {got}, want {want}");
    }
    assert_eq!(fit["excluded"][0]["id"], "row 21");
    assert!(fit["excluded"][0]["reason"].as_str().unwrap().contains("nan"));
    assert!(bench.path("analysis/runs/report.html").exists());
}

/// The design of a fit.json and of the CSV it came from is the same; its size is read off the output.
#[test]
fn a_self_test_takes_the_shape_of_any_study() {
    let bench = Bench::new(TINY);
    let quick = ["selftest", "--studies", "3", "--bootstrap", "20"];
    let run = |more: &[&str]| bench.ok(&[&quick, more].concat());
    let out = run(&[]);
    for part in ["3 studies of 20 bootstrap draws", "Runs: 30 in 30 clusters", "isoflop corrected"]
    {
        assert!(out.contains(part), "{part} is missing in:\n{out}");
    }
    assert_eq!(out, run(&[]), "the same seed says the same");
    assert_ne!(out, run(&["--seed", "1"]));
    bench.ok(&["run", "sweep.toml"]);
    let of = |path: &str| -> Value { serde_json::from_str(&run(&[path, "--json"])).unwrap() };
    let json = of("analysis/tiny/fit.json");
    assert_eq!((json["runs"].as_u64(), json["studies"].as_u64()), (Some(9), Some(3)));
    let dir = of("results/tiny");
    assert_eq!(json["coverage"], dir["coverage"]);
    let noisy: Value =
        serde_json::from_str(&run(&["results/tiny", "--json", "--noise", "0.05"])).unwrap();
    assert_eq!(noisy["noise"].as_f64(), Some(0.05));
    assert_ne!(noisy["coverage"], dir["coverage"]);
    assert_eq!(of("sweep.toml")["coverage"], dir["coverage"]);
}
