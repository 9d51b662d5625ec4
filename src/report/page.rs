//! The frame of a page: head, first screen, sections, and where its numbers stand with all digits.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::figure::fonts;
use crate::terminal;

/// A page.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    /// What is above the list of sections.
    pub(super) first: Markup,
    pub(super) parts: Vec<Part>,
    /// The file that holds every number of the page.
    pub(super) numbers: &'a str,
}

/// A section.
pub(super) struct Part {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) body: Markup,
}

impl Page<'_> {
    /// All of it: no script and no request can come from it, whatever is written there.
    pub(super) fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy"
                        content="default-src 'none'; style-src 'unsafe-inline'; font-src data:; img-src data:";
                    title { (self.title) }
                    style { (PreEscaped(style())) }
                }
                body {
                    main {
                        header {
                            h1 { (self.title) }
                            p.sub { (self.subtitle) }
                        }
                        (self.first)
                        nav { @for part in &self.parts { a href={ "#" (part.id) } { (part.title) } } }
                        @for part in &self.parts {
                            section id=(part.id) { h2 { (part.title) } (part.body) }
                        }
                        footer {
                            "Made by isoflop " (env!("CARGO_PKG_VERSION")) ". Every number is in " (self.numbers)
                            " with all its digits."
                        }
                    }
                }
            }
        };
        terminal::escaped(&page.into_string()).into_owned()
    }
}

/// Sentences that a reader should see before the numbers; nothing where there are none.
pub(super) fn doubts(title: &str, of: &[String]) -> Markup {
    html! {
        @if !of.is_empty() {
            section.doubt { h2 { (title) } ul { @for doubt in of { li { (coded(doubt)) } } } }
        }
    }
}

/// What stands between backticks as code.
fn coded(text: &str) -> Markup {
    html! {
        @for (i, part) in text.split('`').enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn style() -> String {
    let faces = fonts().map(|(weight, bytes)| {
        format!(
            "@font-face {{ font-family: Inter; font-weight: {weight}; \
             src: url(data:font/otf;base64,{}) format(\"opentype\"); }}\n",
            base64(bytes)
        )
    });
    format!("{}{}", faces.concat(), include_str!("style.css"))
}

/// RFC 4648, section 4, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i)) & 63;
            out.push(if i <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    out
}
