//! `model.safetensors`: every weight under the name that `transformers` gives it.
//!
//! ```text
//! embed            [V, d]    model.embed_tokens.weight                       as it is
//! blocks.i.norm1   [1, d]    model.layers.i.input_layernorm.weight           flat
//! blocks.i.qkv     [d, 3d]   model.layers.i.self_attn.{q,k,v}_proj.weight    a third each, transposed
//! blocks.i.q_norm  [1, d/h]  model.layers.i.self_attn.q_norm.weight          flat; Qwen3, and so k_norm
//! blocks.i.out     [d, d]    model.layers.i.self_attn.o_proj.weight          transposed
//! blocks.i.norm2   [1, d]    model.layers.i.post_attention_layernorm.weight  flat
//! blocks.i.gate_up [d, 2ff]  model.layers.i.mlp.{gate,up}_proj.weight        a half each, transposed
//! blocks.i.down    [ff, d]   model.layers.i.mlp.down_proj.weight             transposed
//! norm_f           [1, d]    model.norm.weight                               flat
//! head             [d, V]    lm_head.weight                                  transposed; none when tied
//! ```

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::model::Values;
use crate::shape::Shape;

/// Its name in the directory.
pub const FILE: &str = "model.safetensors";
/// Longest header that is read [bytes].
const MAX_HEADER: u64 = 1 << 20;

/// Type of the elements of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Precision {
    /// As they were trained.
    #[default]
    F32,
    /// Rounded to the nearest of bf16, ties to even.
    Bf16,
}

impl Precision {
    /// As `torch` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|v| bf16(*v).to_le_bytes()).collect(),
        }
    }

    /// What a reader of the file gets for a value.
    pub fn rounded(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::Bf16 => f32::from_bits(u32::from(bf16(value)) << 16),
        }
    }
}

/// The nearest bf16, ties to even; a NaN stays one.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The value of an f16.
fn of_f16(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, bits & 1023);
    let magnitude = match (exponent, fraction) {
        (0, _) => f32::from(fraction) / (1 << 24) as f32,
        (31, 0) => f32::INFINITY,
        (31, _) => f32::NAN,
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | u32::from(fraction) << 13),
    };
    if sign == 0 { magnitude } else { -magnitude }
}

/// One tensor of the file and where its elements are in a weight of isoflop's.
struct Place {
    /// Its name in the file.
    name: String,
    /// Its dimensions in the file.
    dims: Vec<usize>,
    /// Fields of the config that say them.
    fields: &'static str,
    /// Name of the weight.
    own: String,
    /// Rows and columns of the weight.
    own_dims: [usize; 2],
    /// First of the weight's columns that are its rows; `None` where it lies in the file as in the weight.
    transposed: Option<usize>,
}

/// Every tensor of a model, in the order of the weights.
fn places(shape: &Shape) -> Vec<Place> {
    let Shape { vocab, width: d, layers, ff, qk_norm, tied, .. } = *shape;
    let mut out = Vec::new();
    let mut plain = |own: String, name: String, dims: Vec<usize>, fields| {
        let own_dims = [if dims.len() == 1 { 1 } else { dims[0] }, dims[dims.len() - 1]];
        out.push(Place { name, dims, fields, own, own_dims, transposed: None });
    };
    plain(
        "embed".into(),
        "model.embed_tokens.weight".into(),
        vec![vocab, d],
        "vocab_size, hidden_size",
    );
    for i in 0..layers {
        let mut gain = |own: &str, name: &str, n, fields| {
            plain(
                format!("blocks.{i}.{own}"),
                format!("model.layers.{i}.{name}.weight"),
                vec![n],
                fields,
            );
        };
        gain("norm1", "input_layernorm", d, "hidden_size");
        if qk_norm {
            gain("q_norm", "self_attn.q_norm", shape.head_dim(), "head_dim");
            gain("k_norm", "self_attn.k_norm", shape.head_dim(), "head_dim");
        }
        gain("norm2", "post_attention_layernorm", d, "hidden_size");
    }
    plain("norm_f".into(), "model.norm.weight".into(), vec![d], "hidden_size");
    let mut linear = |own: String, names: &[String], [from, to]: [usize; 2], fields| {
        for (i, name) in names.iter().enumerate() {
            out.push(Place {
                name: format!("{name}.weight"),
                dims: vec![to, from],
                fields,
                own: own.clone(),
                own_dims: [from, names.len() * to],
                transposed: Some(i * to),
            });
        }
    };
    for i in 0..layers {
        let mut block = |own: &str, part: &str, names: &[&str], dims, fields| {
            let name = |name: &&str| format!("model.layers.{i}.{part}.{name}_proj");
            let names: Vec<String> = names.iter().map(name).collect();
            linear(format!("blocks.{i}.{own}"), &names, dims, fields);
        };
        block("qkv", "self_attn", &["q", "k", "v"], [d, d], "hidden_size");
        block("out", "self_attn", &["o"], [d, d], "hidden_size");
        block("gate_up", "mlp", &["gate", "up"], [d, ff], "intermediate_size, hidden_size");
        block("down", "mlp", &["down"], [ff, d], "hidden_size, intermediate_size");
    }
    if !tied {
        linear("head".into(), &["lm_head".into()], [d, vocab], "vocab_size, hidden_size");
    }
    out
}

/// The file of a model's weights.
///
/// # Errors
///
/// A weight that is missing or of other dimensions, by its name.
pub fn file(shape: &Shape, values: &[Values], precision: Precision) -> Result<Vec<u8>, String> {
    let named: HashMap<&str, &Values> = values.iter().map(|v| (v.name.as_str(), v)).collect();
    let tensor = |place: &Place| -> Result<Vec<u8>, String> {
        let weight = named.get(place.own.as_str()).copied();
        let fits = |w: &&Values| {
            w.dims == place.own_dims && w.values.len() == w.dims.iter().product::<usize>()
        };
        let weight = weight.filter(fits).ok_or_else(|| {
            format!("no weight `{}` of dimensions {:?}", place.own, place.own_dims)
        })?;
        let Some(first) = place.transposed else { return Ok(precision.bytes(&weight.values)) };
        let columns = place.own_dims[1];
        let rows = first..first + place.dims[0];
        let row = |r| weight.values[r..].iter().step_by(columns).copied();
        Ok(precision.bytes(&rows.flat_map(row).collect::<Vec<f32>>()))
    };
    let places = places(shape);
    let bytes = places.iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
    let dtype = if precision == Precision::F32 { Dtype::F32 } else { Dtype::BF16 };
    let view = |(place, bytes)| -> Result<(&str, TensorView<'_>), String> {
        let (place, bytes): (&Place, &Vec<u8>) = (place, bytes);
        let view = TensorView::new(dtype, place.dims.clone(), bytes);
        Ok((place.name.as_str(), view.map_err(|e| e.to_string())?))
    };
    let views = places.iter().zip(&bytes).map(view).collect::<Result<Vec<_>, _>>()?;
    // Version 4 of `transformers` refuses a file that does not say so.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(format)).map_err(|e| e.to_string())
}

/// The weights in a file, where they are those of such a model and no others.
///
/// # Errors
///
/// What is wrong with the file; or a tensor that is missing, too many, or of other dimensions, by its name and by the
/// fields of the config that say so.
pub fn read(shape: &Shape, file: &[u8]) -> Result<Vec<Values>, String> {
    let length = file.first_chunk::<8>().map(|b| u64::from_le_bytes(*b));
    match length {
        Some(length) if length <= MAX_HEADER => {}
        Some(length) => {
            return Err(format!("its header has {length} bytes, want {MAX_HEADER} at most"));
        }
        None => return Err("it is no safetensors file".to_owned()),
    }
    let all = SafeTensors::deserialize(file).map_err(|e| format!("its header: {e}"))?;
    let mut given: HashMap<String, TensorView<'_>> = all.tensors().into_iter().collect();
    let mut out: Vec<Values> = Vec::new();
    let mut places_of: HashMap<String, usize> = HashMap::new();
    for place in places(shape) {
        let view = given.remove(&place.name).ok_or_else(|| missing(&place, shape))?;
        if view.shape() != place.dims {
            return Err(format!(
                "`{}` is {:?}, and {} of the config make it {:?}",
                place.name,
                view.shape(),
                quoted(place.fields),
                place.dims
            ));
        }
        let values = elements(&place.name, &view)?;
        let at = *places_of.entry(place.own.clone()).or_insert_with(|| {
            let values = vec![0.0; place.own_dims.iter().product()];
            out.push(Values { name: place.own.clone(), dims: place.own_dims, values });
            out.len() - 1
        });
        let into = &mut out[at].values;
        match place.transposed {
            None => into.copy_from_slice(&values),
            Some(first) => {
                for (i, row) in values.chunks(place.dims[1]).enumerate() {
                    let column = into[first + i..].iter_mut().step_by(place.own_dims[1]);
                    column.zip(row).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
    let embedding = out.first().map_or(&[][..], |v| &v.values);
    let mut more: Vec<(String, TensorView<'_>)> = given.into_iter().collect();
    more.sort_by(|l, r| l.0.cmp(&r.0));
    more.iter().try_for_each(|(name, view)| surplus(name, view, shape, embedding))?;
    Ok(out)
}

fn quoted(fields: &str) -> String {
    fields.split(", ").map(|f| format!("`{f}`")).collect::<Vec<_>>().join(" and ")
}

fn missing(place: &Place, shape: &Shape) -> String {
    let says = match place.name.as_str() {
        "lm_head.weight" => "`tie_word_embeddings` is false".to_owned(),
        name if name.contains("_norm.weight") && name.contains("self_attn") => {
            "`model_type` is \"qwen3\"".to_owned()
        }
        name if name.starts_with("model.layers.") => {
            format!("`num_hidden_layers` is {}", shape.layers)
        }
        _ => "every model has it".to_owned(),
    };
    format!("there is no tensor `{}`, and {says}", place.name)
}

/// What is there besides: refused, unless it says nothing.
fn surplus(
    name: &str,
    view: &TensorView<'_>,
    shape: &Shape,
    embedding: &[f32],
) -> Result<(), String> {
    // Older files have the rotary frequencies, and tied models may have their head all the same.
    if name.ends_with("rotary_emb.inv_freq") {
        return Ok(());
    }
    if name == "lm_head.weight" {
        let same = elements(name, view)?
            .iter()
            .map(|v| v.to_bits())
            .eq(embedding.iter().map(|v| v.to_bits()));
        let why = "`tie_word_embeddings` is true, and `lm_head.weight` is not the embedding";
        return if same { Ok(()) } else { Err(why.to_owned()) };
    }
    let says = if name.rsplit('.').next() == Some("bias") {
        "isoflop's model has no biases (`attention_bias`, `mlp_bias`)".to_owned()
    } else if name.ends_with("q_norm.weight") || name.ends_with("k_norm.weight") {
        "`model_type` \"llama\" has no such norm".to_owned()
    } else {
        format!("a model of `num_hidden_layers` {} has no such tensor", shape.layers)
    };
    Err(format!("`{name}` is one too many: {says}"))
}

fn elements(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let halves = || view.data().chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match view.dtype() {
        Dtype::F32 => {
            let all = view.data().chunks_exact(4);
            Ok(all.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        Dtype::BF16 => Ok(halves().map(|h| f32::from_bits(u32::from(h) << 16)).collect()),
        Dtype::F16 => Ok(halves().map(of_f16).collect()),
        other => Err(format!("`{name}` is of {other}, want F32, BF16 or F16")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(qk_norm: bool, tied: bool) -> Shape {
        Shape { vocab: 7, context: 8, width: 12, layers: 2, heads: 3, ff: 8, qk_norm, tied }
    }

    /// Weights whose elements are all different.
    fn values(shape: &Shape) -> Vec<Values> {
        let mut names: Vec<(String, [usize; 2])> = Vec::new();
        for place in places(shape) {
            if names.iter().all(|(name, _)| *name != place.own) {
                names.push((place.own, place.own_dims));
            }
        }
        let mut next = 0_u32;
        let mut element = || {
            next += 1;
            (next as f32).sin()
        };
        let weight = |(name, dims): (String, [usize; 2])| Values {
            values: (0..dims[0] * dims[1]).map(|_| element()).collect(),
            name,
            dims,
        };
        names.into_iter().map(weight).collect()
    }

    #[test]
    fn weights_come_back_to_the_bit() {
        for (qk_norm, tied) in [(false, false), (true, false), (false, true), (true, true)] {
            let shape = shape(qk_norm, tied);
            let own = values(&shape);
            let total: usize = own.iter().map(|v| v.values.len()).sum();
            assert_eq!(total as f64, shape.counts().total);
            let read = read(&shape, &file(&shape, &own, Precision::F32).unwrap()).unwrap();
            assert_eq!(read, own);
        }
    }

    /// By hand: column c of a third of `qkv` is row c of its projection.
    #[test]
    fn projections_are_thirds_and_transposed() {
        let shape = shape(false, false);
        let own = values(&shape);
        let bytes = file(&shape, &own, Precision::F32).unwrap();
        let all = SafeTensors::deserialize(&bytes).unwrap();
        let qkv = &own.iter().find(|v| v.name == "blocks.1.qkv").unwrap().values;
        let k = all.tensor("model.layers.1.self_attn.k_proj.weight").unwrap();
        let k = elements("k", &k).unwrap();
        assert_eq!(k[3 * 12 + 5], qkv[5 * 36 + 12 + 3]);
        let up = all.tensor("model.layers.0.mlp.up_proj.weight").unwrap();
        assert_eq!(up.shape(), [8, 12]);
        let gate_up = &own.iter().find(|v| v.name == "blocks.0.gate_up").unwrap().values;
        assert_eq!(elements("up", &up).unwrap()[2 * 12 + 7], gate_up[7 * 16 + 8 + 2]);
    }

    /// Oracle: the formats' own definition, by exhaustion.
    #[test]
    fn halves_are_rounded_to_the_nearest_and_ties_to_even() {
        for (value, want) in [
            (1.0_f32, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (-0.0, 0x8000),
        ] {
            assert_eq!(bf16(value), want, "{value}");
        }
        for bits in 0..=u16::MAX {
            let value = f32::from_bits(u32::from(bits) << 16);
            assert!(
                value.is_nan() && f32::from_bits(u32::from(bf16(value)) << 16).is_nan()
                    || bf16(value) == bits
            );
            let (e, f) = (i32::from((bits >> 10) & 31), f32::from(bits & 1023) / 1024.0);
            let sign = if bits < 0x8000 { 1.0 } else { -1.0 };
            let want = match e {
                0 => sign * f * 2_f32.powi(-14),
                31 => continue,
                _ => sign * (1.0 + f) * 2_f32.powi(e - 15),
            };
            assert_eq!(of_f16(bits), want, "{bits:#x}");
        }
    }

    #[test]
    fn a_file_of_another_model_is_refused_by_tensor_and_field() {
        let own = shape(false, false);
        let file = file(&own, &values(&own), Precision::F32).unwrap();
        for (other, wants) in [
            (Shape { vocab: 8, ..own }, "`model.embed_tokens.weight` is [7, 12], and `vocab_size`"),
            (Shape { ff: 16, ..own }, "`intermediate_size`"),
            (Shape { width: 24, ..own }, "`hidden_size`"),
            (Shape { layers: 3, ..own }, "`num_hidden_layers` is 3"),
            (Shape { layers: 1, ..own }, "`num_hidden_layers` 1"),
            (Shape { qk_norm: true, ..own }, "`model_type`"),
            (Shape { tied: true, ..own }, "`tie_word_embeddings`"),
        ] {
            let why = read(&other, &file).unwrap_err();
            assert!(why.contains(wants), "{why}");
        }
    }

    #[test]
    fn a_header_that_was_changed_is_refused_or_says_the_same() {
        let shape = shape(true, false);
        let own = values(&shape);
        let file = file(&shape, &own, Precision::F32).unwrap();
        let header = 8 + u64::from_le_bytes(*file.first_chunk::<8>().unwrap()) as usize;
        let stream = crate::random::Stream::new(1, "header");
        let mut refused = 0;
        for n in 0..400 {
            let mut bytes = file.clone();
            let at = stream.below(2 * n, header as u64) as usize;
            bytes[at] ^= 1 << stream.below(2 * n + 1, 8);
            match read(&shape, &bytes) {
                Err(why) => {
                    refused += 1;
                    assert!(why.contains('`') || why.contains("header"), "{why}");
                }
                Ok(read) => assert_eq!(read, own, "byte {at}"),
            }
        }
        assert!(refused > 350, "{refused}");
        let mut huge = file;
        huge[..8].copy_from_slice(&(MAX_HEADER + 1).to_le_bytes());
        assert!(read(&shape, &huge).unwrap_err().contains("header"));
        assert!(read(&shape, &[]).is_err());
    }
}
