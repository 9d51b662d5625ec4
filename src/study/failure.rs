//! Why a study could not go on, as a person reads it: the errors of every part, with hint and exit code.

use serde::Serialize;

use crate::data::DataError;
use crate::error::{FileError, InputError, exit};
use crate::exec::slurm::SubmitError;
use crate::fit::FitError;
use crate::forecast::ForecastError;
use crate::import::ImportError;
use crate::predict::PredictError;

/// What could not be done, as a person reads it.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong, without `error:`; may have several lines, the last a hint.
    pub message: String,
    /// One of [`exit`].
    pub code: u8,
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let hint = error.hint.as_ref().map_or_else(String::new, |h| format!("\nhint: {h}"));
        Self { message: format!("{error}{hint}"), code: error.code }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let hint = error.hint();
        Self { message: format!("{error}\nhint: {hint}"), code: error.code() }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::File(e) => e.into(),
            DataError::Input(e) => e.into(),
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::File(e) => e.into(),
            ImportError::Input(e) => e.into(),
        }
    }
}

impl From<FitError> for Failure {
    fn from(error: FitError) -> Self {
        Self { message: error.to_string(), code: exit::INPUT }
    }
}

impl From<ForecastError> for Failure {
    fn from(error: ForecastError) -> Self {
        Self { message: format!("{error}\nhint: {}", error.hint()), code: error.code() }
    }
}

impl From<PredictError> for Failure {
    fn from(error: PredictError) -> Self {
        Self { message: error.to_string(), code: exit::INPUT }
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::File(e) => e.into(),
            SubmitError::Slurm(e) => e.into(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A value as JSON, for a file that people look at too.
pub(super) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("no map of ours has other keys than text")
}
