//! Threads for cells side by side.

/// Runs `work` in `workers` threads, each with its share of the cores as a compute pool.
pub fn in_parallel(workers: usize, work: impl Fn(usize) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / workers.max(1)).max(1);
    std::thread::scope(|scope| {
        for worker in 0..workers.max(1) {
            let work = &work;
            scope.spawn(move || {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                match pool {
                    Ok(pool) => pool.install(|| work(worker)),
                    // Without a pool of its own the worker uses the shared one: slower, not wrong.
                    Err(_) => work(worker),
                }
            });
        }
    });
}
