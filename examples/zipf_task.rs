//! Items of known truth: held-out records of a zipf-fact source, their keys as contexts and their values as what must
//! follow. This is how `evals/zipf-fact.jsonl` was made; another sweep of such a source may be given.
//!
//! ```text
//! cargo run --release --example zipf_task > evals/zipf-fact.jsonl
//! ```

use isoflop::data::Dataset;
use isoflop::spec::{Source, Spec};

/// Items.
const ITEMS: usize = 400;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "sweeps/zipf-fact.toml".to_owned());
    let spec = Spec::parse(&std::fs::read_to_string(path)?)?;
    let Source::ZipfFact(source) = spec.data.source.get_ref() else {
        return Err("the sweep has another source than zipf-fact".into());
    };
    // Windows hold whole records: key tokens, then the value.
    let record = source.key_tokens as usize + 1;
    let data = Dataset::load(&spec, None)?;
    let mut left = ITEMS;
    for batch in data.held_out((ITEMS * record + spec.model.context) as u64, 1) {
        let batch = batch?;
        for window in batch.inputs.chunks_exact(batch.context) {
            for record in window.chunks_exact(record).take(left) {
                let ids: Vec<String> = record.iter().map(i32::to_string).collect();
                let (value, key) = ids.split_last().ok_or("a record without tokens")?;
                println!("{{\"key\": \"{}\", \"value\": \"{value}\"}}", key.join(" "));
                left -= 1;
            }
        }
    }
    Ok(())
}
