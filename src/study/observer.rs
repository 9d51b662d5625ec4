//! Who is told what happens while a study works.

pub use crate::exec::job::Quiet;
use crate::exec::job::Watch;
use crate::plan::cost::{Left, Price};

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

impl Observer for Quiet {
    fn note(&self, _: &str) {}

    fn warn(&self, _: &str) {}

    fn training<'a>(&self, _: usize, _: &[Left<'a>], _: Option<&Price>) -> Box<dyn Watch + 'a> {
        Box::new(*self)
    }
}
