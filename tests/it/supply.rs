//! The floors of `deny.toml` hold for the committed lock file, also where cargo-deny is not installed.

use std::fs;
use std::path::Path;

/// `0.10.72` as numbers; what stands behind a `-` or `+` does not raise a version.
fn version(text: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        text.split(['-', '+']).next().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    numbers.resize(3, 0);
    numbers
}

/// The entries of `[bans] deny`: a name, and below which version it is banned (`None`: every version).
fn bans(deny: &toml::Table) -> Vec<(String, Option<Vec<u64>>)> {
    let entries = deny["bans"]["deny"].as_array().unwrap();
    let entries = entries.iter().map(|entry| {
        let spec = entry["crate"].as_str().unwrap();
        assert!(entry["reason"].as_str().is_some_and(|r| !r.is_empty()), "{spec} has no reason");
        match spec.split_once("@<") {
            Some((name, floor)) => (name.to_owned(), Some(version(floor))),
            None => (spec.to_owned(), None),
        }
    });
    entries.collect()
}

fn offenders(bans: &[(String, Option<Vec<u64>>)], lock: &toml::Table) -> Vec<String> {
    let packages = lock["package"].as_array().unwrap();
    let banned = packages.iter().filter_map(|package| {
        let (name, has) = (package["name"].as_str()?, package["version"].as_str()?);
        let (_, floor) = bans.iter().find(|(banned, _)| banned == name)?;
        floor.as_ref().is_none_or(|floor| version(has) < *floor).then(|| format!("{name} {has}"))
    });
    banned.collect()
}

#[test]
fn no_crate_is_below_its_floor_or_from_elsewhere() {
    let read = |name: &str| -> toml::Table {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap().parse().unwrap()
    };
    let (bans, lock) = (bans(&read("deny.toml")), read("Cargo.lock"));
    assert!(bans.len() >= 10);
    assert_eq!(offenders(&bans, &lock), Vec::<String>::new());
    for package in lock["package"].as_array().unwrap() {
        let source = package.get("source").and_then(|s| s.as_str());
        let known = source.is_none_or(|s| s == "registry+https://github.com/rust-lang/crates.io-index");
        assert!(known, "{} comes from {source:?}", package["name"]);
    }
}

#[test]
fn an_old_crate_would_be_found() {
    let bans = vec![("tar".to_owned(), Some(version("0.4.45"))), ("sevenz-rust".to_owned(), None)];
    let lock = |name: &str, version: &str| -> toml::Table {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n").parse().unwrap()
    };
    assert_eq!(offenders(&bans, &lock("tar", "0.4.44")), ["tar 0.4.44"]);
    assert_eq!(offenders(&bans, &lock("tar", "0.4.45")), Vec::<String>::new());
    assert_eq!(offenders(&bans, &lock("tar", "0.10.0")), Vec::<String>::new());
    assert_eq!(offenders(&bans, &lock("sevenz-rust", "9.9.9")), ["sevenz-rust 9.9.9"]);
}
