//! What a dataset is on disk and in which order it is read: formats and arithmetic, no files.
//!
//! ```text
//! shard     token ids in a file, as llm.c writes them, and the writer of one
//! index     `.idx`: document lengths and keys, a hash for each 64 KiB of the shard
//! manifest  what a dataset holds, sealed; its id
//! order     which window of which domain a sequence of a run is
//! foreign   headers of the token files that other tools write
//! ```
//!
//! All that is read here may be anybody's bytes: lengths are checked before anything is allocated for them, and what
//! does not fit is refused with its reason.

pub mod foreign;
pub mod index;
pub mod manifest;
pub mod order;
pub mod shard;

pub use index::Index;
pub use manifest::{Domain, FileFacts, Manifest, Set, Shard, Tokenizer};
pub use order::{Order, shares};
pub use shard::{Layout, ShardWriter, Width, Written};
