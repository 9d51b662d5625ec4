//! A source of files: read, some of it set aside, encoded.

use std::collections::HashSet;

use super::aside::{Aside, SAMPLE, aside};
use super::files::{Text, gather};
use super::noise::Contexts;
use super::tokenizer::Encoder;
use super::{Cache, DataError, Dataset};
use crate::error::InputError;
use crate::plan::{Corpus, Taken};
use crate::spec::{Files, Spec};

/// Loads what a sweep says of files.
pub(super) fn load(
    files: &Files,
    spec: &Spec,
    cache: Option<Cache<'_>>,
) -> Result<Dataset, DataError> {
    let (data, context) = (&spec.data, spec.model.context);
    let mut text = gather(files, &data.base, "the files of data.source")?;
    let named = data.held_out.as_ref().and_then(|held_out| held_out.get_ref().files());
    let named = named.map(|files| gather(files, &data.base, "the files of data.held_out"));
    let named = named.transpose()?;
    let contexts = contexts(&text, named.as_ref());
    let sides = match &named {
        Some(named) => Aside::named(&text.wholes, &named.wholes),
        None => aside(&text.wholes, &contexts).ok_or_else(|| {
            InputError::new(
                format!(
                    "the text, {} bytes, is one document, or one many times, and one document at least is held out",
                    text.bytes
                ),
                "name more files, or name others as held out: data.held_out = { files = [..] }",
            )
        })?,
    };
    if sides.train.is_empty() {
        return Err(InputError::new(
            format!("the text, {} bytes, is too short: all of it is held out", text.bytes),
            "name more files, or name others as held out: data.held_out = { files = [..] }",
        )
        .into());
    }
    let split = sides.split();
    let (encoder, _) = Encoder::new(data.tokenizer.get_ref(), &split, cache)?;
    let mut dataset = Dataset::encoded(&encoder, &split, data, context)?;
    let asked = spec.eval.tokens.get_ref().0 as u64;
    let held_out = sides.facts(dataset.facts.held_out_tokens, asked, context, &contexts);
    dataset.notes.append(&mut text.notes);
    dataset.notes.extend(named.iter().flat_map(|named| named.notes.clone()));
    dataset.notes.extend(held_out.warnings());
    dataset.notes.extend(sides.copies());
    let kinds = text.kinds.iter().map(|(kind, (files, documents))| Taken {
        kind: kind.to_string(),
        files: *files,
        documents: *documents,
    });
    dataset.corpus = Some(Corpus { kinds: kinds.collect(), bytes: Some(text.bytes), held_out });
    Ok(dataset)
}

/// Counts of bytes in the text, or in evenly spread documents of it; of copies in one.
fn contexts(text: &Text, named: Option<&Text>) -> Contexts {
    let every = text.bytes.div_ceil(SAMPLE).max(1) as usize;
    let mut seen = HashSet::new();
    let wholes = text.wholes.iter().step_by(every).chain(named.iter().flat_map(|n| &n.wholes));
    let new = wholes.filter(|whole| seen.insert(whole.key));
    Contexts::of(new.flat_map(|whole| whole.documents.iter().map(String::as_bytes)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::DataError;

    fn load(dir: &Path, data: &str) -> Result<Dataset, DataError> {
        let text = format!(
            "name = \"a\"\n[data]\n{data}\n[model]\ncontext = 16\n[grid.product]\nparams = [1e4]\ntokens = [1e5]\n[optim]\nlearning_rate = 0.01\nbatch_tokens = 1024\n[schedule.cosine]\nwarmup = 0.1\nend = 0.0\n"
        );
        let mut spec = Spec::parse(&text).map_err(|e| panic!("{}", e.render("a", &text))).unwrap();
        spec.data.base = dir.to_owned();
        Dataset::load(&spec, None)
    }

    /// Lines of words that differ.
    fn lines(from: usize, to: usize) -> String {
        (from..to)
            .map(|n| format!("line {n} of {} words\n", n * 7919 % 10_007))
            .collect::<Vec<_>>()
            .concat()
    }

    #[test]
    fn the_same_text_is_the_same_data_whatever_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let documents: Vec<String> = (0..300).map(|n| lines(n * 20, n * 20 + 20)).collect();
        std::fs::create_dir(dir.path().join("texts")).unwrap();
        let mut rows = String::new();
        for (n, text) in documents.iter().enumerate() {
            write(&format!("texts/{n:03}.txt"), &text.replace('\n', "\r\n"));
            rows += &format!("{}\n", serde_json::json!({ "body": text, "id": n }));
        }
        write("rows.jsonl", &rows);
        write("texts/left.pdf", "%PDF");
        let folder = load(dir.path(), "source = { files = [\"texts\"] }").unwrap();
        let body = "source = { files = { paths = [\"rows.jsonl\"], text = \"body\" } }";
        let rows = load(dir.path(), body).unwrap();
        assert_eq!(folder.facts, rows.facts);
        let corpus = folder.corpus.unwrap();
        assert_eq!((corpus.kinds[0].files, corpus.kinds[0].documents), (300, 300));
        assert!(folder.notes[0].contains("1 .pdf"), "{:?}", folder.notes);
        let error = load(dir.path(), "source = { files = [\"rows.jsonl\"] }").unwrap_err();
        assert!(error.to_string().contains("no field `text`"), "{error}");
    }

    #[test]
    fn a_set_of_ones_own_is_what_is_measured_and_all_else_is_trained_on() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("train.txt", &lines(0, 3000));
        write("own.txt", &lines(5000, 5200));
        let own = "source = { files = [\"train.txt\"] }\nheld_out = { files = [\"own.txt\"] }";
        let data = load(dir.path(), own).unwrap();
        let held_out = &data.corpus.as_ref().unwrap().held_out;
        assert_eq!((held_out.by.as_str(), held_out.share), ("files", None));
        assert_eq!(held_out.bytes, Some(lines(5000, 5200).len() as u64));
        let first: Vec<i32> = lines(5000, 5200).bytes().take(16).map(i32::from).collect();
        assert_eq!(data.held_out(16, 1).next().unwrap().unwrap().inputs, first);
        // Its bytes and each document's end.
        let pieces = 1 + lines(0, 3000).len() as u64 / (32 << 10);
        let all = lines(0, 3000).len() as u64;
        let trained = data.facts.train_tokens.unwrap();
        assert!((all + 1..=all + pieces + 1).contains(&trained), "{trained}");
        write("own.txt", &(lines(5000, 5200) + "!"));
        assert_ne!(load(dir.path(), own).unwrap().facts.sha256, data.facts.sha256);
        write("own.txt", &lines(0, 3000));
        let notes = load(dir.path(), own).unwrap().notes;
        assert!(notes.iter().any(|n| n.contains("letter by letter")), "{notes:?}");
    }

    #[test]
    fn one_line_one_text_thrice_and_nothing_are_right_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let one_line = lines(0, 20_000).replace('\n', " ");
        for name in ["a.txt", "b.txt", "c.txt"] {
            write(name, &one_line);
        }
        let once = load(dir.path(), "source = { files = [\"a.txt\"] }").unwrap();
        let held_out = &once.corpus.as_ref().unwrap().held_out;
        assert!(held_out.documents > Some(3) && held_out.by == "pieces of 4 kB", "{held_out:?}");
        let thrice = load(dir.path(), "source = { files = [\"*.txt\"] }").unwrap();
        assert_eq!(thrice.corpus.as_ref().unwrap().held_out.documents, held_out.documents);
        assert!(thrice.notes.iter().any(|n| n.contains("67% of the training text are copies")));
        assert_eq!(thrice.facts.train_tokens, once.facts.train_tokens.map(|n| 3 * n));
        for (text, why) in
            [("", "no document"), ("short\n", "one document"), ("\0\0", "no document")]
        {
            write("d.txt", text);
            let error = load(dir.path(), "source = { files = [\"d.txt\"] }").unwrap_err();
            assert!(error.to_string().contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn paths_begin_at_the_sweep_file_and_else_where_the_command_runs_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), lines(0, 3000)).unwrap();
        let data = load(dir.path(), "source = { files = [\"a.txt\"] }").unwrap();
        assert!(data.notes.iter().all(|n| !n.contains("beside the sweep file")));
        // Tests run in the package's directory.
        let here = load(dir.path(), "source = { files = [\"README.md\"] }").unwrap();
        assert!(here.notes[0].contains("is not beside the sweep file"), "{:?}", here.notes);
        let error = load(dir.path(), "source = { files = [\"none.txt\"] }").unwrap_err();
        let there = dir.path().join("none.txt").display().to_string();
        assert!(error.to_string().contains(&there), "{error}");
    }
}
