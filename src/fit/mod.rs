//! Scaling laws fitted by four methods: numbers in, numbers out.
//!
//! [`analyse`] takes a [`Table`](crate::points::Table) and returns an [`Analysis`]: every method and every form of law on the
//! same runs, each with intervals and a certificate, and what a reader must know before believing any of it.
//!
//! Pure: no files, no clock, no device, no randomness but the given seed. Equal tables give equal bits,
//! whatever the order of the rows and the number of threads.
//!
//! # Layers
//!
//! In the order of the stages; a file reads only what stands before it (`tests/layering.rs` reads this list).
//!
//! ```text
//! words      warning pins result read options
//! numbers    numeric
//! runs       data
//! methods    surface frontier
//! forms      law
//! trust      interval validate select
//! analysis   methods analyse
//! tasks      downstream
//! ```
//!
//! * `numeric`: least squares, Newton's method, QR, derivatives, statistics. Knows nothing of scaling laws.
//! * `data`: the runs before anything is fitted: budgets, clusters, compute, what is in order.
//! * `surface`: approach 3, the Chinchilla surface by a robust fit of ln L (`lse`) and by variable projection (`varpro`).
//! * `frontier`: approach 1 (`envelope`) and approach 2 (`parabola`, its `slice` of each budget) with its bias on a
//!   design, and the `line` of both.
//! * `law`: the forms of law, one file each, and the fit of any of them.
//! * `interval`: bootstrap and profile likelihood.
//! * `validate`: the held-out budget, other choices, other conventions, replicates, disagreement of methods.
//! * `downstream`: which scores of tasks show a signal (`gate`), and how they follow from a loss (`curve`).
//! * `select`: what each form counts (`weights`), all forms side by side (`forms`), what they say beyond the runs
//!   (`extrapolate`), what a reader is warned of then (`verdicts`), runs on repeated tokens (`repeats`).

mod analyse;
mod data;
pub mod downstream;
mod frontier;
mod interval;
pub mod law;
mod methods;
pub mod numeric;
mod options;
mod pins;
mod read;
pub mod result;
mod select;
mod surface;
mod validate;
mod warning;

pub use analyse::{analyse, shared_noise, surfaces};
pub use data::budgets::budget_of_each;
pub use data::checks::allowed;
pub use options::{FitError, Method, Options};
pub use pins::Pins;
pub use read::ReadError;
pub use result::*;
pub use select::weights::COUNTS;
pub use surface::lse::objective;
pub use warning::{Code, Warning};

pub(crate) use numeric::stats;
pub(crate) use select::forms::LEAST_WEIGHT;
pub(crate) use select::repeats::{ONCE, PUBLISHED, epochs, worth};
pub(crate) use surface::law::bisect;

#[cfg(test)]
mod tests;
