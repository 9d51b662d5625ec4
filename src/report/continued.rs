//! One prompt, gone on with by the best model of each budget: what a loss is like to read.

use maud::{Markup, html};

use super::grid::table;
use super::number::loss;
use crate::figure::power;
use crate::units::count;

/// A text that the best model of a budget went on with.
#[derive(Debug, Clone, PartialEq)]
pub struct Continued {
    /// C [FLOP].
    pub flops: f64,
    /// N, matmul [parameters].
    pub params: f64,
    /// Id of the cell, its beginning.
    pub cell: String,
    /// Held-out loss [nats/token].
    pub loss: f64,
    /// What the model added; `None` where it is too large to be asked for a page.
    pub text: Option<String>,
}

/// What all of them went on with, and how it was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Continuations {
    /// What the text begins with.
    pub prompt: String,
    /// How the tokens were drawn.
    pub drawn: String,
    /// By budget, the smallest first.
    pub texts: Vec<Continued>,
}

pub(super) fn section(continued: &Continuations) -> Markup {
    let rows = html! {
        @for c in &continued.texts {
            tr {
                td.n { (power(c.flops)) }
                td.n { (count(c.params)) }
                td { code { (c.cell) } }
                td.n { (loss(Some(c.loss))) }
                td.said {
                    @match &c.text {
                        Some(text) => { b { (continued.prompt) } (text) }
                        None => "too large to be asked for each page: `isoflop sample` asks it",
                    }
                }
            }
        }
    };
    let heads = [
        ("C", "FLOP", true),
        ("N", "parameters", true),
        ("Cell", "", false),
        ("Loss", "nats/token", true),
        ("Text", "", false),
    ];
    html! {
        p { "The best model of each budget goes on with “" (continued.prompt) "”, " (continued.drawn)
            ". One draw says little of a model; the loss says more." }
        (table(&heads, &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_and_not_obeyed() {
        let text = Some(" <b>whale</b>\n".to_owned());
        let (flops, params, loss) = (1e12, 2e5, 1.5);
        let one = Continued { flops, params, cell: "abcdef01".into(), loss, text };
        let large = Continued { text: None, ..one.clone() };
        let (prompt, drawn) = ("The".to_owned(), "greedily".to_owned());
        let html = section(&Continuations { prompt, drawn, texts: vec![one, large] }).into_string();
        assert!(html.contains("<b>The</b> &lt;b&gt;whale"), "{html}");
        assert!(html.contains("isoflop sample"), "{html}");
    }
}
