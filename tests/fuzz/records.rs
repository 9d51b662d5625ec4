//! What a run writes while it trains: logs, steps, checkpoints, locks, heartbeats, holds, prices.

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::PathBuf;

use isoflop::fs::Os;
use isoflop::ledger::check::check;
use isoflop::ledger::checkpoint::{Manifest, resume_point, save};
use isoflop::ledger::hold::Hold;
use isoflop::ledger::log::{read_attempts, read_losses};
use isoflop::ledger::price::Prices;
use isoflop::ledger::{Ledger, lease, look, weights};
use isoflop::model::{Place, Transformer};
use isoflop::ops::Kernels;
use isoflop::plan::{self, Cell, Recipe};
use isoflop::shape::Shape;
use isoflop::train::Trainer;
use sha2::{Digest as _, Sha256};

use crate::mutate::{fuzz, fuzz_files, sound};

const CELL: &str = "0123456789abcdef";

/// As files of an attempt, read by all that read records.
fn record(files: &[(&str, &[u8])]) {
    let dir = tempfile::tempdir().unwrap();
    let cell = dir.path().join("cells").join(CELL);
    let attempt = cell.join("attempt-0001");
    for (file, bytes) in files {
        let path = attempt.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let attempts = read_attempts(&Os, &cell).unwrap();
    assert_eq!(attempts.len(), 1);
    look(&cell).unwrap();
    lease::heartbeat(&cell, 1);
    read_losses(&attempt);
    resume_point(&Os, &attempts, CELL, u64::MAX).unwrap();
    check(&Os, dir.path()).unwrap();
    let planned =
        Cell { id: CELL.into(), budget: None, trunk: None, recipe: Recipe::bare(shape()) };
    let ledger = Ledger::read(dir.path(), &[planned]).unwrap();
    if let isoflop::ledger::State::Completed { loss, loss_se, .. } = ledger.cells[0].1 {
        assert!(loss.is_finite() && loss_se.is_finite());
    }
}

/// Lines with their checksums made right again say what they like; the reader must still not trust them.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let bodies = text.lines().filter_map(|line| line.rsplit_once(",\"crc\":"));
    let seal =
        |body: &str| format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()));
    bodies.map(|(body, _)| seal(body)).collect::<Vec<_>>().concat().into_bytes()
}

#[test]
fn run_logs() {
    fuzz("log", "log", |bytes| record(&[("run.log", bytes)]));
}

#[test]
fn run_logs_with_right_checksums() {
    fuzz("log, sealed", "log", |bytes| record(&[("run.log", &sealed(bytes))]));
}

#[test]
fn steps_beside_a_log() {
    let log = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/log/v2.log")).unwrap();
    fuzz("steps", "steps", |bytes| record(&[("steps.f32", bytes), ("run.log", &log)]));
}

const MANIFEST: &str = "checkpoint-000000000007/manifest.json";

#[test]
fn manifests_of_checkpoints() {
    fuzz("manifest", "manifest", |bytes| record(&[(MANIFEST, bytes)]));
}

#[test]
fn manifests_with_right_checksums() {
    let state = "checkpoint-000000000007/state.bin";
    fuzz("manifest, sealed", "manifest", |bytes| {
        record(&[(MANIFEST, &sealed(bytes)), (state, b"state")]);
    });
}

fn shape() -> Shape {
    Shape { vocab: 5, context: 4, width: 4, layers: 1, heads: 1, ff: 8, qk_norm: true, tied: true }
}

/// The hash of a state is that of its bytes, whatever they are: the model takes what is as long as its own.
#[test]
fn states_with_right_hashes() {
    let (recipe, place) = (Recipe::bare(shape()), || Place::cpu(Kernels::Fused));
    let own = Trainer::new(&recipe, &place()).tensors();
    fuzz_files("state", &[(PathBuf::from("a new model"), own.clone())], |bytes| {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest {
            v: 0,
            cell: CELL.into(),
            step: 7,
            evaluated: None,
            bad_steps: 0,
            seconds: 1.0,
            bytes: 0,
            sha256: String::new(),
            steps_bytes: 56,
            steps_crc: crc32fast::hash(&[0; 56]),
        };
        let attempt = dir.path().join("attempt-0001");
        fs::create_dir(&attempt).unwrap();
        fs::write(attempt.join("steps.f32"), [0; 56]).unwrap();
        save(&Os, &attempt, manifest, bytes).unwrap();
        let attempts = read_attempts(&Os, dir.path()).unwrap();
        let (found, notes) = resume_point(&Os, &attempts, CELL, 7).unwrap();
        let Some((_, checkpoint)) = found else { panic!("{notes:?}") };
        let mut trainer = Trainer::new(&recipe, &place());
        assert_eq!(trainer.restore(&checkpoint.state), bytes.len() == own.len());
        let now = trainer.tensors();
        assert!(now == if bytes.len() == own.len() { bytes.to_vec() } else { own.clone() });
    });
}

/// The hash of a file of weights is that of its bytes, whatever they are: a model is made of none but its own.
#[test]
fn weights_with_right_hashes() {
    let place = || Place::cpu(Kernels::Fused);
    let mut own = Trainer::new(&Recipe::bare(shape()), &place());
    let own = own.model_mut().values();
    let dir = tempfile::tempdir().unwrap();
    weights::save(&Os, dir.path(), (CELL, 7), &own).unwrap();
    let file = fs::read(dir.path().join(weights::DIR).join(weights::FILE)).unwrap();
    fuzz_files("weights", &[(PathBuf::from("a new model"), file)], |bytes| {
        let manifest = weights::Manifest {
            v: 1,
            cell: CELL.into(),
            step: 7,
            bytes: bytes.len() as u64,
            sha256: plan::hex(&Sha256::digest(bytes)),
        };
        let body = serde_json::to_string(&manifest).unwrap();
        let manifest = sealed(format!("{},\"crc\":", &body[..body.len() - 1]).as_bytes());
        let path = |name: &str| format!("{}/{name}", weights::DIR);
        let files = [(path(weights::FILE), bytes), (path("manifest.json"), &manifest[..])];
        record(&files.each_ref().map(|(path, bytes)| (path.as_str(), *bytes)));
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(weights::DIR)).unwrap();
        for (path, bytes) in &files {
            fs::write(dir.path().join(path), bytes).unwrap();
        }
        if let Ok(read) = weights::read(&Os, dir.path())
            && let Ok(mut model) =
                Transformer::with_values(shape(), &read.unwrap().tensors, &place())
        {
            let names = |all: &[isoflop::model::Values]| -> Vec<_> {
                all.iter().map(|v| (v.name.clone(), v.dims)).collect()
            };
            assert_eq!(names(&model.values()), names(&own));
        }
    });
}

/// Who was asked to wait for another machine.
struct Waits;

/// What runners leave for each other: holds of the directory with their counters, locks and heartbeats of attempts.
#[test]
fn files_of_runners() {
    fuzz("runner", "runner", |bytes| {
        record(&[("heartbeat", bytes), ("run.log", b"")]);
        record(&[("lock", bytes)]);
        let dir = tempfile::tempdir().unwrap();
        let runners = dir.path().join("runners");
        fs::create_dir(&runners).unwrap();
        for (file, content) in [(CELL, bytes), ("0123456789abcdef.beat", bytes), ("door", bytes)] {
            fs::write(runners.join(file), content).unwrap();
        }
        // A hold of another machine is watched for minutes, which is not for a test.
        let taken =
            catch_unwind(|| Hold::take(dir.path(), "ab12", &|| resume_unwind(Box::new(Waits))));
        match taken {
            Ok(hold) => drop(hold.unwrap()),
            Err(why) => assert!(why.is::<Waits>(), "a panic of its own"),
        }
    });
}

#[test]
fn prices() {
    fuzz("price", "price", |bytes| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("price.json"), bytes).unwrap();
        if let Some(prices) = Prices::read(dir.path()) {
            sound(&prices);
            if let Some(ratios) = prices.ratios() {
                assert!(0.0 <= ratios.least && ratios.least <= ratios.median, "{ratios:?}");
                assert!(ratios.median <= ratios.most && ratios.most.is_finite(), "{ratios:?}");
            }
        }
    });
}
