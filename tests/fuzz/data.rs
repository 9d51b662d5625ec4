//! What is trained on: text files and the tokenizers that are kept beside results.

use std::fs;
use std::path::Path;

use isoflop::data::{Cache, Dataset};
use isoflop::plan::Draw;
use isoflop::spec::Spec;
use sha2::{Digest as _, Sha256};

use crate::mutate::{corpus, fuzz, fuzz_files};

/// A sweep on two files, by a tokenizer.
fn spec(files: [&Path; 2], tokenizer: &str) -> Spec {
    Spec::parse(&format!(
        r#"
name = "t"
[data]
source = {{ files = {{ paths = [{:?}, {:?}] }} }}
tokenizer = {tokenizer}
[model]
context = 8
[grid.product]
params = [1e4]
tokens = [1e5]
[optim]
learning_rate = 0.01
batch_tokens = 64
[schedule.cosine]
warmup = 0.1
end = 0.1
"#,
        files[0].display().to_string(),
        files[1].display().to_string()
    ))
    .unwrap()
}

const BPE: &str = "{ bpe = { vocab = 290 } }";

/// Batches of what was accepted hold ids below the vocabulary.
fn trained_on(data: &Dataset) {
    let vocab = i32::try_from(data.facts.vocab).unwrap();
    assert!(data.facts.bytes_per_token.is_some_and(|b| b.is_finite() && b > 0.0));
    let batch = data.batch(Draw::of(1), 0, 3);
    let held_out = data.held_out(16, 2);
    for batch in held_out.chain([batch]) {
        let batch = batch.unwrap();
        assert!(batch.inputs.iter().chain(&batch.targets).all(|id| (0..vocab).contains(id)));
    }
}

#[test]
fn text_files() {
    let dir = tempfile::tempdir().unwrap();
    let (other, file) = (dir.path().join("other.txt"), dir.path().join("mutant.txt"));
    fs::write(&other, "and the sea rolled on as it had rolled five thousand years ago\n").unwrap();
    fuzz("text", "text", |bytes| {
        fs::write(&file, bytes).unwrap();
        for tokenizer in ["\"bytes\"", BPE] {
            if let Ok(data) = Dataset::load(&spec([&file, &other], tokenizer), None) {
                trained_on(&data);
            }
        }
    });
}

/// A tokenizer of a previous run whose hash is right again.
#[test]
fn tokenizers_with_right_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let texts = corpus("text");
    let files = [dir.path().join("a.txt"), dir.path().join("b.txt")];
    let cache = dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    for (file, (_, text)) in files.iter().zip(&texts) {
        fs::write(file, text).unwrap();
    }
    let load =
        |keep| Dataset::load(&spec([&files[0], &files[1]], BPE), Some(Cache { dir: &cache, keep }));
    trained_on(&load(true).unwrap());
    let kept = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path());
    let json = kept.into_iter().find(|p| p.extension().is_some_and(|e| e == "json")).unwrap();
    let mut corpora = corpus("tokenizer");
    corpora.push((json.clone(), fs::read(&json).unwrap()));
    fuzz_files("tokenizer", &corpora, |bytes| {
        fs::write(&json, bytes).unwrap();
        let hash = isoflop::plan::hex(&Sha256::digest(bytes));
        fs::write(json.with_extension("json.sha256"), hash).unwrap();
        if let Ok(data) = load(false) {
            trained_on(&data);
        }
    });
}
