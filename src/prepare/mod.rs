//! Preparing text: which documents stay, which are alike, which hold what is to be measured.
//!
//! Pure functions of text; the reading and writing stands beside them. Rules and hashes are those of datatrove 0.10.1,
//! so that decisions and signatures can be held against its own (`benches/peers/data.py`).

pub mod filter;
mod hashed;
pub mod language;
pub mod minhash;
pub mod ngrams;
mod normal;
mod numpy;
pub mod stages;
mod text;
mod unicode;
mod words;

pub use normal::{exact_key, normalise};
pub use text::Text;
