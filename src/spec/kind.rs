//! Kinds of text, by which a dataset is held beside published ones.

use serde::{Deserialize, Serialize};

/// What kind of text a domain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextKind {
    /// Web pages.
    Web,
    /// Books.
    Books,
    /// Source code.
    Code,
    /// Encyclopedias.
    Encyclopedia,
    /// Scientific papers.
    Papers,
    /// Questions and answers.
    Questions,
    /// What is spoken or written to somebody: speeches, subtitles, chats, forums, mail.
    Talk,
    /// Court opinions, laws, patents.
    Law,
    /// Mathematics.
    Math,
    /// News.
    News,
    /// Manuals and documentation.
    Documentation,
    /// Anything else.
    Other,
}

impl TextKind {
    /// In the order of a table.
    pub const ALL: [Self; 12] = [
        Self::Web,
        Self::Books,
        Self::Code,
        Self::Encyclopedia,
        Self::Papers,
        Self::Questions,
        Self::Talk,
        Self::Law,
        Self::Math,
        Self::News,
        Self::Documentation,
        Self::Other,
    ];

    /// As a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Books => "books",
            Self::Code => "code",
            Self::Encyclopedia => "encyclopedia",
            Self::Papers => "papers",
            Self::Questions => "questions",
            Self::Talk => "talk",
            Self::Law => "law",
            Self::Math => "math",
            Self::News => "news",
            Self::Documentation => "documentation",
            Self::Other => "other",
        }
    }

    /// Of a domain that does not say it: the kind that is called exactly like it, else other.
    pub fn called(domain: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == domain).unwrap_or(Self::Other)
    }
}
