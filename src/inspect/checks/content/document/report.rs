//! What an opener says: findings, bounded and without repetition; links; and what it found inside.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::super::{Object, archive};
use crate::inspect::Finding;
use crate::inspect::rules::place;

/// Something inside a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub name: String,
    pub data: Vec<u8>,
    pub role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A file that a person can take out and open: listed and judged like an attachment.
    Member,
    /// A MIME entity.
    Entity,
    /// A piece of the format itself: scanned, not listed.
    Stream,
    /// Source or text in clear.
    Text,
    /// Only [`super::open`] makes this one.
    Links,
}

impl Found {
    pub fn member(name: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), data: data.into(), role: Role::Member }
    }
    pub fn text(name: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), data: data.into(), role: Role::Text }
    }
    pub fn stream(name: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), data: data.into(), role: Role::Stream }
    }
}

/// Links of one document: number and length of each.
const LINKS: usize = 500;
const LINK: usize = 2000;

/// Findings and links of one object.
pub struct Report<'f> {
    path: String,
    name: String,
    findings: &'f mut Vec<Finding>,
    links: BTreeSet<String>,
}

impl<'f> Report<'f> {
    pub fn new(object: &Object<'_>, findings: &'f mut Vec<Finding>) -> Self {
        let name = object.name().chars().take(80).collect();
        Self { path: object.path.clone(), name, findings, links: BTreeSet::new() }
    }

    /// A finding about this object.
    pub fn say(&mut self, code: &'static str, detail: impl Display) {
        self.add(Finding::new(code), &detail.to_string());
    }
    /// Something that could not be looked into.
    pub fn unknown(&mut self, code: &'static str, detail: impl Display) {
        self.add(Finding::unknown(code, ""), &detail.to_string());
    }

    fn add(&mut self, finding: Finding, detail: &str) {
        if archive::has_room(self.findings, &finding.code, &self.path) {
            let detail: String = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
            let finding = finding.with(format!("{}: {:?} {detail}", self.path, self.name));
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }

    /// A place that the document leads to.
    pub fn link(&mut self, link: &str) {
        let link = link.trim();
        let plain = !link.is_empty() && !link.contains(char::is_control) && !is_namespace(link);
        if plain && self.links.len() < LINKS {
            self.links.insert(link.chars().take(LINK).collect());
        }
    }
    /// Every link in running text.
    pub fn links_in(&mut self, text: &str) {
        place::urls_in(text).take(LINKS).for_each(|url| self.link(&url));
    }

    /// The links, one a line.
    pub fn links(self) -> Vec<u8> {
        self.links.into_iter().collect::<Vec<_>>().join("\n").into_bytes()
    }
}

/// Names of XML vocabularies, which nobody follows.
fn is_namespace(link: &str) -> bool {
    let host = link.split("://").nth(1).unwrap_or_default();
    [
        "schemas.openxmlformats.org/",
        "schemas.microsoft.com/",
        "www.w3.org/",
        "purl.org/",
        "ns.adobe.com/",
        "purl.oclc.org/",
    ]
    .iter()
    .any(|h| host.starts_with(h))
}
