//! The loss that infinite N and D leave, averaged over the forms.

use serde::{Deserialize, Serialize};

use super::Estimate;
use super::average::{Average, FormShare};
use super::member::Member;
use crate::fit::Analysis;

/// The loss that infinite N and D leave, averaged over the forms that have such a limit [nats/token].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Irreducible {
    /// E with its interval, of the parameter and not of a run [nats/token].
    pub e: Estimate,
    /// The forms, the weightiest first, with the E of each as its loss.
    pub forms: Vec<FormShare>,
}

/// [`Irreducible`] of a fit; nothing without a surface.
pub fn irreducible(analysis: &Analysis) -> Option<Irreducible> {
    Average::of(analysis).ok()?.irreducible()
}

impl Average<'_> {
    /// The loss that infinite N and D leave: the weighted mean of E over the forms that have one.
    pub(super) fn irreducible(&self) -> Option<Irreducible> {
        let has: Vec<(&Member, f64)> =
            self.members.iter().filter_map(|m| Some((m, m.floor?))).collect();
        let total: f64 = has.iter().map(|(m, _)| m.weight).sum();
        if total <= 0.0 {
            return None;
        }
        let forms: Vec<FormShare> = has
            .iter()
            .map(|(m, e)| FormShare { law: m.law.clone(), weight: m.weight / total, loss: *e })
            .collect();
        let value = forms.iter().map(|f| f.weight * f.loss).sum();
        let drawn: Vec<(f64, f64)> = has
            .iter()
            .flat_map(|(m, _)| m.floors.iter().map(|e| (*e, m.weight / m.floors.len() as f64)))
            .collect();
        Some(Irreducible { e: self.between(value, &drawn)?, forms })
    }
}

#[cfg(test)]
mod tests {
    use super::super::average::tests::told;
    use super::*;

    /// The weighted mean of E, Kaplan's being 0.
    #[test]
    fn the_irreducible_loss_is_averaged_like_the_loss() {
        let analysis = told(&[("chinchilla", 0.75), ("kaplan", 0.25)]);
        let i = irreducible(&analysis).unwrap();
        let e = analysis.fits[0].params.unwrap().e;
        assert!((i.e.value / (0.75 * e) - 1.0).abs() < 1e-12, "{i:?}");
        assert!(i.e.lo == 0.0 && (i.e.hi / e - 1.0).abs() < 0.2, "{i:?}");
        let shares: Vec<(&str, f64)> = i.forms.iter().map(|f| (f.law.as_str(), f.loss)).collect();
        assert_eq!(shares, [("chinchilla", e), ("kaplan", 0.0)]);
    }
}
