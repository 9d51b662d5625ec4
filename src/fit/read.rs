//! A fit.json, read back: its fields, and whether its numbers can be those of a fit.
//!
//! Whoever reads a fit draws conclusions from it, so a file with a loss below zero or an interval upside down is
//! refused by the name of the number. What a fit may say and be wrong about is not judged here.

use crate::fit::{Analysis, Compute, Draws, FIT_VERSION, Fit};
use crate::points::Point;
use crate::sound::{Refused, above, level, not_negative, ordered, share};

/// Why a file is no fit to predict from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Other JSON, or none.
    #[error("is not a fit.json: {0}")]
    Syntax(String),
    /// A number that no fit has.
    #[error("is not a fit.json: {0}")]
    Value(String),
    /// Of a newer isoflop.
    #[error("was written by a newer isoflop")]
    Newer,
}

impl Analysis {
    /// Reads a fit.json.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: not JSON of that form, a number that no fit has, or a version above [`FIT_VERSION`].
    pub fn read(json: &[u8]) -> Result<Self, ReadError> {
        let analysis: Self =
            serde_json::from_slice(json).map_err(|e| ReadError::Syntax(e.to_string()))?;
        if analysis.version > FIT_VERSION {
            return Err(ReadError::Newer);
        }
        analysis.check().map_err(ReadError::Value)?;
        Ok(analysis)
    }

    /// The first number that no fit has, by its place.
    fn check(&self) -> Refused {
        for (name, points) in [("points", &self.points), ("repeated", &self.repeated)] {
            points.iter().enumerate().try_for_each(|(i, p)| run(&format!("{name}[{i}]"), p))?;
        }
        if self.points.is_empty() && !(self.fits.is_empty() && self.laws.is_empty()) {
            return Err("points is empty, and there are fits".to_owned());
        }
        if let Compute::Attention { k, q, .. } = self.compute {
            // A share of 6N that is not there: N counts parameters which do no work. Some must be left.
            let least = if q == 1.0 { -6.0 } else { 0.0 };
            if !k.is_finite() || k < least || k == -6.0 {
                return Err(format!("compute.k is {k}, want a finite number from {least} on"));
            }
            not_negative("compute.q", q)?;
        }
        self.fits.iter().enumerate().try_for_each(|(i, f)| fit(&format!("fits[{i}]"), f))?;
        for (i, law) in self.laws.iter().enumerate() {
            not_negative(&format!("laws[{i}].residual_sd"), law.residual_sd)?;
            law.weight.iter().try_for_each(|w| share(&format!("laws[{i}].weight"), *w))?;
        }
        if let Some(averaging) = &self.averaging {
            not_negative("averaging.discrepancy", averaging.discrepancy)?;
            for (i, form) in averaging.forms.iter().enumerate() {
                share(&format!("averaging.forms[{i}].weight"), form.weight)?;
            }
        }
        if let Some(noise) = &self.noise {
            not_negative("noise.sd", noise.sd)?;
        }
        if let Some(size) = &self.sample_size {
            not_negative("sample_size.effective", size.effective)?;
            share("sample_size.shared", size.shared)?;
        }
        let amounts = [
            ("corpus", self.corpus),
            ("bytes_per_token", self.bytes_per_token),
            ("uniform_loss", self.uniform_loss),
        ];
        amounts.iter().try_for_each(|(name, v)| v.iter().try_for_each(|v| above(name, *v)))
    }
}

fn run(place: &str, p: &Point) -> Refused {
    let needed = [("params", p.params), ("tokens", p.tokens), ("flops", p.flops), ("loss", p.loss)];
    let known = [("budget", p.budget), ("unique_tokens", p.unique_tokens)];
    let known = known.into_iter().filter_map(|(name, v)| Some((name, v?)));
    needed.into_iter().chain(known).try_for_each(|(name, v)| above(&format!("{place}.{name}"), v))
}

fn fit(place: &str, f: &Fit) -> Refused {
    level(&format!("{place}.level"), f.level)?;
    for (name, interval) in &f.intervals {
        ordered(&format!("{place}.intervals.{name}"), *interval)?;
    }
    f.residual_sd.iter().try_for_each(|sd| not_negative(&format!("{place}.residual_sd"), *sd))?;
    let drawn = match &f.draws {
        Draws::Surfaces(draws) => draws.as_slice(),
        Draws::Frontiers(_) => &[],
    };
    let fitted = f.params.iter().map(|s| ("params", s));
    for (name, s) in fitted.chain(drawn.iter().map(|s| ("draws", s))) {
        for (of, value) in [("A", s.a), ("B", s.b), ("alpha", s.alpha), ("beta", s.beta)] {
            not_negative(&format!("{place}.{name}: {of}"), value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FIT: &str = include_str!("../../tests/corpus/fit/surface.json");

    #[test]
    fn a_number_that_no_fit_has_is_refused_by_its_place() {
        assert!(Analysis::read(FIT.as_bytes()).is_ok());
        for (place, number, name) in [
            ("/points/3/loss", json!(-1.0), "points[3].loss"),
            ("/points/0/flops", json!(0.0), "points[0].flops"),
            ("/fits/0/level", json!(1.0), "fits[0].level"),
            ("/fits/1/intervals/E", json!([2.0, 1.0]), "fits[1].intervals.E"),
            ("/fits/0/residual_sd", json!(-0.1), "fits[0].residual_sd"),
            ("/fits/0/params/alpha", json!(-0.3), "fits[0].params: alpha"),
            ("/fits/0/draws/surfaces/5/A", json!(-1.0), "fits[0].draws: A"),
            ("/averaging/forms/0/weight", json!(1.5), "averaging.forms[0].weight"),
            ("/averaging/discrepancy", json!(-1.0), "averaging.discrepancy"),
        ] {
            let mut fit: Value = serde_json::from_str(FIT).unwrap();
            *fit.pointer_mut(place).unwrap() = number;
            let refused = Analysis::read(&serde_json::to_vec(&fit).unwrap()).unwrap_err();
            assert!(
                matches!(&refused, ReadError::Value(why) if why.starts_with(name)),
                "{refused}"
            );
        }
        let newer = FIT.replacen("\"version\":3", "\"version\":99", 1);
        assert_eq!(Analysis::read(newer.as_bytes()), Err(ReadError::Newer));
        assert!(matches!(Analysis::read(b"{}"), Err(ReadError::Syntax(_))));
    }
}
