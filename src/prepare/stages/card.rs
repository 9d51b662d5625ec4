//! The card: what a dataset holds and what was thrown away, and what not to believe of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::judge::Rule;
use super::reference::Mix;
use super::resolve::Copies;
use crate::prepare::filter::SHARE;
use crate::units::several;

/// Name of the card in the dataset's directory.
pub(crate) const CARD: &str = "report.json";

/// Scatter of the losses of documents of one domain, as a share of their mean (docs/DESIGN.md).
const SCATTER: f64 = 0.1;
/// Held-out documents that tell a loss to 1%.
const ENOUGH: f64 = 100.0;
/// Largest share that a recipe may hold out.
const MOST_HELD_OUT: f64 = 0.5;

/// What a dataset holds and what was thrown away.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Card {
    /// Name of the dataset.
    pub name: String,
    /// The dataset's id.
    pub id: String,
    /// Its domains, in the recipe's order.
    pub domains: Vec<DomainCard>,
    /// Copies over all of it.
    pub copies: Copies,
    /// Kinds of text, beside published mixtures.
    #[serde(default)]
    pub mix: Mix,
}

/// One domain.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DomainCard {
    /// Its name.
    pub name: String,
    /// What kind of text it is.
    #[serde(default)]
    pub kind: String,
    /// Files that were read.
    pub files: u64,
    /// Documents that were read.
    pub documents: u64,
    /// Their raw text [bytes].
    pub bytes: u64,
    /// Documents that are trained on.
    pub train_documents: u64,
    /// Their text [bytes].
    pub train_bytes: u64,
    /// Their ids, separators included [tokens].
    pub train_tokens: u64,
    /// Held-out documents that pass the filters.
    pub held_out_documents: u64,
    /// Their text [bytes].
    #[serde(default)]
    pub held_out_bytes: u64,
    /// Their ids [tokens].
    pub held_out_tokens: u64,
    /// How well a loss on all of them tells that of all such text: one standard error over the loss; null for fewer than two [-].
    #[serde(default)]
    pub held_out_noise: Option<f64>,
    /// Documents that a rule removed, by rule.
    pub removed: BTreeMap<String, Rule>,
    /// Documents that went as copies, by kind.
    pub copies: BTreeMap<String, u64>,
    /// Training documents that share an n-gram with what is to be measured.
    pub contaminated: u64,
    /// The same by what they share it with: held-out documents of a domain, or items of a file.
    #[serde(default)]
    pub contacts: BTreeMap<String, u64>,
    /// Documents and bytes by language, where the recipe asks for languages.
    pub languages: BTreeMap<String, [u64; 2]>,
    /// Documents of up to 2^i bytes, by i.
    pub lengths: BTreeMap<u32, u64>,
    /// Lines that could not be read, and documents without text or left out by `where`.
    pub unread: [u64; 3],
}

impl DomainCard {
    /// Documents that rules removed.
    pub fn removed(&self) -> u64 {
        self.removed.values().map(|rule| rule.documents).sum()
    }

    /// Documents that went as copies.
    pub fn copies(&self) -> u64 {
        self.copies.values().sum()
    }
}

impl Card {
    /// What not to believe of the dataset, a sentence each.
    pub fn doubts(&self) -> Vec<String> {
        let mut out = Vec::new();
        for d in &self.domains {
            let name = &d.name;
            if d.train_tokens == 0 {
                out.push(format!("{name}: nothing of it is trained on."));
            }
            // What is beyond the domain's share was chosen, and not judged.
            let beyond = d.removed.get(SHARE).map_or(0, |rule| rule.documents);
            let (removed, judged) = (d.removed() - beyond, d.documents.saturating_sub(beyond));
            let passing = (d.documents - removed.min(d.documents)) as f64;
            let held_out = d.held_out_documents as f64;
            out.extend(few_held_out(name, passing, held_out, d.held_out_noise));
            if 2 * removed > judged {
                out.push(format!(
                    "{name}: rules remove {:.0}% of its documents. They are made for web pages: look whether they fit \
                     this text (`--look {name}`).",
                    100.0 * removed as f64 / judged as f64
                ));
            }
            if d.unread[0] > 0 {
                let lines = several(d.unread[0] as usize, "line");
                out.push(format!("{name}: {lines} of its files could not be read."));
            }
        }
        for (documents, alike) in &self.copies.left_alone {
            out.push(format!(
                "{documents} documents look like near-copies in a chain, and pairs of them are not alike (median \
                 similarity {alike:.2}): only equal ones of them went."
            ));
        }
        out
    }
}

/// That the held-out loss of a domain is noise, if it is: documents that pass its filters, those of them that are held out,
/// and how well these tell their loss, where that was estimated.
pub(super) fn few_held_out(
    name: &str,
    passing: f64,
    held_out: f64,
    noise: Option<f64>,
) -> Option<String> {
    if held_out >= ENOUGH || passing < 1.0 {
        return None;
    }
    let told = if held_out < 1.0 {
        "no document is held out, so it has no loss of its own".to_owned()
    } else {
        format!(
            "{} held out, so its held-out loss is known to about {:.0}%",
            match held_out.round() as usize {
                1 => "1 document is".to_owned(),
                n => format!("{n} documents are"),
            },
            100.0 * noise.unwrap_or(SCATTER / held_out.sqrt())
        )
    };
    let share = ENOUGH / passing;
    let remedy = if share <= MOST_HELD_OUT {
        // Rounded up to two digits.
        let digit = 10_f64.powf(share.log10().floor() - 1.0);
        let share = (share / digit).ceil() * digit;
        format!("about 100 documents, which tell it to 1%, would take `held_out = {share:.2}`")
    } else {
        "half of it would not be 100 documents: give it more text, or shorter documents (`paragraphs`)"
            .to_owned()
    };
    Some(format!("{name}: {told}; {remedy}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_held_out_documents_are_told_with_the_share_that_would_be_enough() {
        assert_eq!(few_held_out("a", 20_000.0, 100.0, None), None);
        assert_eq!(few_held_out("a", 0.0, 0.0, None), None);
        let told = few_held_out("docs", 640.0, 4.0, None).unwrap();
        assert!(told.contains("known to about 5%") && told.contains("held_out = 0.16"), "{told}");
        let told = few_held_out("docs", 640.0, 4.0, Some(0.12)).unwrap();
        assert!(told.contains("known to about 12%"), "{told}");
        let told = few_held_out("docs", 90.0, 1.0, None).unwrap();
        assert!(told.contains("1 document is") && told.contains("more text"), "{told}");
        assert!(few_held_out("docs", 9e3, 0.2, None).unwrap().contains("no document is held out"));
    }
}
