//! Sets of copies, as the card shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Documents that are copies of each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopySet {
    /// How many.
    pub documents: u64,
    /// How many of each domain.
    pub domains: BTreeMap<String, u64>,
    /// The first and the last of them, as they are read.
    pub members: Vec<Member>,
}

/// A document of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, where it has one.
    pub id: String,
    /// How it begins.
    pub begins: String,
}
