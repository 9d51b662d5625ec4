//! Where cells run: local workers, and job arrays.
//!
//! Reads: `train`, `ledger`, `data`, `device`. Read by: `cli`.

mod attempt;
pub mod local;
pub mod probe;
pub mod slurm;
pub mod stop;
