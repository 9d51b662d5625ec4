//! isoflop: a scaling-law experiment harness.
//!
//! ```text
//! sweeps/x.toml ─ plan ─ run ─ fit ─ predict ─▶ the run worth buying
//!                        │     │
//!                        │     └ report (one page, figures, fit.json)
//!                        └ status (live)
//! ```
//!
//! Data flows one way; a module reads only from its left:
//! `spec → shape → plan → data → model → train → ledger → device → exec`, and
//! `points → health → fit → predict → forecast → figure → report`, `selftest` and `tune` beside `figure`,
//! with `cli` on top of both.
//!
//! Words: a *sweep* is the study in one TOML file, a *cell* one point of its grid, an *attempt* one try
//! at training a cell, a *run log* the record of an attempt, the *ledger* the fold of all run logs, a
//! *law* a formula for the loss, a *fit* a law with numbers, intervals and diagnostics.

pub mod backtest;
pub mod cli;
mod columnar;
pub mod covariates;
pub mod data;
pub mod device;
pub mod error;
pub mod exec;
pub mod export;
pub mod figure;
pub mod fit;
pub mod forecast;
pub mod fs;
pub mod health;
pub mod import;
pub mod ledger;
pub mod model;
pub mod ops;
pub mod plan;
pub mod points;
pub mod predict;
pub mod random;
pub mod report;
pub mod selftest;
pub mod shape;
mod sound;
pub mod spec;
pub mod terminal;
pub mod train;
pub mod tune;
pub mod units;
