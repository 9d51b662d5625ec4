//! Cells, disks and limits that go wrong: a named state, an exit code that says so, and nothing lost.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use common::{ONE, Place, grid, of_kind, outcome, said, short, signal, sorted, undisturbed, wait};

#[test]
fn a_cell_that_cannot_fit_the_memory_fails_by_name_and_the_others_are_trained() {
    let place = Place::new(&grid("two", "[1e4, 3e8]", "[1e5]"));
    // The trials of workers must leave it out too.
    for args in [&["run", "sweep.toml"][..], &["run", "sweep.toml", "--retry", "failed"]] {
        let mut run = place.limited(&place.command(args), "-v 4000000");
        let (code, out, told) = said(&run.output().unwrap());
        assert_eq!(code, Some(1), "{out}{told}");
        assert!(told.contains("failed: out of memory: weights, gradients and moments"), "{told}");
    }
    let (_, out, _) = said(&place.command(&["status", "sweep.toml"]).output().unwrap());
    assert!(out.contains("1 completed") && out.contains("out of memory"), "{out}");
    // Without a wish to the contrary it is not tried a third time.
    assert_eq!(place.run().output().unwrap().status.code(), Some(1));
    assert_eq!(place.attempts("two").concat().len(), 3);
}

#[test]
fn a_full_disk_stops_the_run_and_with_room_it_goes_on_to_the_same_bits() {
    let (want, _) = undisturbed(&Place::new(&short()));
    let place = Place::new(&short());
    // Files may have 100 KiB: less than a checkpoint.
    let (code, out, told) = said(&place.limited(&place.run(), "-f 100").output().unwrap());
    assert_eq!(code, Some(75), "{out}{told}");
    assert!(told.contains("state.bin") && told.contains("ulimit -f"), "{told}");
    let (code, _, told) = said(&place.run().output().unwrap());
    assert_eq!(code, Some(0), "{told}");
    let attempts = place.attempts("one").concat();
    assert!(outcome(attempts.last().unwrap()) == want);
    let (code, out, _) = said(&place.command(&["check", "sweep.toml"]).output().unwrap());
    assert_eq!(code, Some(0), "what was half written is no damage: {out}");
}

#[test]
fn results_that_are_removed_meanwhile_are_not_made_again_empty() {
    let place = Place::new(ONE);
    let child = place.run().stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    place.in_training("one");
    signal(&child, "STOP");
    fs::remove_dir_all(place.path("results/one")).unwrap();
    signal(&child, "CONT");
    let (code, _, told) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(75), "{told}");
    assert!(told.contains("results/one/cells"), "{told}");
    assert_eq!(place.attempts("one"), Vec::<Vec<PathBuf>>::new());
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    // One step takes minutes.
    let slow =
        grid("slow", "[3e6]", "[4e7]").replace("batch_tokens = 2048", "batch_tokens = 4_000_000");
    let place = Place::new(&slow);
    let mut child = place.spawn();
    wait("a start", || {
        place.attempts("slow").iter().flatten().any(|a| of_kind(a, "started").is_some())
    });
    signal(&child, "TERM");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "the first is answered after a step");
    let begin = Instant::now();
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(begin.elapsed() < Duration::from_secs(10));
    // The record is whole, and says that the cell is to be trained.
    let (code, out, _) = said(&place.command(&["status", "sweep.toml"]).output().unwrap());
    assert!(code == Some(0) && out.contains("1 missing"), "{out}");
}

/// Slurm may start a task once more that has done its work.
#[test]
fn a_sweep_that_is_done_is_left_as_it_is() {
    let place = Place::new(&short());
    undisturbed(&place);
    let files = || -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
        let mut dirs = vec![place.path("results/one")];
        let mut files = Vec::new();
        while let Some(dir) = dirs.pop() {
            for path in sorted(&dir) {
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let changed = fs::metadata(&path).unwrap().modified().unwrap();
                files.push((path.clone(), fs::read(&path).unwrap(), changed));
            }
        }
        files
    };
    let before = files();
    let mut again = place.run();
    let (code, out, told) =
        said(&again.arg("--train-only").env("SLURM_RESTART_COUNT", "1").output().unwrap());
    assert_eq!(code, Some(0), "{out}{told}");
    for (old, new) in before.iter().zip(files()) {
        assert_eq!(old.0, new.0);
        assert!(*old == new, "{} was written", old.0.display());
    }
}
