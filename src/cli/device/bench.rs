//! `isoflop device bench`: how fast a device trains.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{choose, only_cuda, say, watched};
use crate::cli::args::DeviceBenchArgs;

#[cfg(feature = "cube")]
use crate::cli::show::table;
use crate::cli::{print_as_is, print_json};
use crate::device::Chosen;
use crate::device::bench::{self, Job, Length, Row, ServeError};
use crate::error::{InputError, exit};
use crate::predict::hardware;
use crate::spec::DeviceKind;
use crate::study::Failure;
use crate::units::{count, plain3};

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

pub(super) fn bench(args: &DeviceBenchArgs) -> Result<u8, Failure> {
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
