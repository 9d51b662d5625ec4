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
    assert!(text.contains("R_D* = 30 epochs, R_N* = 10 (as given"), "{text}");
    assert!(number(&g, "/price/value") < number(&l, "/price/value"), "worth more, so cheaper");
}

/// By hand: 100B tokens of 25B are 4 epochs, worth 25B (1 + 15.387756 (1 - exp(-3/15.387756))) = 93.142B fresh ones,
/// and 100M parameters are fed by 25B.
#[test]
fn a_settled_run_on_fewer_distinct_tokens_has_its_price() {
    let run = ["--params", "100M", "--tokens", "100B"];
    let (_, fresh) = ask(&run);
    let (text, p) = ask(&[&run[..], &["--tokens-available", "25B"]].concat());
    assert!(text.contains("4.00 of 25.0B distinct tokens"), "{text}");
    assert!(
        text.contains("above the") && text.contains("Muennighoff et al. 2023 for C4"),
        "{text}"
    );
    let law = |d: f64| 1.69 + 406.4 / 1e8_f64.powf(0.34) + 410.7 / d.powf(0.28);
    near(&p, "/repeated/price/value", law(93.142e9) - law(100e9), 0.05);
    near(&p, "/repeated/fresh/value", number(&fresh, "/loss/value"), 1e-9);
    near(&p, "/repeated/epochs", 4.0, 1e-12);
    assert_eq!(p["loss"], p["repeated"]["loss"]);
    assert_eq!(p["repeated"]["repetition"]["source"], "published");
    assert!(number(&p, "/repeated/best/loss") < number(&p, "/loss/value"));
    // The same run named by its budget.
    let (_, same) = ask(&["--flops", "6e19", "--params", "100M", "--tokens-available", "25B"]);
    near(&same, "/loss/value", number(&p, "/loss/value"), 1e-9);
    // Enough tokens cost nothing.
    let (_, plenty) = ask(&[&run[..], &["--tokens-available", "1T"]].concat());
    assert_eq!((&plenty["loss"], number(&plenty, "/repeated/price/value")), (&fresh["loss"], 0.0));
}

/// Runs of Muennighoff's law with R_D* = 8 and R_N* = 4, fresh and repeated: predictions take these and no others.
#[test]
fn a_table_whose_runs_repeat_is_valued_by_its_own_decays() {
    let (a, b, alpha, beta) = (406.4_f64, 410.7, 0.34, 0.28);
    let worth = |x: f64, of: f64, star: f64| {
        if x <= of { x } else { of + of * star * (1.0 - (-(x / of - 1.0) / star).exp()) }
    };
    let mut csv = String::from("N,D,unique_tokens,loss\n");
    let mut i = 0.0;
    for n in [3e7, 1e8, 3e8, 1e9, 3e9_f64] {
        for d in [2e9, 8e9, 3.2e10, 1.28e11_f64] {
            for epochs in [1.0, 4.0, 12.0, 40.0] {
                let u = d / epochs;
                let fed = (alpha * a / (beta * b) * u.powf(beta)).powf(1.0 / alpha);
                let (size, data) = (worth(n, fed, 4.0), worth(d, u, 8.0));
                i += 1.0;
                let scatter = 1.0 + 0.001 * (2.7_f64 * i).sin();
                let loss = (1.69 + a / size.powf(alpha) + b / data.powf(beta)) * scatter;
                csv += &format!("{n},{d},{u},{loss}\n");
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("runs.csv"), csv).unwrap();
    let fit = isoflop(dir.path(), &["fit", "runs.csv", "--out", ".", "--bootstrap", "60"]);
    let said = String::from_utf8_lossy(&fit.stderr).into_owned();
    assert!(fit.status.success() && said.contains("60 of 80 runs repeat their tokens"), "{said}");
    let ask = |args: &[&str]| {
        let args: Vec<&str> = ["predict", "fit.json"].iter().chain(args).copied().collect();
        let output = isoflop(dir.path(), &args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let run = ["--params", "100M", "--tokens", "200B", "--tokens-available", "20B"];
    let text = ask(&run);
    assert!(text.contains("fitted to this table's repeated runs; in every interval"), "{text}");
    let p: Value = serde_json::from_str(&ask(&[&run[..], &["--json"]].concat())).unwrap();
    assert_eq!(p["repeated"]["repetition"]["source"], "fitted");
    near(&p, "/repeated/repetition/tokens", 8.0, 0.2);
    near(&p, "/repeated/repetition/params", 4.0, 0.4);
    let ends = [0, 1].map(|i| number(&p, &format!("/repeated/repetition/tokens_interval/{i}")));
    assert!(ends[0] < 8.0 && 8.0 < ends[1], "{p}");
    // The corpus of the table is the most distinct tokens of any run: a budget beyond it says what that costs.
    let far = ask(&["--flops", "1e24"]);
    assert!(far.contains("D* exceeds the corpus") && far.contains("128B distinct tokens"), "{far}");
    assert!(!ask(&["--flops", "1e19"]).contains("exceeds the corpus"));
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
