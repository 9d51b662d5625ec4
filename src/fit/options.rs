//! What to fit and how, and why nothing could be fitted.

use crate::fit::Pins;

/// What to fit, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where Huber's function turns from square to linear, in ln L [-]. Hoffmann et al. use 1e-3.
    pub delta: f64,
    /// Bootstrap draws [count]; 0 for none, and then no intervals.
    pub bootstrap: usize,
    /// Level of every interval (0, 1).
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// How many of the largest budgets to keep out and predict from the rest [count]; 0 for none.
    pub holdout: usize,
    /// Methods to report. The result lists them in the order of [`Method`].
    pub methods: Vec<Method>,
    /// Parameters that are given and not fitted.
    pub pins: Pins,
}

impl Options {
    /// Whether a method is to be reported.
    pub fn wants(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delta: 1e-3,
            bootstrap: 1000,
            level: 0.9,
            seed: 0,
            holdout: 1,
            methods: Method::ALL.to_vec(),
            pins: Pins::default(),
        }
    }
}

/// A method of fitting, in the order in which results lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// The surface in ln L under Huber's loss (approach 3).
    LseHuber,
    /// The surface in L by least squares (variable projection).
    Varpro,
    /// A parabola for each budget, and a line (approach 2).
    Isoflop,
    /// The lower envelope, and a line (approach 1).
    Envelope,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::LseHuber, Self::Varpro, Self::Isoflop, Self::Envelope];

    /// The name in `fit.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LseHuber => "lse-huber",
            Self::Varpro => "varpro",
            Self::Isoflop => "isoflop",
            Self::Envelope => "envelope",
        }
    }
}

/// Why nothing could be fitted. A refusal is a result, not a crash: the report prints it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Fewer runs than any method needs.
    #[error(
        "`{have}` runs, want at least `{need}`\n\
         hint: finish more cells of the sweep, or look at the excluded rows"
    )]
    TooFewPoints {
        /// Runs in the table.
        have: usize,
        /// Runs the least demanding method needs.
        need: usize,
    },
    /// More runs than can be fitted in a time that anybody waits.
    #[error(
        "{have} runs, and at most {most} are fitted\n\
         hint: a table of runs has one row a run; choose the last row of each with --where, or a part of the study"
    )]
    TooManyPoints {
        /// Runs in the table.
        have: usize,
        /// The cap.
        most: usize,
    },
    /// A value that no fit can use.
    #[error(
        "{row}: {column} is `{value}`, want a finite number above 0\n\
         hint: exclude the row by name, with its reason"
    )]
    BadValue {
        /// Id of the run, or `row 17`.
        row: String,
        /// Column.
        column: &'static str,
        /// The value.
        value: f64,
    },
    /// An option out of range.
    #[error("option {option} is `{value}`, want {want}")]
    BadOption {
        /// Name of the option.
        option: &'static str,
        /// The value.
        value: f64,
        /// What would do.
        want: &'static str,
    },
    /// A pinned value that these runs rule out.
    #[error(
        "{name} is pinned at `{value}`, want {want}\n\
         hint: --pin takes a value in the unit of the fitted losses, as `isoflop fit` without it prints E"
    )]
    BadPin {
        /// The parameter.
        name: &'static str,
        /// The value.
        value: f64,
        /// What would do.
        want: String,
    },
    /// No method has anything to say about these runs.
    #[error(
        "these runs determine no law: {}\n\
         hint: vary N and D independently; four budgets of five sizes each are a small study",
        .what.join("; ")
    )]
    Unidentifiable {
        /// What each method lacks.
        what: Vec<String>,
    },
}
