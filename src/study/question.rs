//! A question to a fit, by whatever is settled already, and its answers.

use serde::Serialize;

use super::Failure;
use crate::describe::{self, Scale};
use crate::error::InputError;
use crate::fit::Analysis;
use crate::predict::hardware::Hardware;
use crate::predict::{
    Chosen, Demand, Fixed, Inverse, Limited, PredictError, Prediction, Quality, Repetition,
    Serving, at_flops, chosen, chosen_params, chosen_tokens, limited, optimal_with, repeating,
    serving,
};

/// What is settled; the rest is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// Training compute C, an answer each [FLOP].
    pub flops: Vec<f64>,
    /// Model size N [parameters].
    pub params: Option<f64>,
    /// Training tokens D [tokens].
    pub tokens: Option<f64>,
    /// Loss to reach, in the unit of the fit.
    pub loss: Option<f64>,
    /// What is to be served over the model's life.
    pub demand: Option<Demand>,
    /// Distinct tokens that exist; more are repetitions [tokens].
    pub tokens_available: Option<f64>,
    /// Decay of repeated tokens and of excess parameters, instead of what the fit knows.
    pub repeat_decay: Option<(f64, f64)>,
}

/// An answer to any question. Untagged: it is written and never read, and its fields tell it apart.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The compute-optimal run of a compute.
    Optimal(Prediction),
    /// The compute-optimal run of a size, of tokens or of a loss.
    Inverse(Inverse),
    /// A run that is settled.
    Chosen(Chosen),
    /// The cheapest run to train and serve.
    Serving(Serving),
    /// The best run of a compute on tokens that end.
    Limited(Limited),
}

impl Question {
    /// Refuses a question that settles a run twice, or not at all.
    ///
    /// # Errors
    ///
    /// [`Failure`] that says what is missing, in words of the command line.
    pub fn check(&self) -> Result<(), Failure> {
        let budgets = &self.flops;
        let settled = self.params.is_some() || self.tokens.is_some() || self.loss.is_some();
        if self.params.is_some() && self.tokens.is_some() && !budgets.is_empty() {
            let message = "--params, --tokens and a budget settle the run twice";
            return Err(InputError::new(message, "leave one of the three out").into());
        }
        if self.demand.is_some() && self.loss.is_none() && budgets.is_empty() {
            let message = "--inference-tokens does not say how good the model must be";
            let hint =
                "add --flops C, to be as good as the compute-optimal model of C, or --loss L";
            return Err(InputError::new(message, hint).into());
        }
        let whole = self.params.is_some() && self.tokens.is_some();
        if self.tokens_available.is_some() && budgets.is_empty() && !whole {
            let message = "--tokens-available does not say which run is to repeat them";
            let hint = "add --flops C for the best run of C, or --params N --tokens D for that run";
            return Err(InputError::new(message, hint).into());
        }
        if !settled && budgets.is_empty() {
            let message = "nothing is settled, so there is nothing to predict";
            let hint = "give --flops C; `isoflop predict --help` lists the other questions";
            return Err(InputError::new(message, hint).into());
        }
        Ok(())
    }

    /// The answers of a fit, one for each compute that was given.
    ///
    /// # Errors
    ///
    /// [`PredictError`] where the fit has no law, or none that reaches there.
    pub fn ask(&self, analysis: &Analysis) -> Result<Vec<Answer>, PredictError> {
        let budgets = &self.flops[..];
        let each = |answer: &dyn Fn(f64) -> Result<Answer, PredictError>| {
            budgets.iter().map(|c| answer(*c)).collect()
        };
        let one = |answer: Result<Answer, PredictError>| answer.map(|a| vec![a]);
        let inverse = |fixed| one(optimal_with(analysis, fixed).map(Answer::Inverse));
        let decays = || {
            let given = self.repeat_decay.map(|(tokens, params)| Repetition::given(tokens, params));
            given.unwrap_or_else(|| Repetition::known(analysis))
        };
        let free = self.params.is_none() && self.tokens.is_none();
        if let Some(unique) = self.tokens_available.filter(|_| free) {
            let law = decays();
            return each(&|c| limited(analysis, c, unique, &law).map(Answer::Limited));
        }
        // A settled run, on fresh tokens or on those that exist.
        let settled = |run: Result<Chosen, PredictError>| {
            let run = match self.tokens_available {
                None => run,
                Some(unique) => run.and_then(|run| repeating(analysis, run, unique, &decays())),
            };
            run.map(Answer::Chosen)
        };
        if let Some(demand) = self.demand {
            let serve = |quality| serving(analysis, quality, demand).map(Answer::Serving);
            return match self.loss {
                Some(loss) => one(serve(Quality::Loss(loss))),
                None => each(&|c| serve(Quality::OptimalAt(c))),
            };
        }
        match (self.params, self.tokens, self.loss, budgets) {
            (_, _, Some(loss), _) => inverse(Fixed::Loss(loss)),
            (Some(n), Some(d), ..) => one(settled(chosen(analysis, n, d))),
            (Some(n), None, None, []) => inverse(Fixed::Params(n)),
            (None, Some(d), None, []) => inverse(Fixed::Tokens(d)),
            (Some(n), ..) => each(&|c| settled(chosen_params(analysis, c, n))),
            (None, Some(d), ..) => each(&|c| settled(chosen_tokens(analysis, c, d))),
            (None, None, None, _) => each(&|c| at_flops(analysis, c).map(Answer::Optimal)),
        }
    }
}

impl Answer {
    /// What a screen says of it.
    pub fn described(&self, scale: &Scale) -> describe::Answer {
        match self {
            Self::Optimal(p) => describe::optimal(p, scale),
            Self::Inverse(p) => describe::inverse(p, scale),
            Self::Chosen(p) => describe::chosen(p, scale),
            Self::Serving(p) => describe::serving(p, scale),
            Self::Limited(p) => describe::limited(p, scale),
        }
    }

    /// Adds the time and money of the training.
    pub fn price(&mut self, hardware: &Hardware) {
        let (cost, flops) = match self {
            Self::Optimal(p) => (&mut p.cost, p.flops),
            Self::Inverse(p) => (&mut p.cost, p.flops.value),
            Self::Chosen(p) => (&mut p.cost, p.flops),
            Self::Serving(p) => (&mut p.cost, p.training_flops.value),
            Self::Limited(p) => (&mut p.cost, p.flops),
        };
        *cost = Some(hardware.cost(flops));
    }
}
