//! `isoflop data RECIPE`.

use std::path::Path;

use super::args::{DataArgs, Launcher};
use super::bar::Bar;
use super::show::{table, warnings};
use super::{launch, print, print_json};
use crate::error::InputError;
use crate::prepare::stages::{DomainCard, Forecast, Sample};
use crate::study::Failure;
use crate::study::preparing::{self, Prepared, Request};
use crate::terminal::note;
use crate::units::{bytes, count, duration, several};

/// Text that a plan judges of each domain [bytes].
const PLANNED: u64 = 4 << 20;
/// Text that `--look` judges [bytes].
const LOOKED: u64 = 64 << 20;

pub(super) fn execute(args: &DataArgs, recipe: &Path) -> Result<u8, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = args.workers.unwrap_or(cores).max(1);
    let request = Request { recipe: recipe.to_owned(), out: args.out.clone(), workers };
    if args.worker {
        // The one who started it says why it ends.
        return Ok(preparing::worker(&request).map_or_else(|failure| failure.code, |()| 0));
    }
    let slurm = args.launcher == Launcher::Slurm;
    if args.plan && !slurm {
        return plan(args, &request);
    }
    if let Some(domain) = &args.look {
        return look(&request, domain);
    }
    let bar = Bar::new();
    if slurm && (args.plan || preparing::prepared(&request)?.is_none()) {
        return launch::recipe(args, &request);
    }
    let prepared = preparing::prepare(&request, &bar)?;
    bar.end();
    if args.json {
        print_json(&prepared.card);
    } else {
        print(&shown(&prepared));
    }
    note!("{}", warnings(&prepared.card.doubts()));
    Ok(0)
}

fn plan(args: &DataArgs, request: &Request) -> Result<u8, Failure> {
    let work = request.plan()?;
    let domains = 0..work.recipe.domains().len();
    let all: Vec<Forecast> =
        domains.map(|domain| work.forecast(domain, PLANNED)).collect::<Result<_, _>>()?;
    if args.json {
        print_json(&all);
        return Ok(0);
    }
    let rows = all.iter().map(|f| {
        vec![
            f.name.clone(),
            f.files.to_string(),
            bytes(f.bytes as f64),
            count(f.documents),
            bytes(f.text),
            format!("{:.1}%", 100.0 * f.kept),
            count(f.held_out),
        ]
    });
    let header = ["domain", "files", "on disk", "documents", "text", "kept", "held out"];
    let mut out = table(&header, 1, &rows.collect::<Vec<_>>());
    out += "  documents, text, kept and held out: by a sample of each domain. kept: share of the text that is trained on, before \
            copies go. held out: documents.\n";
    for f in &all {
        let most: Vec<String> =
            f.removed.iter().take(5).map(|(rule, n)| format!("{rule} {n}")).collect();
        if !most.is_empty() {
            out += &format!(
                "  {}: of {} sampled documents go: {}.\n",
                f.name,
                f.sampled,
                most.join(", ")
            );
        }
        if !f.left_out.is_empty() {
            out += &format!("  {}: not read: {}.\n", f.name, f.left_out);
        }
    }
    // Each file is read twice; the second time its text becomes ids instead of being judged.
    let seconds = 2.0 * all.iter().map(|f| f.seconds).sum::<f64>() / request.workers as f64;
    let disk = all.iter().map(|f| 2.0 * f.text * f.kept).sum::<f64>();
    out += &format!(
        "  About {} with {}, and up to {} of disk.\n",
        duration(seconds),
        several(request.workers, "worker"),
        bytes(disk)
    );
    print(&out);
    let few: Vec<String> = all.into_iter().filter_map(|f| f.few).collect();
    note!("{}", warnings(&few));
    Ok(0)
}

fn look(request: &Request, domain: &str) -> Result<u8, Failure> {
    let work = request.plan()?;
    let names: Vec<&str> = work.recipe.domains().iter().map(|(name, _)| *name).collect();
    let Some(place) = names.iter().position(|name| *name == domain) else {
        let message = format!("the recipe has no domain `{domain}`");
        return Err(InputError::new(message, format!("name one of {}", names.join(", "))).into());
    };
    let sample = work.sample(place, LOOKED)?;
    print(&looked(domain, &sample));
    Ok(0)
}

fn looked(domain: &str, sample: &Sample) -> String {
    let mut out =
        format!("{} of {domain} were judged.\n", several(sample.documents() as usize, "document"));
    for (rule, removed) in sample.removed() {
        out += &format!("\n{rule}: {} of them go\n", removed.documents);
        for example in &removed.examples {
            let begins: String = example.begins.split_whitespace().collect::<Vec<_>>().join(" ");
            out += &format!(
                "  {:.3} against {}: {}\n    {begins}\n",
                example.value, example.limit, example.id
            );
        }
    }
    out
}

/// What was made.
fn shown(prepared: &Prepared) -> String {
    let Prepared { dir, manifest, card } = prepared;
    let rows = card.domains.iter().map(|d: &DomainCard| {
        vec![
            d.name.clone(),
            count(d.documents as f64),
            bytes(d.bytes as f64),
            count(d.removed() as f64),
            count(d.copies() as f64),
            count(d.contaminated as f64),
            count(d.train_documents as f64),
            count(d.train_tokens as f64),
            count(d.held_out_documents as f64),
        ]
    });
    let header = [
        "domain",
        "documents",
        "text",
        "removed",
        "copies",
        "contam.",
        "trained on",
        "tokens",
        "held out",
    ];
    let mut out = table(&header, 1, &rows.collect::<Vec<_>>());
    out += "  documents read, removed by rules, gone as copies, sharing an n-gram with what is measured; documents and tokens \
            trained on; documents held out.\n";
    for d in &card.domains {
        let mut rules: Vec<(&str, u64)> =
            d.removed.iter().map(|(rule, r)| (rule.as_str(), r.documents)).collect();
        rules.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let most: Vec<String> =
            rules.iter().take(5).map(|(rule, n)| format!("{rule} {n}")).collect();
        if !most.is_empty() {
            out += &format!("  {}: removed by {}.\n", d.name, most.join(", "));
        }
    }
    out + &format!(
        "  {} sets of copies, the largest of {}. Tokenizer {}, {} ids. Dataset {}.\n\n  dataset  {}\n  card     {}\n",
        card.copies.clusters,
        several(card.copies.largest as usize, "document"),
        manifest.tokenizer.kind,
        manifest.tokenizer.vocab,
        crate::plan::short(&manifest.id),
        dir.display(),
        prepared.page().display()
    )
}
