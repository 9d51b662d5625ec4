//! The card of a dataset as a page: for a reader who must decide whether to trust the data.

mod copies;
mod lengths;
mod mix;
mod rules;

use maud::{Markup, html};

use super::grid::table;
use super::page::{Page, Part, doubts};
use crate::corpus::Manifest;
use crate::prepare::stages::{Card, DomainCard};
use crate::units::{bytes, count, several};

/// What a card is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What was read and thrown away.
    pub card: &'a Card,
    /// What it holds.
    pub manifest: &'a Manifest,
}

/// The page. The same input gives the same bytes.
pub fn html(input: Input<'_>) -> String {
    let Input { card, .. } = input;
    let page = Page {
        title: &format!("Dataset {}", card.name),
        subtitle: &subtitle(input),
        first: html! { (tiles(input)) (doubts("What not to believe", &card.doubts())) (domains(card)) },
        parts: sections(input),
        numbers: "report.json",
    };
    page.html()
}

fn subtitle(input: Input<'_>) -> String {
    let Input { card, manifest } = input;
    let read: u64 = card.domains.iter().map(|d| d.documents).sum();
    let text: u64 = card.domains.iter().map(|d| d.bytes).sum();
    let tokenizer = &manifest.tokenizer;
    format!(
        "{} · made of {} documents, {} of text · tokenizer {} with {} ids · id {}",
        several(card.domains.len(), "domain"),
        grouped(read),
        bytes(text as f64),
        tokenizer.kind,
        grouped(u64::from(tokenizer.vocab)),
        crate::plan::short(&manifest.id)
    )
}

/// What a sweep gets of it, at a glance.
fn tiles(input: Input<'_>) -> Markup {
    let Input { card, manifest } = input;
    let sum = |of: fn(&DomainCard) -> u64| card.domains.iter().map(of).sum::<u64>();
    let (documents, text, tokens) =
        (sum(|d| d.train_documents), sum(|d| d.train_bytes), sum(|d| d.train_tokens));
    let per_token = text as f64 / tokens.max(1) as f64;
    html! {
        dl.tiles {
            div { dt { "Documents trained on" } dd { (grouped(documents)) small { (share(documents, sum(|d| d.documents))) " of those read" } } }
            div { dt { "Text" } dd { (bytes(text as f64)) small { (share(text, sum(|d| d.bytes))) " of what was read" } } }
            div { dt { "Tokens" } dd { (count(tokens as f64)) small { (grouped(tokens)) ", separators included" } } }
            div { dt { "Bytes/token" } dd { (format!("{per_token:.2}")) small { (manifest.tokenizer.kind) ", " (grouped(u64::from(manifest.tokenizer.vocab))) " ids" } } }
            div { dt { "Held out" } dd { (grouped(sum(|d| d.held_out_documents))) small { "documents, " (count(sum(|d| d.held_out_tokens) as f64)) " tokens" } } }
        }
    }
}

/// Every domain from what was read to what is trained on.
fn domains(card: &Card) -> Markup {
    let tokens: u64 = card.domains.iter().map(|d| d.train_tokens).sum();
    let row = |d: &DomainCard, name: Markup| {
        html! {
            td { (name) }
            td.n { (grouped(d.documents)) small { (bytes(d.bytes as f64)) } }
            td.n { (some(d.removed())) }
            td.n { (some(d.copies())) }
            td.n { (some(d.contaminated)) }
            td.n { (grouped(d.train_documents)) small { (bytes(d.train_bytes as f64)) } }
            td.n { (count(d.train_tokens as f64)) }
            td.n { (share(d.train_tokens, tokens)) }
            td.n { (grouped(d.held_out_documents)) small { (bytes(d.held_out_bytes as f64)) } }
            td.n {
                (count(d.held_out_tokens as f64))
                @if let Some(noise) = d.held_out_noise { small { "±" (format!("{:.2}%", 100.0 * noise)) } }
            }
        }
    };
    let rows = html! {
        @for d in &card.domains {
            tr { (row(d, html! { b { (d.name) } @if !d.kind.is_empty() && d.kind != d.name { small { (d.kind) } } })) }
        }
        @if card.domains.len() > 1 {
            tr.lead { (row(&all(&card.domains), html! { b { "all" } })) }
        }
    };
    html! {
        div.wide { (table(
            &[
                ("Domain", "kind of text", false), ("Read", "documents", true), ("Removed", "by rules", true),
                ("Copies", "gone", true), ("Contaminated", "share an n-gram", true), ("Trained on", "documents", true),
                ("Tokens", "trained on", true), ("Share", "of tokens", true), ("Held out", "documents", true),
                ("Tokens", "held out, error", true),
            ],
            &rows,
        )) }
        p.note {
            "Documents read are removed by rules, gone as copies, dropped because they share an n-gram with what is "
            "measured, held out, or trained on. Held out are those that pass the rules; below their tokens stands how well a loss on all of them tells "
            "that of all such text, one standard error over the loss. What is trained on counts each "
            "document as often as the recipe's " code { "copies" } " says."
        }
    }
}

/// Sums over domains.
fn all(domains: &[DomainCard]) -> DomainCard {
    let mut out = DomainCard::default();
    for d in domains {
        out.documents += d.documents;
        out.bytes += d.bytes;
        out.train_documents += d.train_documents;
        out.train_bytes += d.train_bytes;
        out.train_tokens += d.train_tokens;
        out.held_out_documents += d.held_out_documents;
        out.held_out_bytes += d.held_out_bytes;
        out.held_out_tokens += d.held_out_tokens;
        out.contaminated += d.contaminated;
        for (rule, removed) in &d.removed {
            out.removed.entry(rule.clone()).or_default().documents += removed.documents;
        }
        for (kind, n) in &d.copies {
            *out.copies.entry(kind.clone()).or_default() += n;
        }
    }
    out
}

fn sections(input: Input<'_>) -> Vec<Part> {
    let Input { card, manifest } = input;
    let part = |id, title, body: Markup| Part { id, title, body };
    let mut out = vec![part("removed", "What rules removed", rules::section(card))];
    out.push(part("copies", "Copies", copies::copies(card)));
    out.push(part("contamination", "Contamination", copies::contamination(card, manifest)));
    out.push(part("lengths", "Lengths", lengths::lengths(card)));
    out.push(part("languages", "Languages", lengths::languages(card)));
    if !card.mix.references.is_empty() {
        out.push(part("mix", "Kinds of text beside published mixtures", mix::section(&card.mix)));
    }
    out.push(part("provenance", "Provenance", provenance(input)));
    out
}

/// What made it.
fn provenance(input: Input<'_>) -> Markup {
    let Input { card, manifest } = input;
    let rules: Vec<String> =
        manifest.rules.iter().map(|(rule, version)| format!("{rule} {version}")).collect();
    let files: u64 = card.domains.iter().map(|d| d.files).sum();
    let recipe = manifest.recipe.as_ref().and_then(|recipe| toml::to_string_pretty(recipe).ok());
    html! {
        dl.pairs {
            dt { "id" } dd { code { (manifest.id) } }
            dt { "files read" } dd { (grouped(files)) }
            @if let Some(file) = &manifest.tokenizer.file {
                dt { "tokenizer" } dd { (file.file) ", SHA-256 " code { (file.sha256) } }
            }
            @if !rules.is_empty() { dt { "versions of rules" } dd { (rules.join(", ")) } }
        }
        @if let Some(recipe) = recipe {
            p.note { "The recipe, as the manifest has it:" }
            pre { code { (recipe) } }
        }
    }
}

/// `26,227`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count that is mostly 0.
fn some(n: u64) -> String {
    if n == 0 { "–".to_owned() } else { grouped(n) }
}

/// `12.3%`.
fn share(part: u64, all: u64) -> String {
    percent(part as f64 / all.max(1) as f64)
}

fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "–".to_owned(),
        p if p < 0.05 => "<0.1%".to_owned(),
        p => format!("{p:.1}%"),
    }
}

/// The begin of a document in one line.
fn begins(text: &str) -> String {
    const LONGEST: usize = 180;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

/// A bar of a share of the longest.
fn bar(share: f64) -> Markup {
    html! { div.bar style={ "width:" (format!("{:.1}", 100.0 * share.clamp(0.0, 1.0))) "%" } {} }
}

#[cfg(test)]
mod tests;
