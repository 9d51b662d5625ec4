//! One command of Slurm, with a time limit whatever it leaves behind.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::error::{InputError, exit};

/// Time that a command may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time that the end of an answer may come after the end of its command.
const LEFT_BEHIND: Duration = Duration::from_secs(2);
/// Longest answer that is read [bytes].
const MOST: usize = 1 << 26;

/// Why a command gave no answer.
pub(super) enum Failed {
    /// It cannot be started.
    Start(InputError),
    /// It did not end in time: what it was asked for may have been done.
    Late,
    /// It ended with an error, in these words.
    Refused(String),
}

/// Runs a command without the environment variables that `keep` turns down, and returns what it prints.
pub(super) fn ask(
    program: &str,
    args: &[&str],
    keep: impl Fn(&str) -> bool,
) -> Result<String, Failed> {
    let begin = Instant::now();
    let mut command = Command::new(program);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| !keep(name)) {
        command.env_remove(name);
    }
    let mut child = command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            let message = format!("cannot start `{program}`: {e}");
            Failed::Start(InputError::new(message, "run this where Slurm is installed"))
        })?;
    let out = Answer::of(child.stdout.take());
    let err = Answer::of(child.stderr.take());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // It may have ended in this moment; either way its answer comes too late.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failed::Late);
            }
        }
    };
    let (out, err) = (out.text(), err.text());
    if status.success() {
        return Ok(out);
    }
    // Some sites' wrappers print errors where answers belong.
    let why = if err.trim().is_empty() { out } else { err };
    let why: String = why.trim().chars().take(400).collect();
    Err(Failed::Refused(if why.is_empty() { status.to_string() } else { why }))
}

/// The error of a command whose answer is of no use, to be tried again.
pub(super) fn again(program: &str, what: &str, hint: impl Into<String>) -> InputError {
    InputError::new(format!("`{program}` {what}"), hint).with_code(exit::AGAIN)
}

/// Of a command that did not end.
pub(super) fn late() -> String {
    format!("gave no answer within {} s", PATIENCE.as_secs())
}

/// What a command prints, read beside it.
struct Answer {
    read: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Answer {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let read = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::channel();
        let into = Arc::clone(&read);
        std::thread::spawn(move || {
            let mut pipe = pipe;
            let mut part = [0; 4096];
            while let Some(n) =
                pipe.as_mut().and_then(|p| p.read(&mut part).ok()).filter(|n| *n > 0)
            {
                let mut all = into.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(&part[..n]);
                // More than a queue of a million tasks is no answer.
                if all.len() > MOST {
                    break;
                }
            }
            let _ = end.send(());
        });
        Self { read, ended }
    }

    /// All of it, once the command has ended; what there is, where a process that it left behind keeps the pipe.
    fn text(self) -> String {
        let _ = self.ended.recv_timeout(LEFT_BEHIND);
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&read).into_owned()
    }
}
