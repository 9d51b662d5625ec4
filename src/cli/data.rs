//! `isoflop data`: a dataset from a recipe, or from token shards that there are.

use super::args::DataArgs;
use super::bar::Bar;
use super::layout::table;
use super::{print, print_json};
use crate::corpus::Manifest;
use crate::error::InputError;
use crate::study::Failure;
use crate::study::datasets::{Taking, index};
use crate::study::preparing::Watch as _;
use crate::units::{bytes, count, several};

pub(super) fn execute(args: &DataArgs) -> Result<u8, Failure> {
    if let Some(recipe) = &args.recipe {
        return super::prepare::execute(args, recipe);
    }
    let (Some(dir), Some(format)) = (&args.index, args.format) else {
        let hint = "`isoflop data --help` shows both";
        return Err(InputError::new("give a recipe, or --index DIR and --format", hint).into());
    };
    let out = args.out.as_ref().unwrap_or(dir);
    let taking = Taking {
        dir,
        format: format.into(),
        tokenizer: args.tokenizer.as_deref(),
        separator: args.separator,
        held_out: args.held_out,
        out,
    };
    let bar = Bar::new();
    let manifest = index(taking, &|done, all| bar.read("index", done, all))?;
    bar.end();
    if args.json {
        print_json(&manifest);
        return Ok(0);
    }
    print(&text(&manifest));
    let path = out.display();
    print(&format!("\nA sweep trains on it by  source = {{ dataset = \"{path}\" }}\n"));
    Ok(0)
}

/// A dataset as a person reads it.
fn text(manifest: &Manifest) -> String {
    let rows: Vec<Vec<String>> = manifest
        .domains
        .iter()
        .map(|domain| {
            let known = |n: u64| if n > 0 { count(n as f64) } else { "-".to_owned() };
            let held_out = &domain.held_out;
            let per_token = held_out.bytes.map(|b| b as f64 / held_out.tokens.max(1) as f64);
            vec![
                domain.name.clone(),
                domain.train.shards.len().to_string(),
                known(domain.train.documents),
                count(domain.train.tokens as f64),
                known(held_out.documents),
                count(held_out.tokens as f64),
                per_token.map_or_else(|| "-".to_owned(), |b| format!("{b:.2}")),
            ]
        })
        .collect();
    let shards: u64 = manifest.shards().map(|s| s.file.bytes).sum();
    let separator = manifest.tokenizer.separator;
    let separator = separator.map_or_else(|| "not known".to_owned(), |id| id.to_string());
    format!(
        "Dataset {}: {} in {}, {} ids, separator {separator}.\n\n{}",
        crate::plan::short(&manifest.id),
        bytes(shards as f64),
        several(manifest.shards().count(), "shard"),
        manifest.tokenizer.vocab,
        table(
            &[
                "domain",
                "shards",
                "documents",
                "tokens",
                "held-out docs",
                "held-out tokens",
                "bytes/token"
            ],
            1,
            &rows
        )
    )
}
