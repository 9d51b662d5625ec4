//! Who is told what happens while a study works.

use crate::exec::job::Watch;
use crate::ledger::event::Event;
use crate::plan::Cell;
use crate::plan::cost::{Left, Price};
use crate::train::Progress;

/// Is told what happens meanwhile. A terminal shows it; a program may leave it be ([`Quiet`]).
pub trait Observer: Sync {
    /// What a person should know now.
    fn note(&self, text: &str);

    /// What a person should be warned of.
    fn warn(&self, text: &str);

    /// Cells begin to train: so many side by side, with what is left of each and, where it is known, what that is
    /// expected to take. What is returned watches them to their end.
    fn training<'a>(
        &self,
        workers: usize,
        left: &[Left<'a>],
        price: Option<&Price>,
    ) -> Box<dyn Watch + 'a>;
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Observer for Quiet {
    fn note(&self, _: &str) {}

    fn warn(&self, _: &str) {}

    fn training<'a>(&self, _: usize, _: &[Left<'a>], _: Option<&Price>) -> Box<dyn Watch + 'a> {
        Box::new(Self)
    }
}

impl Watch for Quiet {
    fn started(&self, _: usize, _: &Cell) {}
    fn progress(&self, _: usize, _: &Cell, _: Progress) {}
    fn ended(&self, _: usize, _: &Cell, _: &Event) {}
    fn note(&self, _: &str) {}
}
