//! Every reader of bytes that we did not write, on bytes that nobody would write: an answer or an error, never a panic;
//! and no answer with a number that is not finite or lies outside its own interval. Mutants of a committed corpus by
//! a fixed seed, so that a failure repeats; a mutant that ever failed becomes a file of the corpus.
//!
//! An hour of all of them, on one thread:
//!
//! ```sh
//! ISOFLOP_FUZZ_SECONDS=3600 cargo test --release --locked --test fuzz -- --nocapture --test-threads 1
//! ```

mod data;
mod datasets;
mod mutate;
mod records;
mod results;
mod tables;
