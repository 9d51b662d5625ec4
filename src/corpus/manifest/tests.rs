use std::io::Cursor;

use proptest::prelude::*;

use super::super::shard::ShardWriter;
use super::*;

fn shard(name: &str, ids: &[u32]) -> Shard {
    let mut writer = ShardWriter::new(Cursor::new(Vec::new()), 300).unwrap();
    writer.push(ids, 1).unwrap();
    let (_, written) = writer.finish().unwrap();
    Shard::of(&written, format!("{name}.bin"), format!("{name}.idx"))
}

fn manifest() -> Manifest {
    let tokenizer = Tokenizer { kind: "bytes".into(), file: None, vocab: 300, separator: Some(0) };
    let domain = |name: &str, id: u32| Domain {
        name: name.to_owned(),
        train: Set::new(vec![shard("a", &[id, 1, 0]), shard("b", &[id, 2, 0])], Some(4)),
        held_out: Set::new(vec![shard("h", &[id, 3, 0])], Some(2)),
        held_out_raw: None,
    };
    Manifest::new(tokenizer, vec![domain("web", 7), domain("code", 8)])
}

#[test]
fn a_manifest_comes_back_and_says_which_files_there_are() {
    let manifest = manifest();
    let line = manifest.seal();
    assert!(line.ends_with("\"}\n") && line.matches('\n').count() == 1);
    assert_eq!(Manifest::parse(line.as_bytes()), Ok(manifest.clone()));
    assert_eq!(manifest.files().count(), 12);
    assert_eq!(manifest.domains[0].train.tokens, 6);
}

/// By hand: `printf 'tokenizer bytes\n...' | sha256sum`.
#[test]
fn the_id_is_the_hash_of_its_lines_and_knows_neither_names_of_files_nor_makers() {
    let manifest = manifest();
    let mut lines = "tokenizer bytes\n".to_owned();
    for domain in &manifest.domains {
        lines += &format!("domain {}\n", domain.name);
        for shard in &domain.train.shards {
            lines += &format!("train {}\n", shard.file.sha256);
        }
        lines += &format!("held-out {}\n", domain.held_out.shards[0].file.sha256);
    }
    assert_eq!(manifest.id, hex(&Sha256::digest(&lines)));
    let changed = |change: &dyn Fn(&mut Manifest)| {
        let mut other = manifest.clone();
        change(&mut other);
        other.identity()
    };
    assert_eq!(changed(&|m| m.domains[0].train.shards[0].file.file = "c.bin".into()), manifest.id);
    assert_eq!(changed(&|m| m.recipe = Some("x".into())), manifest.id);
    let others = [
        changed(&|m| m.domains[0].train.shards.swap(0, 1)),
        changed(&|m| m.domains.swap(0, 1)),
        changed(&|m| m.domains[0].name = "books".into()),
        changed(&|m| m.tokenizer.kind = "unknown".into()),
        changed(&|m| m.domains[1].train.shards[0].offset = 0),
        changed(&|m| m.domains[1].train.shards[0].without = vec![[0, 1]]),
        changed(&|m| {
            let moved = m.domains[0].train.shards.pop().unwrap();
            m.domains[1].train.shards.insert(0, moved);
        }),
    ];
    let distinct: BTreeSet<&String> = others.iter().chain([&manifest.id]).collect();
    assert_eq!(distinct.len(), 8);
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused_with_what_does() {
    let refused = |change: &dyn Fn(&mut Manifest), what: &str| {
        let mut other = manifest();
        change(&mut other);
        other.id = other.identity();
        let error = Manifest::parse(other.seal().as_bytes()).unwrap_err();
        assert!(error.contains(what), "{error}");
    };
    refused(&|m| m.v = 2, "newer isoflop (format 2)");
    refused(&|m| m.tokenizer.vocab = 1, "vocabulary of 1");
    refused(&|m| m.tokenizer.separator = Some(300), "separator Some(300)");
    refused(&|m| m.domains.clear(), "no domain");
    refused(&|m| m.domains[1].name = "web".into(), "two domains");
    refused(&|m| m.domains[1].name = "We b".into(), "no name of a domain");
    refused(&|m| m.domains[0].train.tokens += 1, "`web`, train: 7 tokens");
    refused(&|m| m.domains[0].train.shards[0].tokens = u64::MAX, "are not those of");
    refused(&|m| m.domains[0].train.shards[0].documents = u64::MAX, "not its own");
    refused(&|m| m.domains[0].held_out.shards[0].index.sha256.push('0'), "no SHA-256");
    refused(&|m| m.domains[0].train.shards[0].without = vec![[2, 2]], "does not lie in it");
    refused(&|m| m.domains[0].train.shards[0].without = vec![[u64::MAX, 2]], "does not lie");
    let mut other = manifest();
    other.id = "0".repeat(64);
    let error = Manifest::parse(other.seal().as_bytes()).unwrap_err();
    assert!(error.contains("id does not follow"), "{error}");
}

#[test]
fn every_flipped_bit_is_found() {
    let line = manifest().seal().into_bytes();
    for at in 0..line.len() {
        for bit in 0..8 {
            let mut bytes = line.clone();
            bytes[at] ^= 1 << bit;
            assert!(Manifest::parse(&bytes).is_err(), "byte {at}, bit {bit}");
        }
    }
}

proptest! {
    /// With a checksum that holds, so that what lies behind it is reached.
    #[test]
    fn any_number_in_any_place_is_read_or_refused(place in 0_usize..200, number: u64) {
        let line = manifest().seal();
        let body = line.rsplit_once(",\"crc\":").unwrap().0;
        let digits: Vec<(usize, &str)> = body
            .split(|c: char| !c.is_ascii_digit())
            .filter(|s| !s.is_empty())
            .map(|s| (s.as_ptr() as usize - body.as_ptr() as usize, s))
            .collect();
        let (at, old) = digits[place % digits.len()];
        let body = format!("{}{number}{}", &body[..at], &body[at + old.len()..]);
        let sealed = format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()));
        let _ = Manifest::parse(sealed.as_bytes());
    }
}
