//! Does a device compute right? Every kernel, matrix products, a whole step of the model, ten steps beside
//! PyTorch's record, and the same bits twice; each held to the CPU or to a record.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use super::Chosen;
use crate::ops::Case;
#[cfg(feature = "cube")]
use crate::ops::Kernels;
use crate::train::Place;
use crate::{error, model, ops, train};

/// One thing that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// One operation and its result: driver, compiler, launch and copy.
    Hello,
    /// Every operation between the matrix products, forward and backward, at odd and padded widths.
    Operations,
    /// Matrix products in every layout, alone and as a batch.
    Products,
    /// Loss and gradients of whole models, as one batch and cut into micro-batches.
    Step,
    /// Ten steps beside PyTorch's record, of three models.
    Golden,
    /// The same steps twice: the same bits.
    Twice,
}

impl Check {
    /// In the order in which one trusts the next.
    pub const ALL: [Self; 6] =
        [Self::Hello, Self::Operations, Self::Products, Self::Step, Self::Golden, Self::Twice];

    /// As it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Operations => "operations",
            Self::Products => "products",
            Self::Step => "step",
            Self::Golden => "golden",
            Self::Twice => "twice",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Which.
    pub check: Check,
    /// What was compared.
    pub cases: usize,
    /// What may not be trusted.
    pub wrong: Vec<Case>,
    /// The case nearest to its tolerance, or farthest beyond.
    pub nearest: Option<Case>,
    /// How it ended before its last case, if it did.
    pub ended: Option<String>,
    /// Time it took [s].
    pub seconds: f64,
}

impl Checked {
    /// Whether all may be trusted.
    pub fn holds(&self) -> bool {
        self.wrong.is_empty() && self.ended.is_none()
    }
}

/// Runs one check; a panic is how it ended.
pub fn run(check: Check, device: &Chosen) -> Checked {
    let begin = Instant::now();
    let (mut cases, mut wrong, mut nearest) = (0, Vec::new(), None::<Case>);
    let share =
        |case: &Case| if case.tolerance > 0.0 { case.worst / case.tolerance } else { case.worst };
    let mut tell = |case: Case| {
        cases += 1;
        if nearest.as_ref().is_none_or(|n| share(&case) > share(n)) {
            nearest = Some(case.clone());
        }
        if !case.holds() {
            wrong.push(case);
        }
    };
    let ended = catch_unwind(AssertUnwindSafe(|| work(check, device, &mut tell)));
    let ended = ended.err().map(|panic| error::panic_text(&*panic));
    let seconds = begin.elapsed().as_secs_f64();
    Checked { check, cases, wrong, nearest, ended, seconds }
}

fn work(check: Check, device: &Chosen, tell: &mut dyn FnMut(Case)) {
    let place = device.place(0, 1);
    match check {
        Check::Hello => hello(&place, tell),
        Check::Operations => operations(&place, tell),
        Check::Products => products(&place, tell),
        Check::Step => {
            exact(&place).iter().chain([&place]).for_each(|p| model::check::cases(p, tell));
        }
        Check::Golden => {
            for name in train::check::MODELS {
                for place in exact(&place).iter().chain([&place]) {
                    train::check::ten_steps(name, place, tell);
                }
            }
        }
        Check::Twice => train::check::twice(&place, tell),
    }
}

fn hello(place: &Place, tell: &mut dyn FnMut(Case)) {
    let x = Tensor::<1>::from_data(TensorData::new(vec![1.0_f32, 2.0, 3.0], [3]), &place.device);
    let doubled = (x * 2.0).into_data().try_to_vec::<f32>().expect("f32");
    let right = doubled == [2.0, 4.0, 6.0];
    let worst = if right { 0.0 } else { f64::INFINITY };
    tell(Case { name: format!("2 x (1, 2, 3) = {doubled:?}"), worst, tolerance: 0.0 });
}

/// The same place in f32, with products of one element a unit: what can be held to the CPU's tolerances.
#[cfg(feature = "cube")]
fn exact(place: &Place) -> Option<Place> {
    let Kernels::Cubes(..) = place.kernels else { return None };
    let kernels = Kernels::Cubes(burn::tensor::FloatDType::F32, ops::Products::Reference);
    Some(Place { kernels, ..place.clone() })
}

#[cfg(not(feature = "cube"))]
fn exact(_: &Place) -> Option<Place> {
    None
}

#[cfg(feature = "cube")]
fn operations(place: &Place, tell: &mut dyn FnMut(Case)) {
    match place.kernels {
        Kernels::Cubes(..) => ops::cases(&place.device, &ops::KINDS, tell),
        _ => ops::cpu_cases(tell),
    }
}

#[cfg(not(feature = "cube"))]
fn operations(_: &Place, tell: &mut dyn FnMut(Case)) {
    ops::cpu_cases(tell);
}

#[cfg(feature = "cube")]
fn products(place: &Place, tell: &mut dyn FnMut(Case)) {
    match place.kernels {
        Kernels::Cubes(_, products) => {
            ops::product_cases(&place.device, products, &ops::KINDS, tell);
        }
        _ => ops::cpu_product_cases(tell),
    }
}

#[cfg(not(feature = "cube"))]
fn products(_: &Place, tell: &mut dyn FnMut(Case)) {
    ops::cpu_product_cases(tell);
}
