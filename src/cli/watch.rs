//! What a person sees while cells train: a bar for each running cell and one for the grid, or plain
//! lines when the output is not a terminal.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exec::local::Watch;
use crate::ledger::event::Event;
use crate::plan::Cell;
use crate::train::Progress;
use crate::units::{count, duration, flops};

/// Plain lines about the grid as a whole come at most this often.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// The weight of the newest loss in the moving average that is shown.
const SMOOTH: f64 = 0.05;

/// Watches all workers.
pub(super) struct Terminal {
    grid: ProgressBar,
    rows: Vec<ProgressBar>,
    plain: bool,
    total: f64,
    cells: usize,
    state: Mutex<State>,
}

struct State {
    started: Instant,
    spoken: Instant,
    /// Compute done by each worker on its running cell, and its smoothed loss.
    running: Vec<(f64, f64)>,
    done: f64,
    ended: usize,
}

impl Terminal {
    /// For this many workers and these cells.
    pub(super) fn new(workers: usize, cells: &[&Cell]) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        let plain = bars.is_hidden();
        // A budget of 1000 ticks: bars count shares of compute, not cells.
        let bar = |style: &str| {
            let style = ProgressStyle::with_template(style)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(1000).with_style(style.progress_chars("━╸─")))
        };
        let grid = bar("{msg}\n{bar:50.cyan/black.bright} {percent:>3}%");
        let rows = (0..workers).map(|_| bar("  {bar:20.green/black.bright} {msg}")).collect();
        let now = Instant::now();
        Self {
            grid,
            rows,
            plain,
            total: cells.iter().map(|c| c.recipe.flops()).sum(),
            cells: cells.len(),
            state: Mutex::new(State {
                started: now,
                spoken: now,
                running: vec![(0.0, f64::NAN); workers],
                done: 0.0,
                ended: 0,
            }),
        }
    }

    /// Takes the bars away.
    pub(super) fn finish(&self) {
        for row in &self.rows {
            row.finish_and_clear();
        }
        self.grid.finish_and_clear();
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut state);
        let share = (state.done + state.running.iter().map(|r| r.0).sum::<f64>()) / self.total;
        let elapsed = state.started.elapsed().as_secs_f64();
        let left = if share > 0.0 { duration(elapsed / share * (1.0 - share)) } else { "?".into() };
        let line = format!(
            "{} of {} cells, {} elapsed, {left} left",
            state.ended,
            self.cells,
            duration(elapsed)
        );
        if self.plain {
            if state.spoken.elapsed() >= PLAIN_EVERY {
                state.spoken = Instant::now();
                eprintln!("{:>3.0}%  {line}", 100.0 * share);
            }
        } else {
            self.grid.set_position((1000.0 * share) as u64);
            self.grid.set_message(line);
        }
    }
}

/// A line that stays, above the bars.
impl Terminal {
    fn line(&self, text: &str) {
        if self.plain {
            eprintln!("      {text}");
        } else {
            self.grid.println(format!("  {text}"));
        }
    }
}

fn describe(cell: &Cell) -> String {
    format!(
        "{}  N {:>5}  D {:>5}  C {}",
        &cell.id[..8],
        count(cell.params()),
        count(cell.recipe.tokens() as f64),
        flops(cell.recipe.flops())
    )
}

impl Watch for Terminal {
    fn started(&self, worker: usize, cell: &Cell) {
        self.with(|state| state.running[worker] = (0.0, f64::NAN));
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
            let (spent, smooth) = &mut state.running[worker];
            *spent = share * cell.recipe.flops();
            let loss = f64::from(loss);
            *smooth = if smooth.is_nan() { loss } else { *smooth + SMOOTH * (loss - *smooth) };
            shown = *smooth;
        });
        if !self.plain {
            self.rows[worker].set_position((1000.0 * share) as u64);
            self.rows[worker].set_message(format!("{}  loss {shown:.3}", describe(cell)));
        }
    }

    fn ended(&self, worker: usize, cell: &Cell, event: &Event) {
        self.with(|state| {
            state.running[worker] = (0.0, f64::NAN);
            state.done += cell.recipe.flops();
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
