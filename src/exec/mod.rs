//! Where cells run: devices and local workers.
//!
//! Reads: `train`, `ledger`, `data`. Read by: `cli`.

mod attempt;
pub mod device;
pub mod local;
mod memory;
pub mod probe;
pub mod slurm;
pub mod stop;
