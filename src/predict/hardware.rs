//! Hours and money into FLOP and back: devices, their peak, and the share of it that training gets.
//!
//! Peaks are the vendors' for dense bf16 products, without structured sparsity (half of what a datasheet
//! with an asterisk prints). MFU is model FLOPs over peak FLOPs (Chowdhery et al. 2022, arXiv:2204.02311,
//! appendix B): it divides the very C that the laws are about. It depends on the model, the parallelism
//! and the people; measure yours. Prices are never assumed.

use serde::{Deserialize, Serialize};

use super::{PredictError, positive};

/// Share of the peak that training gets when nobody says [-]: what well-tuned dense models of many sizes
/// are reported to reach (38-43% on 16 000 H100s: Llama 3, arXiv:2407.21783, table 4; 46% on TPU v4: PaLM,
/// arXiv:2204.02311, table 3). Small models and first attempts get less.
pub const DEFAULT_MFU: f64 = 0.4;

/// A device and its dense bf16 peak.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Device {
    /// As it is named on the command line.
    pub name: &'static str,
    /// Dense bf16 peak [FLOP/s].
    #[serde(rename = "peak_flops_per_second")]
    pub peak: f64,
    /// The vendor's document.
    pub source: &'static str,
}

const fn device(name: &'static str, peak: f64, source: &'static str) -> Device {
    Device { name, peak, source }
}

/// Devices whose peak is known here.
pub const DEVICES: [Device; 13] = [
    device("a100-40", 312e12, "NVIDIA A100 datasheet"),
    device("a100-80", 312e12, "NVIDIA A100 datasheet"),
    device("h100-sxm", 989.4e12, "NVIDIA H100 architecture whitepaper, SXM5"),
    device("h100-pcie", 756e12, "NVIDIA H100 architecture whitepaper, PCIe"),
    device("h200", 989.4e12, "NVIDIA H200 datasheet, SXM: 1979 with sparsity"),
    device("b200", 2250e12, "NVIDIA HGX B200 datasheet: 4500 with sparsity"),
    device("l40s", 362.05e12, "NVIDIA L40S datasheet"),
    device("rtx4090", 165.2e12, "NVIDIA Ada whitepaper, fp32 accumulation"),
    device("mi300x", 1307.4e12, "AMD Instinct MI300X datasheet"),
    device("tpu-v4", 275e12, "Google Cloud TPU documentation, a chip"),
    device("tpu-v5e", 197e12, "Google Cloud TPU documentation, a chip"),
    device("tpu-v5p", 459e12, "Google Cloud TPU documentation, a chip"),
    device("tpu-v6e", 918e12, "Google Cloud TPU documentation, a chip"),
];

/// Devices at work, and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Hardware {
    /// Name of the device.
    pub name: String,
    /// Dense bf16 peak of one [FLOP/s].
    pub peak: f64,
    /// How many work side by side.
    pub count: u32,
    /// Model FLOPs over peak FLOPs (0, 1].
    pub mfu: f64,
    /// Price of one for an hour [USD/hour].
    pub usd_per_hour: Option<f64>,
}

/// Time and money of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Name of the device.
    pub gpu: String,
    /// Dense bf16 peak of one [FLOP/s].
    pub peak_flops_per_second: f64,
    /// Model FLOPs over peak FLOPs [-].
    pub mfu: f64,
    /// How many work side by side.
    pub count: u32,
    /// Hours of one device, all devices together [device-hours].
    pub device_hours: f64,
    /// Hours on the clock [hours].
    pub hours: f64,
    /// Money, where a price was given [USD].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

/// Peak of the device called `name` [FLOP/s].
///
/// # Errors
///
/// [`PredictError::UnknownDevice`], with the names that are known.
pub fn peak(name: &str) -> Result<f64, PredictError> {
    DEVICES.iter().find(|d| d.name == name).map(|d| d.peak).ok_or_else(|| {
        let known: Vec<&str> = DEVICES.iter().map(|d| d.name).collect();
        PredictError::UnknownDevice { name: name.to_owned(), known: known.join(", ") }
    })
}

/// The device that NVIDIA's driver calls `card`, where its peak is known.
pub fn of_card(card: &str) -> Option<Device> {
    let has = |part: &str| card.contains(part);
    let name = match card {
        _ if has("H200") => "h200",
        _ if has("H100") && has("PCIe") => "h100-pcie",
        // The SXM board is the one with HBM3; others (NVL, GH200) have other peaks.
        _ if has("H100") && has("HBM3") => "h100-sxm",
        _ if has("A100") && has("80GB") => "a100-80",
        _ if has("A100") => "a100-40",
        _ if has("B200") && !has("GB200") => "b200",
        _ if has("L40S") => "l40s",
        _ if card.ends_with("RTX 4090") => "rtx4090",
        _ => return None,
    };
    DEVICES.into_iter().find(|d| d.name == name).filter(|_| !has("GH200"))
}

impl Hardware {
    /// FLOP that one device does in an hour.
    fn per_hour(&self) -> f64 {
        3600.0 * self.peak * self.mfu
    }

    /// FLOP in `hours` on the clock.
    ///
    /// # Errors
    ///
    /// [`PredictError::BadValue`]: hours, or what comes of them, out of range.
    pub fn flops_in(&self, hours: f64) -> Result<f64, PredictError> {
        let devices = f64::from(self.count);
        positive("compute", "FLOP", positive("time", "hours", hours)? * devices * self.per_hour())
    }

    /// FLOP for `usd`.
    ///
    /// # Errors
    ///
    /// [`PredictError::NoPrice`]; [`PredictError::BadValue`]: money, price, or what comes of them, out of
    /// range.
    pub fn flops_for(&self, usd: f64) -> Result<f64, PredictError> {
        let price = self.usd_per_hour.ok_or(PredictError::NoPrice)?;
        let hours = positive("money", "USD", usd)? / positive("price", "USD per hour", price)?;
        positive("compute", "FLOP", hours * self.per_hour())
    }

    /// Time and money for `flops`.
    pub fn cost(&self, flops: f64) -> Cost {
        let device_hours = flops / self.per_hour();
        Cost {
            gpu: self.name.clone(),
            peak_flops_per_second: self.peak,
            mfu: self.mfu,
            count: self.count,
            device_hours,
            hours: device_hours / f64::from(self.count),
            usd: self.usd_per_hour.map(|price| price * device_hours),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_known_by_the_names_of_their_driver() {
        for (card, name) in [
            ("NVIDIA H100 80GB HBM3", Some("h100-sxm")),
            ("NVIDIA H100 PCIe", Some("h100-pcie")),
            ("NVIDIA H200", Some("h200")),
            ("NVIDIA GH200 480GB", None),
            ("NVIDIA A100-SXM4-40GB", Some("a100-40")),
            ("NVIDIA A100 80GB PCIe", Some("a100-80")),
            ("NVIDIA GeForce RTX 4090", Some("rtx4090")),
            ("NVIDIA GeForce RTX 4090 D", None),
            ("Tesla T4", None),
        ] {
            assert_eq!(of_card(card).map(|d| d.name), name, "{card}");
        }
    }

    /// By hand: 8 A100 at 312 TFLOP/s and 50% for 100 hours are 8 x 100 x 3600 x 156e12 = 4.4928e20.
    #[test]
    fn hours_and_money_become_flop_and_come_back() {
        let eight = Hardware {
            name: "a100-80".into(),
            peak: peak("a100-80").unwrap(),
            count: 8,
            mfu: 0.5,
            usd_per_hour: Some(2.0),
        };
        assert_eq!(eight.flops_in(100.0), Ok(4.4928e20));
        // 1600 USD buy 800 device-hours: the same.
        assert_eq!(eight.flops_for(1600.0), Ok(4.4928e20));
        let cost = eight.cost(4.4928e20);
        assert_eq!((cost.device_hours, cost.hours, cost.usd), (800.0, 100.0, Some(1600.0)));
        let unpriced = Hardware { usd_per_hour: None, ..eight.clone() };
        assert_eq!(unpriced.flops_for(1.0), Err(PredictError::NoPrice));
        assert_eq!(unpriced.cost(1e20).usd, None);
        assert!(eight.flops_in(0.0).is_err() && eight.flops_for(f64::NAN).is_err());
        assert!(eight.flops_in(1e300).is_err());
    }

    #[test]
    fn a_device_that_is_not_known_is_refused_with_those_that_are() {
        let error = peak("h1000").unwrap_err().to_string();
        assert!(error.contains("`h1000`") && error.contains("h100-sxm, h100-pcie"), "{error}");
        let names: std::collections::BTreeSet<&str> = DEVICES.iter().map(|d| d.name).collect();
        assert_eq!(names.len(), DEVICES.len());
        assert!(DEVICES.iter().all(|d| (1e14..1e16).contains(&d.peak)));
    }
}
