//! What N, D, C and the loss of a table are, as far as its header tells, and where they come from.

use super::Columns;
use crate::import::Taken;
use crate::import::names::{Name, Unit};
use crate::import::roles::held_out;
use crate::units::{AS_GIVEN, BITS_PER_BYTE, NATS_PER_TOKEN};

impl Columns {
    /// What C counts, as far as the header tells.
    pub(in crate::import) fn flops_convention(&self) -> &'static str {
        if self.at("flops").is_some() {
            "as given"
        } else if self.at("budget").is_some() {
            "budget"
        } else {
            "6ND"
        }
    }

    /// What N counts, as far as the header tells.
    pub(in crate::import) fn params_convention(&self) -> &'static str {
        if self.matrices.is_some() || self.counts.is_some() { "matmul" } else { "as given" }
    }

    /// What the loss is measured in, as far as the header tells.
    pub(in crate::import) fn loss_unit(&self) -> &'static str {
        match self.column("loss").and_then(|c| c.unit) {
            Some(Unit::BitsPerByte) => BITS_PER_BYTE,
            Some(Unit::Nats | Unit::Bits | Unit::Perplexity) => NATS_PER_TOKEN,
            _ => AS_GIVEN,
        }
    }

    /// Where N, D, C and L come from, as a person reads it.
    pub(in crate::import) fn taken(&self) -> Vec<Taken> {
        let of = |role: &str| {
            self.column(role).map(|c| {
                let unit = match c.unit {
                    Some(Unit::Times(f)) if f != 1.0 => format!(" times {f:e}"),
                    Some(Unit::Log10) => ", as 10 to its power".to_owned(),
                    Some(Unit::Ln) => ", as e to its power".to_owned(),
                    Some(Unit::Perplexity) => ", a perplexity, as its ln".to_owned(),
                    Some(Unit::Bits) => ", in bits, times ln 2".to_owned(),
                    _ => String::new(),
                };
                format!("`{}`{unit}", self.header[c.at])
            })
        };
        let compute = of("flops").or_else(|| of("budget"));
        let steps = || Some(format!("{} times {}", of("steps")?, of("batch")?));
        let told = of("ratio").filter(|_| self.mapped("ratio"));
        let tokens = of("tokens");
        let params = match self.matrices {
            Some([a, b]) => format!("`{}` + `{}`", self.header[a], self.header[b]),
            None => of("params").unwrap_or_else(|| {
                if let Some(ratio) = &told {
                    return format!("D over {ratio}");
                }
                let by_compute = compute.is_some() && (tokens.is_some() || steps().is_some());
                if by_compute { "C / 6D" } else { "D over its ratio" }.to_owned()
            }),
        };
        let derived = || {
            if let Some(steps) = steps() {
                steps
            } else if let Some(ratio) = &told {
                format!("{ratio} times N")
            } else if compute.is_some() {
                "C / 6N".to_owned()
            } else {
                of("ratio").map_or_else(String::new, |ratio| format!("{ratio} times N"))
            }
        };
        let loss = of("loss").unwrap_or_default();
        let kind = self.column("loss").and_then(|c| held_out(&Name::of(&self.header[c.at])));
        let kind = match kind {
            Some(true) => " (held-out)",
            Some(false) => " (of training data)",
            None => "",
        };
        [
            ("N", params),
            ("D", tokens.unwrap_or_else(derived)),
            ("C", compute.clone().unwrap_or_else(|| "6ND".to_owned())),
            ("L", loss + kind),
        ]
        .map(|(symbol, from)| Taken { symbol, from })
        .to_vec()
    }
}
