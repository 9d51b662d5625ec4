//! The other files of the directory: where the model comes from, for programs and for people.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Precision;
use crate::plan::Cell;
use crate::units::{bits_per_byte, count, several};

/// Where the model comes from, for programs.
pub const PROVENANCE: &str = "isoflop.json";
/// The same for people.
pub const CARD: &str = "README.md";
/// How text is drawn unless a user says otherwise.
pub const GENERATION: &str = "generation_config.json";
/// What `transformers` asks of a tokenizer beside its file.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Longest provenance that is read [bytes].
pub const MAX_PROVENANCE: u64 = 4 << 20;
/// Version of the provenance. A higher one is not read.
pub const VERSION: u32 = 1;

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// [`VERSION`] of the writer.
    pub v: u32,
    /// Version of isoflop that wrote it.
    pub isoflop: String,
    /// Name of the sweep.
    pub sweep: String,
    /// The cell: its id, and the recipe that decides its bits.
    pub cell: Cell,
    /// Held-out loss after the last step, on the recipe's `eval_tokens` [nats/token].
    pub loss: f64,
    /// Its standard error over batches [nats/token].
    pub loss_se: f64,
    /// Bytes per held-out token, where the data are text [bytes/token].
    pub bytes_per_token: Option<f64>,
    /// Licence of the data, where it is known.
    pub licence: Option<String>,
    /// SHA-256 of the run log.
    pub run_log_sha256: String,
    /// SHA-256 of the weights as they are kept, f32.
    pub weights_sha256: String,
    /// Type of the elements here, as `torch` calls it.
    pub dtype: String,
}

/// A value as JSON that people look at too.
pub(super) fn pretty(value: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(value);
    json.expect("no map here has other keys than text") + "\n"
}

impl Provenance {
    /// The file.
    pub fn json(&self) -> String {
        pretty(self)
    }

    /// What a file says.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Version { v } = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if v > VERSION {
            return Err(format!("it was written by a newer isoflop (format {v})"));
        }
        serde_json::from_slice(json).map_err(|e| e.to_string())
    }

    /// The model card: ten lines.
    pub fn card(&self) -> String {
        let recipe = &self.cell.recipe;
        let shape = recipe.shape;
        let bits = self.bytes_per_token.map_or_else(String::new, |bytes| {
            format!(", {:.4} bits/byte", bits_per_byte(self.loss, bytes))
        });
        let licence = self.licence.as_deref().unwrap_or("not known to isoflop");
        let precision =
            if self.dtype == Precision::F32.name() { "" } else { ", rounded after training" };
        format!(
            "# {sweep} {id}\n\n\
             A base model: it goes on with a text. It was not tuned to follow instructions, and says what is false or \
             offensive where its data do.\n\n\
             - Architecture: {kind}, {short}, context {context}, vocabulary {vocab}; {dtype}{precision}.\n\
             - Size: {total} parameters, {matmul} of them in matrix products.\n\
             - Data: {source}, {tokens} tokens in {steps} (SHA-256 {sha256}). Licence of the data: {licence}.\n\
             - Held-out loss: {loss:.5} nats/token (standard error {se:.5}){bits}, on {held_out} tokens that were not \
             trained on.\n\
             - Made by isoflop {version}; `{PROVENANCE}` has the whole recipe.\n",
            sweep = self.sweep,
            id = self.cell.short(),
            kind = if shape.qk_norm { "Qwen3" } else { "Llama" },
            short = shape.short(),
            context = shape.context,
            vocab = shape.vocab,
            dtype = self.dtype,
            total = shape.counts().total,
            matmul = shape.counts().matmul,
            source = recipe.source,
            tokens = count(recipe.tokens() as f64),
            steps = several(recipe.steps as usize, "step"),
            sha256 = recipe.data_sha256,
            loss = self.loss,
            se = self.loss_se,
            held_out = recipe.eval_tokens,
            version = self.isoflop,
        )
    }
}

/// `generation_config.json`: drawn at temperature 1 from all tokens, until the text ends.
pub fn generation_json(end: Option<u32>) -> String {
    pretty(&json!({
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "do_sample": true,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
    }))
}
