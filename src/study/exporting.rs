//! A cell as a directory that `transformers` loads.

use std::path::Path;

use super::models::{Model, OfCell, Origin};
use super::{Failure, Observer};
use crate::describe::loss as shown;
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os, scratch_beside};
use crate::hf::card::{self, CARD, GENERATION, PROVENANCE, Provenance, TOKENIZER_CONFIG};
use crate::hf::{Config, Precision, config, tensors, tokenizer};
use crate::model::{Place, Transformer, Values};
use crate::ops::Kernels;
use crate::train::held_out;

/// Longest file that is compared with what would be written [bytes].
const MAX_FILE: u64 = 40 << 30;
/// Widths of a head that vLLM's FlashAttention takes are the multiples of the first up to the second
/// (`FlashAttentionBackend.get_supported_head_sizes` of its v1).
const SERVED: [usize; 2] = [32, 256];

/// What was written.
#[derive(Debug)]
pub struct Exported {
    /// Whether it was there already, to the byte.
    pub was_there: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Writes a cell as a directory of Hugging Face's. The directory is there whole or not at all.
///
/// # Errors
///
/// [`Failure`] where `out` holds anything but this same export, or cannot be written.
pub fn write(
    model: &Model,
    out: &Path,
    precision: Precision,
    observer: &dyn Observer,
) -> Result<Exported, Failure> {
    let Origin::Cell(of) = &model.origin else {
        let message = format!("{} is a directory of Hugging Face's already", model.origin.name());
        return Err(InputError::new(message, "a cell of a sweep is exported").into());
    };
    let mut notes = notes(model);
    let provenance = Provenance { dtype: precision.name().to_owned(), ..of.provenance.clone() };
    let mut card = provenance.card();
    if precision != Precision::F32 {
        let moved = moved(of, model, precision, observer)?;
        card += &format!("- {moved}\n");
        notes.push(moved);
    }
    let files = files(model, precision, &provenance, &card)?;
    let was_there = Os.is_dir(out) || out.exists();
    if was_there {
        same(out, &files)?;
    } else {
        create(out, &files)?;
    }
    Ok(Exported { was_there, notes })
}

/// Every file: its name and content.
type Files = Vec<(&'static str, Vec<u8>)>;

fn files(
    model: &Model,
    precision: Precision,
    provenance: &Provenance,
    card: &str,
) -> Result<Files, Failure> {
    let weights = tensors::file(&model.shape, &model.values, precision).map_err(|why| {
        let message = format!("{} cannot be exported: {why}", model.origin.name());
        InputError::new(message, "`isoflop check` names what is damaged of a sweep")
    })?;
    let config = Config { shape: model.shape, bos: model.begin, eos: model.end };
    let mut files: Files = vec![
        (config::FILE, config.json(precision).into_bytes()),
        (tensors::FILE, weights),
        (GENERATION, card::generation_json(model.end).into_bytes()),
        (PROVENANCE, provenance.json().into_bytes()),
        (CARD, card.as_bytes().to_vec()),
    ];
    if let Some(text) = &model.text {
        let end = model.end.and_then(|id| text.token(id));
        let config = tokenizer::config_json(end.as_deref(), model.shape.context);
        files.push((tokenizer::FILE, text.json().to_vec()));
        files.push((TOKENIZER_CONFIG, config.into_bytes()));
    }
    Ok(files)
}

/// What a person should know of the model before it is used elsewhere.
fn notes(model: &Model) -> Vec<String> {
    let mut notes = Vec::new();
    let width = model.shape.head_dim();
    let [step, most] = SERVED;
    if width > most || !width.is_multiple_of(step) {
        notes.push(format!(
            "its heads are {width} wide, and vLLM's FlashAttention takes multiples of {step} up to {most}: transformers \
             runs it, vLLM may not; `head_dim = 64` in [model] makes heads of 64"
        ));
    }
    if model.text.is_none() {
        notes.push("its data are ids and no text: there is no tokenizer to export".to_owned());
    }
    notes
}

/// By how much the held-out loss moves when the weights are rounded, where that can be measured.
fn moved(
    of: &OfCell,
    model: &Model,
    precision: Precision,
    observer: &dyn Observer,
) -> Result<String, Failure> {
    observer.note(&format!("measuring the held-out loss with weights in {}", precision.name()));
    let Some(data) = of.data() else {
        return Ok(format!(
            "The data are not at hand: how far rounding to {} moves the held-out loss was not measured.",
            precision.name()
        ));
    };
    let rounded = |v: &Values| Values {
        values: v.values.iter().map(|v| precision.rounded(*v)).collect(),
        ..v.clone()
    };
    let rounded: Vec<Values> = model.values.iter().map(rounded).collect();
    let tokens = of.provenance.cell.recipe.eval_tokens;
    let loss = |transformer: &Transformer| held_out(transformer, &data, tokens);
    let (before, _) = loss(&model.transformer()?)?;
    let place = Place::cpu(Kernels::Fused);
    let transformer = Transformer::with_values(model.shape, &rounded, &place)
        .map_err(|why| InputError::new(why, "`isoflop check` names what is damaged"))?;
    let (after, _) = loss(&transformer)?;
    Ok(format!(
        "Rounding to {} moves the held-out loss by {:+.2e} nats/token, from {} to {}.",
        precision.name(),
        after - before,
        shown(before),
        shown(after)
    ))
}

/// Refuses a directory that is anything but these files.
fn same(out: &Path, files: &Files) -> Result<(), Failure> {
    let read = |name: &str| Os.read(&out.join(name), MAX_FILE).ok();
    let is_other = |(name, bytes): &&(&str, Vec<u8>)| read(name).as_ref() != Some(bytes);
    let Some((name, _)) = files.iter().find(is_other) else { return Ok(()) };
    let what = if out.is_dir() {
        format!("its `{name}` is another, or none")
    } else {
        "it is no directory".into()
    };
    let message = format!("`{}` is there and not this export: {what}", out.display());
    Err(InputError::new(message, "give another --out, or move it away").into())
}

/// Makes the directory under a scratch name, and renames it when it is whole.
fn create(out: &Path, files: &Files) -> Result<(), Failure> {
    if let Some(parent) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
        Os.create_dirs(parent)?;
    }
    let scratch = scratch_beside(out);
    let written = (|| -> Result<(), FileError> {
        Os.claim_dir(&scratch)?;
        for (name, bytes) in files {
            Os.appender(&scratch.join(name))?.append(bytes, true)?;
        }
        Os.rename(&scratch, out).map_err(FileError::new("write", out))
    })();
    if let Err(e) = written {
        // What is left of it is ours alone; failing to remove it must not hide the first error.
        let _ = Os.remove(&scratch);
        return Err(e.into());
    }
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Os.sync_dir(parent).map_err(FileError::new("sync", parent))?;
    Ok(())
}
