//! The lock as a whole: what is read is what was locked, and any edit of it is refused.

use serde_json::json;

use super::*;
use crate::plan::tests::{SWEEP, plan};

/// A loss of 2.0 foretold, 1.9 to 2.1.
pub(crate) fn forecast() -> Forecast {
    let cell = plan(SWEEP).cells[0].clone();
    let near = |value: f64| Estimate { value, lo: 0.95 * value, hi: 1.05 * value };
    let loss = Estimate { value: 2.0, lo: 1.9, hi: 2.1 };
    let mut forecast = Forecast {
        version: FORECAST_VERSION,
        isoflop: "0".into(),
        locked: "then".into(),
        sweep: "t".into(),
        params: cell.params(),
        tokens: cell.recipe.tokens() as f64,
        flops: cell.recipe.flops(),
        tokens_per_param: cell.recipe.tokens() as f64 / cell.params(),
        loss,
        sd: 0.05,
        forms: Vec::new(),
        level: 0.9,
        method: "lse-huber".into(),
        extrapolation: 10.0,
        optimum: Optimum { flops: 1e13, params: near(1e5), tokens: near(2e7 / 3.0) },
        methods: vec![
            MethodLoss { method: "lse-huber".into(), loss, sd: 0.05 },
            MethodLoss { method: "varpro".into(), loss: near(2.75), sd: 0.1 },
        ],
        laws: vec![LawLoss { law: "kaplan".into(), loss: 2.5 }],
        fit_sha256: "f".into(),
        ledger_sha256: "l".into(),
        warnings: vec![Warning { code: Code::Extrapolation, text: "far".into() }],
        sha256: String::new(),
        cell,
    };
    forecast.sha256 = seal(&serde_json::to_value(&forecast).unwrap());
    forecast
}

/// Every value with one leaf of it changed, and every object with one field gone.
fn edits(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(fields) => {
            let mut out = Vec::new();
            for (key, inner) in fields {
                let mut less = fields.clone();
                less.remove(key);
                out.push(Value::Object(less));
                for edit in edits(inner) {
                    let mut changed = fields.clone();
                    changed.insert(key.clone(), edit);
                    out.push(Value::Object(changed));
                }
            }
            out
        }
        Value::Array(items) => {
            let mut out = vec![Value::Array(items[1..].to_vec())];
            for (i, inner) in items.iter().enumerate() {
                for edit in edits(inner) {
                    let mut changed = items.clone();
                    changed[i] = edit;
                    out.push(Value::Array(changed));
                }
            }
            out
        }
        Value::String(text) => vec![json!(format!("{text}0"))],
        Value::Bool(b) => vec![json!(!b)],
        Value::Null => vec![json!(1.0)],
        Value::Number(n) => match (n.as_u64(), n.as_f64()) {
            (Some(n), _) => vec![json!(n + 1)],
            // The next number that there is.
            (None, Some(x)) => vec![json!(f64::from_bits(x.to_bits() + 1))],
            _ => Vec::new(),
        },
    }
}

#[test]
fn what_was_locked_is_read_again_and_any_edit_of_it_is_refused() {
    let forecast = forecast();
    assert_eq!(Forecast::read(&forecast.bytes()), Ok(forecast.clone()));
    let value = serde_json::to_value(&forecast).unwrap();
    let mut edits = edits(&value);
    assert!(edits.len() > 100, "{}", edits.len());
    let mut more = value.clone();
    more["more"] = json!(0);
    edits.push(more);
    for edit in edits {
        let bytes = serde_json::to_vec(&edit).unwrap();
        let error = Forecast::read(&bytes).expect_err(&edit.to_string());
        assert!(matches!(error, ForecastError::Damaged(_)), "{error}");
        assert_eq!(error.code(), 3);
    }
    for bytes in [&b"[]"[..], b"", b"{}", b"null", b"\xff"] {
        assert!(matches!(Forecast::read(bytes), Err(ForecastError::Damaged(_))));
    }
}

#[test]
fn a_hash_made_to_fit_does_not_pass_for_another_cell_or_version() {
    let sealed = |edit: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(forecast()).unwrap();
        edit(&mut value);
        value["sha256"] = json!(seal(&value));
        Forecast::read(&serde_json::to_vec(&value).unwrap())
    };
    assert!(sealed(&|_| {}).is_ok());
    let other = sealed(&|v| v["cell"]["recipe"]["steps"] = json!(1));
    assert!(matches!(other, Err(ForecastError::Damaged(_))), "{other:?}");
    assert_eq!(sealed(&|v| v["version"] = json!(9)), Err(ForecastError::Newer(9)));
    // Numbers that no lock makes: outside its own interval, of another run, of no run at all.
    for (field, number) in [("loss", 2.4), ("loss", -2.0)] {
        let odd = sealed(&|v| v[field]["value"] = json!(number));
        assert!(matches!(odd, Err(ForecastError::Damaged(_))), "{odd:?}");
    }
    for (field, number) in [("params", 1.0), ("tokens", 1.0), ("level", 1.5), ("sd", -1.0)] {
        let odd = sealed(&|v| v[field] = json!(number));
        assert!(matches!(odd, Err(ForecastError::Damaged(_))), "{field}: {odd:?}");
    }
    // An edit with a hash of its own is another forecast, and no attempt names it.
    let better = sealed(&|v| v["loss"]["value"] = json!(2.05)).unwrap();
    let first = forecast().sha256;
    assert!(forecast().precedes(&[(1, Some(&first))]).is_ok());
    let error = better.precedes(&[(1, Some(&first))]).unwrap_err();
    assert!(error.to_string().contains("for another forecast") && error.code() == 2);
}

#[test]
fn every_attempt_must_name_the_forecast() {
    let f = forecast();
    let own = Some(f.sha256.as_str());
    assert!(f.precedes(&[]).is_ok());
    assert!(f.precedes(&[(1, own), (2, own)]).is_ok());
    let error = f.precedes(&[(1, own), (3, None)]).unwrap_err();
    assert!(error.to_string().contains("attempt 3") && error.code() == 2, "{error}");
}

#[test]
fn the_same_forecast_at_another_time_agrees_and_another_number_does_not() {
    let f = forecast();
    let later = Forecast { locked: "now".into(), isoflop: "1".into(), ..f.clone() };
    assert!(f.agrees(&later));
    assert!(!f.agrees(&Forecast { sd: 0.06, ..later }));
}
