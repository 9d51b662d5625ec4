//! How far a fit would move on other data of the same kind.

pub(in crate::fit) mod bootstrap;
pub(in crate::fit) mod profile;
