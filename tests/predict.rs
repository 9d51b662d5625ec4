//! `isoflop predict` as a person uses it: every question, and every refusal.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::LazyLock;

use assert_cmd::Command;
use serde_json::Value;

/// The surface of Hoffmann et al. 2022 as printed, with 0.1% of regular scatter: fitted once.
static FITTED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let mut csv = String::from("N,D,loss\n");
    for (i, n) in [1e8, 3e8, 1e9, 3e9, 1e10_f64].into_iter().enumerate() {
        for (j, d) in [2e9, 8e9, 3.2e10, 1.28e11_f64].into_iter().enumerate() {
            let scatter = 1.0 + 0.001 * (3.0 * i as f64 + 7.0 * j as f64).sin();
            let loss = (1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28)) * scatter;
            csv += &format!("{n},{d},{loss}\n");
        }
    }
    fs::write(dir.path().join("runs.csv"), csv).unwrap();
    let fit = isoflop(dir.path(), &["fit", "runs.csv", "--out", ".", "--bootstrap", "60"]);
    assert!(fit.status.success(), "{}", String::from_utf8_lossy(&fit.stderr));
    dir
});

fn isoflop(dir: &Path, args: &[&str]) -> Output {
    // Sentences are looked for, and a terminal of 80 columns breaks them.
    let mut command = Command::cargo_bin("isoflop").unwrap();
    command.env("COLUMNS", "1000").current_dir(dir).args(args).output().unwrap()
}

fn predict(args: &[&str]) -> Output {
    let args: Vec<&str> = ["predict", "fit.json"].iter().chain(args).copied().collect();
    isoflop(FITTED.path(), &args)
}

/// What a question that can be answered prints, and its JSON.
fn ask(args: &[&str]) -> (String, Value) {
    let output = predict(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let json = predict(&[args, &["--json"]].concat());
    (String::from_utf8(output.stdout).unwrap(), serde_json::from_slice(&json.stdout).unwrap())
}

fn number(json: &Value, path: &str) -> f64 {
    json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {json}"))
}

fn near(json: &Value, path: &str, want: f64, tolerance: f64) {
    let got = number(json, path);
    assert!((got / want - 1.0).abs() < tolerance, "{path} is {got}, want {want}");
}

/// Every interval holds its value or, without draws, is its value.
fn intervals(json: &Value) -> usize {
    let Value::Object(fields) = json else { return 0 };
    let estimates = fields.values().filter(|v| v.get("lo").is_some());
    estimates
        .inspect(|e| assert!(number(e, "/lo") <= number(e, "/hi"), "{e}"))
        .filter(|e| number(e, "/lo") < number(e, "/hi"))
        .count()
}

#[test]
fn a_budget_gives_the_optimal_run_and_what_a_wrong_size_wastes() {
    let (text, p) = ask(&["--flops", "1e22"]);
    assert!(text.contains("half N*") && text.contains("of C in the median"), "{text}");
    assert!(intervals(&p) >= 6, "{p}");
    assert!(number(&p, "/deadweight/median") < number(&p, "/deadweight/upper"));
    assert!(number(&p, "/deadweight_half/value") > 0.01);
    let (_, all) = ask(&["--flops", "1e21,1e22"]);
    assert_eq!(all[1], p);
}

#[test]
fn a_size_tokens_or_a_loss_gives_the_compute_back() {
    let (_, p) = ask(&["--flops", "1e22"]);
    let paths = ["/params/value", "/tokens/value", "/loss/value"];
    let [n, d, l] = paths.map(|path| number(&p, path));
    let asked = [
        ("--params", n, "is optimal at"),
        ("--tokens", d, "is optimal"),
        ("--loss", l, "is cheapest"),
    ];
    for (flag, value, phrase) in asked {
        let (text, back) = ask(&[flag, &value.to_string()]);
        assert!(text.contains(phrase) && intervals(&back) >= 3, "{text}");
        near(&back, "/flops/value", 1e22, 1e-6);
        near(&back, &format!("/fixed/{}", &flag[2..]), value, 1e-12);
    }
    // C = 6ND, by hand.
    let (text, run) = ask(&["--params", "1B", "--tokens", "1T"]);
    near(&run, "/flops", 6e21, 1e-12);
    assert!(text.contains("wasted") && number(&run, "/deadweight/value") > 0.1, "{text}");
    for args in [["--params", "1B"], ["--tokens", "1T"]] {
        let (_, same) = ask(&[&["--flops", "6e21"], &args[..]].concat());
        near(&same, "/deadweight/value", number(&run, "/deadweight/value"), 1e-9);
    }
}

#[test]
fn a_demand_gives_a_smaller_model_and_a_corpus_fewer_parameters() {
    let (_, p) = ask(&["--flops", "1e22"]);
    let (text, s) = ask(&["--flops", "1e22", "--inference-tokens", "1e13"]);
    assert!(text.contains("saving") && text.contains("at 2N a token"), "{text}");
    let n = number(&s, "/params/value");
    assert!(n < number(&p, "/params/value") && number(&s, "/saving/value") > 0.0);
    near(&s, "/inference_flops/value", 2.0 * n * 1e13, 1e-12);
    near(&s, "/loss/value", number(&p, "/loss/value"), 1e-6);
    let dear = ["--flops", "1e22", "--inference-tokens", "1e13", "--inference-cost-ratio", "3"];
    assert!(number(&ask(&dear).1, "/params/value") < n);

    let (text, l) = ask(&["--flops", "1e23", "--tokens-available", "50B"]);
    assert!(text.contains("epochs") && text.contains("Muennighoff et al. 2023 for C4"), "{text}");
    near(&l, "/epochs/value", number(&l, "/tokens/value") / 50e9, 1e-12);
    assert!(l["warnings"].to_string().contains("borrowed-repetition"), "{l}");
    let given = ["--flops", "1e23", "--tokens-available", "50B", "--repeat-decay", "30,10"];
    let (text, g) = ask(&given);
    assert!(text.contains("R_D* = 30, R_N* = 10 (as given"), "{text}");
    assert!(number(&g, "/price/value") < number(&l, "/price/value"), "worth more, so cheaper");
}

#[test]
fn hours_and_money_are_budgets_and_every_answer_has_its_time() {
    // 100 hours x 8 x 989.4e12 x 50% x 3600 s, by hand.
    let flops = 100.0 * 8.0 * 989.4e12 * 0.5 * 3600.0;
    let device = ["--gpu", "h100-sxm", "--count", "8", "--mfu", "0.5", "--usd-per-hour", "2"];
    let (text, p) = ask(&[&["--hours", "100"], &device[..]].concat());
    assert!(text.contains("8 h100-sxm for 100 hours, 1.60k USD, at 50% of 989 TFLOP/s"), "{text}");
    near(&p, "/flops", flops, 1e-12);
    near(&p, "/cost/usd", 1600.0, 1e-12);
    let (_, q) = ask(&[&["--usd", "1600"], &device[..]].concat());
    near(&q, "/flops", flops, 1e-12);
    let custom = ["--gpu", "custom", "--peak-tflops", "100"];
    for question in [
        &["--params", "1B"][..],
        &["--params", "1B", "--tokens", "20B"],
        &["--flops", "1e21", "--inference-tokens", "1T"],
        &["--flops", "1e21", "--tokens-available", "1B"],
    ] {
        let (text, p) = ask(&[question, &custom].concat());
        assert!(text.contains("Training takes") && number(&p, "/cost/hours") > 0.0, "{text}");
    }
    let list = isoflop(FITTED.path(), &["predict", "--gpus"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("tpu-v5p") && list.contains("40% unless --mfu"), "{list}");
}

#[test]
fn questions_that_contradict_themselves_name_the_flag_and_the_next_step() {
    let questions: [&[&str]; 14] = [
        &[],
        &["--flops", "0"],
        &["--flops", "1e21", "--hours", "3", "--gpu", "h200"],
        &["--flops", "1e21", "--params", "1B", "--tokens", "20B"],
        &["--flops", "1e21", "--loss", "2.5"],
        &["--loss", "1.2"],
        &["--inference-tokens", "1T"],
        &["--tokens-available", "1B"],
        &["--flops", "1e21", "--tokens-available", "1B", "--repeat-decay", "15"],
        &["--hours", "10"],
        &["--usd", "10", "--gpu", "h200"],
        &["--flops", "1e21", "--gpu", "h1000"],
        &["--flops", "1e21", "--gpu", "custom"],
        &["--flops", "1e21", "--gpu", "h200", "--mfu", "40"],
    ];
    let mut all = String::new();
    for question in questions {
        let output = predict(question);
        assert_eq!(output.status.code(), Some(2), "{question:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        // E of the fit is not the same on every machine to the last digit shown.
        let error = error.split(" has E = ").next().unwrap().trim_end().to_owned();
        all += &format!("## {}\n{error}\n\n", question.join(" "));
    }
    insta::assert_snapshot!("questions", all);
}
