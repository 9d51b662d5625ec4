//! `isoflop device` as a person uses it, on a machine without a GPU or in a build without CUDA.

mod common;

use std::process::Output;

use common::{ONE, Place};
use serde_json::Value;

fn isoflop(args: &[&str]) -> Output {
    Place::new(ONE).command(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{e}: {}{}", text(&output.stdout), text(&output.stderr));
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A build with CUDA on a machine with a GPU would find it.
#[cfg(not(feature = "cuda"))]
#[test]
fn what_a_gpu_would_need_is_named_and_the_exit_code_says_that_there_is_none() {
    let output = isoflop(&["device", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let there = json(&output);
    assert_eq!((&there["usable"], &there["built_with_cuda"]), (&false.into(), &false.into()));
    assert!(there["cpu"]["cores"].as_u64().unwrap() > 0);
    let parts = there["parts"].as_array().unwrap();
    let names: Vec<&str> = parts.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["NVIDIA driver", "NVRTC", "NVRTC builtins", "CUDA headers", "cuBLASLt", "CUPTI"]
    );
    for part in parts {
        // What is not fine says why, and what is needed also how to mend it.
        let wrong = !part["problem"].is_null();
        assert!(wrong || part["path"].is_string(), "{part}");
        assert!(!wrong || part["needed"] == false || part["mend"].is_string(), "{part}");
    }
    let said = isoflop(&["device"]);
    assert_eq!(said.status.code(), Some(2));
    let said = text(&said.stdout);
    assert!(said.contains("No GPU can be used") && said.contains("--features cuda"), "{said}");
    assert!(said.lines().all(|line| !line.contains('{')), "{said}");
}

#[test]
fn the_cpu_computes_right_and_says_so() {
    let output = isoflop(&["device", "check", "--device", "cpu", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&output);
    assert_eq!(report["holds"], true);
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 6);
    for check in checks {
        assert!(check["cases"].as_u64().unwrap() > 0, "{check}");
        assert!(check["wrong"].as_array().unwrap().is_empty(), "{check}");
    }
    let said = isoflop(&["device", "check", "--only", "hello,twice"]);
    let said = text(&said.stdout);
    assert!(said.contains("hello") && said.contains("twice") && !said.contains("golden"), "{said}");
}

#[test]
fn a_benchmark_gives_its_figures_with_their_denominator() {
    let args =
        ["device", "bench", "30k:64", "--steps", "2", "--cells", "1,2", "--peak-tflops", "0.1"];
    let output = isoflop(&[&args[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&output);
    assert_eq!(report["peak_flops_per_second"], 1e11);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, cells) in rows.iter().zip([1, 2]) {
        let of = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"));
        assert_eq!((row["cells"].as_u64(), row["steps"].as_u64()), (Some(cells), Some(2)));
        assert!(of("tokens_per_second") > 0.0 && of("step_seconds") > 0.0);
        let share = of("model_flops_per_second") / 1e11;
        assert!((of("share_of_peak") - share).abs() < 1e-12 * share);
        assert!((of("loss") - 64_f64.ln()).abs() < 1.0);
    }
    let said = text(&isoflop(&args).stdout);
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert!(said.contains("as given"), "{said}");
}

/// What is asked of a device that is not there, or in words that mean nothing.
#[test]
fn bad_input_is_named_with_what_to_do() {
    for (args, words) in [
        (&["device", "bench", "31k:256"][..], ["31k:256", "30k"]),
        (&["device", "bench", "30k"][..], ["30k", "SIZE:VOCAB"]),
        (&["device", "bench", "--serve", "30k:64", "none"][..], ["none", "1 to 1024"]),
        (&["device", "check", "--only", "nothing"][..], ["nothing", "golden"]),
    ] {
        let output = isoflop(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
    }
}

/// Steps on request, from the same start that another trainer is given.
#[test]
fn a_benchmark_serves_steps_and_exports_its_start() {
    use std::io::Write as _;
    use std::process::Stdio;
    let place = Place::new(ONE);
    let file = place.path("start.safetensors");
    let export = ["device", "bench", "--export", "30k:64", file.to_str().unwrap()];
    let output = place.command(&export).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bytes = std::fs::read(&file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    assert_eq!(header["inputs"]["shape"], serde_json::json!([4, 64, 128]));
    assert_eq!(header["embed"]["shape"], serde_json::json!([64, 32]));

    let mut serving = place
        .command(&["device", "bench", "--serve", "30k:64", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serving.stdin.take().unwrap().write_all(b"1\n2\n").unwrap();
    let output = serving.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["recipe"]["shape"]["width"], 32);
    assert_eq!(lines[2]["cells"][0]["losses"].as_array().unwrap().len(), 2);
}
