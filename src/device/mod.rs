//! What can train here: this machine's CPU, or its NVIDIA GPUs. What is there, whether it computes right, how
//! fast it is.

pub mod bench;
#[cfg(feature = "cuda")]
mod cache;
mod calls;
pub mod check;
mod driver;
mod libraries;
pub(crate) mod memory;
mod messages;
mod places;
mod pool;
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "a build with CUDA calls it"))]
mod prepare;

#[cfg(feature = "cuda")]
use burn::tensor::{Device, FloatDType};

use crate::error::{InputError, exit};
use crate::ops::Kernels;
use crate::plan::Recipe;
use crate::plan::memory::Room;
use crate::spec::{DeviceKind, DeviceSpec, Matmul};
use crate::train::Place;

pub use calls::{Calls, Counts};
pub use driver::{Card, Driver, Missing};
pub use libraries::{Found, Part, look};
pub use messages::show_messages;
pub use pool::in_parallel;

/// What the activations of all cells on one card may take at most, however large the card [bytes].
#[cfg(feature = "cuda")]
const ACTIVATIONS: u64 = 32 << 30;
/// Share of a card's memory that they may take: weights, moments, gradients and what the pools keep need the
/// rest.
#[cfg(feature = "cuda")]
const SHARE: f64 = 0.4;

/// A device that is there.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// One for each card.
    places: Vec<Place>,
    /// As a person would name it.
    pub name: String,
    /// Types and kernels of the arithmetic: runs with other ones differ in their last bits.
    pub numerics: String,
    /// Cells side by side that are worth a trial when the sweep does not say.
    pub most_workers: usize,
    /// Memory of one card, or of the machine, which its cells share, where it is known [bytes].
    pub memory: Option<u64>,
}

impl Chosen {
    /// Where a worker trains, of so many: they are dealt to the cards in turn, and those of one card share its
    /// memory.
    pub fn place(&self, worker: usize, workers: usize) -> Place {
        let cards = self.places.len();
        let place = &self.places[worker % cards];
        let sharing = workers.max(1).div_ceil(cards) as u64;
        Place { activations: place.activations / sharing, ..place.clone() }
    }

    /// Where cells find their memory, of so many side by side.
    pub fn room(&self, workers: usize) -> Room {
        if self.is_cpu() { Room::Cpu } else { Room::Gpu(self.place(0, workers).activations) }
    }

    /// Why so many cells of a recipe cannot be trained side by side, if that is certain from their parameters.
    pub fn lacks(&self, recipe: &Recipe, cells: usize) -> Option<String> {
        let share = cells.max(1).div_ceil(self.cards()) as u64;
        memory::lacking(recipe, self.memory.map(|memory| memory / share))
    }

    /// Cards that cells are dealt to.
    pub fn cards(&self) -> usize {
        self.places.len()
    }

    /// Whether it is a CPU, on which all cells share all cores.
    pub fn is_cpu(&self) -> bool {
        self.places[0].kernels == Kernels::Fused
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Kind of device.
    pub kind: DeviceKind,
    /// Cards by their number; all cells on card 0 when empty.
    pub cards: Vec<usize>,
    /// How the kernels of matrix products are chosen on a GPU.
    pub matmul: Matmul,
}

impl Wanted {
    /// What a sweep says, or a person instead of it.
    pub fn of(spec: &DeviceSpec, kind: Option<DeviceKind>, matmul: Option<Matmul>) -> Self {
        Self {
            kind: kind.unwrap_or(spec.kind),
            cards: spec.devices.get_ref().clone(),
            matmul: matmul.unwrap_or(spec.matmul),
        }
    }

    /// One device of a kind.
    pub fn one(kind: DeviceKind, matmul: Matmul) -> Self {
        Self { kind, cards: Vec::new(), matmul }
    }
}

/// Finds the device that is asked for.
///
/// # Errors
///
/// [`InputError`] when it is not there; nothing was started then.
pub fn choose(wanted: &Wanted) -> Result<Chosen, InputError> {
    match wanted.kind {
        DeviceKind::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            memory::keep_pages();
            Ok(Chosen {
                places: vec![Place::cpu(Kernels::Fused)],
                name: format!("CPU, {cores} cores"),
                numerics: "f32".to_owned(),
                most_workers: cores,
                memory: memory::limit(),
            })
        }
        DeviceKind::Cuda => cuda(wanted),
    }
}

/// One line: what is missing, and what to do.
fn refuse(what: &str, hint: &str) -> InputError {
    let message = format!("device `cuda`: {what}");
    InputError { message, hint: Some(hint.to_owned()), code: exit::INPUT }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: &Wanted) -> Result<Chosen, InputError> {
    Err(refuse(
        "this isoflop was built without CUDA",
        "build it by `cargo build --release --features cuda`, or use --device cpu",
    ))
}

#[cfg(feature = "cuda")]
fn cuda(wanted: &Wanted) -> Result<Chosen, InputError> {
    use crate::ops::Products;

    let driver = prepare::prepare().map_err(|missing| {
        refuse(
            &missing.what,
            &format!("{}; `isoflop device` shows all that is there", missing.mend),
        )
    })?;
    show_messages();
    cache::keep();
    let numbers = if wanted.cards.is_empty() { vec![0] } else { wanted.cards.clone() };
    let cards: Vec<&Card> = numbers
        .iter()
        .map(|number| {
            driver.cards.get(*number).ok_or_else(|| {
                let there = driver.cards.len();
                refuse(
                    &format!("there is no card {number}"),
                    &format!("there are {there}, counted from 0: see `isoflop device`, then --card or device.devices"),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    let (products, by) = match wanted.matmul {
        Matmul::Fixed => (Products::Fixed, "fixed"),
        Matmul::Autotune => (Products::Autotune, "tuned"),
    };
    let memory = cards.iter().map(|card| card.memory).min();
    let place = |number: usize| Place {
        device: Device::cuda(number),
        // f32 weights and sums, products of bf16: what pretraining runs use.
        kernels: Kernels::Cubes(FloatDType::BF16, products),
        activations: memory.map_or(0, |m| ((SHARE * m as f64) as u64).min(ACTIVATIONS)),
    };
    let name = match cards[..] {
        [card] => card.name.clone(),
        _ => format!("{} x {}", cards.len(), cards[0].name),
    };
    Ok(Chosen {
        places: numbers.into_iter().map(place).collect(),
        name,
        numerics: format!("f32, products of bf16 by {by} kernels"),
        most_workers: cards.len(),
        memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells are dealt to the cards in turn, and those of one card share its memory.
    #[test]
    fn workers_are_dealt_to_cards_and_share_their_memory() {
        let card = |activations| Place { activations, ..Place::cpu(Kernels::Composed) };
        let chosen = Chosen {
            places: vec![card(600), card(900)],
            name: String::new(),
            numerics: String::new(),
            most_workers: 2,
            memory: None,
        };
        let of = |workers| {
            let all = (0..workers).map(|worker| chosen.place(worker, workers).activations);
            all.collect::<Vec<u64>>()
        };
        assert_eq!(of(1), [600]);
        assert_eq!(of(2), [600, 900]);
        assert_eq!(of(3), [300, 450, 300]);
        assert_eq!(of(6), [200, 300, 200, 300, 200, 300]);
        assert_eq!(chosen.room(2), Room::Gpu(600));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_how_to_get_it() {
        let error = choose(&Wanted::one(DeviceKind::Cuda, Matmul::Fixed)).unwrap_err();
        assert!(error.code == exit::INPUT && error.message.contains("without CUDA"), "{error}");
        assert!(error.hint.unwrap().contains("--features cuda"));
    }
}
