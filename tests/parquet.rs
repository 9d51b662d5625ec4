//! Tables of runs in Parquet: the same runs as in a CSV, whatever wrote them, and an error for what is damaged.
//!
//! The files of `tests/parquet` are by pyarrow 26, of the rows of `runs.csv` beside them, in three row groups; the
//! other ones are written here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assert_cmd::Command;
use isoflop::import::{self, Imported, Options};
use isoflop::random::Stream;
use parquet::basic::Encoding;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet")
}

fn stored(name: &str) -> Vec<u8> {
    fs::read(place().join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Imported, String> {
    import::parse(bytes, "t", &Options::default())
        .map_err(|e| format!("{e}\n{}", e.hint.as_deref().unwrap_or_default()))
}

const SCHEMA: &str = "message runs {
    optional byte_array run (UTF8);
    required int64 N;
    optional double D;
    required double loss;
    optional boolean finished;
    optional float lr;
    optional group curve (LIST) { repeated group list { optional double element; } }
    optional group config { optional int64 depth; optional int64 width; }
    optional int64 created (TIMESTAMP(MILLIS,true));
}";

const RUNS: u32 = 24;

fn run(i: u32) -> (i64, f64, f64) {
    let (n, d) = (10_000_000 * (1 + i64::from(i % 6)), 1e9 * f64::from(1 + i / 6));
    (n, d, 1.69 + 406.4 / (n as f64).powf(0.34) + 410.7 / d.powf(0.28))
}

/// The runs in row groups of so many rows: every fifth name and every seventh D is null.
fn written(rows: u32) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut first = 0;
    while first < RUNS {
        let these: Vec<u32> = (first..RUNS.min(first + rows)).collect();
        first += rows;
        let all: Vec<i16> = vec![1; these.len()];
        let none: Vec<i16> = vec![0; these.len()];
        let without = |n: u32| these.iter().map(|i| i16::from(i % n != 0)).collect::<Vec<_>>();
        let kept = |n: u32| these.iter().copied().filter(move |i| i % n != 0).collect::<Vec<_>>();
        let mut group = file.next_row_group().unwrap();
        let mut at = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            match at {
                0 => {
                    let names: Vec<ByteArray> = kept(5)
                        .iter()
                        .map(|i| ByteArray::from(format!("run {i}").as_str()))
                        .collect();
                    column.typed::<ByteArrayType>().write_batch(&names, Some(&without(5)), None)
                }
                1 => {
                    let n: Vec<i64> = these.iter().map(|i| run(*i).0).collect();
                    column.typed::<Int64Type>().write_batch(&n, None, None)
                }
                2 => {
                    let d: Vec<f64> = kept(7).iter().map(|i| run(*i).1).collect();
                    column.typed::<DoubleType>().write_batch(&d, Some(&without(7)), None)
                }
                3 => {
                    let loss: Vec<f64> = these.iter().map(|i| run(*i).2).collect();
                    column.typed::<DoubleType>().write_batch(&loss, None, None)
                }
                4 => {
                    let done: Vec<bool> = these.iter().map(|i| *i != 11).collect();
                    column.typed::<BoolType>().write_batch(&done, Some(&all), None)
                }
                5 => {
                    let rates = vec![0.003_f32; these.len()];
                    column.typed::<FloatType>().write_batch(&rates, Some(&all), None)
                }
                6 => column.typed::<DoubleType>().write_batch(&[], Some(&none), Some(&none)),
                _ => column.typed::<Int64Type>().write_batch(&[], Some(&none), None),
            }
            .unwrap();
            column.close().unwrap();
            at += 1;
        }
        group.close().unwrap();
    }
    file.into_inner().unwrap()
}

/// The same rows as text.
fn csv() -> String {
    (0..RUNS).fold("run,N,D,loss,finished,lr\n".to_owned(), |text, i| {
        let (n, d, loss) = run(i);
        let name = if i % 5 == 0 { String::new() } else { format!("run {i}") };
        let d = if i % 7 == 0 { String::new() } else { d.to_string() };
        text + &format!("{name},{n},{d},{loss},{},0.003\n", i != 11)
    })
}

#[test]
fn a_parquet_table_is_the_table_that_its_csv_is() {
    let want = read(csv().as_bytes()).unwrap();
    assert_eq!((want.table.points.len(), want.table.excluded.len()), (19, 5));
    for rows in [1, 5, 24] {
        let got = read(&written(rows)).unwrap();
        assert_eq!(got.table.points, want.table.points, "{rows} rows in a group");
        assert_eq!(got.taken, want.taken);
        for (got, want) in got.table.excluded.iter().zip(&want.table.excluded) {
            assert_eq!((&got.id, &got.reason), (&want.id, &want.reason));
            // A place in a Parquet file is a row; the header is a line of a CSV.
            let line: u32 = want.what.strip_prefix("line ").unwrap().parse().unwrap();
            assert_eq!(got.what, format!("row {}", line - 1));
        }
        assert_eq!(got.table.excluded.len(), 5);
        let told = &got.remarks[0].text;
        assert_eq!(
            told,
            "some columns are not read: `curve` (nested), `config` (nested), `created` (dates or times)"
        );
    }
}

#[test]
fn what_pyarrow_writes_gives_the_runs_to_the_bit() {
    let want = read(&stored("runs.csv")).unwrap();
    assert_eq!(want.table.points.len(), 25);
    for name in ["none", "snappy", "gzip", "zstd", "v2-zstd"] {
        let got =
            read(&stored(&format!("{name}.parquet"))).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn what_is_not_read_is_named_with_the_command_that_converts_it() {
    for (name, word) in [
        ("brotli", "column `run`: it is compressed by BROTLI"),
        ("lz4", "column `run`: it is compressed by LZ4_RAW"),
        ("delta-text", "column `run`: its values are encoded as DELTA_BYTE_ARRAY"),
    ] {
        let error = read(&stored(&format!("{name}.parquet"))).unwrap_err();
        assert!(error.contains(word) && error.contains("compression='snappy'"), "{error}");
    }
    let whole = written(24);
    for (bytes, word) in [
        (&whole[..whole.len() / 2], "does not end as a Parquet file ends"),
        (&whole[..6], "shorter than any Parquet file"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.contains("t is a Parquet file, and cannot be read: "), "{error}");
        assert!(error.contains(word) && error.contains("fetch it again"), "{error}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, &whole).unwrap();
    let error = read(&gzip.finish().unwrap()).unwrap_err();
    assert!(error.contains("compressed once more") && error.contains("gunzip"), "{error}");
}

/// A column of one value, which a page holds once, in so many rows.
fn repeated(rows: usize, text: &str) -> Vec<u8> {
    let schema = "message runs { required byte_array N (UTF8); required byte_array D (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(1 << 30)
        .set_data_page_row_count_limit(usize::MAX)
        .set_encoding(Encoding::PLAIN)
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        let values = vec![ByteArray::from(text); rows];
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.into_inner().unwrap()
}

#[test]
fn a_small_file_of_a_large_table_ends_at_the_cap() {
    let bytes = repeated(400_000, &"7".repeat(1000));
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    let error = read(&bytes).unwrap_err();
    assert!(error.contains("more than 268435456 bytes when unpacked"), "{error}");
}

/// Bits and cuts in every part of a file: a table or an error, and no panic.
#[test]
fn damaged_files_are_errors_or_tables_and_never_a_panic() {
    let mut refused = 0;
    for (k, whole) in
        [written(9), stored("zstd.parquet"), stored("v2-zstd.parquet"), stored("snappy.parquet")]
            .iter()
            .enumerate()
    {
        for n in 0..3000 {
            let stream = Stream::new(n, &format!("damage-{k}"));
            let mut bytes = whole.clone();
            for change in 0..=stream.below(0, 3) {
                let at = stream.below(10 + 2 * change, bytes.len() as u64) as usize;
                bytes[at] ^= 1 << stream.below(11 + 2 * change, 8);
            }
            if n % 4 == 0 {
                // Bytes in the middle go, the footer stays.
                let at = stream.below(1, bytes.len() as u64) as usize;
                let to = (at + stream.below(2, 40) as usize).min(bytes.len());
                bytes.drain(at..to);
            }
            refused += u32::from(read(&bytes).is_err());
        }
        for cut in 4..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut} bytes of {}", whole.len());
        }
    }
    assert!(refused > 3000, "{refused}");
}

#[test]
fn the_fit_of_a_parquet_table_is_that_of_its_csv() {
    let dir = tempfile::tempdir().unwrap();
    let fit = |name: &str, file: &str| {
        fs::write(dir.path().join(file), stored(name)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_isoflop"))
            .current_dir(dir.path())
            .args(["fit", file, "--bootstrap", "20"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stem = file.split('.').next().unwrap();
        let path = dir.path().join("analysis").join(stem).join("fit.json");
        let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(json["source"].take(), file);
        json
    };
    assert_eq!(fit("zstd.parquet", "one.parquet"), fit("runs.csv", "two.csv"));
}
