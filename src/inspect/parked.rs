//! YARA rules that are not run for now: one that took longer than `limits.rule_time` is parked until its file changes or an
//! officer takes it off the list. The list is a TOML file of the data folder, read with the policy like any other file,
//! so whoever writes it (the breaker in `run`, `luytre rules unpark`, an editor) causes a reload, and all inspectors
//! change to the smaller set together.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::checks::content::yara::{Packs, Source};
use crate::mail::{Problem, problem};

/// Below the data folder; the folder holds nothing else, so that watching it costs nothing.
pub const FOLDER: &str = "rules";
pub const FILE: &str = "parked.toml";

const HEAD: &str = "# YARA rules that took too long and are not run until their file changes. Remove one: luytre rules unpark NAME\n\
                    # Quy tắc YARA quá chậm, tạm không chạy cho đến khi tệp của nó thay đổi. Bỏ khỏi danh sách: luytre rules unpark TÊN\n\n";

/// One rule on the list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parked {
    /// `namespace.rule`
    pub rule: String,
    /// SHA-256 of its file when it was parked: another file is another rule.
    pub pack: String,
    /// RFC 3339, UTC.
    pub since: String,
    pub why: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct List {
    parked: Vec<Parked>,
}

/// The list that `text` holds; an error where it is none.
pub fn read(text: &str) -> Result<Vec<Parked>, String> {
    toml::from_str::<List>(text).map(|list| list.parked).map_err(|error| error.message().to_owned())
}

/// The file's text.
#[must_use]
pub fn write(list: &[Parked]) -> String {
    let list = List { parked: list.to_vec() };
    format!("{HEAD}{}", toml::to_string(&list).unwrap_or_default())
}

/// By which a file is known again.
#[must_use]
pub fn digest(source: &Source) -> String {
    Sha256::digest(source.text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// Files without the rules of the list.
#[derive(Debug)]
pub struct Set {
    pub sources: Vec<Source>,
    /// Every file as it was, with its [`digest`].
    pub packs: Vec<(PathBuf, String)>,
    /// What is left out: the rules of the list whose file is still the same, and those built on one of them.
    pub parked: Vec<Parked>,
    /// One warning each.
    pub warnings: Vec<Problem>,
}

impl Set {
    #[must_use]
    pub fn of(sources: Vec<Source>, list: &[Parked]) -> Self {
        let digests: Vec<(PathBuf, String)> = sources.iter().map(|s| (s.file.clone(), digest(s))).collect();
        let list: Vec<&Parked> = list.iter().filter(|e| digests.iter().any(|(_, now)| *now == e.pack)).collect();
        if list.is_empty() {
            return Self { sources, packs: digests, parked: Vec::new(), warnings: Vec::new() };
        }
        let packs = Packs::open(&sources);
        let entry = |rule: &str| list.iter().find(|entry| entry.rule == rule);
        let (left, out) = packs.without(|rule| entry(rule).is_some());
        let mut parked: Vec<Parked> = Vec::new();
        for number in (0..packs.len()).filter(|number| out.iter().any(|name| name == packs.name(*number))) {
            let name = packs.name(number);
            let because = packs.below(number).into_iter().find_map(|under| entry(packs.name(under)));
            match (entry(name), because) {
                (Some(own), _) => parked.push((*own).clone()),
                (None, Some(under)) => parked.push(Parked {
                    rule: name.to_owned(),
                    why: format!("it uses {}, which is parked", under.rule),
                    ..(*under).clone()
                }),
                (None, None) => {}
            }
        }
        let warning = |entry: &Parked| {
            let number = (0..packs.len()).find(|number| packs.name(*number) == entry.rule)?;
            let source = packs.source(number)?;
            let (line, column) = problem::place(&source.text, packs.start(number));
            let text = format!("the rule {} is parked since {}: {}", entry.rule, entry.since, entry.why);
            Some(Problem::new(&source.file, text).at(line, column).warning())
        };
        let warnings = parked.iter().filter_map(warning).collect();
        Self { sources: left, packs: digests, parked, warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { file: "rules/yara/docs.yar".into(), text: text.to_owned() }
    }

    fn entry(rule: &str, source: &Source) -> Parked {
        Parked {
            rule: rule.to_owned(),
            pack: digest(source),
            since: "2026-11-22T08:00:00Z".to_owned(),
            why: "it took 2.1 s \"of\" CPU\ntime".to_owned(),
        }
    }

    const PACK: &str =
        "rule fast { condition: true }\nrule slow { condition: filesize > 3 }\nrule upper { condition: slow }\n";

    #[test]
    fn the_list_survives_its_file() {
        let list = [entry("docs.slow", &source(PACK)), entry("docs.other", &source(""))];
        assert_eq!(read(&write(&list)).unwrap(), list);
        assert_eq!(read("").unwrap(), []);
        assert!(read("parked = 3").is_err() && read("[[parked]]\nrule = 'x'\nodd = 1\n").is_err());
    }

    #[test]
    fn a_parked_rule_is_left_out_with_what_is_built_on_it() {
        let set = Set::of(vec![source(PACK)], &[entry("docs.slow", &source(PACK))]);
        let names: Vec<&str> = set.parked.iter().map(|p| p.rule.as_str()).collect();
        assert_eq!(names, ["docs.slow", "docs.upper"]);
        assert!(set.parked[1].why.contains("docs.slow"), "{:?}", set.parked[1]);
        assert_eq!((set.warnings[0].line, set.warnings[1].line), (2, 3));
        assert_eq!(Packs::open(&set.sources).len(), 1);
    }

    #[test]
    fn another_file_is_another_rule() {
        let set = Set::of(vec![source(&format!("{PACK}\n"))], &[entry("docs.slow", &source(PACK))]);
        assert!(set.parked.is_empty() && set.warnings.is_empty());
        assert_eq!(Packs::open(&set.sources).len(), 3);
    }
}
