//! What was found in the loss curves.

use maud::{Markup, html};

use crate::health::{Health, MIN_STEPS};

pub(super) fn curves(health: &Health) -> Markup {
    let calm = health.broken.is_empty() && health.spikes.is_empty();
    html! {
        p {
            @if calm && health.checked > 0 {
                "All steps of " (runs(health.checked)) " were looked at. No spike, no rise at the end, no rate "
                "that had not decayed: nothing to report."
            } @else {
                (health.line()) "."
            }
            @if calm && health.checked > 0 && health.archived > 0 {
                " " (runs(health.archived)) " have no steps in the record and could not be."
            }
            @if calm && health.short > 0 {
                " " (runs(health.short)) " of fewer than " (MIN_STEPS) " steps could not be judged."
            }
        }
        @if !health.spikes.is_empty() {
            ul {
                @for s in &health.spikes {
                    li {
                        code { (s.id) } ": " (s.spikes.count)
                        @if s.spikes.count == 1 { " spike" } @else { " spikes" }
                        ", the highest " (format!("{:.3}", s.spikes.height)) " nats, the last at step "
                        (s.spikes.step) " of " (s.steps)
                        @match s.spikes.back {
                            Some(back) => { ", back at step " (back) "." }
                            None => { ", not back at the end." }
                        }
                    }
                }
            }
        }
        @if !health.broken.is_empty() {
            ul {
                @for b in &health.broken {
                    li {
                        code { (b.id) } @if b.excluded { ", left out: " } @else { ", kept: " } (b.reason) "."
                    }
                }
            }
        }
        @if let Some(c) = &health.collapse {
            p.note {
                "Normalised curves of " (c.curves.len()) " runs: half of them stay within "
                (format!("{:.1}%", 100.0 * c.typical)) " of the median curve"
                @if let Some(worst) = c.worst() {
                    "; " code { (worst.id) } " is farthest off, " (format!("{:.1}%", 100.0 * worst.largest))
                }
                "."
                @if c.outliers().next().is_none() { " None lies apart from the others." }
            }
        }
    }
}

fn runs(n: usize) -> String {
    format!("{n} run{}", if n == 1 { "" } else { "s" })
}
