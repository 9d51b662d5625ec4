//! Initial weights, drawn by name at the scale that the parametrization gives their role.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Role, Scaling};
use crate::random::Stream;
use crate::shape::Shape;

/// Draws initial weights from a stream of their own, by name.
pub(super) struct Maker<'a> {
    shape: Shape,
    scaling: Scaling,
    seed: u64,
    device: &'a Device,
}

impl<'a> Maker<'a> {
    pub(super) fn new(shape: Shape, scaling: Scaling, seed: u64, device: &'a Device) -> Self {
        Self { shape, scaling, seed, device }
    }

    /// One weight, `[rows, columns]`.
    pub(super) fn weight(
        &mut self,
        name: &str,
        role: Role,
        rows: usize,
        columns: usize,
    ) -> Tensor<2> {
        let std = self.scaling.std(role, &self.shape, rows);
        let stream = Stream::new(self.seed, name);
        let values: Vec<f32> = (0..(rows * columns) as u64)
            .map(|n| if role.is_gain() { 1.0 } else { (std * stream.normal(n)) as f32 })
            .collect();
        Tensor::from_data(TensorData::new(values, [rows, columns]), self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, Transformer};
    use super::*;
    use crate::ops::Kernels;

    #[test]
    fn weights_have_the_scale_their_role_asks_for() {
        let shape = Shape {
            vocab: 256,
            context: 8,
            width: 64,
            layers: 2,
            heads: 4,
            ff: 176,
            qk_norm: false,
            tied: false,
        };
        let mut model =
            Transformer::new(shape, Scaling::one_rate(0.5), 1, &Place::cpu(Kernels::Fused));
        let want = |name: &str| match name {
            "embed" => 0.5,
            "head" => 1.0 / 64.0,
            "blocks.0.qkv" | "blocks.1.gate_up" => 1.0 / 8.0,
            "blocks.0.out" => 1.0 / 16.0,
            "blocks.1.down" => 1.0 / (2.0 * 176_f64.sqrt()),
            _ => f64::NAN,
        };
        let mut checked = 0;
        for (name, weight) in model.weights_mut() {
            let values = weight.value.clone().into_data().try_to_vec::<f32>().unwrap();
            let std = (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>()
                / values.len() as f64)
                .sqrt();
            if want(&name).is_finite() {
                assert!((std / want(&name) - 1.0).abs() < 0.05, "{name}: {std}");
                checked += 1;
            }
        }
        assert_eq!(checked, 6);
    }

    #[test]
    fn another_seed_gives_other_weights_and_the_same_seed_the_same() {
        let shape = super::super::tests::shape(false, false);
        let first = |seed| {
            let mut model =
                Transformer::new(shape, Scaling::one_rate(0.5), seed, &Place::cpu(Kernels::Fused));
            model.weights_mut()[2].1.value.clone().into_data().try_to_vec::<f32>().unwrap()
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
