//! What a person sees while cells train: a bar for each running cell and one for the grid, or plain
//! lines when the output is not a terminal.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::show;
use crate::exec::job::Watch;
use crate::ledger::event::Event;
use crate::plan::Cell;
use crate::plan::cost::{self, Left, Price};
use crate::study::Observer;
use crate::terminal::{self, note};
use crate::train::Progress;
use crate::units::{count, duration, flops, several};

/// Plain lines about the grid as a whole come at most this often.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// The weight of the newest loss in the moving average that is shown.
const SMOOTH: f64 = 0.05;

/// A prediction counts as much as the experience of this share of it.
const TRUST: f64 = 0.05;

/// Tells a person on stderr what happens meanwhile.
pub(super) struct Stderr;

impl Observer for Stderr {
    fn note(&self, text: &str) {
        note!("{text}");
    }

    fn warn(&self, text: &str) {
        note!("{}", show::warnings(&[text]));
    }

    fn training<'a>(
        &self,
        workers: usize,
        left: &[Left<'a>],
        price: Option<&Price>,
    ) -> Box<dyn Watch + 'a> {
        Box::new(Terminal::new(workers, left, price))
    }
}

/// Watches all workers.
struct Terminal<'a> {
    grid: ProgressBar,
    rows: Vec<ProgressBar>,
    plain: bool,
    /// What is left of each cell, and its part of all work: predicted seconds, else compute [FLOP].
    work: BTreeMap<String, (Left<'a>, f64)>,
    total: f64,
    /// Predicted wall-clock of all [s].
    predicted: Option<f64>,
    state: Mutex<State>,
}

struct State {
    started: Instant,
    spoken: Instant,
    running: Vec<Running>,
    done: f64,
    ended: usize,
}

/// The cell that a worker trains.
#[derive(Clone)]
struct Running {
    /// Work done on it.
    done: f64,
    /// Its smoothed loss.
    loss: f64,
}

impl Running {
    fn new() -> Self {
        Self { done: 0.0, loss: f64::NAN }
    }
}

impl<'a> Terminal<'a> {
    /// For this many workers and what is left of some cells, with what it is predicted to take.
    fn new(workers: usize, left: &[Left<'a>], price: Option<&Price>) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        let plain = bars.is_hidden();
        // A budget of 1000 ticks: bars count shares of the work, not cells.
        let bar = |style: &str| {
            let style = ProgressStyle::with_template(style)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(1000).with_style(style.progress_chars("━╸─")))
        };
        let grid = bar("{msg}\n{bar:50.cyan/black.bright} {percent:>3}%");
        let rows = (0..workers).map(|_| bar("  {bar:20.green/black.bright} {msg}")).collect();
        let now = Instant::now();
        let part = |(i, l): (usize, &Left<'a>)| {
            let compute = cost::step_flops(l.cell) * l.steps() as f64;
            (l.cell.id.clone(), (*l, price.map_or(compute, |p| p.cells[i])))
        };
        let work: BTreeMap<String, (Left<'a>, f64)> = left.iter().enumerate().map(part).collect();
        Self {
            grid,
            rows,
            plain,
            total: work.values().map(|w| w.1).sum(),
            work,
            predicted: price.map(|p| p.seconds),
            state: Mutex::new(State {
                started: now,
                spoken: now,
                running: vec![Running::new(); workers],
                done: 0.0,
                ended: 0,
            }),
        }
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut state);
        let share = (state.done + state.running.iter().map(|r| r.done).sum::<f64>()) / self.total;
        let elapsed = state.started.elapsed().as_secs_f64();
        let left = left_seconds(share, elapsed, self.predicted).map_or("?".into(), duration);
        let line = format!(
            "{} of {}, {} elapsed, {left} left",
            state.ended,
            several(self.work.len(), "cell"),
            duration(elapsed)
        );
        if self.plain {
            if state.spoken.elapsed() >= PLAIN_EVERY {
                state.spoken = Instant::now();
                note!("{:>3.0}%  {line}", 100.0 * share);
            }
        } else {
            self.grid.set_position((1000.0 * share) as u64);
            self.grid.set_message(line);
        }
    }
}

impl Drop for Terminal<'_> {
    /// Takes the bars away.
    fn drop(&mut self) {
        for row in &self.rows {
            row.finish_and_clear();
        }
        self.grid.finish_and_clear();
    }
}

/// Seconds to go when a share of the work is done [s].
fn left_seconds(share: f64, elapsed: f64, predicted: Option<f64>) -> Option<f64> {
    let slower = match predicted {
        // The prediction, corrected by how it held so far.
        Some(all) => (elapsed + TRUST * all) / (share + TRUST),
        None if share > 0.0 => elapsed / share,
        None => return None,
    };
    Some(slower * (1.0 - share).max(0.0))
}

/// A line that stays, above the bars.
impl Terminal<'_> {
    fn line(&self, text: &str) {
        if self.plain {
            note!("      {text}");
        } else {
            self.grid.println(format!("  {}", terminal::shown(text)));
        }
    }
}

fn describe(cell: &Cell) -> String {
    format!(
        "{}  N {:>5}  D {:>5}  C {}",
        cell.short(),
        count(cell.params()),
        count(cell.recipe.tokens() as f64),
        flops(cell.recipe.flops())
    )
}

impl Watch for Terminal<'_> {
    fn started(&self, worker: usize, cell: &Cell) {
        self.with(|state| state.running[worker] = Running::new());
        if !self.plain {
            self.rows[worker].set_position(0);
            self.rows[worker].set_message(describe(cell));
        }
    }

    fn progress(&self, worker: usize, cell: &Cell, progress: Progress) {
        let Progress::Step { step, loss, .. } = progress else { return };
        let share = (step + 1) as f64 / cell.recipe.steps as f64;
        let mut shown = f64::NAN;
        self.with(|state| {
            let running = &mut state.running[worker];
            running.done = self.work.get(&cell.id).map_or(0.0, |(l, part)| l.share(step) * part);
            let (loss, smooth) = (f64::from(loss), running.loss);
            running.loss = if smooth.is_nan() { loss } else { smooth + SMOOTH * (loss - smooth) };
            shown = running.loss;
        });
        if !self.plain {
            self.rows[worker].set_position((1000.0 * share) as u64);
            self.rows[worker].set_message(format!("{}  loss {shown:.3}", describe(cell)));
        }
    }

    fn ended(&self, worker: usize, cell: &Cell, event: &Event) {
        self.with(|state| {
            state.running[worker] = Running::new();
            state.done += self.work.get(&cell.id).map_or(0.0, |work| work.1);
            state.ended += 1;
        });
        let line = match event {
            Event::Completed { loss, tokens_per_second, seconds, .. } => format!(
                "{}  loss {loss:.4}  {} tok/s  {}",
                describe(cell),
                count(*tokens_per_second),
                duration(*seconds)
            ),
            Event::Diverged { step, why } => {
                format!("{}  diverged at step {step}: {why}", describe(cell))
            }
            Event::Failed { why } => format!("{}  failed: {why}", describe(cell)),
            Event::Paused { step, why } => {
                format!("{}  stopped by {why} after step {step}, kept", describe(cell))
            }
            Event::Started { .. } | Event::Eval { .. } | Event::Checkpoint { .. } => describe(cell),
        };
        self.line(&line);
    }

    fn note(&self, text: &str) {
        self.line(&format!("note: {text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::left_seconds;

    #[test]
    fn time_to_go_begins_at_the_prediction_and_ends_at_experience() {
        assert_eq!(left_seconds(0.0, 0.0, None), None);
        assert_eq!(left_seconds(0.25, 10.0, None), Some(30.0));
        assert!((left_seconds(0.0, 0.0, Some(100.0)).unwrap() - 100.0).abs() < 1e-9);
        assert!(
            (left_seconds(0.5, 50.0, Some(100.0)).unwrap() - 50.0).abs() < 1e-9,
            "as predicted"
        );
        // Half took twice as long: the other half is expected to, nearly.
        let late = left_seconds(0.5, 100.0, Some(100.0)).unwrap();
        assert!((90.0..100.0).contains(&late), "{late}");
        assert_eq!(left_seconds(1.0, 99.0, Some(100.0)), Some(0.0));
    }
}
