//! Cells that were trained are scored on tasks: after their last step, or later, once.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Place, flip, grid, said, sorted, walk_task};
use serde_json::Value;

/// Two cells of a part of a second, scored on a task in their run.
fn ran() -> Place {
    let sweep = grid("one", "[2e3]", "[2e4, 1e5]")
        .replace("times = 3", "times = 1\ntasks = [\"walk.toml\"]");
    let place = Place::new(&sweep);
    walk_task(&place);
    let output = place.command(&["run", "sweep.toml", "--train-only"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output).2);
    place
}

fn records(place: &Place) -> Vec<PathBuf> {
    let cells = sorted(&place.path("results/one/cells"));
    cells.iter().flat_map(|cell| sorted(&cell.join("tasks"))).collect()
}

fn json(place: &Place, args: &[&str]) -> Value {
    let output = place.command(&[args, &["--json"]].concat()).output().unwrap();
    let (code, out, told) = said(&output);
    assert_eq!(code, Some(0), "{told}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn cells_are_scored_once_in_their_run_or_later_and_every_record_is_verified() {
    let place = ran();
    let made = records(&place);
    assert_eq!(made.len(), 2);
    let before: Vec<Vec<u8>> = made.iter().map(|path| fs::read(path).unwrap()).collect();
    // What the run has scored with the model at hand is what the kept weights score.
    let eval = ["eval", "sweep.toml"];
    let told = json(&place, &eval);
    assert_eq!((&told["made"], told["models"].as_array().unwrap().len()), (&Value::from(0), 2));
    fs::remove_file(&made[0]).unwrap();
    let again = json(&place, &eval);
    assert_eq!(again["made"], 1);
    assert_eq!(again["models"], told["models"]);
    let after: Vec<Vec<u8>> = made.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(before, after, "the same bytes");
    // The longer run knows more of the graph than a guess does.
    let accuracy =
        |i: usize| told["models"][i]["tasks"][0]["metrics"]["accuracy"]["value"].as_f64();
    assert!(accuracy(1).unwrap() > 0.6 && told["models"][0]["tasks"][0]["chance"] == 0.5, "{told}");
    // One cell, by the first digits of its id, from the results directory.
    let id = told["models"][1]["id"].as_str().unwrap();
    let one = json(&place, &["eval", "results/one", "--cell", &id[..8], "--tasks", "walk.toml"]);
    assert_eq!(one["models"][0], told["models"][1]);

    flip(&made[1]);
    let output = place.command(&["check", "sweep.toml"]).output().unwrap();
    let (code, out, _) = said(&output);
    assert!(code == Some(3) && out.contains("scores the task again"), "{out}");
    let (code, _, told) = said(&place.command(&eval).output().unwrap());
    assert!(code == Some(3) && told.contains("check --repair"), "{told}");
    let repaired = place.command(&["check", "sweep.toml", "--repair"]).output().unwrap();
    assert!(repaired.status.success());
    assert_eq!(json(&place, &eval)["made"], 1);
    assert_eq!(fs::read(&made[1]).unwrap(), before[1]);
}

#[test]
fn what_cannot_be_scored_or_fitted_is_refused_by_name() {
    let place = ran();
    let refused = |args: &[&str]| {
        let (code, _, told) = said(&place.command(args).output().unwrap());
        assert_eq!(code, Some(2), "{args:?}: {told}");
        told
    };
    // Two cells show nothing.
    let told = refused(&["fit", "results/one", "--target", "walk"]);
    assert!(
        told.contains("no signal of `walk` at these sizes") && told.contains("over 2 cells"),
        "{told}"
    );
    let told = refused(&["fit", "results/one", "--target", "talk"]);
    assert!(told.contains("scored on a task `talk`; there are: walk"), "{told}");
    let told = refused(&["eval", "results/one"]);
    assert!(told.contains("no task is named"), "{told}");
    let told = refused(&["eval", "results/one", "--cell", "zz", "--tasks", "walk.toml"]);
    assert!(told.contains("no cell of `one` is called zz"), "{told}");
    // The source has no text.
    let words = fs::read_to_string(place.path("walk.jsonl")).unwrap().replacen(
        "\"walk\": \"",
        "\"walk\": \"the ",
        1,
    );
    fs::write(place.path("words.jsonl"), words).unwrap();
    let task = fs::read_to_string(place.path("walk.toml")).unwrap();
    fs::write(place.path("words.toml"), task.replace("walk.jsonl", "words.jsonl")).unwrap();
    let told = refused(&["eval", "sweep.toml", "--tasks", "words.toml"]);
    assert!(told.contains("line 1 of its items") && told.contains("`the`"), "{told}");
    // A sweep file that names no task file: before anything is trained.
    fs::remove_file(place.path("walk.toml")).unwrap();
    let told = refused(&["run", "sweep.toml"]);
    assert!(told.contains("walk.toml"), "{told}");
}
