//! A model as Hugging Face's `transformers` reads it: Llama, or Qwen3 with the norm of queries and keys.
//!
//! A directory of `config.json`, `model.safetensors`, `tokenizer.json` and what goes with them. Here is what the files
//! say, in both directions; they are read and written by `study`. Export is a renaming of tensors: rotary pairs are in
//! Llama's order, and what a parametrization multiplies is folded into the weights while they are trained.
//!
//! What is read was written by others: every field that decides the function is checked, and one that isoflop's model
//! cannot be is refused by its name.

pub mod card;
pub mod config;
pub mod tensors;
pub mod tokenizer;

pub use config::Config;
pub use tensors::Precision;
pub use tokenizer::Text;
