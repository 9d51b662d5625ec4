//! What tests a fit: held-out budgets, other choices, replicates, other methods.

pub(in crate::fit) mod conventions;
pub(in crate::fit) mod disagreement;
pub(in crate::fit) mod holdout;
pub(in crate::fit) mod replicates;
pub(in crate::fit) mod sensitivity;
