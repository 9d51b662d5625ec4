//! The weights that a cell ends with: they are those of the model whose loss is recorded, and no part of what it is.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Place, flip, of_kind, said, short, sorted};
use isoflop::data::Dataset;
use isoflop::fs::Os;
use isoflop::ledger::{State, cell_dir, look, weights};
use isoflop::model::Transformer;
use isoflop::ops::Kernels;
use isoflop::plan::Plan;
use isoflop::spec::Spec;
use isoflop::train;

fn keeping(sweep: &str, keep: &str) -> String {
    sweep.replacen("[data]", &format!("keep = \"{keep}\"\n[data]"), 1)
}

fn train(place: &Place) {
    let (code, _, told) = said(&place.run().output().unwrap());
    assert_eq!(code, Some(0), "{told}");
}

/// The only attempt at the only cell.
fn attempt(place: &Place) -> PathBuf {
    let attempts = place.attempts("one").concat();
    assert_eq!(attempts.len(), 1);
    attempts[0].clone()
}

fn check(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let (code, out, _) =
        said(&place.command(&[&["check", "sweep.toml"], args].concat()).output().unwrap());
    (code, out)
}

#[test]
fn a_model_of_the_kept_weights_has_the_recorded_loss_to_the_last_digit() {
    let others = ["qk_norm = true", "tied = true"]
        .map(|line| short().replace("context = 32", &format!("context = 32\n{line}")));
    for sweep in [short()].into_iter().chain(others) {
        let place = Place::new(&sweep);
        train(&place);
        let spec = Spec::parse(&sweep).unwrap();
        let data = Dataset::load(&spec, None).unwrap();
        let cell = Plan::new(&spec, &data.facts).cells.remove(0);
        let (_, state) = look(&cell_dir(&place.path("results/one"), &cell.id)).unwrap();
        let State::Completed { loss, loss_se, dir, .. } = state else { panic!("{state:?}") };
        let kept = weights::read(&Os, &dir).unwrap().expect("weights are kept by default");
        assert_eq!((&kept.manifest.cell, kept.manifest.step), (&cell.id, cell.recipe.steps));
        let total: usize = kept.tensors.iter().map(|t| t.values.len()).sum();
        assert_eq!(total as f64, cell.recipe.shape.counts().total);
        let place = isoflop::model::Place::cpu(Kernels::Fused);
        let model = Transformer::with_values(cell.recipe.shape, &kept.tensors, &place).unwrap();
        let again = train::held_out(&model, &data, cell.recipe.eval_tokens).unwrap();
        assert_eq!((again.0.to_bits(), again.1.to_bits()), (loss.to_bits(), loss_se.to_bits()));
        let fresh = train::Trainer::new(&cell.recipe, &place).model_mut().values();
        let fresh = Transformer::with_values(cell.recipe.shape, &fresh, &place).unwrap();
        let untrained = train::held_out(&fresh, &data, cell.recipe.eval_tokens).unwrap();
        assert!(untrained.0 > loss + 0.1);
    }
}

/// Names, dimensions and conventions as docs/FORMATS.md has them, by another reader of the format.
#[test]
fn the_file_is_safetensors_with_the_documented_names() {
    let place = Place::new(&short().replace("context = 32", "context = 32\nqk_norm = true"));
    train(&place);
    let attempt = attempt(&place);
    let bytes = fs::read(attempt.join("weights/weights.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let recipe = of_kind(&attempt, "started").unwrap()["cell"]["recipe"].clone();
    let of = |name: &str| usize::try_from(recipe["shape"][name].as_u64().unwrap()).unwrap();
    let (d, ff, vocab, head) = (of("width"), of("ff"), of("vocab"), of("width") / of("heads"));
    let mut want: Vec<(String, [usize; 2])> =
        [("embed", [vocab, d]), ("norm_f", [1, d]), ("head", [d, vocab])]
            .map(|(name, dims)| (name.to_owned(), dims))
            .into();
    for i in 0..of("layers") {
        want.extend(
            [
                ("norm1", [1, d]),
                ("qkv", [d, 3 * d]),
                ("q_norm", [1, head]),
                ("k_norm", [1, head]),
                ("out", [d, d]),
                ("norm2", [1, d]),
                ("gate_up", [d, 2 * ff]),
                ("down", [ff, d]),
            ]
            .map(|(name, dims)| (format!("blocks.{i}.{name}"), dims)),
        );
    }
    want.sort();
    let mut got: Vec<(String, [usize; 2])> = file
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().try_into().unwrap()))
        .collect();
    got.sort();
    assert_eq!(got, want);
    assert!(file.iter().all(|(_, view)| view.dtype() == safetensors::Dtype::F32));
}

#[test]
fn none_are_kept_where_the_sweep_says_so_and_the_cell_is_the_same() {
    let place = Place::new(&keeping(&short(), "none"));
    train(&place);
    let without = attempt(&place);
    assert!(!without.join("weights").exists());
    assert!(weights::read(&Os, &without).unwrap().is_none());
    let (code, out) = check(&place, &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("weights of 0 cells verified; 0 damaged, 0 recovered, 0 stray"), "{out}");
    // Another word in the sweep file trains nothing again, nor makes weights of what is done.
    let said_then = fs::read(without.join("run.log")).unwrap();
    fs::write(place.path("sweep.toml"), keeping(&short(), "weights")).unwrap();
    train(&place);
    assert_eq!(attempt(&place), without);
    assert_eq!(fs::read(without.join("run.log")).unwrap(), said_then);
    assert!(!without.join("weights").exists());

    let other = Place::new(&short());
    train(&other);
    let with = attempt(&other);
    assert!(with.join("weights").is_dir());
    let id = |attempt: &Path| attempt.parent().unwrap().file_name().unwrap().to_owned();
    assert_eq!(id(&with), id(&without));
    assert_eq!(common::outcome(&with), common::outcome(&without));
}

/// A kill between the weights and the last word leaves both an attempt and its weights: those of the next one count.
#[test]
fn weights_of_an_attempt_that_was_cut_go_when_the_next_has_completed_the_cell() {
    let place = Place::new(&short());
    train(&place);
    let first = attempt(&place);
    let log = fs::read_to_string(first.join("run.log")).unwrap();
    let (before, last) = log.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains("completed"));
    fs::write(first.join("run.log"), format!("{before}\n")).unwrap();
    let bytes = |attempt: &Path| fs::read(attempt.join("weights/weights.safetensors")).unwrap();
    let want = bytes(&first);
    train(&place);
    let attempts = place.attempts("one").concat();
    assert_eq!((attempts.len(), &attempts[0]), (2, &first));
    assert!(!first.join("weights").exists());
    assert!(first.join("run.log").exists() && of_kind(&attempts[1], "completed").is_some());
    assert!(bytes(&attempts[1]) == want, "the same weights");
    let (code, out) = check(&place, &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("weights of 1 cell verified; 0 damaged, 0 recovered, 0 stray"), "{out}");
}

#[test]
fn another_word_for_keep_is_refused_with_those_there_are() {
    let place = Place::new(&keeping(&short(), "all"));
    let (code, _, told) = said(&place.run().output().unwrap());
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("`weights`") && told.contains("`none`"), "{told}");
}

#[test]
fn check_names_weights_that_are_damaged_stray_half_made_or_of_another_cell() {
    let place = Place::new(&short());
    train(&place);
    let dir = attempt(&place).join("weights");
    let file = dir.join("weights.safetensors");
    let (code, out) = check(&place, &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("weights of 1 cell verified; 0 damaged, 0 recovered, 0 stray"), "{out}");

    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let (code, out) = check(&place, &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("weights/notes.txt\n  does not belong here"), "{out}");
    fs::remove_file(dir.join("notes.txt")).unwrap();

    flip(&file);
    let (code, out) = check(&place, &[]);
    assert_eq!(code, Some(3), "{out}");
    let named = "weights\n  hash of `weights.safetensors` does not match; the cell's loss";
    assert!(out.contains(named), "{out}");
    flip(&file);

    let manifest = fs::read(dir.join("manifest.json")).unwrap();
    fs::remove_file(dir.join("manifest.json")).unwrap();
    let (code, out) = check(&place, &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("weights\n  half made, not used"), "{out}");
    assert!(weights::read(&Os, dir.parent().unwrap()).unwrap().is_none());
    fs::write(dir.join("manifest.json"), manifest).unwrap();

    let other = Place::new(&short().replace("1e5", "5e4"));
    train(&other);
    let foreign = attempt(&other).join("weights");
    fs::rename(&dir, dir.with_file_name("aside")).unwrap();
    common::copy_all(&foreign, &dir);
    fs::remove_dir_all(dir.with_file_name("aside")).unwrap();
    let (code, out) = check(&place, &["--repair"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("belongs to cell") && out.contains("moved to"), "{out}");
    assert_eq!(sorted(&place.path("results/one/damaged")).len(), 1);
    // The loss stands: nothing is trained again.
    train(&place);
    assert!(!dir.exists());
    attempt(&place);
}
