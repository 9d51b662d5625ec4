//! `isoflop sample`: a text that a model goes on with.

use serde::Serialize;

use super::args::SampleArgs;
use super::{print_as_is, print_json};
use crate::study::Failure;
use crate::study::models::{Model, Origin};
use crate::study::sampling::{Request, sample};
use crate::terminal::note;

/// Everything, as JSON.
#[derive(Serialize)]
struct Output<'a> {
    /// The path of a directory of Hugging Face's, or that of the results.
    model: String,
    /// Id of the cell, where that is known.
    cell: Option<&'a str>,
    /// Its held-out loss [nats/token].
    loss: Option<f64>,
    prompt: &'a str,
    prompt_ids: &'a [u32],
    text: &'a str,
    ids: &'a [u32],
    /// Of each id, at temperature 1 [nats].
    log_likelihoods: &'a [f64],
    /// Whether the model ended the text.
    ended: bool,
    temperature: f64,
    top_p: f64,
    seed: u64,
}

pub(super) fn execute(args: &SampleArgs) -> Result<u8, Failure> {
    let model = Model::open(&args.model, &args.results, args.cell.as_deref())?;
    let provenance = model.origin.provenance();
    let request = Request {
        prompt: args.prompt.clone(),
        tokens: args.tokens,
        choice: args.choice(),
        seed: args.seed,
    };
    if !args.json {
        let loss = provenance.map(|p| format!(", held-out loss {:.4} nats/token", p.loss));
        note!("{}{}", model.origin.name(), loss.unwrap_or_default());
        print_as_is(&args.prompt);
    }
    let mut tell = |text: &str| {
        if !args.json && !text.is_empty() {
            print_as_is(text);
        }
    };
    let sampled = sample(&model, &request, &mut tell)?;
    if !args.json {
        print_as_is("\n");
        return Ok(0);
    }
    print_json(&Output {
        model: match &model.origin {
            Origin::Cell(of) => of.results.display().to_string(),
            Origin::Directory(path, _) => path.display().to_string(),
        },
        cell: provenance.map(|p| p.cell.id.as_str()),
        loss: provenance.map(|p| p.loss),
        prompt: &args.prompt,
        prompt_ids: &sampled.prompt,
        text: &sampled.text,
        ids: &sampled.ids,
        log_likelihoods: &sampled.log_likelihoods,
        ended: sampled.ended,
        temperature: args.temperature,
        top_p: args.top_p,
        seed: args.seed,
    });
    Ok(0)
}
