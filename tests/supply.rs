//! What comes into the build: licences by deny.toml, one registry, and no new package in several versions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use toml::Table;

/// Packages that their users need in several versions, each of them out of our hands. A new name here is a question to
/// ask of whoever brings it in.
const SEVERAL: [&str; 51] = [
    "allocator-api2",
    "base64",
    "bit-set",
    "bit-vec",
    "block-buffer",
    "convert_case",
    "cpufeatures",
    "crypto-common",
    "darling",
    "darling_core",
    "darling_macro",
    "digest",
    "embedded-hal",
    "float-cmp",
    "foldhash",
    "getrandom",
    "hashbrown",
    "hi_sparse_bitset",
    "itertools",
    "jni-sys",
    "libloading",
    "linux-raw-sys",
    "miniz_oxide",
    "nb",
    "ndarray",
    "nom",
    "num-bigint",
    "pastey",
    "prettyplease",
    "r-efi",
    "rand",
    "rand_chacha",
    "rand_core",
    "rustc-hash",
    "rustix",
    "safetensors",
    "sha2",
    "shlex",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-width",
    "ureq",
    "webpki-roots",
    "windows-core",
    "windows-implement",
    "windows-interface",
    "windows-link",
    "windows-result",
    "windows-strings",
    "windows-sys",
];

fn read(name: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Name, version and source of every package of Cargo.lock but our own.
fn locked() -> Vec<(String, String, String)> {
    let text = |package: &toml::Value, key: &str| {
        package.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    let packages = read("Cargo.lock")["package"].as_array().unwrap().clone();
    let packages =
        packages.iter().map(|p| (text(p, "name"), text(p, "version"), text(p, "source")));
    packages.filter(|(name, ..)| name != "isoflop").collect()
}

/// The entries of `[section] key`, each a text or a table with an `id`.
fn listed(deny: &Table, section: &str, key: &str) -> Vec<String> {
    let of = |v: &toml::Value| v.as_str().or_else(|| v.get("id")?.as_str()).unwrap().to_owned();
    deny[section][key].as_array().unwrap().iter().map(of).collect()
}

/// Whether an SPDX expression can be met by licences that are allowed: `OR` is a choice, `AND` binds more strongly.
fn met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let holds = either(&words, &mut at, allowed);
    holds && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut holds = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        holds |= both(words, at, allowed);
    }
    holds
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut holds = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        holds &= one(words, at, allowed);
    }
    holds
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let holds = either(words, at, allowed);
        *at += 1;
        return holds;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name += &format!(" WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

#[test]
fn an_expression_is_met_by_its_choices() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/X",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(met(good, &allowed), "{good}");
    }
    for bad in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0", "MIT MIT"]
    {
        assert!(!met(bad, &allowed), "{bad}");
    }
}

#[test]
fn every_licence_is_allowed() {
    let deny = read("deny.toml");
    let allowed: BTreeSet<String> = listed(&deny, "licenses", "allow").into_iter().collect();
    let clarified: BTreeMap<String, String> = deny["licenses"]["clarify"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            (c["crate"].as_str().unwrap().to_owned(), c["expression"].as_str().unwrap().to_owned())
        })
        .collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
        return;
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{} packages", packages.len());
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let said = package["license"].as_str().or_else(|| clarified.get(name).map(String::as_str));
        let held = name == "isoflop" || said.is_some_and(|licence| met(licence, &allowed));
        assert!(held, "{name}: {said:?} is not allowed by deny.toml");
    }
}

#[test]
fn packages_come_from_one_registry_with_their_hashes_and_banned_ones_do_not() {
    let deny = read("deny.toml");
    let banned = listed(&deny, "bans", "deny");
    for (name, version, source) in locked() {
        let one = source == "registry+https://github.com/rust-lang/crates.io-index";
        assert!(one, "{name} {version} comes from `{source}`");
        assert!(!banned.contains(&name), "{name} is banned by deny.toml");
    }
    let hashed =
        |p: &toml::Value| p.get("checksum").is_some() || p["name"].as_str() == Some("isoflop");
    assert!(read("Cargo.lock")["package"].as_array().unwrap().iter().all(hashed));
}

#[test]
fn no_new_package_is_there_in_several_versions() {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for (name, ..) in locked() {
        *versions.entry(name).or_default() += 1;
    }
    let several: BTreeSet<&str> =
        versions.iter().filter(|(_, n)| **n > 1).map(|(name, _)| name.as_str()).collect();
    let known = BTreeSet::from(SEVERAL);
    let new: Vec<_> = several.difference(&known).collect();
    assert!(new.is_empty(), "in several versions now: {new:?}");
    let gone: Vec<_> = known.difference(&several).collect();
    assert!(gone.is_empty(), "in one version now, take them off the list: {gone:?}");
}

/// An advisory that is lived with is taken off the list when its package is gone.
#[test]
fn every_advisory_that_is_ignored_is_still_needed() {
    let ignored = listed(&read("deny.toml"), "advisories", "ignore");
    assert_eq!(ignored, ["RUSTSEC-2024-0436"]);
    assert!(locked().iter().any(|(name, ..)| name == "paste"), "paste is gone: drop its advisory");
}
