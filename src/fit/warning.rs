//! What a reader must know before believing a number: a code for programs, a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One warning. In `fit.json`: `{"code": "ill-conditioned", "text": "varpro: condition number ..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What kind of doubt.
    pub code: Code,
    /// The doubt itself, with its numbers, as one sentence.
    pub text: String,
}

/// Kinds of doubt. Names in files are in kebab case and stay what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// Nothing could be fitted at all.
    NoFit,
    /// Parameters were given and not fitted.
    Pinned,
    /// Rows of the table are not in the fit.
    RowsExcluded,
    /// A method has no answer for these runs.
    MethodMissing,
    /// A parameter ended at a bound: not determined by these runs.
    AtBound,
    /// Fewer than half of the starts reach the best optimum.
    FewStartsAgree,
    /// Some parameters trade off almost freely.
    IllConditioned,
    /// The optimiser stopped before the gradient vanished.
    NotConverged,
    /// Normalised loss curves that do not lie with the others.
    OffCollapse,
    /// Runs far from the law.
    Outliers,
    /// No bootstrap, so no intervals.
    NoIntervals,
    /// More than one bootstrap refit in twenty failed.
    DrawsFailed,
    /// Bootstrap and profile likelihood give intervals of unlike width.
    IntervalsDiffer,
    /// An end of a profile interval that the runs do not set.
    OpenInterval,
    /// Held-out text that tells the loss less well than is wanted.
    HeldOutNoise,
    /// Held-out losses that part from the training losses.
    HeldOutGap,
    /// Rows that repeat another's N, D and loss to the digit.
    Copies,
    /// The law misses by more than seeds scatter.
    LackOfFit,
    /// Methods whose intervals exclude each other's values.
    MethodsDisagree,
    /// Too few budgets, or too close together.
    FewBudgets,
    /// Parabolas through as many runs as they have coefficients.
    ExactParabolas,
    /// Runs whose compute is not that of their budget.
    OffBudget,
    /// The parabolas of approach 2 miss the optimum by design.
    DesignBias,
    /// FLOPs per token are not a function of N alone.
    ComputeFormula,
    /// No budget could be held out.
    NoHoldout,
    /// Choices after which the runs determine no law.
    ChoicesFail,
    /// Another form of law is clearly better than Chinchilla's.
    AnotherForm,
    /// Forms that the runs do not rule out disagree beyond the leading fit's interval.
    FormsDisagree,
    /// A form that says nothing of a run, and is not in its average.
    FormUnheard,
    /// E outside the known entropy's reach.
    EntropyOutside,
    /// A measured loss below the known entropy.
    BelowEntropy,
    /// A prediction beyond the runs.
    Extrapolation,
    /// A prediction farther beyond the runs than any published forecast that was met.
    FarExtrapolation,
    /// A prediction far below the runs.
    BelowRuns,
    /// Tokens per parameter that no run has tried.
    RatioBeyondRuns,
    /// A predicted loss above that of a guess which favours no token.
    LossAboveGuess,
    /// A predicted loss above every measured one.
    LossAboveRuns,
    /// Draws in which no compute reaches the loss asked for: the interval is of the others.
    LossOutOfReach,
    /// A run that repeats its tokens more often than the runs of the fit.
    RepeatsTokens,
    /// Repeated tokens valued by a law that was fitted to somebody else's runs.
    BorrowedRepetition,
    /// Which column of a table was taken for what, where another could have been.
    ColumnChoice,
    /// Rates, batches or other settings that differ between runs of equal N and D.
    SweptSettings,
    /// Rows of a table that are checkpoints of one run.
    Checkpoints,
    /// Runs that saw tokens more than once.
    RepeatedTokens,
    /// Numbers of an unlikely size.
    UnlikelySize,
    /// Intervals of a backtest that hold clearly less than they promise.
    CoverageBelow,
    /// And clearly more.
    CoverageAbove,
}

impl Code {
    /// Whether a doubt of this kind about a fit is one about the answers that are predicted from it, and is repeated
    /// beside them. Not those that an answer tells of itself, those of one form's E and exponents, which no answer
    /// rests on alone, and those that say which rows were used as they should be.
    pub(crate) fn bears_on_answers(self) -> bool {
        !matches!(
            self,
            Self::Pinned
                | Self::NoIntervals
                | Self::MethodMissing
                | Self::AnotherForm
                | Self::DesignBias
                | Self::RowsExcluded
                | Self::Checkpoints
                | Self::RepeatedTokens
        )
    }
}

impl Warning {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
