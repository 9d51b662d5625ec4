//! Names and sizes are not believed; what cannot be read is named and goes no further.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::common::Place;
use crate::{cells, fitted, isoflop, told, trained, twelve, within};

/// A file without an end and one without a beginning, wherever a path can be given: refused in a moment.
#[test]
fn a_file_without_an_end_is_refused_wherever_a_path_is_given() {
    let place = trained(&twelve());
    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let zero = place.path("zero");
    symlink("/dev/zero", &zero).unwrap();
    let give = |path: &Path, args: &[&str]| {
        let args: Vec<String> =
            args.iter().map(|a| a.replace('@', &path.display().to_string())).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut limited = place.limited(&place.command(&args), "-v 6000000");
        told(&within(20, &mut limited))
    };
    for path in [&fifo, &zero] {
        for ending in ["toml", "csv", "json"] {
            let named = place.path(&format!("endless.{ending}"));
            let _ = fs::remove_file(&named);
            symlink(path, &named).unwrap();
            let calls: &[&[&str]] = match ending {
                "toml" => &[
                    &["run", "@"],
                    &["plan", "@", "--no-probe"],
                    &["status", "@"],
                    &["check", "@"],
                ],
                "csv" => &[&["fit", "@"], &["backtest", "@"], &["predict", "@", "--flops", "1e12"]],
                _ => &[
                    &["fit", "@"],
                    &["predict", "@", "--flops", "1e12"],
                    &["score", "@"],
                    &["run", "sweep.toml", "--forecast", "@"],
                ],
            };
            for args in calls {
                let (code, said) = give(&named, args);
                assert!(code == 2 || code == 3, "{args:?} of {}: {code}: {said}", path.display());
                assert!(said.contains("endless"), "{args:?}: {said}");
            }
        }
        // As the text of a sweep.
        let text = twelve();
        let source = text.lines().find(|l| l.starts_with("source")).unwrap();
        let sweep = text.replace(
            source,
            &format!("source = {{ files = {{ paths = [\"{}\"] }} }}", path.display()),
        );
        fs::write(place.path("corpus.toml"), sweep.replace("\"twelve\"", "\"corpus\"")).unwrap();
        let (code, said) = give(Path::new("corpus.toml"), &["plan", "@", "--no-probe"]);
        assert!(code == 2 && said.contains(&*path.display().to_string()), "{code}: {said}");
        // As a plan, and as files of a record.
        for name in ["plan.json", "sweep.toml"] {
            let file = place.path(&format!("results/twelve/{name}"));
            let whole = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            symlink(path, &file).unwrap();
            let (code, said) = give(Path::new("results/twelve"), &["status", "@"]);
            assert!((code == 2 || code == 3) && said.contains(name), "{code}: {said}");
            fs::remove_file(&file).unwrap();
            fs::write(&file, whole).unwrap();
        }
        for name in ["run.log", "steps.f32", "heartbeat"] {
            let file = cells(&place, "twelve")[0].join("attempt-0001").join(name);
            let whole = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            symlink(path, &file).unwrap();
            let (code, said) = give(Path::new("results/twelve"), &["status", "@"]);
            assert_eq!(code, 0, "{name}: {said}");
            let (code, said) = give(Path::new("results/twelve"), &["check", "@"]);
            assert!(name == "heartbeat" || code == 3 && said.contains(name), "{code}: {said}");
            fs::remove_file(&file).unwrap();
            fs::write(&file, whole).unwrap();
        }
    }
}

/// What lies about in a results directory is named, and ends nothing.
#[test]
fn what_does_not_belong_or_cannot_be_read_is_named_and_confined() {
    let place = trained(&twelve());
    let (_, _, want) = fitted(&place, "twelve");
    let all = cells(&place, "twelve");
    // Of no record: named, and nothing is damaged.
    fs::write(place.path("results/twelve/cells/.DS_Store"), "x").unwrap();
    fs::write(place.path("results/twelve/.plan.json.swp"), "x").unwrap();
    fs::write(all[0].join("attempt-0002"), "a file").unwrap();
    fs::write(all[1].join("attempt-4294967295"), "a file").unwrap();
    fs::create_dir(all[1].join("attempt-3")).unwrap();
    symlink("attempt-0002", all[2].join("attempt-0002")).unwrap();
    symlink(".", all[3].join("attempt-0001/again")).unwrap();
    let strays =
        [".DS_Store", ".plan.json.swp", "attempt-0002", "attempt-4294967295", "attempt-3", "again"];
    let (code, said) = isoflop(&place, &["check", "sweep.toml"]);
    assert_eq!(code, 0, "{said}");
    for stray in strays {
        assert!(said.contains(stray), "{stray}: {said}");
    }
    let (code, said) = isoflop(&place, &["status", "sweep.toml"]);
    assert!(code == 0 && said.contains("12 completed"), "{said}");
    assert!(fitted(&place, "twelve").2 == want);
    // Records that cannot be read: the others are as they were.
    let log = all[4].join("attempt-0001/run.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let log = all[5].join("attempt-0001/run.log");
    fs::remove_file(&log).unwrap();
    symlink("run.log", &log).unwrap();
    fs::remove_dir_all(&all[6]).unwrap();
    symlink(all[6].file_name().unwrap(), &all[6]).unwrap();
    fs::remove_dir_all(&all[7]).unwrap();
    fs::write(&all[7], "a file").unwrap();
    fs::remove_dir_all(&all[8]).unwrap();
    symlink("nowhere", &all[8]).unwrap();
    for verb in ["status", "fit", "check", "run"] {
        let input = if verb == "run" { "sweep.toml" } else { "results/twelve" };
        let (code, said) = isoflop(&place, &[verb, input]);
        assert!(code != 2 && code != 101, "{verb}: {code}: {said}");
        // A warning of the fit names the first.
        let named = if verb == "fit" { 0 } else { 5 };
        for (i, cell) in all.iter().enumerate().skip(4).take(named) {
            assert!(said.contains(&crate::id(cell)[..8]), "{verb}, {i}: {said}");
        }
        assert!(
            code == i32::from(verb == "fit") || code == 3 || verb == "status",
            "{verb}: {code}: {said}"
        );
    }
    let (_, said) = isoflop(&place, &["status", "sweep.toml"]);
    assert!(said.contains("7 completed") && said.contains("5 damaged"), "{said}");
    // Tried again, cells that have a directory are completed; the others have no room for an attempt.
    let again = ["run", "sweep.toml", "--retry", "damaged", "--train-only"];
    let (code, said) = isoflop(&place, &again);
    assert_eq!(code, 1, "{said}");
    let (_, said) = isoflop(&place, &["status", "sweep.toml"]);
    assert!(said.contains("9 completed") && said.contains("3 damaged"), "{said}");
}

/// A stray in the way of the next attempt does not stop it.
#[test]
fn an_attempt_finds_its_way_around_a_stray() {
    let place = Place::new(&twelve());
    let mut child = place.spawn();
    crate::common::wait("a cell", || !cells(&place, "twelve").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    for cell in cells(&place, "twelve") {
        for n in 2..4 {
            fs::write(cell.join(format!("attempt-{n:04}")), "a file").unwrap();
        }
    }
    let (code, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "2"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = isoflop(&place, &["status", "sweep.toml"]);
    assert!(code == 0 && said.contains("12 cells, 12 completed"), "{said}");
}

/// A place that cannot be written is the user's to mend: bad input, and not "try again".
#[test]
fn a_directory_of_cells_that_cannot_be_made_is_bad_input() {
    let place = Place::new(&twelve());
    fs::create_dir_all(place.path("results/twelve")).unwrap();
    fs::write(place.path("results/twelve/cells"), "a file").unwrap();
    let (code, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "1"]);
    assert!(code == 2 && said.contains("cells"), "{code}: {said}");
}

/// A record that disappears while its cell is trained is no completed run.
#[test]
fn a_log_that_is_deleted_meanwhile_is_no_success() {
    let place = Place::new(&crate::common::grid("long", "[2e4]", "[1.2e6]"));
    let child = place
        .run()
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    place.in_training("long");
    fs::remove_file(cells(&place, "long")[0].join("attempt-0001/run.log")).unwrap();
    let (code, said) = told(&child.wait_with_output().unwrap());
    assert!(code == 75 && said.contains("no record"), "{code}: {said}");
}
