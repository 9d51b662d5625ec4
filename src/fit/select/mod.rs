//! The forms of law side by side: what each counts, and what they say beyond the runs.

pub(in crate::fit) mod extrapolate;
pub(crate) mod forms;
pub(crate) mod repeats;
pub(in crate::fit) mod verdicts;
pub(in crate::fit) mod weights;
