//! `config.json`: the shape of a model and the constants of its function.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Precision;
use crate::ops::{NORM_EPS, ROPE_BASE};
use crate::shape::Shape;

/// Its name in the directory.
pub const FILE: &str = "config.json";
/// Longest one that is read [bytes].
pub const MAX_FILE: u64 = 1 << 20;
/// Longest context that is believed [tokens]: the rotary table is made for all of it.
const MAX_CONTEXT: usize = 1 << 20;
/// Largest other dimension that is believed.
const MAX_DIMENSION: usize = 1 << 24;

/// What a directory says of its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Dimensions.
    pub shape: Shape,
    /// Id before a text.
    pub bos: Option<u32>,
    /// Id behind a text; the first where there are several.
    pub eos: Option<u32>,
}

/// Fields in the order of the file.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the file has them")]
struct Written {
    architectures: [&'static str; 1],
    model_type: &'static str,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    max_position_embeddings: usize,
    hidden_act: &'static str,
    rms_norm_eps: f64,
    rope_theta: f64,
    rope_parameters: Value,
    attention_bias: bool,
    attention_dropout: f64,
    mlp_bias: bool,
    use_sliding_window: bool,
    tie_word_embeddings: bool,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    torch_dtype: &'static str,
    use_cache: bool,
}

/// The two architectures: their class, and what `model_type` says.
const LLAMA: [&str; 2] = ["LlamaForCausalLM", "llama"];
const QWEN3: [&str; 2] = ["Qwen3ForCausalLM", "qwen3"];

/// The RMSNorm's epsilon as people write it: f32's nearest to 1e-5 has more digits in f64.
fn eps() -> f64 {
    format!("{NORM_EPS}").parse().unwrap_or(f64::from(NORM_EPS))
}

impl Config {
    /// The file. `rope_theta` is for version 4 of `transformers`, `rope_parameters` for version 5.
    pub fn json(&self, precision: Precision) -> String {
        let Shape { vocab, context, width, layers, heads, ff, qk_norm, tied } = self.shape;
        let [class, model_type] = if qk_norm { QWEN3 } else { LLAMA };
        let written = Written {
            architectures: [class],
            model_type,
            vocab_size: vocab,
            hidden_size: width,
            intermediate_size: ff,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            head_dim: self.shape.head_dim(),
            max_position_embeddings: context,
            hidden_act: "silu",
            rms_norm_eps: eps(),
            rope_theta: ROPE_BASE,
            rope_parameters: json!({ "rope_theta": ROPE_BASE, "rope_type": "default" }),
            attention_bias: false,
            attention_dropout: 0.0,
            mlp_bias: false,
            use_sliding_window: false,
            tie_word_embeddings: tied,
            bos_token_id: self.bos,
            eos_token_id: self.eos,
            torch_dtype: precision.name(),
            use_cache: true,
        };
        super::card::pretty(&written)
    }

    /// What a file says, where it is a model that isoflop can be.
    ///
    /// # Errors
    ///
    /// A field that is missing, is no number, or is what isoflop's model is not: by its name.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let fields: Map<String, Value> =
            serde_json::from_slice(json).map_err(|e| format!("is no object of JSON: {e}"))?;
        let fields = Fields(fields);
        let qk_norm = fields.qk_norm()?;
        fields.constants()?;
        let heads = fields.count("num_attention_heads", MAX_DIMENSION)?;
        let width = fields.count("hidden_size", MAX_DIMENSION)?;
        fields.heads(width, heads, qk_norm)?;
        let shape = Shape {
            vocab: fields.count("vocab_size", MAX_DIMENSION)?,
            context: fields.count("max_position_embeddings", MAX_CONTEXT)?,
            width,
            layers: fields.count("num_hidden_layers", MAX_DIMENSION)?,
            heads,
            ff: fields.count("intermediate_size", MAX_DIMENSION)?,
            qk_norm,
            tied: fields.flag("tie_word_embeddings")?,
        };
        if !shape.is_possible() {
            return Err("`hidden_size`, `intermediate_size`, `num_hidden_layers` and `vocab_size` make a model of more \
                        weights than there can be"
                .to_owned());
        }
        let [bos, eos] = ["bos_token_id", "eos_token_id"].map(|name| fields.id(name, shape.vocab));
        Ok(Self { shape, bos: bos?, eos: eos? })
    }
}

/// The fields of a file.
struct Fields(Map<String, Value>);

/// Fields that have one value here, and that of a model without them: their name, the value, what another means.
fn fixed() -> [(&'static str, Value, &'static str); 9] {
    [
        ("hidden_act", json!("silu"), "another activation"),
        ("attention_bias", json!(false), "biases"),
        ("mlp_bias", json!(false), "biases"),
        ("rope_scaling", json!(null), "scaled positions"),
        ("use_sliding_window", json!(false), "a sliding window"),
        ("sliding_window", json!(null), "a sliding window"),
        ("quantization_config", json!(null), "quantised weights"),
        ("auto_map", json!(null), "code of its own"),
        ("pretraining_tp", json!(1), "split products"),
    ]
}

impl Fields {
    /// A field; `null` is none.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A whole number from 1 to `most`.
    fn count(&self, name: &str, most: usize) -> Result<usize, String> {
        let value = self.get(name).ok_or_else(|| format!("has no `{name}`"))?;
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        number
            .filter(|n| (1..=most).contains(n))
            .ok_or_else(|| format!("`{name}` is {value}, want a whole number from 1 to {most}"))
    }

    /// `false` where it is missing.
    fn flag(&self, name: &str) -> Result<bool, String> {
        self.get(name).map_or(Ok(false), |value| {
            value.as_bool().ok_or_else(|| format!("`{name}` is {value}, want true or false"))
        })
    }

    /// An id below `vocab`; the first of a list.
    fn id(&self, name: &str, vocab: usize) -> Result<Option<u32>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let first = value.as_array().map_or(Some(value), |all| all.first());
        let id = first.and_then(Value::as_u64).filter(|id| *id < vocab as u64);
        let id = id.and_then(|id| u32::try_from(id).ok());
        id.map(Some).ok_or_else(|| format!("`{name}` is {value}, want an id below {vocab}"))
    }

    /// Whether it is a Qwen3, which has the norm of queries and keys, and not a Llama.
    fn qk_norm(&self) -> Result<bool, String> {
        let value = self.get("model_type").ok_or("has no `model_type`")?;
        let [llama, qwen3] = [LLAMA, QWEN3].map(|[_, name]| value == name);
        if !llama && !qwen3 {
            return Err(format!(
                "`model_type` is {value}, and isoflop knows \"llama\" and \"qwen3\""
            ));
        }
        let class = if qwen3 { QWEN3[0] } else { LLAMA[0] };
        match self.get("architectures") {
            Some(value) if *value != json!([class]) => {
                Err(format!("`architectures` is {value}, want [\"{class}\"]"))
            }
            _ => Ok(qwen3),
        }
    }

    /// What is a constant here.
    fn constants(&self) -> Result<(), String> {
        for (name, want, means) in fixed() {
            if let Some(value) = self.get(name)
                && *value != want
            {
                return Err(format!(
                    "`{name}` is {value}, which means {means}; isoflop's model has {want}"
                ));
            }
        }
        let given = self.get("rms_norm_eps");
        if given.and_then(Value::as_f64) != Some(eps()) {
            let given = given.map_or("not given, which means 1e-6".to_owned(), Value::to_string);
            return Err(format!("`rms_norm_eps` is {given}; isoflop's model has {:e}", eps()));
        }
        if let Some(value) = self.get("layer_types") {
            let full = |kind: &Value| kind == "full_attention";
            if !value.as_array().is_some_and(|kinds| kinds.iter().all(full)) {
                return Err(format!(
                    "`layer_types` is {value}, want \"full_attention\" in all layers"
                ));
            }
        }
        self.positions()
    }

    /// The rotary positions, as versions 4 and 5 of `transformers` say them.
    fn positions(&self) -> Result<(), String> {
        let base = |name: &str, value: &Value| match value.as_f64() {
            Some(ROPE_BASE) => Ok(()),
            _ => Err(format!("`{name}` is {value}; isoflop's model has {ROPE_BASE}")),
        };
        self.get("rope_theta").map_or(Ok(()), |value| base("rope_theta", value))?;
        let Some(value) = self.get("rope_parameters") else { return Ok(()) };
        let all = value.as_object();
        let all = all.ok_or_else(|| format!("`rope_parameters` is {value}, want an object"))?;
        for (name, value) in all {
            match name.as_str() {
                "rope_theta" => base("rope_parameters.rope_theta", value)?,
                "rope_type" | "type" if value == "default" => {}
                _ => {
                    return Err(format!(
                        "`rope_parameters` has {name} = {value}; isoflop's positions are not scaled"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Heads that are all alike, and as wide as the stream together.
    fn heads(&self, width: usize, heads: usize, qwen3: bool) -> Result<(), String> {
        if !width.is_multiple_of(heads) || !(width / heads).is_multiple_of(2) {
            return Err(format!(
                "`num_attention_heads` is {heads}, which does not part `hidden_size` {width} into even parts"
            ));
        }
        for (name, want) in [("num_key_value_heads", heads), ("head_dim", width / heads)] {
            match self.get(name) {
                Some(value) if *value != json!(want) => {
                    return Err(format!(
                        "`{name}` is {value}; isoflop's model has {want} with {heads} heads and a width of {width}"
                    ));
                }
                None if qwen3 => {
                    return Err(format!("has no `{name}`, and a Qwen3 without it has another"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(qk_norm: bool, tied: bool) -> Config {
        let (vocab, context, width, layers, heads, ff) = (256, 64, 48, 3, 3, 128);
        let shape = Shape { vocab, context, width, layers, heads, ff, qk_norm, tied };
        Config { shape, bos: Some(0), eos: Some(0) }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (qk_norm, tied) in [(false, false), (true, false), (false, true), (true, true)] {
            let config = config(qk_norm, tied);
            let json = config.json(Precision::F32);
            assert_eq!(Config::read(json.as_bytes()), Ok(config), "{json}");
            assert!(json.contains("\"rms_norm_eps\": 0.00001,"), "{json}");
        }
    }

    /// A Llama as others write it, with what does not decide the function.
    #[test]
    fn a_llama_of_others_is_read() {
        let json = br#"{ "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": [2, 3],
            "hidden_act": "silu", "hidden_size": 288, "initializer_range": 0.02, "intermediate_size": 768,
            "max_position_embeddings": 256, "model_type": "llama", "num_attention_heads": 6,
            "num_hidden_layers": 6, "num_key_value_heads": 6, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
            "rope_scaling": null, "tie_word_embeddings": true, "torch_dtype": "float32", "vocab_size": 32000 }"#;
        let config = Config::read(json).unwrap();
        assert_eq!((config.bos, config.eos), (Some(1), Some(2)));
        assert_eq!(config.shape.counts().total, 15_191_712.0);
    }

    /// A field is refused by its name, or the model is the same; a dimension that may be another is held against the
    /// tensors, and the name of its field is said there.
    #[test]
    fn a_field_that_was_changed_is_refused_by_its_name() {
        let mut tried = 0;
        for qk_norm in [false, true] {
            let own = config(qk_norm, false);
            let whole: Map<String, Value> =
                serde_json::from_str(&own.json(Precision::F32)).unwrap();
            for name in whole.keys() {
                let others = [
                    json!(null),
                    json!(0),
                    json!(-1),
                    json!(7),
                    json!(1.5),
                    json!(1_u64 << 40),
                    json!("x"),
                    json!(true),
                    json!([]),
                    json!({ "rope_theta": 1e6 }),
                ];
                for other in others.iter().filter(|other| **other != whole[name]) {
                    let mut fields = whole.clone();
                    fields.insert(name.clone(), other.clone());
                    let json = serde_json::to_vec(&fields).unwrap();
                    tried += 1;
                    match Config::read(&json) {
                        Err(why) => assert!(why.contains(name.as_str()), "{name} {other}: {why}"),
                        Ok(read) if read == own => {}
                        Ok(read) => {
                            let names = Differs(own.shape, read.shape).names();
                            let ids = name.ends_with("_token_id") && names.is_empty();
                            assert!(ids || names == [name.as_str()], "{name} {other}: {names:?}");
                        }
                    }
                }
            }
        }
        assert!(tried > 400, "{tried}");
    }

    /// Fields of the dimensions in which two shapes differ.
    struct Differs(Shape, Shape);

    impl Differs {
        fn names(&self) -> Vec<&'static str> {
            let Self(l, r) = self;
            let all = [
                ("vocab_size", l.vocab == r.vocab),
                ("max_position_embeddings", l.context == r.context),
                ("hidden_size", l.width == r.width),
                ("num_hidden_layers", l.layers == r.layers),
                ("num_attention_heads", l.heads == r.heads),
                ("intermediate_size", l.ff == r.ff),
                ("model_type", l.qk_norm == r.qk_norm),
                ("tie_word_embeddings", l.tied == r.tied),
            ];
            all.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
        }
    }

    #[test]
    fn what_other_models_have_is_refused_by_name() {
        let own = config(false, false);
        let whole: Map<String, Value> = serde_json::from_str(&own.json(Precision::F32)).unwrap();
        for (name, value) in [
            ("num_key_value_heads", json!(1)),
            ("hidden_act", json!("gelu")),
            ("attention_bias", json!(true)),
            ("mlp_bias", json!(true)),
            ("rope_scaling", json!({ "type": "linear", "factor": 2.0 })),
            ("rope_parameters", json!({ "rope_type": "yarn", "factor": 2.0 })),
            ("sliding_window", json!(4096)),
            ("layer_types", json!(["full_attention", "sliding_attention"])),
            ("quantization_config", json!({ "bits": 4 })),
            ("auto_map", json!({ "AutoModel": "x.Y" })),
            ("model_type", json!("mistral")),
        ] {
            let mut fields = whole.clone();
            fields.insert(name.to_owned(), value);
            let why = Config::read(&serde_json::to_vec(&fields).unwrap()).unwrap_err();
            assert!(why.contains(&format!("`{name}`")), "{name}: {why}");
        }
    }
}
