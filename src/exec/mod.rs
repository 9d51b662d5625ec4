//! Where cells run: local workers, and job arrays.

mod attempt;
pub mod job;
pub mod local;
pub mod probe;
mod queue;
pub mod slurm;
pub mod stop;
