//! isoflop: a scaling-law experiment harness.
//!
//! ```text
//! sweeps/x.toml ─ plan ─ run ─ fit ─ predict ─▶ the run worth buying
//!                        │     │
//!                        │     └ report (one page, figures, fit.json)
//!                        └ status (live)
//! ```
//!
//! # Layers
//!
//! Data flows one way: a module reads only what stands before it here (`tests/layering.rs` reads this list).
//!
//! ```text
//! basics    error terminal units sound random points covariates health seal fs columnar
//! sweeps    spec shape plan documents corpus data task
//! training  ops model hf train ledger eval device exec
//! texts     prepare
//! laws      import fit export predict compare forecast backtest selftest tune
//! pages     describe figure report
//! studies   study
//! commands  cli lib main
//! ```
//!
//! # Glossary
//!
//! * *sweep*: a study, as one TOML file. *grid*: its model sizes and token budgets.
//! * *cell*: one run of the grid that is to be trained. *recipe*: all that decides its bits; its hash is the cell's id.
//! * *attempt*: one try at training a cell. *run log*: the sealed record of an attempt.
//! * *ledger*: what all run logs together say of every cell. *checkpoint*: a kept state of an attempt.
//! * *run*: one row of a table of results: N, D, C and a loss. *table*: the runs of a study, ours or imported.
//! * *N*: model size [parameters]. *D*: training tokens. *C*: training compute [FLOP]. *tokens/param*: D/N.
//! * *budget*: runs of one C (an IsoFLOP slice). *cluster*: runs that share noise, such as checkpoints of one trunk.
//! * *law*, or *form*: a formula for the loss. *fit*: a law with its numbers, intervals and certificate.
//! * *method*: a way to fit: `lse-huber` and `varpro` (approach 3), `isoflop` (approach 2), `envelope` (approach 1).
//! * *model average*: what all forms say together, each with its weight; it answers every question.
//! * *effective sample size*: the independent runs that all runs are worth.
//! * *discrepancy*: how far the average is expected to miss beyond the runs, for each e-fold of compute.
//! * *hold-out*: the largest budget, predicted from the smaller ones. *backtest*: the same at several cuts.
//! * *forecast*: a prediction that was locked before its run.
//! * *task*: a set of scored items. *item*: one of them, with its *requests*: texts that are scored after a context.

pub mod backtest;
pub mod cli;
mod columnar;
pub mod compare;
pub mod corpus;
pub mod covariates;
pub mod data;
pub mod describe;
pub mod device;
pub mod documents;
pub mod error;
pub mod eval;
pub mod exec;
pub mod export;
pub mod figure;
pub mod fit;
pub mod forecast;
pub mod fs;
pub mod health;
pub mod hf;
pub mod import;
pub mod ledger;
pub mod model;
pub mod ops;
pub mod plan;
pub mod points;
pub mod predict;
pub mod prepare;
pub mod random;
pub mod report;
pub mod seal;
pub mod selftest;
pub mod shape;
mod sound;
pub mod spec;
pub mod study;
pub mod task;
pub mod terminal;
pub mod train;
pub mod tune;
pub mod units;
