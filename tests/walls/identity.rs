//! What a record is of is what it says of itself, not where it lies.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Place, copy_all, flip, sorted};
use crate::{cells, fitted, id, isoflop, trained, twelve};

fn swap(left: &Path, right: &Path) {
    let aside = left.with_file_name("aside");
    fs::rename(left, &aside).unwrap();
    fs::rename(right, left).unwrap();
    fs::rename(&aside, right).unwrap();
}

/// Two cells' directories that were swapped are both named, and neither is fitted.
#[test]
fn a_record_in_another_cells_place_is_named_and_not_fitted() {
    let place = trained(&twelve());
    let (code, said, want) = fitted(&place, "twelve");
    assert_eq!(code, 0, "{said}");
    let all = cells(&place, "twelve");
    swap(&all[0], &all[1]);
    let (code, said) = isoflop(&place, &["check", "sweep.toml"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("belongs to cell {}", id(&all[0]))), "{said}");
    assert!(said.contains(&format!("belongs to cell {}", id(&all[1]))), "{said}");
    let (_, said, got) = fitted(&place, "twelve");
    let points = got["points"].as_array().unwrap();
    assert_eq!(points.len(), 10, "{said}");
    assert!(points.iter().all(|p| want["points"].as_array().unwrap().contains(p)));
    let (_, said) = isoflop(&place, &["status", "sweep.toml"]);
    assert!(said.contains("2 damaged"), "{said}");
    // Moved aside, they are trained again, and all is as it was.
    let (code, said) = isoflop(&place, &["check", "sweep.toml", "--repair"]);
    assert_eq!(code, 0, "{said}");
    assert!(place.run().output().unwrap().status.success());
    assert!(fitted(&place, "twelve").2["fits"] == want["fits"]);
}

/// A cell's record that was copied where it does not belong is named, and changes nothing.
#[test]
fn a_cell_in_a_place_of_no_cell_is_named_and_changes_nothing() {
    let place = trained(&twelve());
    let (_, _, want) = fitted(&place, "twelve");
    let all = cells(&place, "twelve");
    let strays = [
        place.path("results/twelve/cells/0123456789abcdef"),
        place.path("results/twelve/cells/copy of a cell"),
        all[1].join(id(&all[0])),
        all[1].join("attempt-0001").join(id(&all[0])),
        place.path("results/twelve").join(id(&all[0])),
    ];
    for stray in &strays {
        copy_all(&all[0], stray);
    }
    let (_, said) = isoflop(&place, &["check", "results/twelve"]);
    for stray in &strays {
        assert!(
            said.contains(
                &stray.display().to_string().split("results/").nth(1).unwrap().to_owned()
            ),
            "{stray:?}: {said}"
        );
    }
    assert!(fitted(&place, "twelve").2 == want);
}

/// The plan as it would be edited by hand.
fn edited(plan: &[u8], how: impl Fn(&mut Vec<Value>)) -> Vec<u8> {
    let mut cells: Vec<Value> = serde_json::from_slice(plan).unwrap();
    how(&mut cells);
    serde_json::to_vec_pretty(&cells).unwrap()
}

#[test]
fn a_plan_that_was_edited_is_named_and_written_again_by_a_run() {
    let place = trained(&twelve());
    let (_, _, want) = fitted(&place, "twelve");
    let file = place.path("results/twelve/plan.json");
    let whole = fs::read(&file).unwrap();
    let edits: Vec<Vec<u8>> = vec![
        edited(&whole, |c| c[0]["recipe"]["shape"]["width"] = 999.into()),
        edited(&whole, |c| c[0]["recipe"]["steps"] = 1.into()),
        edited(&whole, |c| c[0]["id"] = "abc".into()),
        edited(&whole, |c| c[0]["id"] = "ééééé".into()),
        edited(&whole, |c| c[0]["id"] = c[1]["id"].clone()),
        edited(&whole, |c| c[0]["budget"] = 1e9.into()),
        edited(&whole, |c| c[1]["trunk"] = c[0]["id"].clone()),
        edited(&whole, |c| drop(c.remove(3))),
        edited(&whole, |c| c.push(c[0].clone())),
    ];
    for (i, plan) in edits.iter().enumerate() {
        fs::write(&file, plan).unwrap();
        for verb in ["status", "fit", "report", "check"] {
            let (code, said) = isoflop(&place, &[verb, "results/twelve"]);
            assert_eq!(code, 3, "edit {i}, {verb}: {said}");
            assert!(said.contains("plan.json"), "edit {i}, {verb}: {said}");
        }
    }
    let (code, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert!(fitted(&place, "twelve").2 == want);
}

/// The text that `tests/golden/results-files` was trained on.
fn corpus() -> String {
    let words = "the a whale sea ship captain white great harpoon wind sail night deck crew hand said old of and in to upon with";
    let words: Vec<&str> = words.split(' ').collect();
    let line = |i: usize| {
        let said: Vec<&str> = (1..10).map(|k| words[i * k % words.len()]).collect();
        format!("{i} {}\n", said.join(" "))
    };
    (0..1000).map(line).collect()
}

fn files_sweep(tokenizer: &str, path: &Path) -> String {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/results-files");
    let sweep = fs::read_to_string(golden.join("sweep.toml")).unwrap();
    let sweep = sweep.replace("[model]", &format!("tokenizer = {tokenizer}\n[model]"));
    sweep.replace("/home/ada/texts/corpus.txt", &path.display().to_string())
}

/// A corpus that moves keeps its cells, and where it lay is in nothing that one publishes.
#[test]
fn a_moved_corpus_keeps_its_cells_and_its_path_is_published_nowhere() {
    for tokenizer in ["\"bytes\"", "{ bpe = { vocab = 300 } }"] {
        let place = Place::new("");
        let (first, second) = (place.path("ada's/corpus.txt"), place.path("other/renamed.txt"));
        for path in [&first, &second] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, corpus()).unwrap();
        }
        fs::write(place.path("sweep.toml"), files_sweep(tokenizer, &first)).unwrap();
        let (_, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
        assert!(said.contains("0 completed, 2 to go"), "{said}");
        let logs = cells(&place, "moved").into_iter().map(|c| c.join("attempt-0001/run.log"));
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        for file in logs.chain([
            place.path("results/moved/plan.json"),
            place.path("analysis/moved/report.html"),
        ]) {
            let text = fs::read_to_string(&file).unwrap();
            for banned in [
                "ada's",
                "ada&#39;s",
                first.parent().unwrap().parent().unwrap().to_str().unwrap(),
                boot.trim(),
            ] {
                assert!(
                    banned.is_empty() || !text.contains(banned),
                    "{banned} in {}",
                    file.display()
                );
            }
        }
        fs::remove_file(&first).unwrap();
        fs::write(place.path("sweep.toml"), files_sweep(tokenizer, &second)).unwrap();
        let (_, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
        assert!(said.contains("2 completed, 0 to go"), "{tokenizer}: {said}");
    }
}

/// Other ids of the same text, as another version of the library of tokenizers would make them, are other data.
#[test]
fn other_token_ids_of_the_same_text_are_other_cells() {
    let place = Place::new("");
    fs::write(place.path("corpus.txt"), corpus()).unwrap();
    let sweep = files_sweep("{ bpe = { vocab = 300 } }", Path::new("corpus.txt"));
    fs::write(place.path("sweep.toml"), sweep).unwrap();
    isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
    let results = sorted(&place.path("results/moved"));
    let json = results
        .iter()
        .find(|p| {
            p.to_string_lossy().ends_with(".json") && p.to_string_lossy().contains("tokenizer-")
        })
        .unwrap();
    // Two ids change places, in a tokenizer that is whole.
    let text = fs::read_to_string(json).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let vocab = value["model"]["vocab"].as_object_mut().unwrap();
    let (x, y) = (vocab["1"].clone(), vocab["7"].clone());
    vocab["1"] = y;
    vocab["7"] = x;
    let bytes = serde_json::to_vec(&value).unwrap();
    fs::write(json, &bytes).unwrap();
    let hash = results
        .iter()
        .find(|p| {
            p.to_string_lossy().ends_with(".sha256") && p.to_string_lossy().contains("tokenizer-")
        })
        .unwrap();
    fs::write(hash, sha256(&bytes)).unwrap();
    let (_, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
    assert!(said.contains("0 completed, 2 to go"), "{said}");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    isoflop::plan::hex(&Sha256::digest(bytes))
}

/// Results from when a corpus' path was part of a cell's identity: found again, wherever the corpus lies now.
#[test]
fn cells_of_older_identities_are_found() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/results-files");
    let place = Place::new("");
    copy_all(&golden, &place.path("results/moved"));
    fs::write(place.path("here.txt"), corpus()).unwrap();
    let sweep = fs::read_to_string(golden.join("sweep.toml")).unwrap();
    fs::write(place.path("sweep.toml"), sweep.replace("/home/ada/texts/corpus.txt", "here.txt"))
        .unwrap();
    let (code, said) = isoflop(&place, &["check", "sweep.toml"]);
    assert_eq!(code, 0, "{said}");
    let (_, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
    assert!(said.contains("2 completed, 0 to go"), "{said}");
    let before = fs::read(golden.join("ledger.csv")).unwrap();
    assert_eq!(fs::read(place.path("results/moved/ledger.csv")).unwrap(), before);
    // Other text is another study.
    fs::write(place.path("here.txt"), corpus() + "more\n").unwrap();
    let (_, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
    assert!(said.contains("0 completed, 2 to go"), "{said}");
}

/// Results from when `mup-hidden-rates`, then called `mup`, was what a sweep file without the key meant.
#[test]
fn a_study_of_the_older_default_keeps_its_cells() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/results-v1");
    let sweep = fs::read_to_string(golden.join("sweep.toml")).unwrap();
    let saying =
        |name: &str| sweep.replace("[model]", &format!("[model]\nparametrization = \"{name}\""));
    let planned = |place: &Place, sweep: &str| -> (Vec<String>, String) {
        fs::write(place.path("sweep.toml"), sweep).unwrap();
        let args = ["plan", "sweep.toml", "--no-probe", "--json"];
        let output = place.command(&args).output().unwrap();
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let id = |c: &Value| c["cell"]["id"].as_str().unwrap().to_owned();
        let ids = plan["cells"].as_array().unwrap().iter().map(id).collect();
        (ids, plan["warnings"].to_string())
    };
    let json = fs::read(golden.join("plan.json")).unwrap();
    let cells: Vec<Value> = serde_json::from_slice(&json).unwrap();
    let then: Vec<&str> = cells.iter().map(|c| c["id"].as_str().unwrap()).collect();

    let (begun, new, tuned) = (Place::new(""), Place::new(""), Place::new(""));
    copy_all(&golden, &begun.path("results/v1"));
    fs::create_dir_all(tuned.path("results/v1")).unwrap();
    fs::write(tuned.path("results/v1/tune.json"), &json).unwrap();
    for place in [&begun, &tuned] {
        let (ids, told) = planned(place, &sweep);
        assert!(ids == then && told.contains("keeps its cells"), "{ids:?}: {told}");
    }
    let (ids, told) = planned(&new, &sweep);
    assert!(ids != then && !told.contains("parametrization"), "{ids:?}: {told}");
    assert_eq!(planned(&new, &saying("complete-p")), (ids.clone(), told));
    // What the file says holds, in an older study too, and by either name.
    assert_eq!(planned(&begun, &saying("complete-p")).0, ids);
    for place in [&begun, &new] {
        let (now, told) = planned(place, &saying("mup-hidden-rates"));
        assert!(now == then && !told.contains("old name"), "{told}");
        let (now, told) = planned(place, &saying("mup"));
        assert!(now == then && told.contains("old name"), "{told}");
    }
    // Once it was said and is not any more, the default is that of today.
    fs::write(begun.path("results/v1/sweep.toml"), saying("mup")).unwrap();
    assert_eq!(planned(&begun, &sweep).0, ids);
}

/// Seven hundred flipped bits, a hundred edits, a hundred swaps: each is named, and no number changes.
#[test]
#[ignore = "the long tier"]
fn deep_no_flip_edit_or_swap_changes_a_number_unnamed() {
    let place = trained(&twelve());
    let (_, _, want) = fitted(&place, "twelve");
    let file = place.path("results/twelve/plan.json");
    let whole = fs::read(&file).unwrap();
    let same = |said: &str, got: &Value| {
        // What was left out is named; what is there is as it was.
        let all = want["points"].as_array().unwrap();
        let some = got["points"].as_array().cloned().unwrap_or_default();
        some.iter().all(|p| all.contains(p))
            && (some.len() == all.len() || said.contains("damaged"))
    };
    let mut named = 0;
    for n in 0..700_usize {
        let mut bytes = whole.clone();
        let bit = n * 7919 % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bytes).unwrap();
        let (code, said, got) = fitted(&place, "twelve");
        assert!(code == 3 || same(&said, &got), "bit {bit}: {said}");
        named += usize::from(code == 3 && said.contains("plan.json"));
    }
    assert_eq!(named, 700);
    let keys = [
        "steps",
        "batch_sequences",
        "learning_rate",
        "eval_tokens",
        "seed",
        "weight_decay",
        "clip",
    ];
    let mut edits = 0;
    for n in 0..100_usize {
        let plan = edited(&whole, |c| {
            let cell = n % 12;
            match n % 10 {
                0 => drop(c.remove(cell)),
                1 => c.swap(cell, (cell + 1) % 12),
                2 => c[cell]["budget"] = (1e9 + n as f64).into(),
                _ => c[cell]["recipe"][keys[n % 7]] = (n + 2).into(),
            }
        });
        fs::write(&file, plan).unwrap();
        let (code, said, _) = fitted(&place, "twelve");
        assert!(code == 3 && said.contains("plan.json"), "edit {n}: {said}");
        edits += 1;
    }
    fs::write(&file, &whole).unwrap();
    let all = cells(&place, "twelve");
    for n in 0..100_usize {
        let (l, r) = (n % 12, (n / 12 + 1 + n % 12) % 12);
        let spare = place.path("spare");
        copy_all(&all[l], &spare);
        let undo: Box<dyn Fn()> = match n % 3 {
            0 if l != r => {
                swap(&all[l], &all[r]);
                Box::new(|| swap(&all[l], &all[r]))
            }
            1 if l != r => {
                fs::remove_dir_all(&all[l]).unwrap();
                copy_all(&all[r], &all[l]);
                Box::new(|| {
                    fs::remove_dir_all(&all[l]).unwrap();
                    copy_all(&spare, &all[l]);
                })
            }
            _ => {
                let log = all[l].join("attempt-0001/run.log");
                flip(&log);
                Box::new(move || flip(&log))
            }
        };
        let (code, said) = isoflop(&place, &["check", "results/twelve"]);
        assert_eq!(code, 3, "swap {n}: {said}");
        let (_, said, got) = fitted(&place, "twelve");
        assert!(same(&said, &got), "swap {n}: {said}");
        undo();
        fs::remove_dir_all(&spare).unwrap();
    }
    assert!(fitted(&place, "twelve").2 == want);
    println!(
        "{named} flips and {edits} edits of plan.json, 100 records swapped, copied or flipped: all named, no number changed"
    );
}
