//! Approach 3: the Chinchilla surface by a robust fit of ln L and by variable projection.

pub(in crate::fit) mod grid;
pub(in crate::fit) mod huber;
pub(in crate::fit) mod law;
pub(in crate::fit) mod lse;
pub(in crate::fit) mod varpro;
