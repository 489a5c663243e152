//! The shipped configuration file says what the program does: its values are the defaults, and no setting is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::mail::{ByteSize, Span};
use crate::policy::fault::Fault;
use crate::policy::file::{Agency, File};
use crate::policy::read;
use crate::policy::tree::{Document, Entry, Node, Value};

/// The file shipped in `config/`, as it is and with every commented-out setting taken in.
fn shipped() -> (String, String) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/luytre.toml");
    let text = std::fs::read_to_string(path).unwrap();
    // `# words` is a comment, `#key = value` a setting that is not in force.
    let full = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    (text, full)
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let (text, _) = shipped();
    let (document, errors) = Document::parse(Path::new("config/luytre.toml"), &text);
    assert!(errors.is_empty(), "{errors:#?}");
    let outcome = read::read::<File>(&document.root);
    assert!(outcome.found.is_empty(), "{:#?}", outcome.found);
    assert_eq!(outcome.value.unwrap(), File::default());
}

#[test]
fn the_shipped_file_shows_every_setting() {
    let (_, full) = shipped();
    let (mut document, errors) = Document::parse(Path::new("config/luytre.toml"), &full);
    assert!(errors.is_empty(), "{errors:#?}");
    // An unknown key in each table makes its struct name all keys it has.
    sow(&mut document.root);
    let outcome = read::read::<File>(&document.root);
    let mut shown: BTreeMap<&[&str], BTreeSet<String>> = BTreeMap::new();
    for (fault, offset) in &outcome.found {
        let Fault::Unknown { key, expected } = fault else { panic!("{fault:?} at {offset}") };
        let present = key.strip_prefix("zz ").unwrap().split(' ').map(str::to_owned);
        shown.entry(expected).or_default().extend(present);
    }
    assert!(shown.len() >= 18, "every section is there: {}", shown.len());
    for (expected, present) in shown {
        let missing: Vec<_> = expected.iter().filter(|k| !present.contains(**k)).collect();
        assert!(missing.is_empty(), "config/luytre.toml does not show {missing:?} beside {present:?}");
    }
}

/// Puts a key into every table that no struct knows; it carries the names of the others.
fn sow(node: &mut Node) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(sow),
        Value::Table(table) => {
            table.entries.iter_mut().filter(|e| e.key != "weights").for_each(|e| sow(&mut e.node));
            let names: Vec<_> = table.entries.iter().map(|e| e.key.clone()).collect();
            let node = Node { span: 0..0, value: Value::Bool(true) };
            table.entries.push(Entry { key: format!("zz {}", names.join(" ")), key_span: 0..0, node, stand_in: None });
        }
        _ => {}
    }
}

#[test]
fn the_example_in_the_shipped_file_is_a_good_agency() {
    let (_, full) = shipped();
    let (document, _) = Document::parse(Path::new("x"), &full);
    let file = read::read::<File>(&document.root);
    assert!(file.found.is_empty(), "{:#?}", file.found);
    let file = file.value.unwrap();
    let Agency { id, domains, .. } = &file.agency[0];
    assert_eq!((id.as_str(), domains[0].as_str()), ("so-tttt", "tttt.tinh.gov.vn"));
    assert_eq!(file.limits.message, ByteSize::mib(25));
    assert_eq!(file.engine[0].timeout, Span::seconds(10));
}
