//! `isoflop selftest`: do the intervals hold the truth on studies shaped like one's own?

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::show::{short, signed, table};
use super::watch::Stderr;
use super::{args::SelftestArgs, print, print_json};
use crate::error::InputError;
use crate::fit::{Analysis, Options};
use crate::selftest::{Design, Plan, Selftest, run};
use crate::study::{Failure, analysis, input};
use crate::terminal::note;
use crate::units::{count, duration, flops};

/// Without an argument: this many budgets of this many sizes.
const STANDARD: (usize, usize) = (5, 6);

pub(super) fn execute(args: &SelftestArgs) -> Result<u8, Failure> {
    let mut design = match &args.input {
        None => Design::standard(STANDARD.0, STANDARD.1),
        Some(path) => {
            let analysis = opened(path, args)?;
            Design::of(&analysis).ok_or_else(|| {
                let message = format!("no loss surface was fitted to `{}`", analysis.source);
                InputError::new(message, "studies are drawn from it; the warnings of `fit` say why")
            })?
        }
    };
    design.noise = args.noise.unwrap_or(design.noise);
    let plan = Plan {
        studies: args.studies as usize,
        bootstrap: args.bootstrap as usize,
        level: args.level,
        delta: args.delta,
        seed: args.seed,
    };
    let progress = Progress::new(args.studies);
    let result = run(&design, &plan, &|| progress.step());
    progress.finish();
    let test = result?;
    if args.json {
        print_json(&test);
    } else {
        print(&text(&test));
    }
    Ok(0)
}

/// The analysis whose design is repeated: a fit.json as it is, or a new fit without a bootstrap.
fn opened(path: &Path, args: &SelftestArgs) -> Result<Analysis, Failure> {
    if let Some(fit) = input::written(path) {
        return input::read_fit(&fit);
    }
    let (runs, _) = input::open(path, &args.columns.options()?)?;
    let options = Options { bootstrap: 0, holdout: 0, delta: args.delta, ..Options::default() };
    analysis::analyse(&runs, &options, &Stderr)
}

/// Studies done, on stderr: a bar, or a line now and then where stderr is no terminal.
struct Progress {
    bar: ProgressBar,
    plain: bool,
    started: Instant,
    done: AtomicU64,
    total: u64,
}

/// Plain lines come once for so many shares of the whole.
const LINES: u64 = 10;

impl Progress {
    fn new(total: u64) -> Self {
        let style = ProgressStyle::with_template(
            "{bar:50.cyan/black.bright} {pos} of {len} studies, {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5))
            .with_style(style.progress_chars("━╸─"));
        let plain = bar.is_hidden();
        Self { bar, plain, started: Instant::now(), done: AtomicU64::new(0), total }
    }

    fn step(&self) {
        self.bar.inc(1);
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.plain && done * LINES / self.total > (done - 1) * LINES / self.total {
            let elapsed = duration(self.started.elapsed().as_secs_f64());
            note!("{done} of {} studies, {elapsed}", self.total);
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
        note!("{} studies in {}", self.total, duration(self.started.elapsed().as_secs_f64()));
    }
}

/// The coverage of every interval.
fn text(t: &Selftest) -> String {
    let s = &t.truth;
    let shared = if t.shared > 0.0 {
        format!(", {:.0}% of its variance in common to a cluster", 100.0 * t.shared)
    } else {
        String::new()
    };
    let mut out = format!(
        "Self-test of {:.0}% intervals: {} studies of {} bootstrap draws each, seed {}.\n\n  \
         Runs: {} in {} clusters, {}..{} FLOP ({}).\n  \
         Truth: L = {} + {} N^-{} + {} D^-{}; sd of ln L {}{shared}.\n  \
         N*, D*, D*/N* and the loss of a new run at {} FLOP, 10x the largest compute.\n\n",
        100.0 * t.level,
        t.studies,
        t.bootstrap,
        t.seed,
        t.runs,
        t.clusters,
        flops(t.flops[0]),
        flops(t.flops[1]),
        t.source,
        short(s.e),
        short(s.a),
        short(s.alpha),
        short(s.b),
        short(s.beta),
        short(t.noise),
        flops(t.flops_ahead)
    );
    let rows = t.coverage.iter().map(|c| {
        let width = match (c.width, c.factor) {
            (None, _) => "open".to_owned(),
            (Some(w), true) => format!("x{w:.2}"),
            (Some(w), false) => short(w),
        };
        let truth = c.truth.map_or_else(
            || "-".to_owned(),
            |v| if matches!(c.quantity.as_str(), "N*" | "D*") { count(v) } else { short(v) },
        );
        vec![
            format!("{} {}", c.method, c.quantity),
            truth,
            format!("{:.1}% +- {:.1}", 100.0 * c.coverage, 100.0 * c.coverage_se),
            width,
            c.bias.map_or_else(|| "-".to_owned(), |b| signed(b, 2)),
            c.studies.to_string(),
            c.verdict.words().to_owned(),
        ]
    });
    let header = ["interval", "truth", "covered", "width", "bias", "studies", "verdict"];
    out += &table(&header, 1, &rows.collect::<Vec<_>>());
    if t.refused > 0 {
        out += &format!("  {} studies could not be fitted at all.\n", t.refused);
    }
    out + "\n  covered: share of intervals that held the truth, +- its standard error. For the loss the interval is that of \
           one new run, for all else that of the parameter. width: median, x as a factor. bias: median error over \
           median width. A verdict holds within 5 points of the level. The truth is the law itself and the noise \
           normal and equal: a real study is worse in both.\n"
}
