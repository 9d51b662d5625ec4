//! The workers of this command: started, restarted where they die, and heard.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{Request, Said, Watch};
use crate::error::{InputError, exit};
use crate::exec::stop::Stop;
use crate::prepare::stages::{Stage, Work};
use crate::study::Failure;

/// Workers that may end without a reason, such as a signal, before the command gives up.
const MOST_DEATHS: usize = 20;
/// How often workers are looked after, and how long their last words are waited for.
const LOOK: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(50)];

/// Starts workers, restarts those that die, and watches them until all have ended.
///
/// # Errors
///
/// [`Failure`]: what workers said of their end; exit code 75 where it was asked to stop.
pub(super) fn drive(
    request: &Request,
    work: &Work,
    stop: &Stop,
    watch: &dyn Watch,
) -> Result<(), Failure> {
    let (sender, said) = mpsc::channel();
    let mut heard = Heard::before(work);
    let mut children: Vec<Child> = Vec::new();
    let mut deaths = 0;
    for _ in 0..request.workers.max(1) {
        children.push(start(request, sender.clone())?);
    }
    while !children.is_empty() {
        if stop.asked() {
            end(&mut children);
            let message = format!("stopped by {}; what was done stays", stop.why());
            let hint = "the same command goes on";
            return Err(InputError::new(message, hint).with_code(exit::AGAIN).into());
        }
        if let Ok(one) = said.recv_timeout(LOOK[0]) {
            heard.hear(one);
        }
        watch.read(&heard.stage, heard.read.min(heard.all), heard.all);
        for status in ended(&mut children) {
            // One that says why it ends has a code.
            if status.code().is_none_or(|code| code == 101) {
                deaths += 1;
                watch.note(&format!("A worker ended ({status}); another goes on."));
                if deaths <= MOST_DEATHS {
                    children.push(start(request, sender.clone())?);
                }
            }
        }
    }
    while let Ok(last) = said.recv_timeout(LOOK[1]) {
        heard.hear(last);
    }
    heard.end()
}

/// What workers have said.
struct Heard {
    /// The stage that somebody is at.
    stage: String,
    /// Input that was read, before and now, and all of it: each file twice [bytes].
    read: u64,
    all: u64,
    /// Why some ended, and with which code.
    failed: Vec<(String, u8)>,
}

impl Heard {
    /// Nothing: with what was done before they were started.
    fn before(work: &Work) -> Self {
        let reached = work.progress().stages;
        let sum = |of: usize| reached.iter().map(|stage| stage.bytes[of]).sum();
        let stage = Stage::Judge.name().to_owned();
        Self { stage, read: sum(0), all: sum(1), failed: Vec::new() }
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Read(stage, bytes) => {
                self.stage = stage;
                self.read += bytes;
            }
            // All workers say the same of units that failed.
            Said::Failed(message, code) => {
                if !self.failed.iter().any(|(before, _)| *before == message) {
                    self.failed.push((message, code));
                }
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        let Some(code) = self.failed.iter().map(|(_, code)| *code).min() else { return Ok(()) };
        let all: Vec<String> = self.failed.into_iter().map(|(message, _)| message).collect();
        Err(Failure { message: all.join("\n"), code })
    }
}

/// Takes out those that have ended.
fn ended(children: &mut Vec<Child>) -> Vec<ExitStatus> {
    let mut all = Vec::new();
    children.retain_mut(|child| match child.try_wait() {
        Ok(Some(status)) => {
            all.push(status);
            false
        }
        _ => true,
    });
    all
}

fn start(request: &Request, said: mpsc::Sender<Said>) -> Result<Child, Failure> {
    let failed = |e: std::io::Error| {
        InputError::new(format!("a worker cannot be started: {e}"), "try again, or --workers 1")
    };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("data").arg(&request.recipe).arg("--worker");
    if let Some(out) = &request.out {
        command.arg("--out").arg(out);
    }
    // Units are what runs side by side. A worker ends when its standard input does, whatever ends this process.
    command.env("RAYON_NUM_THREADS", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let out = child.stdout.take().expect("it is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Ok(one) = serde_json::from_str(&line)
                && said.send(one).is_err()
            {
                return;
            }
        }
    });
    Ok(child)
}

fn end(children: &mut [Child]) {
    for child in children.iter_mut() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}
