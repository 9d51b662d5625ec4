//! Names of columns: in which forms people write them, and the unit that a name may carry.
//!
//! `Val loss`, `val/loss` and `valLoss` are one name; `Params (M)`, `tokens_b` and `log10_N` say a unit. The
//! names cover the tables people have: `chinchilla` (C, N, D, loss), Open-Athena (experiment, params, tokens,
//! budget, loss), nanochat (flops_budget, num_scaling_params, tokens_trained, val_bpb), simple-scaling-laws
//! (training_run_id, model_size__*, dataset_size__*, test_loss__*), trackers' exports, and our `ledger.csv`.

use super::number;

/// What the numbers of a column are to be multiplied with, or otherwise turned into plain ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unit {
    /// Times this.
    Times(f64),
    /// Ten to the power of them.
    Log10,
    /// e to the power of them.
    Ln,
    /// A logarithm, and the name does not say to which base.
    Log,
    /// Their logarithm is the loss in nats.
    Perplexity,
    /// A loss in nats per token.
    Nats,
    /// A loss in bits per token.
    Bits,
    /// A loss in bits per byte.
    BitsPerByte,
}

/// A column's name, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    /// Lower-case words joined by `_`, without the unit.
    pub(super) plain: String,
    pub(super) unit: Option<Unit>,
}

impl Name {
    pub(super) fn words(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.plain.split('_')
    }

    pub(super) fn has(&self, any: &[&str]) -> bool {
        self.words().any(|w| any.contains(&w))
    }

    /// Takes a name apart.
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim();
        if let Some((log, inner)) = log_of(text) {
            return Self { plain: plain(inner), unit: Some(log) };
        }
        let (base, unit) = match bracketed(text) {
            Some((base, inside)) => match unit(inside) {
                Some(unit) => (base, Some(unit)),
                // `loss (validation)`: not a unit, so part of the name.
                None => (text, None),
            },
            None => (text, None),
        };
        let plain = plain(base);
        if unit.is_some() {
            return Self { plain, unit };
        }
        if let Some((name, unit)) = suffixed(&plain) {
            return Self { plain: name, unit: Some(unit) };
        }
        let unit = match () {
            () if has_word(&plain, &["ppl", "perplexity"]) => Some(Unit::Perplexity),
            () if has_word(&plain, &["bpb"]) || plain.contains("bits_per_byte") => {
                Some(Unit::BitsPerByte)
            }
            () if plain.contains("bits_per_token") || has_word(&plain, &["bpt"]) => {
                Some(Unit::Bits)
            }
            () if has_word(&plain, &["nats"]) => Some(Unit::Nats),
            () => flop_prefix(&plain),
        };
        Self { plain, unit }
    }
}

fn has_word(plain: &str, any: &[&str]) -> bool {
    plain.split('_').any(|w| any.contains(&w))
}

/// Lower-case words joined by `_`; two underscores stay, as in `model_size__params`.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = text.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        // `valLoss`, but not `FLOPs`.
        let hump = c.is_uppercase()
            && i > 0
            && chars[i - 1].is_lowercase()
            && chars.get(i + 1).is_some_and(|n| n.is_lowercase());
        if hump && !out.ends_with('_') {
            out.push('_');
        }
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with('_') || *c == '_' && i > 0 && chars[i - 1] == '_' {
            out.push('_');
        }
    }
    out.trim_matches('_').to_owned()
}

/// `log10(N)`, `log10_N`, `ln D`, `log N`.
fn log_of(text: &str) -> Option<(Unit, &str)> {
    let lower = text.to_ascii_lowercase();
    for (prefix, unit) in [
        ("log10", Unit::Log10),
        ("log_10", Unit::Log10),
        ("lg", Unit::Log10),
        ("ln", Unit::Ln),
        ("loge", Unit::Ln),
        ("log", Unit::Log),
    ] {
        let Some(rest) = lower.strip_prefix(prefix) else { continue };
        let rest = &text[text.len() - rest.len()..];
        let inner =
            rest.trim_start_matches(['_', ' ', '(', '[', '.', '-']).trim_end_matches([')', ']']);
        // `login`, `lr`, `log`: no logarithm of anything; `log_loss` is the name of a loss.
        if inner.is_empty() || inner.len() == rest.len() || plain(inner).contains("loss") {
            continue;
        }
        return Some((unit, inner));
    }
    None
}

/// `Params (M)`, `loss [nats]`, `loss, nats`, `N/1e6`: the name, and what is behind it.
pub(super) fn bracketed(text: &str) -> Option<(&str, &str)> {
    for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
        if let Some(rest) = text.strip_suffix(close)
            && let Some((base, inside)) = rest.rsplit_once(open)
            && !base.trim().is_empty()
        {
            return Some((base.trim(), inside.trim()));
        }
    }
    let (base, inside) = text.rsplit_once(',').or_else(|| {
        text.rsplit_once('/')
            .filter(|(_, unit)| unit.trim().starts_with("1e") || unit.trim().starts_with("10"))
    })?;
    (!base.trim().is_empty() && unit(inside).is_some()).then(|| (base.trim(), inside.trim()))
}

/// A unit as people write it behind a name.
pub(super) fn unit(text: &str) -> Option<Unit> {
    let lower = text.trim().to_lowercase();
    let lower = lower.trim_start_matches("in ").trim_start_matches(['×', 'x', '*', ' ']);
    match lower {
        "log10" | "lg" | "log_10" => return Some(Unit::Log10),
        "ln" | "loge" | "natural log" => return Some(Unit::Ln),
        "log" => return Some(Unit::Log),
        "ppl" | "perplexity" => return Some(Unit::Perplexity),
        "nats" | "nat" | "nats/token" | "nats per token" | "nats/tok" => return Some(Unit::Nats),
        "bits" | "bits/token" | "bits per token" => return Some(Unit::Bits),
        "bits/byte" | "bits per byte" | "bpb" => return Some(Unit::BitsPerByte),
        "1" | "count" | "#" => return Some(Unit::Times(1.0)),
        _ => {}
    }
    number::factor(lower).map(Unit::Times)
}

/// `params_m`, `tokens_billions`, `flops_1e18`, `compute_pf_days`: the name without its last word.
fn suffixed(plain: &str) -> Option<(String, Unit)> {
    for (end, unit) in [
        ("_pf_days", Unit::Times(8.64e19)),
        ("_pfs_days", Unit::Times(8.64e19)),
        ("_petaflop_days", Unit::Times(8.64e19)),
        ("_petaflop_s_days", Unit::Times(8.64e19)),
        ("_log10", Unit::Log10),
        ("_ln", Unit::Ln),
    ] {
        if let Some(name) = plain.strip_suffix(end) {
            return Some((name.to_owned(), unit));
        }
    }
    let (name, last) = plain.rsplit_once('_')?;
    let name = name.strip_suffix("_in").unwrap_or(name);
    let counts = [
        "n",
        "params",
        "parameters",
        "tokens",
        "toks",
        "d",
        "c",
        "flops",
        "flop",
        "compute",
        "budget",
        "size",
    ];
    if !name.split('_').any(|w| counts.contains(&w)) {
        return None;
    }
    // A letter or a power; `flops_6nd` and `tokens_per_param` are none.
    let scientific = last.strip_prefix('e').and_then(|e| e.parse::<i32>().ok());
    let factor = match scientific {
        Some(e) if (3..=30).contains(&e) => 10_f64.powi(e),
        _ => number::factor(last)?,
    };
    (factor > 1.0).then(|| (name.to_owned(), Unit::Times(factor)))
}

/// `zflops`, `train_exaflops`: compute by the name of its unit.
fn flop_prefix(plain: &str) -> Option<Unit> {
    let word = plain.split('_').find(|w| w.ends_with("flops") || w.ends_with("flop"))?;
    (!word.starts_with("flop")).then(|| number::factor(word).map(Unit::Times)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_in_every_form() {
        for (text, want) in [
            ("Val loss", "val_loss"),
            ("val/loss", "val_loss"),
            ("valLoss", "val_loss"),
            ("VAL_LOSS", "val_loss"),
            ("eval.loss", "eval_loss"),
            ("_step", "step"),
            ("FLOPs", "flops"),
            ("model_size__n", "model_size__n"),
            ("N", "n"),
            ("loss (validation)", "loss_validation"),
        ] {
            assert_eq!(Name::of(text), Name { plain: want.into(), unit: None }, "{text}");
        }
    }

    #[test]
    fn a_unit_in_a_name_is_seen() {
        let times = |x| Some(Unit::Times(x));
        for (text, plain, unit) in [
            ("Params (M)", "params", times(1e6)),
            ("Tokens [B]", "tokens", times(1e9)),
            ("tokens_b", "tokens", times(1e9)),
            ("params_in_millions", "params", times(1e6)),
            ("N/1e6", "n", times(1e6)),
            ("N (10^6)", "n", times(1e6)),
            ("C (ZFLOPs)", "c", times(1e21)),
            ("compute_pf_days", "compute", times(8.64e19)),
            ("flops_e18", "flops", times(1e18)),
            ("exaflops", "exaflops", times(1e18)),
            ("log10_N", "n", Some(Unit::Log10)),
            ("log10(D)", "d", Some(Unit::Log10)),
            ("ln N", "n", Some(Unit::Ln)),
            ("log_params", "params", Some(Unit::Log)),
            ("val_ppl", "val_ppl", Some(Unit::Perplexity)),
            ("loss, nats", "loss", Some(Unit::Nats)),
            ("Loss (bits/byte)", "loss", Some(Unit::BitsPerByte)),
            ("val_bpb", "val_bpb", Some(Unit::BitsPerByte)),
        ] {
            assert_eq!(Name::of(text), Name { plain: plain.into(), unit }, "{text}");
        }
        for text in
            ["flops", "flops_6nd", "tokens_per_param", "log_loss", "login", "num_iterations"]
        {
            assert_eq!(Name::of(text).unit, None, "{text}");
        }
    }
}
