//! Locked forecasts, from the lock to the score: only what was foretold before its run counts.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Place, events, grid, of_kind, said, sorted, wait};
use serde_json::Value;

const FIT: &str = "analysis/one/fit.json";

/// Nine cells of a few milliseconds each, fitted.
fn study() -> Place {
    let sweep = grid("one", "[2e3, 5e3, 1.2e4]", "[5e4, 1e5, 2e5]")
        + "[fit]\nbootstrap = 40\nholdout = 0\n";
    let place = Place::new(&sweep);
    let (code, _, told) = said(&place.run().output().unwrap());
    assert_eq!(code, Some(0), "{told}");
    assert!(
        !fs::read_to_string(place.path("analysis/one/report.html"))
            .unwrap()
            .contains("\"forecasts\"")
    );
    place
}

fn call(place: &Place, args: &[&str]) -> (Option<i32>, String, String) {
    said(&place.command(args).output().unwrap())
}

fn lock(place: &Place, more: &[&str]) -> (Option<i32>, String, String) {
    let args = [&["predict", FIT, "--flops", "3e10", "--lock"], more].concat();
    call(place, &args)
}

fn forecasts(place: &Place) -> Vec<PathBuf> {
    sorted(&place.path("analysis/one/forecasts"))
}

fn json(path: &PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn train(place: &Place, file: &str) -> (Option<i32>, String, String) {
    call(place, &["run", "sweep.toml", "--forecast", file])
}

#[test]
fn what_is_locked_is_run_scored_and_reported() {
    let place = study();
    let plan = fs::read(place.path("results/one/plan.json")).unwrap();
    let ledger = fs::read(place.path("results/one/ledger.csv")).unwrap();

    let (code, told, why) = lock(&place, &[]);
    assert_eq!(code, Some(0), "{why}");
    let path = forecasts(&place)[0].clone();
    let forecast = json(&path);
    let id = forecast["cell"]["id"].as_str().unwrap().to_owned();
    assert_eq!(path.file_stem().unwrap().to_str().unwrap(), &id[..8]);
    let file = path.to_str().unwrap();
    assert!(told.contains("--forecast"), "{told}");
    // The cell is real: its own N and D, its compute that which was asked for.
    assert!((forecast["flops"].as_f64().unwrap() / 3e10 - 1.0).abs() < 0.02);
    assert_eq!(forecast["cell"]["recipe"]["seed"], 0);

    // What is predicted is what `predict` says of that run.
    let number = |name: &str| forecast[name].as_f64().unwrap().to_string();
    let args =
        ["predict", FIT, "--params", &number("params"), "--tokens", &number("tokens"), "--json"];
    let chosen: Value = serde_json::from_str(&call(&place, &args).1).unwrap();
    assert_eq!(chosen["loss"], forecast["loss"]);

    // Twice is once.
    let before = fs::read(&path).unwrap();
    let (code, _, again) = lock(&place, &[]);
    assert!(code == Some(0) && again.contains("kept"), "{again}");
    assert_eq!(fs::read(&path).unwrap(), before);

    // Not run yet: open here and in the report.
    let (code, open, _) = call(&place, &["score", file]);
    assert!(code == Some(0) && open.contains("not yet") && open.contains("isoflop run"), "{open}");
    let page = || {
        assert_eq!(call(&place, &["report", "sweep.toml"]).0, Some(0));
        fs::read_to_string(place.path("analysis/one/report.html")).unwrap()
    };
    assert!(page().contains("open: not trained yet"));
    // The fit of the report is the same bytes, or the lock could not be held against it.
    assert_eq!(lock(&place, &[]).0, Some(0));

    let (code, told, why) = train(&place, file);
    assert_eq!(code, Some(0), "{why}");
    assert!(told.contains("measured") && told.contains("the interval"), "{told}");
    let attempt = place.path(&format!("results/one/cells/{id}/attempt-0001"));
    assert_eq!(events(&attempt)[0]["forecast"], forecast["sha256"]);
    let measured = of_kind(&attempt, "completed").unwrap()["loss"].as_f64().unwrap();
    assert_eq!(fs::read(place.path("results/one/plan.json")).unwrap(), plan);
    assert_eq!(fs::read(place.path("results/one/ledger.csv")).unwrap(), ledger);

    let (code, told, _) = call(&place, &["score", file, "--json"]);
    let score: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, score["state"].as_str()), (Some(0), Some("completed")));
    assert_eq!(score["score"]["measured"].as_f64().unwrap(), measured);
    let predicted = forecast["loss"]["value"].as_f64().unwrap();
    let error = score["score"]["error"].as_f64().unwrap();
    assert!((error - (predicted - measured) / measured).abs() < 1e-12);
    // Once more trains nothing, and the lock of a run that named it is kept.
    assert_eq!(train(&place, file).0, Some(0));
    assert_eq!(sorted(attempt.parent().unwrap()).iter().filter(|p| p.is_dir()).count(), 1);
    assert!(lock(&place, &[]).2.contains("kept"));

    // The scorecard: this one scored, a second that was edited void.
    let (code, _, why) = lock(&place, &["--params", "2e3"]);
    assert_eq!(code, Some(0), "{why}");
    let other = forecasts(&place).into_iter().find(|p| *p != path).unwrap();
    // The law of C alone says nothing of a size that is not the best of C.
    let laws = |forecast: &Value| -> Vec<String> {
        let laws = forecast["laws"].as_array().unwrap().iter();
        laws.map(|l| l["law"].as_str().unwrap().to_owned()).collect()
    };
    let (best, chosen) = (laws(&forecast), laws(&json(&other)));
    assert!(best.contains(&"compute".to_owned()), "{best:?}");
    assert!(!chosen.contains(&"compute".to_owned()), "{chosen:?}");
    assert_eq!(best.len(), chosen.len() + 1);
    let text = fs::read_to_string(&other).unwrap();
    fs::write(&other, text.replace("\"level\": 0.9", "\"level\": 0.8")).unwrap();
    let page = page();
    let inside = u8::from(score["score"]["inside"].as_bool().unwrap());
    assert!(page.contains(">Forecasts</h2>") && page.contains(&format!("{inside} of 1</b>")));
    assert!(page.contains("void: ") && page.contains(&format!("{measured:.4}")));
    assert!(page.contains(&forecast["sha256"].as_str().unwrap()[..8]));
}

#[test]
fn a_forecast_that_was_changed_or_came_too_late_is_refused() {
    let place = study();
    assert_eq!(lock(&place, &[]).0, Some(0));
    let path = forecasts(&place)[0].clone();
    let file = path.to_str().unwrap();
    let original = fs::read(&path).unwrap();
    let forecast = json(&path);

    // Any field: by score, by run, and by a second lock.
    for key in forecast.as_object().unwrap().keys() {
        let mut edited = forecast.clone();
        edited[key] = Value::String("edited".into());
        fs::write(&path, serde_json::to_vec(&edited).unwrap()).unwrap();
        let (code, _, why) = call(&place, &["score", file]);
        assert!(code == Some(3) && why.contains("not as it was locked"), "{key}: {why}");
    }
    assert_eq!(train(&place, file).0, Some(3));
    assert_eq!(lock(&place, &[]).0, Some(3));
    fs::write(&path, &original).unwrap();

    // A run that was begun without it: the same command without the hash in the first line.
    assert_eq!(train(&place, file).0, Some(0));
    let cells = place.path("results/one/cells").join(forecast["cell"]["id"].as_str().unwrap());
    let log = cells.join("attempt-0001/run.log");
    let hash = format!(",\"forecast\":{}", forecast["sha256"]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains(&hash));
    fs::write(&log, resealed(&text.replace(&hash, ""))).unwrap();
    for refused in [call(&place, &["score", file]), train(&place, file)] {
        assert!(refused.0 == Some(2) && refused.2.contains("without this forecast"), "{refused:?}");
    }

    // After the run, no forecast of it can be locked.
    fs::remove_file(&path).unwrap();
    let (code, _, why) = lock(&place, &[]);
    assert!(code == Some(2) && why.contains("no forecast"), "{why}");
    assert!(forecasts(&place).is_empty());
}

#[test]
fn a_run_with_a_damaged_record_is_not_scored_and_not_foretold_again() {
    let place = study();
    assert_eq!(lock(&place, &[]).0, Some(0));
    let path = forecasts(&place)[0].clone();
    let file = path.to_str().unwrap();
    assert_eq!(train(&place, file).0, Some(0));
    let cell = json(&path)["cell"]["id"].as_str().unwrap().to_owned();
    let log = place.path(&format!("results/one/cells/{cell}/attempt-0001/run.log"));
    let text = fs::read_to_string(&log).unwrap();
    // After the first line, and in it.
    for (sound, bad) in
        [("\"kind\":\"eval\"", "\"kind\":\"evil\""), ("\"forecast\"", "\"forecasts\"")]
    {
        assert!(text.contains(sound));
        fs::write(&log, text.replacen(sound, bad, 1)).unwrap();
        let (code, _, why) = call(&place, &["score", file]);
        assert_eq!(code, Some(3), "{bad}: {why}");
    }

    // Moved aside it is no less a run that may have been seen.
    fs::remove_file(&path).unwrap();
    assert_eq!(call(&place, &["check", "sweep.toml", "--repair"]).0, Some(0));
    assert!(!log.exists());
    let (code, _, why) = lock(&place, &[]);
    assert!(code == Some(2) && why.contains("may have been seen"), "{why}");
    assert!(why.contains("damaged/") && forecasts(&place).is_empty(), "{why}");
    // Another run's record says nothing of this one.
    assert_eq!(lock(&place, &["--seed", "1"]).0, Some(0));

    // A file that cannot be read may be a sound forecast: it is not called void.
    fs::create_dir(place.path("analysis/one/forecasts/unread.json")).unwrap();
    for refused in [call(&place, &["report", "sweep.toml"]), lock(&place, &["--seed", "2"])] {
        assert!(refused.0 == Some(2) && refused.2.contains("unread.json"), "{refused:?}");
    }
}

/// Three sizes at three horizons on trunks.
fn trunks() -> String {
    let trunk = "[schedule.trunk]\nwarmup = 1.0\ndecay = 0.25\nend = 0.0";
    grid("one", "[2e3, 5e3, 2e4]", "[5e4, 1e5, 2e5]")
        .replace("[schedule.cosine]\nwarmup = 0.1\nend = 0.02", trunk)
        + "[fit]\nbootstrap = 40\nholdout = 0\n"
}

#[test]
fn on_a_trunk_a_forecast_goes_on_from_a_relative_and_after_a_kill() {
    let place = Place::new(&trunks());
    let (code, _, told) = said(&place.run().output().unwrap());
    assert_eq!(code, Some(0), "{told}");
    // Of the largest size that was trained, and longer.
    let (code, _, why) = lock(&place, &["--params", "2e4"]);
    assert_eq!(code, Some(0), "{why}");
    let path = forecasts(&place)[0].clone();
    let forecast = json(&path);
    let id = forecast["cell"]["id"].as_str().unwrap();
    let steps = forecast["cell"]["recipe"]["steps"].as_u64().unwrap();
    assert!(steps > 100, "{steps}");

    // Killed once it has kept a state of its own beyond where it began.
    let file = path.to_str().unwrap();
    let command = ["run", "sweep.toml", "--forecast", file, "--checkpoint", "3steps"];
    let cell = place.path(&format!("results/one/cells/{id}"));
    let own = |attempt: &PathBuf| {
        events(attempt).iter().filter(|e| e["kind"] == "checkpoint").count() > 1
    };
    let attempts = || sorted(&cell).into_iter().filter(|p| p.is_dir()).collect::<Vec<_>>();
    let mut child = place.command(&command).spawn().unwrap();
    wait("a checkpoint of the forecast's run", || attempts().first().is_some_and(own));
    child.kill().unwrap();
    child.wait().unwrap();
    let first = attempts()[0].clone();
    assert!(of_kind(&first, "completed").is_none(), "killed too late to test anything");
    let from = &of_kind(&first, "started").unwrap()["resumed"];
    assert!(from["cell"].is_string() && from["cell"] != *id, "from a relative: {from}");
    let (code, open, _) = call(&place, &["score", file]);
    assert!(code == Some(0) && open.contains("goes on from step"), "{open}");

    let (code, told, why) = call(&place, &command);
    assert!(code == Some(0) && told.contains("the interval"), "{told}{why}");
    let last = attempts().last().unwrap().clone();
    let begun = of_kind(&last, "started").unwrap();
    assert_eq!(begun["forecast"], forecast["sha256"]);
    assert!(begun["resumed"]["cell"].is_null(), "from its own state: {begun}");

    // The oracle: the same cell trained alone from its first step.
    let alone = grid("one", "[2e4]", &format!("[{}]", forecast["tokens"].as_f64().unwrap()));
    let sweep = trunks();
    let schedule = &sweep[sweep.find("[schedule").unwrap()..sweep.find("[eval").unwrap()];
    let cosine = &alone[alone.find("[schedule").unwrap()..alone.find("[eval").unwrap()];
    let place = Place::new(&alone.replace(cosine, schedule));
    assert_eq!(call(&place, &["run", "sweep.toml", "--train-only"]).0, Some(0));
    let alone = place.path(&format!("results/one/cells/{id}/attempt-0001"));
    let loss = |attempt: &PathBuf| of_kind(attempt, "completed").unwrap()["loss"].clone();
    assert_eq!(loss(&alone), loss(&last));
    assert!(of_kind(&alone, "started").unwrap()["resumed"].is_null());
}

/// A log with the checksum of every line made anew.
fn resealed(log: &str) -> String {
    let seal = |line: &str| {
        let body = &line[..line.rfind(",\"crc\"").unwrap()];
        format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()))
    };
    log.lines().map(seal).collect()
}

#[test]
fn what_does_not_belong_together_is_not_locked() {
    let place = study();
    // A fit of other runs than the ledger's.
    let ledger = place.path("results/one/ledger.csv");
    let text = fs::read_to_string(&ledger).unwrap();
    let less = text.split_inclusive('\n').take(9).collect::<String>();
    fs::write(&ledger, less).unwrap();
    let (code, _, why) = lock(&place, &[]);
    assert!(code == Some(2) && why.contains("do not belong together"), "{why}");
    fs::write(&ledger, &text).unwrap();

    // A fit of a table.
    assert_eq!(
        call(&place, &["fit", "results/one/ledger.csv", "--out", "table", "--bootstrap", "0"]).0,
        Some(0)
    );
    let args = ["predict", "table/fit.json", "--flops", "3e10", "--lock"];
    let (code, _, why) = call(&place, &args);
    assert!(code == Some(2) && why.contains("no sweep"), "{why}");

    // Another forecast of the cell: the fit has changed since.
    assert_eq!(lock(&place, &["--params", "2e4"]).0, Some(0));
    assert_eq!(call(&place, &["fit", "results/one", "--bootstrap", "50"]).0, Some(0));
    let (code, _, why) = lock(&place, &["--params", "2e4"]);
    assert!(code == Some(2) && why.contains("another forecast"), "{why}");

    // Another recipe than that of the fit: in the sweep's file alone, and with its plan.
    let kept = place.path("results/one/sweep.toml");
    let recipe = fs::read_to_string(&kept).unwrap();
    let faster = recipe.replace("learning_rate = 0.02", "learning_rate = 0.03");
    assert_ne!(faster, recipe);
    fs::write(&kept, &faster).unwrap();
    let (code, _, why) = lock(&place, &[]);
    assert!(code == Some(2) && why.contains("makes 0 of the 9 cells"), "{why}");
    assert!(why.contains("not the one that was fitted") && why.contains("run the sweep again"));
    fs::write(&kept, &recipe).unwrap();
    fs::write(place.path("sweep.toml"), &faster).unwrap();
    assert_eq!(call(&place, &["run", "sweep.toml", "--train-only"]).0, Some(0));
    let (code, _, why) = lock(&place, &[]);
    assert!(code == Some(2) && why.contains("none of its cells"), "{why}");
    assert!(why.contains("not the one that was fitted") && why.contains("run the sweep again"));

    // Another sweep's.
    fs::write(place.path("other.toml"), grid("other", "[2e3]", "[5e4]")).unwrap();
    let file = forecasts(&place)[0].to_str().unwrap().to_owned();
    let (code, _, why) = call(&place, &["run", "other.toml", "--forecast", &file]);
    assert!(code == Some(2) && why.contains("forecast of sweep `one`"), "{why}");
}
