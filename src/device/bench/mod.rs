//! How fast a device trains: the step that `isoflop run` takes, on batches that are ready in memory.
//!
//! Model FLOPs are counted from the shape (`Shape::flops_per_token`): forward and backward, the backward twice
//! the forward, causal attention. MFU is their rate over the peak that the caller names.

mod cells;
mod gemm;
mod job;
#[cfg(feature = "cube")]
mod products;
mod serve;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Calls, Chosen};
use cells::side_by_side;

pub use cells::Ended;
pub use gemm::{Gemm, gemm};
pub use job::{Job, cpu_jobs};
#[cfg(feature = "cube")]
pub use products::{FIXED, ProductRow, products};
pub use serve::{ServeError, export, serve};

/// Steps that are not counted: the first ones pay for pages, pools and compilation.
const WARM_UP: u64 = 2;
/// Steps whose calls to the driver are counted.
const COUNTED: u64 = 3;

/// How long to measure, if the limit lets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// At least this long.
    Time(Duration),
    /// Exactly so many steps.
    Steps(u64),
}

/// What was measured of one job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `SIZE:VOCAB`.
    pub job: String,
    /// Cells side by side.
    pub cells: usize,
    /// Threads of one cell.
    pub threads: usize,
    /// Parameters of one cell, all counted.
    pub params: f64,
    /// Tokens of a step of one cell.
    pub tokens_per_step: u64,
    /// Steps of each cell that were timed.
    pub steps: u64,
    /// Tokens of all cells together, by the median step [tokens/s].
    pub tokens_per_second: f64,
    /// Model FLOPs of all cells together [FLOP/s].
    pub model_flops_per_second: f64,
    /// The same over the peak: MFU on a GPU.
    pub share_of_peak: Option<f64>,
    /// Median time of a step, all cells at once [s].
    pub step_seconds: f64,
    /// Time to the end of the first two steps, compilation included [s].
    pub warm_up_seconds: f64,
    /// Loss of the last step [nats/token].
    pub loss: f64,
    /// What a step asks of the driver, where that can be counted.
    #[serde(flatten)]
    pub calls: Option<PerStep>,
}

/// Calls to the driver, of a step of one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PerStep {
    /// Kernels launched.
    pub launches_per_step: f64,
    /// Graphs replayed.
    pub replays_per_step: f64,
    /// Copies from the host.
    pub uploads_per_step: f64,
    /// Copies to the host.
    pub reads_per_step: f64,
    /// Times that the host waits for the device.
    pub waits_per_step: f64,
    /// Allocations.
    pub allocations_per_step: f64,
    /// Time of a step outside those waits; in steps of their own, since counting takes time itself [us].
    pub host_us_per_step: f64,
    /// The same over the launches [us].
    pub host_us_per_launch: f64,
    /// Of it, within the driver's launch call [us].
    pub driver_us_per_launch: f64,
}

/// Times `cells` models side by side, at least one step; none is begun after `end`. `peak`: what the share is of
/// [FLOP/s].
///
/// # Errors
///
/// [`Ended`] when a cell panics.
pub fn measure(
    device: &Chosen,
    job: &Job,
    cells: usize,
    length: Length,
    end: Instant,
    peak: Option<f64>,
) -> Result<Row, Ended> {
    side_by_side(device, job, cells, |ask, threads| {
        let begin = Instant::now();
        ask(WARM_UP)?;
        let warm_up_seconds = begin.elapsed().as_secs_f64();
        let (begin, mut times, mut last) = (Instant::now(), Vec::new(), Vec::new());
        let more = |done: usize| match length {
            _ if done == 0 => true,
            _ if Instant::now() > end => false,
            Length::Time(least) => begin.elapsed() < least,
            Length::Steps(steps) => (done as u64) < steps,
        };
        while more(times.len()) {
            let start = Instant::now();
            last = ask(1)?;
            times.push(start.elapsed().as_secs_f64());
        }
        let steps = times.len() as u64;
        let calls = match Calls::start() {
            None => None,
            Some(counter) => {
                let (before, start) = (counter.read(), Instant::now());
                ask(COUNTED)?;
                let seconds = start.elapsed().as_secs_f64();
                Some(per_step(&counter.read().since(&before), seconds, cells))
            }
        };
        times.sort_by(f64::total_cmp);
        let tokens_per_step = job.recipe.batch_tokens();
        let step_seconds = times[times.len() / 2];
        let rate = (cells as u64 * tokens_per_step) as f64 / step_seconds;
        let flops = rate * job.flops_per_token();
        Ok(Row {
            job: job.name.clone(),
            cells,
            threads,
            params: job.recipe.shape.counts().total,
            tokens_per_step,
            steps,
            tokens_per_second: rate,
            model_flops_per_second: flops,
            share_of_peak: peak.map(|peak| flops / peak),
            step_seconds,
            warm_up_seconds,
            loss: last.first().and_then(|c| c.losses.last().copied()).unwrap_or(f64::NAN),
            calls,
        })
    })
}

/// Of one step of one cell; `seconds` passed for all of them.
fn per_step(counts: &super::Counts, seconds: f64, cells: usize) -> PerStep {
    let steps = (COUNTED * cells as u64) as f64;
    let each = |count: u64| count as f64 / steps;
    // Cells side by side wait at the same time; each has its own thread.
    let waited = counts.wait_ns as f64 * 1e-9 / cells as f64;
    let host = 1e6 * (seconds - waited).max(0.0) / COUNTED as f64;
    let launches = each(counts.launches);
    let over = |us: f64, n: f64| if n > 0.0 { us / n } else { 0.0 };
    PerStep {
        launches_per_step: launches,
        replays_per_step: each(counts.replays),
        uploads_per_step: each(counts.copies_to_device),
        reads_per_step: each(counts.copies_from_device),
        waits_per_step: each(counts.waits),
        allocations_per_step: each(counts.allocations),
        host_us_per_step: host,
        host_us_per_launch: over(host, launches * cells as f64),
        driver_us_per_launch: over(1e-3 * counts.launch_ns as f64, counts.launches as f64),
    }
}
