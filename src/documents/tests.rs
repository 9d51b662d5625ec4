//! Files as other programs write them, and as faults leave them.

use std::io::Write as _;
use std::path::Path;

use super::*;

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Found {
    std::fs::write(dir.join(name), bytes).unwrap();
    find(&[name.to_owned()], dir).unwrap().files.remove(0)
}

fn all(found: &Found) -> Part {
    Part { file: found.clone(), range: Range::All }
}

/// The documents of a part, or its error, and what was counted.
fn take(part: &Part, fields: &Fields) -> (Result<Vec<Document>, String>, Tally) {
    let mut documents = match read(part, fields) {
        Ok(documents) => documents,
        Err(e) => return (Err(e.to_string()), Tally::default()),
    };
    let taken = documents.by_ref().collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string());
    (taken, documents.tally().clone())
}

fn texts(found: &Found, fields: &Fields) -> Vec<String> {
    take(&all(found), fields).0.unwrap().into_iter().map(|d| d.text).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(bytes, level)
}

#[test]
fn packed_files_of_several_members_are_read_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: u32| format!("{{\"id\": {n}, \"text\": \"text {n}\"}}\n").into_bytes();
    let lines: Vec<u8> = (0..5000).flat_map(line).collect();
    let (head, tail) = lines.split_at(lines.len() / 2 - 3);
    // A frame that holds no text: its magic number, its length, its bytes.
    let skipped = [&0x184D_2A53_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), b"hello"].concat();
    let files = [
        ("plain.jsonl", lines.clone()),
        ("one.jsonl.gz", gzip(&lines)),
        ("two.jsonl.gz", [gzip(head), gzip(tail)].concat()),
        ("one.jsonl.zst", zstd(&lines)),
        ("two.jsonl.zst", [zstd(head), skipped, zstd(b""), zstd(tail)].concat()),
    ];
    for (name, bytes) in files {
        let found = write(dir.path(), name, &bytes);
        let (documents, tally) = take(&all(&found), &Fields::default());
        let documents = documents.unwrap();
        assert_eq!((documents.len(), tally.documents, tally.unread), (5000, 5000, 0), "{name}");
        assert_eq!(documents[4999].text, "text 4999");
        assert_eq!(documents[4999].id.as_deref(), Some("4999"));
        if name != "plain.jsonl" {
            let cut = write(dir.path(), name, &bytes[..bytes.len() - 9]);
            let error = take(&all(&cut), &Fields::default()).0.unwrap_err();
            assert!(error.contains("cannot be unpacked"), "{name}: {error}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_packed_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let text = (0..20_000).map(|n| format!("{} ", n * 7919 % 10_007)).collect::<Vec<_>>().concat();
    let whole = gzip(text.as_bytes());
    for at in [40, whole.len() / 2, whole.len() - 6] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let found = write(dir.path(), "a.txt.gz", &bytes);
        assert!(take(&all(&found), &Fields::default()).0.is_err(), "{at}");
    }
}

#[test]
fn a_few_lines_that_cannot_be_read_are_counted_and_more_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let good = "{\"text\": \"a\"}\n";
    let bad = [
        "{\"text\": \"\\ud800 alone\"}\n",
        "{\"text\": \"torn",
        "{\"body\": \"a\"}\n",
        "[1, 2]\n",
        "{\"text\": 7}\n",
        "{\"text\": \"a\"} {}\n",
    ];
    for bad in bad {
        let few = good.repeat(1500) + bad;
        let found = write(dir.path(), "few.jsonl", few.as_bytes());
        let (documents, tally) = take(&all(&found), &Fields::default());
        assert_eq!((documents.unwrap().len(), tally.unread), (1500, 1), "{bad}");
        assert!(tally.first_unread.unwrap().starts_with("line 1501: "), "{bad}");
        let many = good.repeat(900) + bad;
        let found = write(dir.path(), "many.jsonl", many.as_bytes());
        let (documents, tally) = take(&all(&found), &Fields::default());
        let error = documents.unwrap_err();
        assert!(error.contains("1 of 901 lines is no document"), "{error}");
        assert!(error.contains("the first is line 901: "), "{error}");
        assert_eq!(tally.documents, 900);
    }
    // Bytes that are no text at all.
    let noise: Vec<u8> =
        (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let found = write(dir.path(), "noise.jsonl", &noise);
    assert!(take(&all(&found), &Fields::default()).0.unwrap_err().contains("no document"));
    let pretty = write(dir.path(), "pretty.json", b"[\n  {\n    \"text\": \"a\"\n  }\n]\n");
    let Err(ReadError::Input(error)) =
        read(&all(&pretty), &Fields::default()).unwrap().last().unwrap()
    else {
        panic!()
    };
    assert!(error.hint.as_deref().unwrap().contains("jq -c"), "{error:?}");
}

#[test]
fn fields_are_looked_at_by_name_and_documents_taken_by_value() {
    let dir = tempfile::tempdir().unwrap();
    let lines = r#"{"content": "a\r\nb\u0000", "path": "x.py", "repository": "one", "redirect": false}
{"redirect": true, "content": "c"}

{"content": null, "redirect": false}
{"path": 7, "redirect": false, "text": "no", "content": "\ufeffd", "nested": {"content": ["e"]}}
"#;
    let found = write(dir.path(), "a.jsonl", lines.as_bytes());
    let fields = Fields {
        text: "content".to_owned(),
        id: Some("path".to_owned()),
        group: Some("repository".to_owned()),
        filter: [("redirect".to_owned(), Scalar::Bool(false))].into(),
        cut: Cut::Whole,
    };
    let (documents, tally) = take(&all(&found), &fields);
    let of = |text: &str, id: &str, group: Option<&str>| Document {
        text: text.to_owned(),
        id: Some(id.to_owned()),
        group: group.map(str::to_owned),
    };
    assert_eq!(documents.unwrap(), [of("a\nb", "x.py", Some("one")), of("d", "7", None)]);
    let counted = (tally.documents, tally.empty, tally.filtered, tally.unread, tally.bytes);
    assert_eq!(counted, (2, 1, 1, 0, 4));
}

#[test]
fn parts_of_a_file_are_all_of_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: usize| format!("{{\"text\": \"{n} {}\"}}\n", "x".repeat(n * 31 % 97));
    let lines: String = (0..400).map(line).collect();
    for text in [lines.clone(), lines.trim_end().to_owned()] {
        let found = write(dir.path(), "a.jsonl", text.as_bytes());
        let want = texts(&found, &Fields::default());
        for size in [1, 50, 1000, 7000, 1 << 20] {
            let parts = parts(&found, size).unwrap();
            assert_eq!(parts.len() as u64, found.bytes.div_ceil(size).max(1));
            let documents = |part: &Part| take(part, &Fields::default()).0.unwrap();
            let got: Vec<String> = parts.iter().flat_map(documents).map(|d| d.text).collect();
            assert_eq!(got, want, "{size}");
        }
    }
    let small: Vec<Found> = (0..10)
        .map(|n| write(dir.path(), &format!("{n}.txt"), &[b'a'; 300]))
        .chain([write(dir.path(), "a.jsonl", lines.as_bytes())])
        .collect();
    let sizes: Vec<usize> = units(&small, 1000).unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes[..4], [3, 3, 3, 1]);
    assert!(sizes[4..].iter().all(|n| *n == 1) && sizes.len() > 10);
}

#[test]
fn text_files_are_one_document_or_cut() {
    let dir = tempfile::tempdir().unwrap();
    let long = (0..30_000).map(|n| format!("line {n}\r\n")).collect::<Vec<_>>().concat();
    let clean = long.replace('\r', "");
    let found = write(dir.path(), "a.txt", format!("\u{feff}{long}").as_bytes());
    assert_eq!(texts(&found, &Fields::default()), [clean.as_str()]);
    let lines = Fields { cut: Cut::Lines(32 << 10), ..Fields::default() };
    let documents = take(&all(&found), &lines).0.unwrap();
    assert!(documents.len() > 5);
    assert_eq!(documents.iter().map(|d| d.text.as_str()).collect::<String>(), clean);
    let path = found.path.display();
    assert_eq!(documents[1].id.as_deref(), Some(format!("{path}#2").as_str()));
    for bytes in [&b"caf\xe9"[..], b"ok\n\xff\xfe", b"cut off \xe2\x82"] {
        let found = write(dir.path(), "b.txt", bytes);
        let error = take(&all(&found), &lines).0.unwrap_err();
        assert!(error.contains("not UTF-8"), "{error}");
    }
    let one_line = write(dir.path(), "c.txt", "no end ".repeat(50_000).as_bytes());
    assert!(texts(&one_line, &lines).len() > 3);
    assert!(texts(&write(dir.path(), "d.txt", b""), &lines).is_empty());
}

#[test]
fn a_document_beyond_the_cap_is_an_error_and_costs_no_more_than_the_cap() {
    let dir = tempfile::tempdir().unwrap();
    let zeros = gzip(&vec![b'a'; MAX_DOCUMENT + (1 << 20)]);
    let found = write(dir.path(), "a.txt.gz", &zeros);
    assert!(take(&all(&found), &Fields::default()).0.unwrap_err().contains("16 MiB"));
    let line = [b"{\"text\": \"", &vec![b'a'; 2 * MAX_DOCUMENT][..], b"\"}\n"].concat();
    let found = write(dir.path(), "a.jsonl.gz", &gzip(&line));
    assert!(take(&all(&found), &Fields::default()).0.unwrap_err().contains("32 MiB"));
}

#[test]
fn documents_of_lines_are_cut_into_paragraphs_with_their_name_and_group() {
    let dir = tempfile::tempdir().unwrap();
    let book = "some words in a paragraph\\n\\n".repeat(100);
    let line =
        format!("{{\"id\": \"book\", \"text\": \"{book}\"}}\n{{\"id\": \"b\", \"text\": \"c\"}}\n");
    let found = write(dir.path(), "a.jsonl", line.as_bytes());
    let fields = Fields { cut: Cut::Paragraphs(50), ..Fields::default() };
    let documents = take(&all(&found), &fields).0.unwrap();
    let ids: Vec<&str> = documents.iter().map(|d| d.id.as_deref().unwrap()).collect();
    assert_eq!((ids.len(), ids[0], ids[9], ids[10]), (11, "book#1", "book#10", "b"));
}

/// A file that another program wrote (`tests/documents/write.py`).
fn fixture(name: &str) -> Found {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    find(&[name.to_owned()], &dir).unwrap().files.remove(0)
}

#[test]
fn frames_of_another_writer_are_read_with_their_checksums() {
    let found = fixture("frames.jsonl.zst");
    let documents = take(&all(&found), &Fields::default()).0.unwrap();
    assert_eq!(documents.len(), 200);
    assert_eq!(documents[199].text, "text 199 ".repeat(20));
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(&found.path).unwrap();
    // The last four bytes are the checksum of the last frame.
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let changed = write(dir.path(), "a.jsonl.zst", &bytes);
    let error = take(&all(&changed), &Fields::default()).0.unwrap_err();
    assert!(error.contains("checksum"), "{error}");
}

#[test]
fn parquet_of_another_writer_is_read_row_group_by_row_group() {
    let fields = Fields {
        group: Some("repository".to_owned()),
        filter: [("redirect".to_owned(), Scalar::Bool(false))].into(),
        ..Fields::default()
    };
    for name in ["snappy.parquet", "zstd.parquet", "gzip.parquet"] {
        let found = fixture(name);
        let (documents, tally) = take(&all(&found), &fields);
        let documents = documents.unwrap();
        // 15 redirects; of the first 30 texts three are null, and none of those is a redirect.
        assert_eq!((documents.len(), tally.filtered, tally.empty), (42, 15, 3), "{name}");
        let first = Document {
            text: "text 1 of the table\nits second line, 1".to_owned(),
            id: Some("1".to_owned()),
            group: Some("r0".to_owned()),
        };
        assert_eq!(documents[0], first);
        assert_eq!(documents[41].text, "one text many times");
        assert_eq!(documents[41].group.as_deref(), Some("r2"));
        let parts = parts(&found, 1).unwrap();
        assert_eq!(parts.len(), 3);
        let again: Vec<Document> =
            parts.iter().flat_map(|part| take(part, &fields).0.unwrap()).collect();
        assert_eq!(again, documents);
    }
    let found = fixture("snappy.parquet");
    for (text, why) in [("body", "no column `body`"), ("tags", "nested"), ("redirect", "no text")] {
        let fields = Fields { text: text.to_owned(), ..Fields::default() };
        let error = take(&all(&found), &fields).0.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn damaged_parquet_is_an_error_or_other_text_and_never_a_panic() {
    let whole = std::fs::read(&fixture("snappy.parquet").path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut errors = 0;
    for n in 0..600 {
        let mut bytes = whole.clone();
        let at = n * 7919 % bytes.len();
        bytes[at] ^= 1 << (n % 8);
        let found = write(dir.path(), "a.parquet", &bytes);
        errors += usize::from(take(&all(&found), &Fields::default()).0.is_err());
    }
    assert!(errors > 100, "{errors}");
    for cut in (0..whole.len()).step_by(97) {
        let found = write(dir.path(), "a.parquet", &whole[..cut]);
        assert!(take(&all(&found), &Fields::default()).0.is_err(), "{cut}");
    }
}
