//! The average, to be asked for many runs: the curves of a figure, a backtest.

use super::average::Average;
use super::belief::Belief as _;
use super::method::{self, MethodPrediction};
use super::repetition::{Corpus, Repetition, repeated};
use super::{Estimate, path};
use crate::fit::Analysis;

/// The average, to be asked for the loss of many runs: the curves of a figure, a backtest.
pub struct MeanLoss<'a>(Average<'a>);

impl<'a> MeanLoss<'a> {
    /// Nothing without a surface.
    pub fn new(analysis: &'a Analysis) -> Option<Self> {
        Average::of(analysis).ok().map(Self)
    }

    /// Loss of a run of `params` parameters on `tokens` fresh tokens [nats/token].
    pub fn at(&self, params: f64, tokens: f64) -> Option<f64> {
        path::sound(self.0.ln_loss(params.ln(), tokens.ln()).exp())
    }

    /// The same with its prediction interval for one run.
    pub fn interval(&self, params: f64, tokens: f64) -> Option<Estimate> {
        Some(self.0.loss(params, tokens)?.loss)
    }

    /// What each method says of `flops`, in the order in which they lead.
    pub fn methods(&self, flops: f64) -> Vec<MethodPrediction> {
        method::all(&self.0, flops)
    }

    /// N* at `flops` with its interval, which holds the choice of form and of method [parameters].
    pub fn size(&self, flops: f64) -> Option<Estimate> {
        let ln_n = self.0.best(flops.ln())?;
        let drawn: Vec<(f64, f64)> =
            self.0.sizes(flops.ln(), ln_n).into_iter().map(|(n, w)| (n.exp(), w)).collect();
        self.0.between(ln_n.exp(), &drawn)
    }

    /// The same for a run that has `unique` distinct tokens.
    pub fn repeated(&self, params: f64, tokens: f64, unique: f64) -> Option<Estimate> {
        let analysis = self.0.lead.analysis;
        let corpus = Corpus::new(analysis, unique, &Repetition::known(analysis)).ok()?;
        Some(repeated(&self.0, &corpus, (params.ln(), tokens.ln()))?.0.loss)
    }

    /// The compute-optimal run at `flops` (N*, D*) [parameters, tokens].
    pub fn best(&self, flops: f64) -> Option<(f64, f64)> {
        let ln_n = self.0.best(flops.ln())?;
        let ln_d = flops.ln() - self.0.compute().log_per_token(ln_n).0;
        Some((path::sound(ln_n.exp())?, path::sound(ln_d.exp())?))
    }
}
