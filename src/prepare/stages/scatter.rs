//! How much the loss differs between held-out documents, estimated while they are judged.
//!
//! The estimate of [`noise`](crate::data::noise), by counts of the first text of each unit and of its held-out
//! documents; what belongs together (`group`) is one cluster. Sums over clusters are added up over the units of a domain.

use std::collections::BTreeMap;

use crate::data::noise::{Cluster, Contexts, Sums};

/// Text of a unit that is counted [bytes].
const SAMPLE: usize = 4 << 20;
/// Held-out text of a unit that is told of [bytes].
const HELD: usize = 4 << 20;

/// Of one unit.
pub(super) struct Scatter {
    contexts: Contexts,
    counted: usize,
    /// Number of its cluster, whether the filters keep it, and the text.
    held: Vec<(usize, bool, String)>,
    bytes: usize,
    groups: BTreeMap<String, usize>,
}

impl Scatter {
    pub(super) fn new() -> Self {
        Self {
            contexts: Contexts::of(std::iter::empty()),
            counted: 0,
            held: Vec::new(),
            bytes: 0,
            groups: BTreeMap::new(),
        }
    }

    /// A document of the training text.
    pub(super) fn trained(&mut self, text: &str) {
        if self.counted < SAMPLE {
            let text = &text.as_bytes()[..text.len().min(SAMPLE - self.counted)];
            self.contexts.count(text);
            self.counted += text.len();
        }
    }

    /// A held-out document; whether the filters keep it.
    pub(super) fn held_out(&mut self, text: &str, group: Option<&str>, kept: bool) {
        if self.bytes >= HELD {
            return;
        }
        let end = text.floor_char_boundary(HELD - self.bytes);
        let text = text[..end].to_owned();
        let own = self.held.len();
        let cluster =
            group.map_or(own, |group| *self.groups.entry(group.to_owned()).or_insert(own));
        self.contexts.count(text.as_bytes());
        self.bytes += text.len();
        self.held.push((cluster, kept, text));
    }

    /// Of the held-out documents that the filters keep, and of all of them.
    pub(super) fn finish(self) -> [Sums; 2] {
        let each = self.held.iter().map(|(cluster, kept, text)| {
            (*cluster, *kept, (self.contexts.nats(text.as_bytes()), text.len() as f64))
        });
        let each: Vec<(usize, bool, Cluster)> = each.collect();
        let sums = |all: bool| {
            let mut clusters: BTreeMap<usize, Cluster> = BTreeMap::new();
            for (cluster, kept, (nats, bytes)) in &each {
                if all || *kept {
                    let sum = clusters.entry(*cluster).or_default();
                    *sum = (sum.0 + nats, sum.1 + bytes);
                }
            }
            Sums::of(clusters.into_values())
        };
        [sums(false), sums(true)]
    }
}
