//! Speed of training, alone or in turn with another trainer.
//!
//! ```sh
//! cargo bench --bench train -- [SIZE:VOCAB...]    # tokens/s and share of the machine's matrix products
//! train --export SIZE:VOCAB FILE                  # initial weights and batches, as safetensors
//! train --gemm                                    # only the matrix products, as JSON
//! train --serve SIZE:VOCAB CELLS                  # a model that trains as many steps as each line says
//! train --device cuda ...                         # any of these on a GPU; needs `--features cuda`
//! ```
//!
//! A step is the one that `isoflop run` takes: forward, backward, clipping by the global norm, AdamW, by
//! the same functions on the same worker threads. Batches are uniform random ids, ready in memory: the
//! clock sees no data pipeline. With `--serve` the model stays between turns, so that
//! `benches/peers/train.py` can alternate with it and neither side pays for a start.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use gemm::Parallelism;
use isoflop::data::Batch;
use isoflop::exec::{device, local};
use isoflop::plan::Recipe;
use isoflop::random::Stream;
use isoflop::shape::Shape;
use isoflop::spec::{DeviceKind, Parametrization, Schedule, Source, Tokenizer};
use isoflop::train::Trainer;
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// Name, width, layers, heads, ff, context, sequences of a batch.
const SIZES: [(&str, [usize; 6]); 7] = [
    ("30k", [32, 3, 2, 88, 128, 64]),
    ("300k", [96, 3, 3, 256, 256, 32]),
    ("3M", [256, 4, 4, 688, 256, 16]),
    ("10M", [384, 6, 6, 1024, 256, 16]),
    ("30M", [512, 8, 8, 1376, 1024, 16]),
    ("124M", [768, 12, 12, 2048, 1024, 16]),
    ("350M", [1024, 24, 16, 2752, 1024, 16]),
];
/// As many of them are for a CPU.
const ON_CPU: usize = 4;
/// Cells side by side on one GPU that are tried.
const ON_ONE_GPU: [usize; 5] = [1, 2, 4, 8, 16];
/// Batches that steps take in turn.
const BATCHES: usize = 4;
/// Least time of one measurement, its warm-up left out.
const ENOUGH: Duration = Duration::from_secs(2);
/// Steps that are not counted: the first ones pay for pages and pools.
const WARM_UP: u64 = 2;
/// Least time spent on one shape of matrix product.
const ENOUGH_PRODUCTS: Duration = Duration::from_millis(60);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // A worker that panics must end the process: whoever waits for its answer would wait for ever.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    // `cargo bench` adds `--bench` to what it passes on.
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (kind, words) = match words[..] {
        ["--device", "cuda", ref rest @ ..] => (DeviceKind::Cuda, rest),
        ["--device", "cpu", ref rest @ ..] => (DeviceKind::Cpu, rest),
        _ => (DeviceKind::Cpu, &words[..]),
    };
    match *words {
        ["--gemm"] => {
            println!("{}", products());
            Ok(())
        }
        ["--export", job, path] => export(&Job::parse(job, kind)?, Path::new(path)),
        ["--serve", job, cells] => serve(&Job::parse(job, kind)?, cells.parse()?),
        [] if kind == DeviceKind::Cuda => measure_gpu(&["10M:256", "124M:50304", "350M:50304"]),
        _ if kind == DeviceKind::Cuda => measure_gpu(words),
        [] => measure(SIZES[..ON_CPU].iter().map(|(name, _)| format!("{name}:256"))),
        _ => measure(words.iter().map(ToString::to_string)),
    }
}

/// A model and what it trains on.
struct Job {
    kind: DeviceKind,
    recipe: Recipe,
    batches: Vec<Batch>,
}

impl Job {
    /// From `SIZE:VOCAB`.
    fn parse(word: &str, kind: DeviceKind) -> Result<Self, Failure> {
        let (size, vocab) = word.split_once(':').ok_or("a job is SIZE:VOCAB, as 300k:256")?;
        let names = SIZES.map(|s| s.0).join(", ");
        let (_, dims) = SIZES
            .iter()
            .find(|s| s.0 == size)
            .ok_or_else(|| format!("no size `{size}`; there are {names}"))?;
        let [width, layers, heads, ff, context, sequences] = *dims;
        let vocab: usize = vocab.parse()?;
        let shape = Shape { vocab, context, width, layers, heads, ff, qk_norm: false, tied: false };
        let recipe = Recipe {
            version: Recipe::current_version(),
            source: Source::PdProse,
            tokenizer: Tokenizer::Bytes,
            data_sha256: String::new(),
            shape,
            embedding_std: 0.5,
            reference_width: 0,
            parametrization: Parametrization::Mup,
            reference_layers: 0,
            steps: u64::from(u32::MAX),
            batch_sequences: sequences as u64,
            learning_rate: 1e-3,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 0.1,
            clip: 1.0,
            schedule: Schedule::Cosine { warmup: 0.0, end: 1.0 },
            eval_tokens: 0,
            horizon: None,
            init_seed: 0,
            order_seed: None,
        };
        let batches = (0..BATCHES).map(|i| batch(&shape, sequences, i as u64)).collect();
        Ok(Self { kind, recipe, batches })
    }

    fn flops_per_token(&self) -> f64 {
        self.recipe.shape.flops_per_token().total()
    }
}

/// Uniform random ids: the least a model could learn from, and the same work for any trainer.
fn batch(shape: &Shape, sequences: usize, index: u64) -> Batch {
    let (context, stream) = (shape.context, Stream::new(0, "bench tokens").child(index));
    let id = |n: usize| {
        let below = stream.below(n as u64, shape.vocab as u64);
        i32::try_from(below).expect("a vocabulary fits i32")
    };
    // Windows of `context + 1` ids, as everywhere.
    let ids = |shift: usize| -> Vec<i32> {
        (0..sequences * context).map(|n| id(n + n / context + shift)).collect()
    };
    Batch { inputs: ids(0), targets: ids(1), sequences, context }
}

/// What `drive` is given: steps in, one answer of each cell out.
type Ask<'a> = dyn FnMut(u64) -> Result<Vec<Value>, Failure> + 'a;

/// Trains `cells` models side by side as `isoflop run` does, each on its share of the cores; `drive` says
/// how many steps at a time. The second argument of `drive` is the threads of one cell.
fn side_by_side<T>(
    job: &Job,
    cells: usize,
    drive: impl FnOnce(&mut Ask<'_>, usize) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let place = device::choose(job.kind)?.place;
    let (orders, inboxes): (Vec<_>, Vec<_>) =
        (0..cells).map(|_| mpsc::channel::<u64>()).map(|(to, from)| (to, Mutex::new(from))).unzip();
    let (answer, answers) = mpsc::channel();
    let work = |worker: usize| {
        let inbox = inboxes[worker].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut trainer = Trainer::new(&job.recipe, &place);
        let mut step = 0;
        let _ = answer.send(json!(rayon::current_num_threads()));
        for steps in inbox.iter() {
            let (losses, norms): (Vec<f64>, Vec<f64>) = (step..step + steps)
                .map(|step| trainer.step(&job.batches[step as usize % BATCHES], step))
                .unzip();
            step += steps;
            // Nobody listens when the driver has failed; the inbox then ends too.
            let _ = answer.send(json!({ "losses": losses, "norms": norms }));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| local::in_parallel(cells, work));
        let all =
            || -> Result<Vec<Value>, Failure> { (0..cells).map(|_| Ok(answers.recv()?)).collect() };
        let threads = all()?[0].as_u64().unwrap_or(0) as usize;
        let mut ask = |steps| {
            orders.iter().try_for_each(|to| to.send(steps))?;
            all()
        };
        let out = drive(&mut ask, threads);
        drop(orders);
        out
    })
}

/// Says what is ready, then trains for each line of stdin: a number of steps.
fn serve(job: &Job, cells: usize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    side_by_side(job, cells, |ask, threads| {
        let shape = &job.recipe.shape;
        let ready = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "threads": threads,
            "recipe": job.recipe,
            "flops_per_token": job.flops_per_token(),
            "params": shape.counts().total,
            "tokens_per_step": job.recipe.batch_tokens(),
        });
        writeln!(out, "{ready}")?;
        out.flush()?;
        for line in std::io::stdin().lock().lines() {
            let steps: u64 = line?.trim().parse()?;
            let begin = Instant::now();
            let cells = ask(steps)?;
            let seconds = begin.elapsed().as_secs_f64();
            writeln!(out, "{}", json!({ "seconds": seconds, "cells": cells }))?;
            out.flush()?;
        }
        Ok(())
    })
}

/// Prints what isoflop reaches alone, one cell on all cores and one cell on each core.
fn measure(jobs: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let products = products();
    let peak = products["peak_gflops"].as_f64().unwrap_or(f64::NAN);
    println!("{peak:.1} GFLOP/s in the best matrix product (f32, all cores)");
    println!(
        "{:<10}{:>7}{:>9}{:>13}{:>10}{:>8}",
        "job", "cells", "threads", "tokens/s", "GFLOP/s", "share"
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for word in jobs {
        let job = Job::parse(&word, DeviceKind::Cpu)?;
        for cells in if cores == 1 { vec![1] } else { vec![1, cores] } {
            let (rate, threads) = rate(&job, cells)?;
            let gflops = rate * job.flops_per_token() / 1e9;
            let share = gflops / peak;
            println!("{word:<10}{cells:>7}{threads:>9}{rate:>13.0}{gflops:>10.1}{share:>8.2}");
        }
    }
    Ok(())
}

/// Tokens/s of all cells together, and the threads of each.
fn rate(job: &Job, cells: usize) -> Result<(f64, usize), Failure> {
    side_by_side(job, cells, |ask, threads| {
        ask(WARM_UP)?;
        let (begin, mut steps) = (Instant::now(), 0);
        while begin.elapsed() < ENOUGH {
            ask(1)?;
            steps += 1;
        }
        let tokens = cells as u64 * steps * job.recipe.batch_tokens();
        Ok((tokens as f64 / begin.elapsed().as_secs_f64(), threads))
    })
}

/// Prints what isoflop reaches alone on a GPU: one cell, and small ones side by side.
fn measure_gpu(jobs: &[&str]) -> Result<(), Failure> {
    println!("{:<12}{:>7}{:>13}{:>10}{:>12}", "job", "cells", "tokens/s", "TFLOP/s", "over one");
    for word in jobs {
        let job = Job::parse(word, DeviceKind::Cuda)?;
        let small = job.recipe.shape.counts().total < 5e7;
        let mut one = None;
        for cells in if small { &ON_ONE_GPU[..] } else { &[1] } {
            let (rate, _) = rate(&job, *cells)?;
            let over = rate / *one.get_or_insert(rate);
            let tflops = rate * job.flops_per_token() / 1e12;
            println!("{word:<12}{cells:>7}{rate:>13.0}{tflops:>10.1}{over:>12.2}");
        }
    }
    Ok(())
}

/// Initial weights under their names, and `inputs` and `targets`, `[batches, sequences, context]`.
fn export(job: &Job, path: &Path) -> Result<(), Failure> {
    let place = device::choose(job.kind)?.place;
    let mut trainer = Trainer::new(&job.recipe, &place);
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, weight) in trainer.model_mut().weights_mut() {
        let values = weight.value.clone().into_data().try_to_vec::<f32>()?;
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensors.push((name, Dtype::F32, weight.value.dims().to_vec(), bytes));
    }
    let dims = vec![BATCHES, job.batches[0].sequences, job.batches[0].context];
    for (name, ids) in [("inputs", |b: &Batch| &b.inputs), ("targets", |b: &Batch| &b.targets)]
        as [(&str, fn(&Batch) -> &Vec<i32>); 2]
    {
        let bytes = job.batches.iter().flat_map(ids).flat_map(|id| id.to_le_bytes()).collect();
        tensors.push((name.to_owned(), Dtype::I32, dims.clone(), bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, kind, dims, bytes)| Ok((name, TensorView::new(*kind, dims.clone(), bytes)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    safetensors::serialize_to_file(views, None::<HashMap<String, String>>, path)?;
    Ok(())
}

/// GFLOP/s of f32 matrix products by the `gemm` crate: squares, and the shapes of the linear layers with
/// their two gradients, of every size. On one thread; one product on all threads; one on each thread.
fn products() -> Value {
    let mut shapes: Vec<[usize; 3]> = [512, 1024, 2048].map(|n| [n; 3]).to_vec();
    for (_, dims) in &SIZES[..ON_CPU] {
        let [width, _, _, ff, context, sequences] = *dims;
        let rows = context * sequences;
        for (from, to) in [(width, 3 * width), (width, width), (width, 2 * ff), (ff, width)] {
            shapes.extend([[rows, to, from], [rows, from, to], [from, to, rows]]);
        }
    }
    let threads = rayon::current_num_threads();
    let rows: Vec<Value> = shapes
        .into_iter()
        .map(|shape| {
            json!({
                "m_n_k": shape,
                "one_thread": best(shape, 1, Parallelism::None),
                "one_on_all_threads": best(shape, 1, Parallelism::Rayon(0)),
                "one_on_each_thread": best(shape, threads, Parallelism::None),
            })
        })
        .collect();
    let most = |keys: &[&str]| {
        let rates = rows.iter().flat_map(|r| keys.iter().filter_map(|k| r[k].as_f64()));
        rates.fold(0.0, f64::max)
    };
    json!({
        "threads": threads,
        "peak_gflops_one_thread": most(&["one_thread"]),
        "peak_gflops": most(&["one_on_all_threads", "one_on_each_thread", "one_thread"]),
        "products": rows,
    })
}

/// The best of repeated runs [GFLOP/s], `copies` products at once.
fn best([m, n, k]: [usize; 3], copies: usize, parallelism: Parallelism) -> f64 {
    let mut buffers: Vec<[Vec<f32>; 3]> =
        (0..copies).map(|_| [vec![0.0; m * n], vec![0.5; m * k], vec![0.5; k * n]]).collect();
    let mut least = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed() < ENOUGH_PRODUCTS {
        let start = Instant::now();
        if copies == 1 {
            product(&mut buffers[0], [m, n, k], parallelism);
        } else {
            buffers.par_iter_mut().for_each(|b| product(b, [m, n, k], parallelism));
        }
        least = least.min(start.elapsed().as_secs_f64());
    }
    2e-9 * (copies * m * n * k) as f64 / least
}

fn product([c, a, b]: &mut [Vec<f32>; 3], [m, n, k]: [usize; 3], parallelism: Parallelism) {
    let width = usize::cast_signed;
    // SAFETY: c is [m, n], a [m, k] and b [k, n], all row-major and of that length.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            width(n),
            false,
            a.as_ptr(),
            1,
            width(k),
            b.as_ptr(),
            1,
            width(n),
            0.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}
