//! One results directory holds one sweep and one plan, from the first moment of a run to its report.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, grid, sorted, wait};
use crate::{cells, four, isoflop, told, trained, within};

const OTHER_RATE: (&str, &str) = ("learning_rate = 0.02", "learning_rate = 0.01");

/// A sweep whose run is timed for some seconds before its first cell.
fn probed() -> String {
    grid("probed", "[2e4, 4e4]", "[4e6, 5e6]")
}

fn starting(place: &Place) -> Child {
    place
        .command(&["run", "sweep.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// While the first run still times its cells, a second one of another plan is refused, and one of the same is not.
#[test]
fn a_starting_run_holds_its_plan() {
    let place = Place::new(&probed());
    let mut first = starting(&place);
    let plan = place.path("results/probed/plan.json");
    wait("its plan", || plan.exists());
    let want = fs::read(&plan).unwrap();
    fs::write(place.path("other.toml"), probed().replace(OTHER_RATE.0, OTHER_RATE.1)).unwrap();
    let (code, said) =
        told(&within(20, &mut place.command(&["run", "other.toml", "--workers", "1"])));
    assert!(cells(&place, "probed").is_empty(), "no cell had begun: the run was still starting");
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("another") && said.contains("name"), "{said}");
    assert_eq!(fs::read(&plan).unwrap(), want);
    assert!(first.try_wait().unwrap().is_none());
    // Dead, it holds nothing.
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = place
        .command(&["run", "other.toml", "--workers", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait("another plan", || fs::read(&plan).is_ok_and(|p| p != want));
    second.kill().unwrap();
    second.wait().unwrap();
}

/// The first moment is before the data are read.
#[test]
fn a_run_that_reads_its_data_holds_its_place() {
    let place = Place::new("");
    let line = "the whale and the sea and the ship and the captain of it\n";
    fs::write(place.path("corpus.txt"), line.repeat(400_000)).unwrap();
    let one = grid("probed", "[2e4]", "[4e6]");
    let source = one.lines().find(|l| l.starts_with("source")).unwrap();
    let sweep = one.replace(
        source,
        "source = { files = { paths = [\"corpus.txt\"] } }\ntokenizer = { bpe = { vocab = 4096 } }",
    );
    fs::write(place.path("sweep.toml"), &sweep).unwrap();
    fs::write(place.path("other.toml"), grid("probed", "[2e4]", "[1e5]")).unwrap();
    let mut first = starting(&place);
    let begin = Instant::now();
    let plan = place.path("results/probed/plan.json");
    wait("its directory", || !sorted(&place.path("results/probed")).is_empty());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!plan.exists(), "still reading");
    let (code, said) =
        told(&within(20, &mut place.command(&["run", "other.toml", "--workers", "1"])));
    assert!(!plan.exists(), "still reading after {:?}", begin.elapsed());
    assert_eq!(code, 75, "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
}

/// A holder on another machine is watched: alive it is left alone, dead it is waited for.
#[test]
fn a_plan_held_on_another_machine_is_watched_and_no_clock_is_asked() {
    let place = Place::new(&probed());
    fs::write(place.path("other.toml"), probed().replace(OTHER_RATE.0, OTHER_RATE.1)).unwrap();
    let locks = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let on = |name: &str, locks: &tempfile::TempDir, file: &str| {
        let mut command = place.command(&["run", file, "--workers", "1"]);
        command.env("ISOFLOP_TEST_MACHINE", name).env("ISOFLOP_TEST_LOCKS", locks.path());
        command.env("ISOFLOP_TEST_LEASE", "3").env("ISOFLOP_TEST_CLOCK", "400");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut first = on("here", &locks[0], "sweep.toml").spawn().unwrap();
    wait("an attempt", || !place.attempts("probed").is_empty());
    let plan = fs::read(place.path("results/probed/plan.json")).unwrap();
    let (code, said) = told(&within(20, &mut on("there", &locks[1], "other.toml")));
    assert!(code == 75 && said.contains("another"), "{code}: {said}");
    first.kill().unwrap();
    first.wait().unwrap();
    let begin = Instant::now();
    let mut second = on("there", &locks[1], "other.toml").spawn().unwrap();
    wait("another plan", || fs::read(place.path("results/probed/plan.json")).unwrap() != plan);
    let waited = begin.elapsed().as_secs_f64();
    assert!((2.5..10.0).contains(&waited), "{waited} s");
    second.kill().unwrap();
    second.wait().unwrap();
}

/// Another plan under the same name keeps what the one before it ended with, and says where.
#[test]
fn what_an_earlier_plan_ended_with_is_kept_beside() {
    let place = trained(&four());
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    let names = [
        "results/four/plan.json",
        "results/four/sweep.toml",
        "results/four/ledger.csv",
        "analysis/four/fit.json",
        "analysis/four/report.html",
    ];
    let before: Vec<Vec<u8>> = names.iter().map(|n| read(n)).collect();
    // The same plan: nothing is kept beside.
    assert_eq!(isoflop(&place, &["run", "sweep.toml"]).0, 0);
    assert!(
        !place.path("results/four/earlier").exists()
            && !place.path("analysis/four/earlier").exists()
    );
    fs::write(place.path("sweep.toml"), four().replace(OTHER_RATE.0, OTHER_RATE.1)).unwrap();
    let (code, said) = isoflop(&place, &["run", "sweep.toml", "--workers", "2"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("earlier"), "{said}");
    for (name, want) in names.iter().zip(before) {
        let (dir, file) = name.rsplit_once('/').unwrap();
        let kept = sorted(&place.path(&format!("{dir}/earlier")));
        assert_eq!(kept.len(), 1, "{name}");
        assert!(fs::read(kept[0].join(file)).unwrap() == want, "{name}");
        assert!(read(name) != want || file == "report.html", "{name}");
    }
    let (code, said) = isoflop(&place, &["check", "sweep.toml"]);
    assert!(code == 0 && !said.contains("belong"), "{said}");
}

/// Runners in containers of their own, all with the process id 1, on one directory.
#[test]
#[ignore = "the long tier"]
fn deep_sixteen_runners_in_eight_pid_namespaces_train_each_cell_once() {
    let unshared = |args: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-p", "-f", "--mount-proc"]).args(args);
        command
    };
    if !unshared(&["true"]).status().is_ok_and(|s| s.success()) {
        eprintln!("skipped: `unshare -pf` is not allowed here");
        return;
    }
    let rounds = 4;
    for round in 0..rounds {
        let place = Place::new(&grid(
            "boxes",
            "[3e3, 6e3]",
            "[1e5, 2e5, 3e5, 4e5, 5e5, 6e5, 7e5, 8e5, 9e5, 1e6]",
        ));
        let run = "\"$0\" run sweep.toml --workers 1 --checkpoint 7steps";
        let shell = format!("{run} & first=$!; {run}; code=$?; wait $first && exit $code");
        let boxes: Vec<Child> = (0..8)
            .map(|_| {
                let mut command = unshared(&["bash", "-c", &shell, env!("CARGO_BIN_EXE_isoflop")]);
                command.current_dir(place.path("")).stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for child in boxes {
            let (code, said) = told(&child.wait_with_output().unwrap());
            assert_eq!(code, 0, "round {round}: {said}");
        }
        let attempts = place.attempts("boxes");
        assert_eq!(attempts.len(), 20);
        for cell in attempts {
            assert_eq!(cell.len(), 1, "round {round}: {cell:?}");
        }
        let (code, said) = isoflop(&place, &["check", "sweep.toml"]);
        assert!(code == 0 && said.contains("0 damaged"), "{said}");
    }
    println!(
        "{rounds} rounds of 16 runners in 8 pid namespaces on 20 cells: each trained once, no failed start"
    );
}
