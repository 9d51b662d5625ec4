//! The `[tune]` block: at which sizes and horizons rates, batches and decay are searched, and how far.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::check::{ensure, out_of_range, positive};
use super::{MAX_CELLS, OptimSpec};
use crate::error::SpecError;
use crate::units::Quantity;

/// More points than anybody searches along one axis.
const MAX_POINTS: u64 = 64;

/// A search for the recipe at a few small cells, from which rules in (N, D) are fitted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneSpec {
    /// Where: sizes and horizons, small enough to search and apart enough to see exponents.
    pub cells: Spanned<Vec<TuneCell>>,
    /// Peak learning rates to try [1/step].
    #[serde(default)]
    pub learning_rate: Option<Spanned<Axis>>,
    /// Batch sizes to try [tokens/step].
    #[serde(default)]
    pub batch_tokens: Option<Spanned<Axis>>,
    /// Weight decays to try, at each cell's best rate and batch.
    #[serde(default)]
    pub weight_decay: Option<Spanned<Axis>>,
    /// Points added at most beyond each end of an axis, while the best lies at that end.
    #[serde(default = "three")]
    pub extend: Spanned<u64>,
    /// How often each configuration is trained, each time from another seed.
    #[serde(default = "one")]
    pub seeds: Spanned<u64>,
}

fn three() -> Spanned<u64> {
    super::spanned::unspanned(3)
}
fn one() -> Spanned<u64> {
    super::spanned::unspanned(1)
}

/// One place of the search.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneCell {
    /// Matmul parameters to aim for [parameters].
    pub params: Spanned<Quantity>,
    /// Training tokens [tokens].
    pub tokens: Spanned<Quantity>,
}

/// What is tried along one axis: `points` values `factor` apart around the rule's, or these `values`.
#[derive(Debug, Clone, Default)]
pub struct Axis {
    /// One value over the one below it, above 1.
    pub factor: Option<f64>,
    /// How many, the middle one being the rule's own where the number is odd.
    pub points: Option<u64>,
    /// The values themselves.
    pub values: Option<Vec<Quantity>>,
}

/// A table and nothing else: a derived reader would take the list `[2.0, 5]` for a factor and points.
impl<'de> Deserialize<'de> for Axis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Axis;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a table, { factor = 1.6, points = 5 } around the rule's own value or { values = [0.005, 0.01, 0.02] }",
                )
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Axis, M::Error> {
                let f = Fields::deserialize(MapAccessDeserializer::new(map))?;
                let values = f.values.map(|List(values)| values);
                Ok(Axis { factor: f.factor.map(|q| q.0), points: f.points.map(|p| p.0), values })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The table of an [`Axis`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    factor: Option<Quantity>,
    #[serde(default)]
    points: Option<Points>,
    #[serde(default)]
    values: Option<List>,
}

/// How many points, in words of its own where it is no whole number.
struct Points(u64);

impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Points;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of points, such as 5")
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Points, E> {
                let points = u64::try_from(v).map(Points);
                points.map_err(|_| E::invalid_value(Unexpected::Signed(v), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The values of an axis.
struct List(Vec<Quantity>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = List;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers, such as [0.005, 0.01, 0.02]")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<List, S::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(List(values))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl Axis {
    /// The values around `centre`, from low to high and each once.
    pub fn around(&self, centre: f64) -> Vec<f64> {
        let mut out: Vec<f64> = if let Some(values) = &self.values {
            values.iter().map(|v| v.0).collect()
        } else {
            let (factor, points) = (self.factor.unwrap_or(2.0), self.points.unwrap_or(1));
            let middle = points.saturating_sub(1) as f64 / 2.0;
            (0..points).map(|i| centre * factor.powf(i as f64 - middle)).collect()
        };
        out.sort_by(f64::total_cmp);
        out.dedup();
        out
    }

    fn len(&self) -> u64 {
        self.values.as_ref().map_or(self.points.unwrap_or(0), |v| v.len() as u64)
    }
}

/// Ranges, and the number of configurations before any is expanded.
pub(super) fn check(tune: &TuneSpec, optim: &OptimSpec) -> Result<(), SpecError> {
    let cells = tune.cells.get_ref();
    ensure(!cells.is_empty() && cells.len() <= 1000, || SpecError::OutOfRange {
        field: "tune.cells",
        span: tune.cells.span(),
        got: format!("{} cells", cells.len()),
        want: "1 to 1000 cells",
        hint: "two sizes at two horizons, { params = \"10k\", tokens = \"600k\" }, show both exponents",
    })?;
    for cell in cells {
        let size = "sizes are parameters, such as 3e4 or \"30M\"";
        positive("tune.cells.params", cell.params.span(), cell.params.get_ref().0, size)?;
        let horizon = "tokens, such as 5e6 or \"2B\"";
        positive("tune.cells.tokens", cell.tokens.span(), cell.tokens.get_ref().0, horizon)?;
    }
    let decay = optim.weight_decay.get_ref().value;
    for (field, of, least) in [
        ("tune.learning_rate", &tune.learning_rate, None),
        ("tune.batch_tokens", &tune.batch_tokens, None),
        ("tune.weight_decay", &tune.weight_decay, Some(decay)),
    ] {
        if let Some(of) = of {
            axis(field, of, least)?;
        }
    }
    let axes = [&tune.learning_rate, &tune.batch_tokens, &tune.weight_decay];
    ensure(axes.iter().any(|a| a.is_some()), || SpecError::OutOfRange {
        field: "tune",
        span: tune.cells.span(),
        got: "without an axis".to_owned(),
        want: "at least one of learning_rate, batch_tokens, weight_decay",
        hint: "learning_rate = { factor = 1.6, points = 5 }",
    })?;
    ensure(*tune.extend.get_ref() <= 20, || {
        out_of_range("tune.extend", &tune.extend, "at most 20", "3 is usual, 0 for none")
    })?;
    ensure((1..=100).contains(tune.seeds.get_ref()), || {
        out_of_range("tune.seeds", &tune.seeds, "a number between 1 and 100", "1 is usual")
    })?;
    let length = |a: &Option<Spanned<Axis>>| a.as_ref().map_or(1, |a| a.get_ref().len());
    let each = length(&tune.learning_rate) * length(&tune.batch_tokens)
        + tune.weight_decay.as_ref().map_or(0, |a| a.get_ref().len());
    let all = each * cells.len() as u64 * tune.seeds.get_ref();
    ensure((1..=MAX_CELLS).contains(&all), || SpecError::GridSize {
        span: tune.cells.span(),
        cells: Some(all),
        max: MAX_CELLS,
    })
}

/// `decay`: the rule's weight decay, for the one axis on which zero is a value.
fn axis(field: &'static str, axis: &Spanned<Axis>, decay: Option<f64>) -> Result<(), SpecError> {
    let refuse = |got: String, want, hint| {
        Err(SpecError::OutOfRange { field, span: axis.span(), got, want, hint })
    };
    match axis.get_ref() {
        Axis { factor: None, points: None, values: Some(values) } => {
            let good =
                |v: &Quantity| v.0.is_finite() && (v.0 > 0.0 || decay.is_some() && v.0 == 0.0);
            let many = (1..=MAX_POINTS).contains(&(values.len() as u64));
            if many && values.iter().all(good) {
                return Ok(());
            }
            let list: Vec<f64> = values.iter().map(|v| v.0).collect();
            let want = "1 to 64 finite numbers above 0 (weight_decay may be 0)";
            refuse(format!("{list:?}"), want, "three or more show a minimum")
        }
        Axis { factor: Some(factor), points: Some(points), values: None } => {
            let good = (1.01..=100.0).contains(factor) && (1..=MAX_POINTS).contains(points);
            if !good {
                let want = "a factor of 1.01 to 100 and 1 to 64 points";
                let hint = "{ factor = 1.6, points = 5 }: three or more show a minimum";
                return refuse(format!("factor {factor}, points {points}"), want, hint);
            }
            if decay == Some(0.0) {
                let want = "values, because optim.weight_decay is 0";
                let hint = "weight_decay = { values = [0.0, 0.03, 0.1, 0.3] }";
                return refuse("a factor around 0".to_owned(), want, hint);
            }
            Ok(())
        }
        _ => refuse(
            "neither of the two forms".to_owned(),
            "either factor and points, or values",
            "{ factor = 1.6, points = 5 } around the rule's value, or { values = [0.01, 0.02, 0.04] }",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    fn sweep(tune: &str) -> String {
        format!("{}{tune}", crate::plan::tests::SWEEP)
    }

    /// In particular `[2.0, 5]`, which a derived reader takes for a factor and points.
    #[test]
    fn an_axis_of_a_wrong_type_is_refused_in_plain_words() {
        for (axis, want) in [
            ("[2.0, 5]", "sequence, expected a table, { factor = 1.6, points = 5 }"),
            ("0.01", "expected a table, { factor = 1.6, points = 5 }"),
            ("{ factor = \"wide\", points = 5 }", "expected a number such as"),
            ("{ factor = 1.6, points = 2.5 }", "expected a whole number of points, such as 5"),
            ("{ factor = 1.6, points = -1 }", "expected a whole number of points, such as 5"),
            ("{ values = 0.01 }", "expected a list of numbers, such as"),
            ("{ values = [true] }", "expected a number such as"),
        ] {
            let table = format!("learning_rate = {axis}\n");
            let read = toml::from_str::<std::collections::BTreeMap<String, Spanned<Axis>>>(&table);
            let told = read.unwrap_err().to_string();
            assert!(told.contains(want) && told.contains(axis), "{axis}: {told}");
            assert!(!told.contains("struct Axis") && !told.contains("u64"), "{told}");
        }
    }

    #[test]
    fn an_axis_is_centred_on_the_rule() {
        let axis = |points| Axis { factor: Some(2.0), points: Some(points), values: None };
        assert_eq!(axis(3).around(8.0), [4.0, 8.0, 16.0]);
        let two = axis(2).around(8.0);
        assert!((two[0] * two[1] - 64.0).abs() < 1e-12 && (two[1] / two[0] - 2.0).abs() < 1e-12);
        let listed = Axis { values: Some([3.0, 0.0, 3.0].map(Quantity).into()), ..Axis::default() };
        assert_eq!(listed.around(8.0), [0.0, 3.0]);
    }

    #[test]
    fn a_bad_block_is_refused_with_its_place() {
        let cells = "cells = [{ params = \"10k\", tokens = \"600k\" }]";
        let good = format!("[tune]\n{cells}\nlearning_rate = {{ factor = 1.6, points = 5 }}\n");
        let spec = Spec::parse(&sweep(&good)).unwrap();
        assert_eq!(*spec.tune.unwrap().get_ref().extend.get_ref(), 3);
        for (text, marked) in [
            ("[tune]\ncells = []\nlearning_rate = { factor = 1.6, points = 5 }\n", "[]"),
            (&*format!("[tune]\n{cells}\n"), "[{ params"),
            (&*format!("[tune]\n{cells}\nlearning_rate = {{ factor = 1.6 }}\n"), "{ factor"),
            (
                &*format!("[tune]\n{cells}\nlearning_rate = {{ factor = 1.0, points = 5 }}\n"),
                "{ factor",
            ),
            (&*format!("[tune]\n{cells}\nlearning_rate = {{ values = [0.0, 0.1] }}\n"), "{ values"),
            (
                &*format!("[tune]\n{cells}\nweight_decay = {{ factor = 2.0, points = 3 }}\n"),
                "{ factor",
            ),
            (&*good.replace("600k", "-1"), "\"-1\""),
            (&*format!("{good}seeds = 0\n"), "0"),
        ] {
            let text = sweep(text);
            match Spec::parse(&text).unwrap_err() {
                SpecError::OutOfRange { span, .. } => assert!(text[span].starts_with(marked)),
                other => panic!("{other}"),
            }
        }
        let many = good.replace("points = 5", "points = 64") + "seeds = 100\n";
        let many = many + "batch_tokens = { factor = 2.0, points = 64 }\n";
        assert!(matches!(Spec::parse(&sweep(&many)), Err(SpecError::GridSize { .. })));
        let positive =
            sweep(&format!("[tune]\n{cells}\nweight_decay = {{ factor = 2.0, points = 3 }}\n"));
        let positive =
            positive.replace("batch_tokens = 1024", "batch_tokens = 1024\nweight_decay = 0.1");
        assert!(Spec::parse(&positive).is_ok());
    }
}
