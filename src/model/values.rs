//! The weights of a model by name: as they are kept, and a model made of them again.

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorData};

use super::{Place, Transformer};
use crate::shape::Shape;

/// The values of one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// As in [`Transformer::weights_mut`].
    pub name: String,
    /// Rows and columns: `[in, out]` of a linear layer, `[1, width]` of a gain.
    pub dims: [usize; 2],
    /// Row after row.
    pub values: Vec<f32>,
}

impl Transformer {
    /// The values of every weight, in the order of [`weights_mut`](Self::weights_mut).
    ///
    /// # Panics
    ///
    /// When the device cannot be read.
    pub fn values(&mut self) -> Vec<Values> {
        let read = |value: &Tensor<2>| value.clone().into_data().try_to_vec::<f32>();
        let weights = self.weights_mut().into_iter();
        weights
            .map(|(name, weight)| Values {
                name,
                dims: weight.value.dims(),
                values: read(&weight.value).expect("weights are f32"),
            })
            .collect()
    }

    /// The model of this shape that has these weights, in any order.
    ///
    /// # Errors
    ///
    /// The first weight that is missing, too many, or of other dimensions.
    pub fn with_values(shape: Shape, values: &[Values], place: &Place) -> Result<Self, String> {
        let weights = 2
            + usize::from(!shape.tied)
            + shape.layers.saturating_mul(if shape.qk_norm { 8 } else { 6 });
        if values.len() != weights || !shape.is_possible() {
            return Err(format!("{} weights for a model that has {weights}", values.len()));
        }
        let named: HashMap<&str, &Values> = values.iter().map(|v| (v.name.as_str(), v)).collect();
        let mut wrong = None;
        let model = Self::build(shape, place, &mut |name, _, rows, columns| {
            let found = named.get(name).copied();
            let fits = |v: &&Values| v.dims == [rows, columns] && v.values.len() == rows * columns;
            if let Some(found) = found.filter(fits) {
                let data = TensorData::new(found.values.clone(), [rows, columns]);
                return Tensor::from_data(data, &place.device);
            }
            wrong.get_or_insert_with(|| match found {
                Some(v) => format!("`{name}` is {:?} where [{rows}, {columns}] should be", v.dims),
                None => format!("no weight `{name}`"),
            });
            Tensor::empty([1, 1], &place.device)
        });
        wrong.map_or(Ok(model), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shape;
    use super::*;
    use crate::model::Scaling;
    use crate::ops::Kernels;

    #[test]
    fn a_model_is_what_its_weights_are() {
        let place = Place::cpu(Kernels::Fused);
        for (qk_norm, tied) in [(false, false), (true, false), (false, true), (true, true)] {
            let shape = shape(qk_norm, tied);
            let mut model = Transformer::new(shape, Scaling::one_rate(0.5), 3, &place);
            let mut values = model.values();
            let total: usize = values.iter().map(|v| v.values.len()).sum();
            assert_eq!(total as f64, shape.counts().total);
            values.reverse();
            let mut again = Transformer::with_values(shape, &values, &place).unwrap();
            assert_eq!(again.values(), model.values());
            let batch = crate::model::check::batch(&shape, 2);
            assert_eq!(again.loss(&batch).to_bits(), model.loss(&batch).to_bits());
        }
    }

    #[test]
    fn weights_of_another_model_are_refused_by_name() {
        let place = Place::cpu(Kernels::Fused);
        let shape = shape(true, false);
        let own = Transformer::new(shape, Scaling::one_rate(0.5), 3, &place).values();
        let refused = |change: &dyn Fn(&mut Vec<Values>)| {
            let mut values = own.clone();
            change(&mut values);
            Transformer::with_values(shape, &values, &place).err().unwrap()
        };
        assert_eq!(refused(&|v| v[2].name = "x".into()), "no weight `blocks.0.qkv`");
        assert_eq!(
            refused(&|v| v[0].dims = [12, 31]),
            "`embed` is [12, 31] where [31, 12] should be"
        );
        assert!(refused(&|v| drop(v.pop())).contains("18 weights for a model that has 19"));
        assert!(refused(&|v| v[1].values.clear()).starts_with("`blocks.0.norm1`"));
    }
}
