//! What a law may know of a run, and where it is seen from.

use crate::fit::numeric::dual::Real;
use crate::points::Point;

/// What a law may know of a run, or of eight: natural logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run<R = f64> {
    /// ln N.
    pub n: R,
    /// ln D.
    pub d: R,
    /// ln of the distinct tokens U; not above ln D.
    pub u: R,
    /// ln C.
    pub c: R,
}

impl Run {
    /// A run of `params` parameters on `tokens` fresh tokens at C = 6ND [parameters, tokens].
    pub fn new(params: f64, tokens: f64) -> Self {
        let (n, d) = (params.ln(), tokens.ln());
        Self { n, d, u: d, c: 6.0_f64.ln() + n + d }
    }

    /// The same with `unique` distinct tokens; more than D are D [tokens].
    #[must_use]
    pub fn unique(self, unique: f64) -> Self {
        Self { u: unique.ln().min(self.d), ..self }
    }

    /// The same at another compute [FLOP].
    #[must_use]
    pub fn flops(self, flops: f64) -> Self {
        Self { c: flops.ln(), ..self }
    }

    pub(in crate::fit) fn of(point: &Point) -> Self {
        let run = Self::new(point.params, point.tokens).flops(point.flops);
        point.unique_tokens.map_or(run, |unique| run.unique(unique))
    }
}

/// Where the working parameters see the data from: mean ln N, ln D and ln C.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Centre {
    pub(in crate::fit) n: f64,
    pub(in crate::fit) d: f64,
    pub(in crate::fit) c: f64,
}

impl Centre {
    /// N = D = C = 1: factors as the papers print them.
    pub(in crate::fit) const ORIGIN: Self = Self { n: 0.0, d: 0.0, c: 0.0 };
}

/// ln N, ln D and ln C from the centre.
#[inline(always)]
pub(in crate::fit) fn size<R: Real>(run: &Run<R>, centre: &Centre) -> R {
    run.n - R::all(centre.n)
}

#[inline(always)]
pub(in crate::fit) fn data<R: Real>(run: &Run<R>, centre: &Centre) -> R {
    run.d - R::all(centre.d)
}

#[inline(always)]
pub(in crate::fit) fn compute_of<R: Real>(run: &Run<R>, centre: &Centre) -> R {
    run.c - R::all(centre.c)
}
