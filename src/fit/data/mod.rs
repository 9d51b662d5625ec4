//! The runs before anything is fitted to them: budgets, clusters, compute, what is in order.

pub(crate) mod budgets;
pub(in crate::fit) mod checks;
pub(in crate::fit) mod clusters;
pub(in crate::fit) mod compute;
pub(in crate::fit) mod sample;
