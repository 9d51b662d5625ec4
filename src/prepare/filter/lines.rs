//! Rules for code by its lines (StarCoder, Li et al. 2023, arXiv:2305.06161, section 3.2).

use super::{Removed, above, below, ratio};
use crate::prepare::text::Text;
use crate::spec::Lines;

pub(super) fn judge(text: &Text<'_>, numbers: &Lines) -> Option<Removed> {
    let lines = text.lines();
    // What ends in a line end has no line after it.
    let count = lines.len() - usize::from(lines.len() > 1 && text.as_str().ends_with('\n'));
    let longest = lines.iter().map(|line| line.characters).max().unwrap_or(0);
    let sum: usize = lines.iter().map(|line| line.characters as usize).sum();
    above("longest-line", f64::from(longest), numbers.longest as f64)
        .or_else(|| above("mean-line", ratio(sum, count), numbers.mean))
        .or_else(|| {
            let alphanumeric = text.as_str().chars().filter(|c| c.is_alphanumeric()).count();
            below("alphanumeric", ratio(alphanumeric, text.characters()), numbers.alphanumeric)
        })
}
