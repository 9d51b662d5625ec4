//! What a benchmark that takes turns with another trainer needs: the same start, and steps on request.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::cells::{Ended, side_by_side};
use super::job::{BATCHES, Job};
use crate::data::Batch;
use crate::device::Chosen;
use crate::train::Trainer;

/// Why serving or writing ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A cell panicked.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The other side of a pipe.
    #[error("cannot go on with stdin and stdout: {0}")]
    Io(#[from] std::io::Error),
    /// A line of stdin that is no number of steps.
    #[error("`{0}` is no number of steps")]
    Line(String),
    /// A file of tensors that could not be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Tensors {
        /// Which.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
}

/// Says what is ready as a line of JSON, then trains for each line of `orders`, a number of steps, and answers
/// by the seconds and each cell's losses and norms.
///
/// # Errors
///
/// [`ServeError`].
pub fn serve(
    device: &Chosen,
    job: &Job,
    cells: usize,
    orders: impl BufRead,
    mut out: impl Write,
) -> Result<(), ServeError> {
    side_by_side(device, job, cells, |ask, threads| {
        let ready = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": device.name,
            "numerics": device.numerics,
            "threads": threads,
            "recipe": job.recipe,
            "flops_per_token": job.flops_per_token(),
            "params": job.recipe.shape.counts().total,
            "tokens_per_step": job.recipe.batch_tokens(),
        });
        writeln!(out, "{ready}")?;
        out.flush()?;
        for line in orders.lines() {
            let line = line?;
            let steps = line.trim().parse().map_err(|_| ServeError::Line(line.clone()))?;
            let begin = Instant::now();
            let cells = ask(steps)?;
            let seconds = begin.elapsed().as_secs_f64();
            writeln!(out, "{}", json!({ "seconds": seconds, "cells": cells }))?;
            out.flush()?;
        }
        Ok(())
    })
}

/// Writes initial weights under their names, and `inputs` and `targets`, `[batches, sequences, context]`, as
/// safetensors.
///
/// # Errors
///
/// [`ServeError`].
///
/// # Panics
///
/// When the device cannot be read.
pub fn export(device: &Chosen, job: &Job, path: &Path) -> Result<(), ServeError> {
    let mut trainer = Trainer::new(&job.recipe, &device.place(0, 1));
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, weight) in trainer.model_mut().weights_mut() {
        let values = weight.value.clone().into_data().try_to_vec::<f32>().expect("weights are f32");
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensors.push((name, Dtype::F32, weight.value.dims().to_vec(), bytes));
    }
    let dims = vec![BATCHES, job.batches[0].sequences, job.batches[0].context];
    for (name, ids) in [("inputs", |b: &Batch| &b.inputs), ("targets", |b: &Batch| &b.targets)]
        as [(&str, fn(&Batch) -> &Vec<i32>); 2]
    {
        let bytes = job.batches.iter().flat_map(ids).flat_map(|id| id.to_le_bytes()).collect();
        tensors.push((name.to_owned(), Dtype::I32, dims.clone(), bytes));
    }
    let written = tensors
        .iter()
        .map(|(name, kind, dims, bytes)| Ok((name, TensorView::new(*kind, dims.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .and_then(|views| {
            safetensors::serialize_to_file(views, None::<HashMap<String, String>>, path)
        });
    written.map_err(|source| ServeError::Tensors { path: path.to_owned(), source })
}
