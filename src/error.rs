//! Errors as a person reads them: what, where, and what to do next; and the exit code of each class.
//!
//! Every other module has its own error enum where it has a door; this file holds the sweep file's and
//! the shared rendering.

use std::ops::Range;
use std::path::PathBuf;

/// Exit codes, documented in the README and stable.
pub mod exit {
    /// A bug of ours, or a cell that failed.
    pub const BUG: u8 = 1;
    /// Bad input: a sweep file, a table, a path, a device that is not there.
    pub const INPUT: u8 = 2;
    /// A damaged record.
    pub const DAMAGED: u8 = 3;
    /// Try again: the disk is full, another run is at work.
    pub const AGAIN: u8 = 75;
}

/// Bad input that is not in a sweep file's text, with a hint.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct InputError {
    /// What is wrong, with the value and the place.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
    /// One of [`exit`].
    pub code: u8,
}

impl InputError {
    /// Bad input, exit code 2.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), code: exit::INPUT }
    }

    /// The same with another exit code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

/// The text of a panic, without the lines on backtraces that CubeCL puts into it.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "without a message".to_owned());
    let telling = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("No backtrace") && line != "Asked at:"
    };
    text.lines().filter(telling).collect::<Vec<_>>().join("\n")
}

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}", path.display())]
pub struct FileError {
    /// `read`, `write`, `create` ...
    pub action: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

impl FileError {
    /// Wraps an I/O error with what was tried on which path.
    pub fn new(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self { action, path, source }
    }

    /// 75 where waiting may help (disk full, quota, interrupted), else 2.
    pub fn code(&self) -> u8 {
        use std::io::ErrorKind as K;
        match self.source.kind() {
            K::StorageFull | K::QuotaExceeded | K::Interrupted | K::ResourceBusy => exit::AGAIN,
            _ => exit::INPUT,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        use std::io::ErrorKind as K;
        #[cfg(unix)]
        match self.source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => {
                return "raise the limit of open files (`ulimit -n`), or lower --workers";
            }
            Some(libc::ENOLCK) => {
                return "the file system has no locks: ask for them, or put --results elsewhere";
            }
            Some(libc::ESTALE) => {
                return "the file server lost this directory: mount it anew, then repeat the command";
            }
            _ => {}
        }
        match self.source.kind() {
            K::NotFound if self.action == "read" => {
                "check the path; paths are relative to where the command runs"
            }
            K::NotFound => "its directory is not there (any more); the same command makes it anew",
            K::PermissionDenied if self.action == "read" => {
                "ask its owner for the right to read it (`ls -l` shows who that is)"
            }
            K::InvalidInput if self.action == "read" => {
                "only regular files are read: write what a pipe or a device gives into one first"
            }
            K::FileTooLarge if self.action == "read" => {
                "is it the right file? docs/FORMATS.md has the limits"
            }
            K::PermissionDenied | K::ReadOnlyFilesystem => {
                "choose a directory that can be written, with --results, --analysis or --out"
            }
            K::QuotaExceeded => "free some of your quota; the same command then goes on",
            K::StorageFull => "free some space; the same command then goes on",
            K::FileTooLarge if self.action != "read" => {
                "raise the limit of file sizes (`ulimit -f`); the same command then goes on"
            }
            _ => "nothing that was recorded is lost; mend the cause and repeat the command",
        }
    }
}

/// Whether an error is of one file alone: with others all may be well. One of the process or of the file server
/// says nothing of the file.
pub fn is_of_one_file(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    #[cfg(unix)]
    if let Some(libc::EMFILE | libc::ENFILE | libc::ENOLCK | libc::ESTALE) = error.raw_os_error() {
        return false;
    }
    !matches!(error.kind(), K::OutOfMemory | K::Interrupted | K::StaleNetworkFileHandle)
}

/// A sweep file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Not TOML, or not our TOML. `toml` renders the line and a caret by itself.
    #[error("{0}")]
    Syntax(Box<toml::de::Error>),
    /// A value that makes no sense.
    #[error("`{field}` is {got}, want {want}")]
    OutOfRange {
        /// Dotted path of the key.
        field: &'static str,
        /// Where in the text [bytes]; empty where the place is not known.
        span: Range<usize>,
        /// The value.
        got: String,
        /// The accepted values.
        want: &'static str,
        /// What to try.
        hint: &'static str,
    },
    /// A grid that is empty or too large.
    #[error("the grid has {} cells, want 1 to {max}", cells.map_or("more than 2^64".to_owned(), |c| c.to_string()))]
    GridSize {
        /// Where in the text [bytes].
        span: Range<usize>,
        /// How many, if that fits.
        cells: Option<u64>,
        /// The cap.
        max: u64,
    },
    /// A file too long to be a sweep.
    #[error("the file has {bytes} bytes, at most {max} are read")]
    TooLong {
        /// Its length [bytes].
        bytes: usize,
        /// The cap [bytes].
        max: usize,
    },
}

impl SpecError {
    fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::OutOfRange { span, .. } | Self::GridSize { span, .. } => {
                Some(span.clone()).filter(|s| !s.is_empty())
            }
            Self::Syntax(_) | Self::TooLong { .. } => None,
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::OutOfRange { hint, .. } => hint,
            Self::GridSize { .. } => "drop an axis value, or split the file into two sweeps",
            Self::Syntax(_) => {
                "docs/FORMATS.md lists every key; sweeps/quickstart.toml is a commented example"
            }
            Self::TooLong { .. } => "a sweep file holds a grid, not data",
        }
    }

    /// The message with the offending line under it and a hint. No colour.
    pub fn render(&self, path: &str, text: &str) -> String {
        if matches!(self, Self::Syntax(_)) {
            return format!("{path}: {}\nhint: {}\n", self.to_string().trim_end(), self.hint());
        }
        let mut out = format!("{self}\n");
        match self.span().filter(|s| s.end <= text.len()) {
            None => out += &format!("  --> {path}\n"),
            Some(span) => {
                let start = text[..span.start].rfind('\n').map_or(0, |i| i + 1);
                let line = text[start..].lines().next().unwrap_or("");
                let number = text[..start].matches('\n').count() + 1;
                let before = text[start..span.start].chars().count();
                let room = line.chars().count().saturating_sub(before).max(1);
                let marked = text[span].lines().next().unwrap_or("").chars().count();
                let carets = "^".repeat(marked.clamp(1, room));
                out += &format!(
                    "  --> {path}:{number}:{}\n{number:4} | {line}\n     | {}{carets}\n",
                    before + 1,
                    " ".repeat(before)
                );
            }
        }
        out + &format!("hint: {}\n", self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn each_fault_of_a_disk_has_a_message_and_a_hint_of_its_own() {
        let faults = [
            libc::ENOENT,
            libc::EACCES,
            libc::EDQUOT,
            libc::ENOSPC,
            libc::EFBIG,
            libc::EMFILE,
            libc::ENOLCK,
            libc::ESTALE,
            libc::EIO,
        ];
        let said = |action: &'static str, fault: i32| {
            let error = FileError::new(action, "a/b")(std::io::Error::from_raw_os_error(fault));
            assert!(error.to_string().contains("`a/b`"));
            (error.to_string(), error.hint())
        };
        for (i, left) in faults.iter().enumerate() {
            for right in &faults[..i] {
                let (left, right) = (said("write", *left), said("write", *right));
                assert!(left.0 != right.0 && left.1 != right.1, "{left:?} {right:?}");
            }
        }
        assert_ne!(said("read", libc::ENOENT).1, said("write", libc::ENOENT).1);
    }
}
