//! `isoflop device`: what can train here, whether it computes right, how fast it is.

use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::{DeviceArgs, DeviceBenchArgs, DeviceCheckArgs, DeviceVerb, Which};
#[cfg(feature = "cube")]
use super::show::table;
use super::{print, print_as_is, print_json};
use crate::device::bench::{self, Job, Length, Row, ServeError};
use crate::device::check::{self, Check, Checked};
use crate::device::{self, Chosen, Found, Wanted};
use crate::error::{InputError, exit};
use crate::predict::hardware;
use crate::spec::{DeviceKind, Matmul};
use crate::study::Failure;
use crate::terminal::note;
use crate::units::{bytes, count, plain3};

pub(super) fn execute(args: &DeviceArgs) -> Result<u8, Failure> {
    match &args.verb {
        None => Ok(show(args.json)),
        Some(DeviceVerb::Check(args)) => check(args),
        Some(DeviceVerb::Bench(args)) => bench(args),
    }
}

/// What is there.
#[derive(Serialize)]
struct There {
    cpu: Cpu,
    #[serde(flatten)]
    found: Found,
    /// Whether this program can use NVIDIA GPUs at all.
    built_with_cuda: bool,
    usable: bool,
}

#[derive(Serialize)]
struct Cpu {
    cores: usize,
    memory_bytes: Option<u64>,
}

fn show(json: bool) -> u8 {
    let found = device::look();
    let built = cfg!(feature = "cuda");
    let cpu = Cpu {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: device::memory::limit(),
    };
    let there = There { usable: built && found.usable(), built_with_cuda: built, cpu, found };
    if json {
        print_json(&there);
    } else {
        print(&text(&there));
    }
    if there.usable { 0 } else { exit::INPUT }
}

fn text(there: &There) -> String {
    let memory =
        there.cpu.memory_bytes.map_or_else(String::new, |b| format!(", {}", bytes(b as f64)));
    let mut out = format!("CPU    {} cores{memory}\n", there.cpu.cores);
    let found = &there.found;
    if let Some(driver) = &found.driver {
        let release = driver.release.as_ref().map_or_else(String::new, |r| format!(" {r}"));
        out += &format!("Driver{release}, CUDA {}.{}\n", driver.cuda.0, driver.cuda.1);
        for card in &driver.cards {
            out += &format!(
                "GPU {}  {}, {}, compute capability {}.{}, {} multiprocessors\n",
                card.index,
                card.name,
                bytes(card.memory as f64),
                card.capability.0,
                card.capability.1,
                card.processors
            );
        }
    }
    if let Some(visible) = &found.visible {
        let shown = found.driver.as_ref().is_some_and(|d| !d.cards.is_empty());
        let effect =
            if shown { "only these are counted" } else { "it may hide every card: unset it" };
        out += &format!("CUDA_VISIBLE_DEVICES={visible}: {effect}\n");
    }
    out += "\n";
    let mut mends: Vec<&String> = Vec::new();
    for part in &found.parts {
        let version = part.version.as_ref().map_or_else(String::new, |v| format!("  {v}"));
        let path = part.path.as_ref().map(|p| format!("{}{version}", p.display()));
        let lacks = part.problem.as_ref().map(|problem| {
            format!("! {problem}{}", if part.needed { "" } else { " (training does without)" })
        });
        let mut lines = path.into_iter().chain(lacks);
        out += &format!("  {:<16}{}\n", part.name, lines.next().unwrap_or_default());
        lines.for_each(|line| out += &format!("  {:<16}{line}\n", ""));
        let mend = part.mend.as_ref().filter(|m| part.needed && !mends.contains(m));
        mends.extend(mend);
    }
    out += "\n";
    if !there.built_with_cuda {
        out += "This isoflop was built without CUDA: `cargo build --release --features cuda`.\n";
    }
    out += "The CPU can be used: --device cpu.\n";
    if there.usable {
        out += "A GPU can be used: --device cuda.\n`isoflop device check --device cuda` says whether it \
                computes right.\n";
    } else {
        out += "No GPU can be used.\n";
        for mend in mends {
            out += &format!("hint: {mend}\n");
        }
    }
    out
}

/// The device that is asked for; what a CPU has no use for is refused, not overlooked.
fn choose(which: &Which) -> Result<Chosen, Failure> {
    let cuda = [("--card", which.card.is_some()), ("--matmul", which.matmul.is_some())];
    if let (DeviceKind::Cpu, Some((flag, _))) =
        (which.device, cuda.iter().find(|(_, given)| *given))
    {
        return Err(only_cuda(flag).into());
    }
    let (cards, matmul) = (which.card.into_iter().collect(), which.matmul.unwrap_or(Matmul::Fixed));
    Ok(device::choose(&Wanted { kind: which.device, cards, matmul })?)
}

fn only_cuda(flag: &str) -> InputError {
    InputError::new(
        format!("{flag} means nothing on the CPU"),
        "give --device cuda with it, or leave it out",
    )
}

/// What is told on the way: the data themselves, or progress beside JSON.
fn say(which: &Which, text: &str) {
    if which.json { note!("{text}") } else { print(text) }
}

/// Ends this process when `work` has not come back a while after its limit: a device that hangs answers
/// nothing, and no thread that waits for it can be ended.
fn watched<T>(limit: f64, what: &str, work: impl FnOnce() -> T) -> T {
    /// Time that the last part may take beyond the limit [s].
    const GRACE: f64 = 20.0;
    let (done, waiting) = mpsc::channel::<()>();
    let what = what.to_owned();
    std::thread::spawn(move || {
        let most = Duration::from_secs_f64(limit + GRACE);
        if waiting.recv_timeout(most) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = std::io::stdout().flush();
            note!(
                "error: {what} did not end within its limit of {limit} s and {GRACE} s more\n\
                 hint: give more by --limit; a GPU that answers nothing is seen by nvidia-smi"
            );
            std::process::exit(i32::from(exit::AGAIN));
        }
    });
    let out = work();
    drop(done);
    out
}

#[derive(Serialize)]
struct Report<'a> {
    device: &'a str,
    numerics: &'a str,
    holds: bool,
    checks: Vec<Checked>,
    left_out: Vec<Check>,
}

fn check(args: &DeviceCheckArgs) -> Result<u8, Failure> {
    let device = choose(&args.which)?;
    let begin = Instant::now();
    let say = |text: &str| say(&args.which, text);
    say(&format!("{}: {}\n", device.name, device.numerics));
    // In their own order, each once.
    let asked = Check::ALL.iter().filter(|c| args.only.is_empty() || args.only.contains(c));
    let (mut checks, mut left_out) = (Vec::new(), Vec::new());
    watched(args.which.limit, "device check", || {
        for which in asked {
            if begin.elapsed().as_secs_f64() > args.which.limit {
                say(&format!("{:<11} left out: the limit is over (--limit)\n", which.name()));
                left_out.push(*which);
                continue;
            }
            let mut checked = check::run(*which, &device);
            if args.compile_only {
                // What was computed is not looked at; that it could be launched is.
                checked.wrong.clear();
                checked.nearest = None;
            }
            say(&line(&checked, args.compile_only));
            let lost = checked.ended.as_ref().is_some_and(|why| why.contains("poisoned"));
            checks.push(checked);
            if lost {
                say("The device does nothing more for this process.\n");
                break;
            }
        }
    });
    let holds = checks.iter().all(Checked::holds);
    let code = match (holds, left_out.is_empty()) {
        (false, _) => exit::BUG,
        (true, false) => exit::AGAIN,
        (true, true) => 0,
    };
    if args.which.json {
        let (device, numerics) = (device.name.as_str(), device.numerics.as_str());
        print_json(&Report { device, numerics, holds, checks, left_out });
    }
    Ok(code)
}

/// One line a check, and a few for what is wrong.
fn line(checked: &Checked, compile_only: bool) -> String {
    /// Wrong cases that are shown.
    const SHOWN: usize = 12;
    let name = checked.check.name();
    let seconds = checked.seconds;
    let mut out = match (&checked.ended, checked.wrong.len()) {
        (Some(_), _) => {
            format!("{name:<11} ended early after {} cases  {seconds:.1} s\n", checked.cases)
        }
        (None, 0) if compile_only => {
            format!(
                "{name:<11} {} cases launched, values not looked at  {seconds:.1} s\n",
                checked.cases
            )
        }
        (None, 0) => format!("{name:<11} right: {} cases  {seconds:.1} s\n", checked.cases),
        (None, wrong) => {
            format!("{name:<11} WRONG: {wrong} of {} cases  {seconds:.1} s\n", checked.cases)
        }
    };
    if let Some(why) = &checked.ended {
        let short: String = why.chars().take(600).collect();
        out += &format!("            error: {short}\n");
    }
    // One of each operation tells more than all of the first.
    let mut kinds: Vec<&str> = Vec::new();
    let one_each = checked.wrong.iter().filter(|case| {
        let kind = case.name.split(['[', ':']).next().unwrap_or_default();
        let new = !kinds.contains(&kind);
        kinds.push(kind);
        new
    });
    for case in one_each.take(SHOWN) {
        let off = if case.worst.is_finite() {
            format!("is off by {:.2e}, may be {:.1e}", case.worst, case.tolerance)
        } else {
            "is not a number, or not there".to_owned()
        };
        out += &format!("            differs: {} {off}\n", case.name);
    }
    if let (true, Some(case)) = (checked.wrong.is_empty(), &checked.nearest) {
        out += &if case.worst > 0.0 {
            format!(
                "            nearest to its tolerance: {}, off by {:.1e} of {:.1e}\n",
                case.name, case.worst, case.tolerance
            )
        } else {
            "            every result exact\n".to_owned()
        };
    }
    out
}

#[derive(Serialize)]
struct BenchReport<'a> {
    device: &'a str,
    numerics: &'a str,
    /// What shares are of [FLOP/s].
    peak_flops_per_second: Option<f64>,
    /// Where that is from.
    peak_source: Option<String>,
    rows: Vec<Row>,
    #[cfg(feature = "cube")]
    products: Vec<bench::ProductRow>,
    left_out: Vec<String>,
}

fn bench(args: &DeviceBenchArgs) -> Result<u8, Failure> {
    if args.gemm {
        if args.which.device == DeviceKind::Cuda {
            let hint = "--products times those of a GPU";
            return Err(InputError::new("--gemm times products of the CPU", hint).into());
        }
        print_json_line(&bench::gemm(&bench::cpu_jobs()));
        return Ok(0);
    }
    if let [job, file] = &args.export[..] {
        let (job, device) = (Job::parse(job)?, choose(&args.which)?);
        return bench::export(&device, &job, Path::new(file)).map(|()| 0).or_else(|e| served(&e));
    }
    if let [job, cells] = &args.serve[..] {
        let job = Job::parse(job)?;
        let cells: usize =
            cells.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| {
                InputError::new(
                    format!("`{cells}` is no number of cells"),
                    "give one from 1 to 1024",
                )
            })?;
        let device = choose(&args.which)?;
        let (orders, out) = (std::io::stdin().lock(), std::io::stdout().lock());
        return bench::serve(&device, &job, cells, orders, out).map(|()| 0).or_else(|e| served(&e));
    }
    let gpu = args.which.device == DeviceKind::Cuda;
    let usual: &[&str] = if gpu {
        &["10M:256", "124M:50304", "350M:50304"]
    } else {
        &["30k:256", "300k:256", "3M:256", "10M:256"]
    };
    let words: Vec<&str> = if args.jobs.is_empty() {
        usual.to_vec()
    } else {
        args.jobs.iter().map(String::as_str).collect()
    };
    let jobs: Vec<Job> = words.iter().map(|word| Job::parse(word)).collect::<Result<_, _>>()?;
    if args.products && !gpu {
        return Err(only_cuda("--products").into());
    }
    let device = choose(&args.which)?;
    let most = args.cells.iter().max().map_or(1, |n| *n as usize);
    for job in &jobs {
        if let Some(lacks) = device.lacks(&job.recipe, most) {
            let message = format!("{most} x {} do not fit: {lacks}", job.name);
            return Err(InputError::new(message, "give fewer --cells or a smaller job").into());
        }
    }
    watched(args.which.limit, "device bench", || timed(args, &device, &jobs))
}

fn timed(args: &DeviceBenchArgs, device: &Chosen, jobs: &[Job]) -> Result<u8, Failure> {
    let end = Instant::now() + Duration::from_secs_f64(args.which.limit);
    let enough = || Instant::now() > end;
    let say = |text: &str| say(&args.which, text);
    say(&format!("{}: {}\n", device.name, device.numerics));
    #[cfg(feature = "cube")]
    if args.products && !device.is_cpu() {
        return Ok(products(args, device, jobs, &enough));
    }
    if device.is_cpu() && args.peak_tflops.is_none() {
        say("measuring the best matrix product of this CPU first; --peak-tflops spares that\n");
    }
    let peak = peak(args, device, jobs);
    match &peak {
        Some((flops, source)) => {
            say(&format!("shares are of {} TFLOP/s, {source}\n", plain3(flops / 1e12)));
        }
        None => say("no peak is known for this card: give --peak-tflops for its share\n"),
    }
    let mut cells: Vec<usize> = match &args.cells[..] {
        [] if device.is_cpu() && device.most_workers > 1 => vec![1, device.most_workers],
        [] => vec![1],
        some => some.iter().map(|n| *n as usize).collect(),
    };
    cells.dedup();
    let length = args
        .steps
        .map_or_else(|| Length::Time(Duration::from_secs_f64(args.seconds)), Length::Steps);
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    say(&header(device.is_cpu()));
    for job in jobs {
        for cells in &cells {
            if enough() {
                left_out.push(format!("{} x {cells}", job.name));
                say(&format!(
                    "{:<12}{cells:>5}  left out: the limit is over (--limit)\n",
                    job.name
                ));
                continue;
            }
            let peak = peak.as_ref().map(|p| p.0);
            let row =
                bench::measure(device, job, *cells, length, end, peak).map_err(|e| broken(&e))?;
            say(&row_line(&row, device.is_cpu()));
            rows.push(row);
        }
    }
    if args.which.json {
        let (peak_flops_per_second, peak_source) = peak.unzip();
        print_json(&BenchReport {
            device: &device.name,
            numerics: &device.numerics,
            peak_flops_per_second,
            peak_source,
            rows,
            #[cfg(feature = "cube")]
            products: Vec::new(),
            left_out: left_out.clone(),
        });
    }
    Ok(if left_out.is_empty() { 0 } else { exit::AGAIN })
}

/// What shares are of [FLOP/s], and where that is from.
fn peak(args: &DeviceBenchArgs, device: &Chosen, jobs: &[Job]) -> Option<(f64, String)> {
    if let Some(tflops) = args.peak_tflops {
        return Some((1e12 * tflops, "as given".to_owned()));
    }
    if device.is_cpu() {
        let best = bench::gemm(jobs).peak_gflops;
        return Some((1e9 * best, "the best f32 matrix product of this CPU, measured".to_owned()));
    }
    let known = hardware::of_card(&device.name)?;
    Some((known.peak, format!("dense bf16 of one {} ({})", known.name, known.source)))
}

fn header(cpu: bool) -> String {
    let (share, unit) = if cpu { ("share", "GFLOP/s") } else { ("MFU", "TFLOP/s") };
    format!(
        "{:<12}{:>5}{:>12}{:>10}{:>8}{:>11}{:>10}{:>10}\n",
        "job", "cells", "tokens/s", unit, share, "ms a step", "launches", "host ms"
    )
}

fn row_line(row: &Row, cpu: bool) -> String {
    let unit = if cpu { 1e9 } else { 1e12 };
    let share = row.share_of_peak.map_or_else(|| "-".to_owned(), |s| plain3(100.0 * s) + "%");
    let (launches, host) = row.calls.as_ref().map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |c| (format!("{:.0}", c.launches_per_step), format!("{:.2}", 1e-3 * c.host_us_per_step)),
    );
    format!(
        "{:<12}{:>5}{:>12}{:>10}{share:>8}{:>11.2}{launches:>10}{host:>10}\n",
        row.job,
        row.cells,
        count(row.tokens_per_second),
        plain3(row.model_flops_per_second / unit),
        1e3 * row.step_seconds
    )
}

/// Every kernel for the products of some models; the quickest of each product last.
#[cfg(feature = "cube")]
fn products(
    args: &DeviceBenchArgs,
    device: &Chosen,
    jobs: &[Job],
    enough: &dyn Fn() -> bool,
) -> u8 {
    let say = |text: &str| say(&args.which, text);
    let mut rows: Vec<bench::ProductRow> = Vec::new();
    for job in jobs {
        say(&format!("{}\n", job.name));
        let first = rows.len();
        let place = device.place(0, 1);
        bench::products(&place.device, job, enough, &mut |row| {
            let tflops = row.flops_per_second.map_or_else(
                || format!("- {}", row.why.clone().unwrap_or_default()),
                |f| format!("{:.0} TFLOP/s", f / 1e12),
            );
            say(&format!(
                "  {:<18}{:<22}{tflops}  (first {:.2} s)\n",
                row.product, row.kernel, row.first_seconds
            ));
            rows.push(row);
        });
        let mut lines = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for row in &rows[first..] {
            if seen.contains(&row.product.as_str()) {
                continue;
            }
            seen.push(&row.product);
            let of = |r: &&bench::ProductRow| r.product == row.product;
            let rate = |r: &bench::ProductRow| r.flops_per_second.unwrap_or(0.0);
            let all = rows[first..].iter().filter(of);
            let (fixed, others): (Vec<_>, Vec<_>) = all.partition(|r| r.kernel == bench::FIXED);
            let fixed = fixed.first().map_or(0.0, |r| rate(r));
            if let Some(best) = others.into_iter().max_by(|a, b| rate(a).total_cmp(&rate(b))) {
                lines.push(vec![
                    row.product.clone(),
                    best.kernel.to_owned(),
                    format!("{:.0}", rate(best) / 1e12),
                    format!("{:.0}", fixed / 1e12),
                ]);
            }
        }
        say(&table(&["product", "quickest", "TFLOP/s", "fixed, TFLOP/s"], 2, &lines));
    }
    if args.which.json {
        let (device, numerics) = (device.name.as_str(), device.numerics.as_str());
        print_json(&BenchReport {
            device,
            numerics,
            peak_flops_per_second: None,
            peak_source: None,
            rows: Vec::new(),
            products: rows,
            left_out: Vec::new(),
        });
    }
    0
}

fn print_json_line<T: Serialize>(value: &T) {
    let json = serde_json::to_string(value).expect("numbers and text");
    print_as_is(&(json + "\n"));
}

/// A cell that panicked.
fn broken(error: &bench::Ended) -> Failure {
    Failure { message: error.to_string(), code: exit::BUG }
}

/// A pipe that closed is the end, as everywhere.
fn served(error: &ServeError) -> Result<u8, Failure> {
    let (hint, code) = match error {
        ServeError::Io(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
        ServeError::Ended(_) => ("this is a bug of isoflop", exit::BUG),
        ServeError::Io(_) => ("make room, or read the pipe", exit::AGAIN),
        ServeError::Line(_) => ("a line is a number of steps, such as 10", exit::INPUT),
        ServeError::Tensors { .. } => ("name a file in a folder that is there", exit::INPUT),
    };
    Err(Failure { message: format!("{error}\nhint: {hint}"), code })
}
