//! A cell leaves as a directory of Hugging Face's and comes back: the same weights, and the same text.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, said, short, sorted};
use isoflop::study::models::Model;
use serde_json::Value;

/// A sweep of one small cell on bytes of files.
fn on_text(name: &str) -> String {
    short()
        .replace("name = \"one\"", &format!("name = \"{name}\""))
        .replace("graph-walk = { nodes = 16, degree = 4, skew = 0.0 }", "files = [\"texts\"]")
        .replace("tokens = [1e5]", "tokens = [4e4]")
        .replace("context = 32", "context = 32\nqk_norm = true")
}

fn place(sweep: &str) -> Place {
    let place = Place::new(sweep);
    fs::create_dir(place.path("texts")).unwrap();
    for n in 0..40_u32 {
        let line = |i: u32| format!("The whale {} swam past {} boats.\n", i * n % 97, n * 7 % 31);
        let text: String = (0..30).map(line).collect();
        fs::write(place.path(&format!("texts/{n}.txt")), text).unwrap();
    }
    place
}

fn done(place: &Place, args: &[&str]) -> (String, String) {
    let (code, out, told) = said(&place.command(args).output().unwrap());
    assert_eq!(code, Some(0), "{args:?}: {told}");
    (out, told)
}

/// What is said of what cannot be done; bad input.
fn refused(place: &Place, args: &[&str]) -> String {
    let (code, _, told) = said(&place.command(args).output().unwrap());
    assert_eq!(code, Some(2), "{args:?}: {told}");
    told
}

#[test]
fn a_model_leaves_whole_and_comes_back_to_the_bit() {
    let place = place(&on_text("one"));
    done(&place, &["run", "sweep.toml", "--workers", "1"]);
    let export = ["export", "sweep.toml", "--format", "hf", "--out", "out/hf"];
    let (_, told) = done(&place, &export);
    assert!(told.contains("written") && told.contains("vLLM's FlashAttention"), "{told}");
    assert!(done(&place, &export).1.contains("is there already"));
    let names = |dir: &Path| -> Vec<String> {
        sorted(dir).iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    let files = [
        "README.md",
        "config.json",
        "generation_config.json",
        "isoflop.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&place.path("out/hf")), files);
    assert_eq!(names(&place.path("out")), ["hf"], "nothing half made is left beside it");

    let results = place.path("results/one");
    let own = Model::open(&results, Path::new("results"), None).unwrap();
    let back = Model::open(&place.path("out/hf"), Path::new("results"), None).unwrap();
    assert_eq!((own.shape, own.end), (back.shape, back.end));
    let mut kept = own.values.clone();
    let order = |name: &str| back.values.iter().position(|v| v.name == name);
    kept.sort_by_key(|v| order(&v.name));
    assert_eq!(kept, back.values);

    let sample = |model: &str, more: &[&str]| {
        let args = ["sample", model, "--prompt", "The whale", "--tokens", "40"];
        done(&place, &[&args[..], more].concat()).0
    };
    for more in [&["--temperature", "0"][..], &["--seed", "1"]] {
        let text = sample("results/one", more);
        assert!(text.starts_with("The whale") && text.ends_with('\n'), "{text:?}");
        assert_eq!(text, sample("results/one", more), "again");
        assert_eq!(text, sample("out/hf", more), "by the directory");
        let json: Value =
            serde_json::from_str(&sample("out/hf", &[more, &["--json"]].concat())).unwrap();
        assert_eq!(format!("The whale{}\n", json["text"].as_str().unwrap()), text);
    }
    assert_ne!(sample("results/one", &["--seed", "1"]), sample("results/one", &["--seed", "2"]));

    // bf16 is another export, and says what it costs.
    let other = [&export[..], &["--dtype", "bf16"]].concat();
    let told = refused(&place, &other);
    assert!(told.contains("`out/hf` is there and not this export: its `config.json`"), "{told}");
    let half = ["export", "results/one", "--format", "hf", "--out", "half", "--dtype", "bf16"];
    let (_, told) = done(&place, &[&half[..]].concat());
    assert!(told.contains("moves the held-out loss by ") || told.contains("not at hand"), "{told}");
    fs::write(place.path("out/hf/config.json"), "{}").unwrap();
    assert!(refused(&place, &export).contains("its `config.json` is another"));
    assert!(refused(&place, &["sample", "out/hf"]).contains("has no `model_type`"));
}

#[test]
fn what_has_no_weights_or_no_text_says_so() {
    let place = place(&on_text("one").replacen("[data]", "keep = \"none\"\n[data]", 1));
    done(&place, &["run", "sweep.toml", "--workers", "1"]);
    let told = refused(&place, &["sample", "sweep.toml"]);
    assert!(told.contains("keep = \"none\"") && told.contains("leave `keep` out"), "{told}");
    let id = sorted(&place.path("results/one/cells"))[0].file_name().unwrap().to_owned();
    let id = &id.to_string_lossy()[..5];
    assert!(
        refused(&place, &["sample", "sweep.toml", "--cell", id]).contains("has no kept weights")
    );
    let told = refused(&place, &["sample", "sweep.toml", "--cell", "zz"]);
    assert!(told.contains("no cell of `results/one` has an id that begins with `zz`"), "{told}");
    fs::write(place.path("ids.toml"), short().replace("\"one\"", "\"ids\"").replace("1e5", "2e4"))
        .unwrap();
    done(&place, &["run", "ids.toml", "--workers", "1"]);
    assert!(refused(&place, &["sample", "ids.toml"]).contains("has no tokenizer"));
}
