//! Everything in a message that a scanner should see: leaves, other readings, members of archives, at any depth.
//! A list of work and a budget, no recursion; what does not fit the budget becomes a finding, never silence.

use std::borrow::Cow;

use super::archive::{self, Budget};
use super::{Limits, document, kind, smime};
use crate::inspect::Finding;
use crate::mail::mime::{self, Tree};

/// Where an object comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A leaf of the main reading.
    Part,
    /// What another client could see in its place.
    Reading,
    /// A member of a container.
    Member,
}

/// A string of octets with its names.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// `2`, `2/inner.zip/a.exe`.
    pub path: String,
    /// Every name a client could show, the main one first; empty when there is none.
    pub names: Vec<String>,
    pub declared: String,
    /// By content; see [`kind::of`].
    pub kind: &'static str,
    pub data: Cow<'a, [u8]>,
    pub origin: Origin,
    /// Containers around it, the message not counted.
    pub depth: usize,
}

impl Object<'_> {
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
    /// A nameless text without encoding: its octets were scanned with the whole message.
    #[must_use]
    pub fn is_seen_in_raw(&self) -> bool {
        matches!(self.data, Cow::Borrowed(_))
            && self.names.is_empty()
            && self.declared == "text/plain"
            && self.depth == 0
    }
}

/// All objects of a message, and what could not be opened.
#[must_use]
pub fn collect<'a>(tree: &'a Tree<'a>, limits: &Limits) -> (Vec<Object<'a>>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut budget = Budget::new(limits);
    let mut list: Vec<Object<'a>> = Vec::new();
    for part in tree.parts.iter().filter(|p| !p.decoded.is_empty() || (!p.is_multipart() && !p.names.is_empty())) {
        // The octets of an embedded message are its parts, which follow.
        if part.is_message() && matches!(part.decoded, Cow::Borrowed(_)) {
            continue;
        }
        list.push(Object {
            path: part.path.clone(),
            names: part.names.clone(),
            declared: part.content_type.clone(),
            kind: kind::of(&part.decoded),
            data: Cow::Borrowed(&*part.decoded),
            origin: Origin::Part,
            depth: 0,
        });
        if let (Cow::Owned(_), Some(last)) = (&part.decoded, list.last_mut())
            && last.declared == "text/plain"
            && last.names.is_empty()
        {
            // Decoded octets are not in the raw message: `is_seen_in_raw` must not take them for such.
            last.data = Cow::Owned(part.decoded.to_vec());
        }
    }
    for other in &tree.alternatives {
        let declared = if other.entity { kind::ENTITY } else { "" };
        list.push(Object {
            path: other.path.clone(),
            names: if other.name.is_empty() { Vec::new() } else { vec![other.name.clone()] },
            declared: declared.to_owned(),
            kind: if other.entity { kind::ENTITY } else { kind::of(&other.decoded) },
            data: Cow::Borrowed(&*other.decoded),
            origin: Origin::Reading,
            depth: 0,
        });
    }
    let mut next = 0;
    while let Some(object) = list.get(next) {
        let mut opened = document::open(object, limits, &mut budget, &mut findings);
        if !document::is_piece(object) {
            opened.extend(open(object, limits, &mut budget, &mut findings));
        }
        list.extend(opened);
        next += 1;
    }
    (list, findings)
}

/// The members of `object` when it is a container.
fn open(
    object: &Object<'_>,
    limits: &Limits,
    budget: &mut Budget,
    findings: &mut Vec<Finding>,
) -> Vec<Object<'static>> {
    if object.kind == kind::ENTITY || (object.kind == kind::MESSAGE && (object.depth > 0 || is_page_archive(object))) {
        return entity(object, limits, budget);
    }
    if let Some(content) = smime::opaque_content(&object.data) {
        return signed(object, content, limits, budget, findings);
    }
    if !archive::is_container(object.kind, &object.data) {
        return Vec::new();
    }
    if object.depth >= limits.archive_depth {
        findings.push(Finding::new("unpack.limit").with(format!("{}: nested too deep", object.path)));
        return Vec::new();
    }
    let members = archive::open(object, budget, findings);
    let origin = Origin::Member;
    members
        .into_iter()
        .map(|member| Object {
            path: format!("{}/{}", object.path, cut(&member.name)),
            kind: kind::of(&member.data),
            names: vec![member.name],
            declared: String::new(),
            data: Cow::Owned(member.data),
            origin,
            depth: object.depth + 1,
        })
        .collect()
}

/// A web page with its parts in one file (RFC 2557), under whatever name: Word opens `.doc` files that are such.
fn is_page_archive(object: &Object<'_>) -> bool {
    let head = object.data.get(..object.data.len().min(4096)).unwrap_or_default();
    !object.names.is_empty() && memchr::memmem::find(&head.to_ascii_lowercase(), b"mime-version:").is_some()
}

/// The entity inside an opaque signature (RFC 8551 §3.5.2): mail programs show it, so scanners see it too.
fn signed(
    object: &Object<'_>,
    content: Vec<u8>,
    limits: &Limits,
    budget: &mut Budget,
    findings: &mut Vec<Finding>,
) -> Vec<Object<'static>> {
    if object.depth >= limits.archive_depth || !budget.take(content.len()) {
        findings.push(Finding::new("unpack.limit").with(format!("{}: the signed content was not opened", object.path)));
        return Vec::new();
    }
    vec![Object {
        path: format!("{}/signed", object.path),
        names: Vec::new(),
        declared: kind::ENTITY.to_owned(),
        kind: kind::ENTITY,
        data: Cow::Owned(content),
        origin: Origin::Member,
        depth: object.depth + 1,
    }]
}

/// The leaves of a MIME entity that stood inside a transfer encoding or an archive.
fn entity(object: &Object<'_>, limits: &Limits, budget: &mut Budget) -> Vec<Object<'static>> {
    let tree = mime::parse(&object.data, &limits.tree());
    let depth = object.depth + 1;
    if depth > limits.archive_depth {
        return Vec::new();
    }
    let mut found = Vec::new();
    let leaves = tree
        .parts
        .iter()
        .filter(|p| !p.is_multipart())
        .map(|p| (&p.path, &p.names, &p.content_type, &p.decoded, false));
    for (path, names, declared, data, _) in leaves {
        if budget.take(data.len()) {
            let data = data.to_vec();
            let (path, kind) = (format!("{}/{path}", object.path), kind::of(&data));
            let (names, declared, data) = (names.clone(), declared.clone(), Cow::Owned(data));
            found.push(Object { path, names, declared, kind, data, origin: Origin::Member, depth });
        }
    }
    for other in tree.alternatives {
        if budget.take(other.decoded.len()) {
            let kind = if other.entity { kind::ENTITY } else { kind::of(&other.decoded) };
            let (path, names) = (format!("{}/{}", object.path, other.path), vec![other.name]);
            let data = Cow::Owned(other.decoded.into_owned());
            found.push(Object { path, names, declared: String::new(), kind, data, origin: Origin::Reading, depth });
        }
    }
    found
}

fn cut(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}
