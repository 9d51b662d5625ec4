//! Where cells run: devices and local workers.
//!
//! Reads: `train`, `ledger`, `data`. Read by: `cli`.

pub mod device;
pub mod local;
mod memory;
