//! Everything in a message that a scanner should see: leaves, other readings, members of archives, at any depth.
//! A list of work and a budget, no recursion; what does not fit the budget becomes a finding, never silence.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::archive::{self, Budget, Member, Opener, Report, Whole};
use super::{Limits, document, kind, smime, wrap};
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

/// The openers of every room, one room a line.
const ROOMS: &[&[Opener]] = &[archive::OPENERS, wrap::OPENERS];

/// All objects of a message, and what could not be opened.
#[must_use]
pub fn collect<'a>(tree: &'a Tree<'a>, limits: &Limits, mut budget: Budget) -> (Vec<Object<'a>>, Vec<Finding>) {
    let mut findings = Vec::new();
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
    follow(&mut list, limits, &mut budget, &mut findings);
    (list, findings)
}

/// Everything in one file, as if it came as the only part of a message; the file itself comes first.
#[must_use]
pub fn unpack<'a>(data: &'a [u8], name: &str, limits: &Limits, mut budget: Budget) -> (Vec<Object<'a>>, Vec<Finding>) {
    let (names, data) = (vec![name.to_owned()], Cow::Borrowed(data));
    let (path, kind, declared) = ("1".to_owned(), kind::of(&data), String::new());
    let mut list = vec![Object { path, names, declared, kind, data, origin: Origin::Part, depth: 0 }];
    let mut findings = Vec::new();
    follow(&mut list, limits, &mut budget, &mut findings);
    (list, findings)
}

/// Opens what is in the list, and what that adds to it, to its end.
fn follow(list: &mut Vec<Object<'_>>, limits: &Limits, budget: &mut Budget, findings: &mut Vec<Finding>) {
    let (mut next, mut wholes) = (0, BTreeMap::new());
    together(list, 0, &mut wholes, limits, budget, findings);
    while let Some(object) = list.get(next) {
        if !budget.has_room(0) {
            findings
                .push(Finding::new("unpack.limit").with(format!("{}: the memory for unpacking is spent", object.path)));
            return;
        }
        let whole = wholes.get(&next).copied().unwrap_or(Whole::Yes);
        let mut opened = document::open(object, limits, budget, findings);
        if !document::is_piece(object) {
            opened.extend(open(object, whole, limits, budget, findings));
        }
        let from = list.len();
        list.extend(opened);
        if whole == Whole::Volume {
            wholes.extend((from..list.len()).map(|at| (at, Whole::Volume)));
        }
        together(list, from, &mut wholes, limits, budget, findings);
        next += 1;
    }
}

/// What came out of one place, looked at together: notes that name the password of what lies beside them, and volumes
/// of one archive.
fn together(
    list: &mut Vec<Object<'_>>,
    from: usize,
    wholes: &mut BTreeMap<usize, Whole>,
    limits: &Limits,
    budget: &mut Budget,
    findings: &mut Vec<Finding>,
) {
    let siblings = list.get(from..).unwrap_or_default();
    if siblings.is_empty() {
        return;
    }
    learn(siblings, budget);
    let joined = archive::join(siblings, limits.archive_depth, budget, findings);
    wholes.extend(joined.pieces.iter().map(|at| (from + at, Whole::Volume)));
    wholes.extend((list.len()..).take(joined.objects.len()).map(|at| (at, Whole::Joined)));
    list.extend(joined.objects);
}

/// Texts beside an archive, and its own name, may tell its password.
fn learn(siblings: &[Object<'_>], budget: &mut Budget) {
    let closed: Vec<&Object<'_>> = siblings.iter().filter(|o| archive::takes_passwords(o.kind, &o.data)).collect();
    if closed.is_empty() || budget.is_late() {
        return;
    }
    let names = closed.iter().flat_map(|object| &object.names).take(NOTES);
    let mut texts: Vec<String> = names.flat_map(|name| [spaced(name), name.clone()]).collect();
    let notes = siblings.iter().filter(|object| object.kind.starts_with("text/") && object.data.len() <= NOTE);
    texts.extend(notes.take(NOTES).map(|object| readable(&object.data)));
    budget.learn(&texts.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Texts and names that are looked at for passwords, in one place; and the length of one.
const NOTES: usize = 8;
const NOTE: usize = 16 << 10;

/// A name as words: `hoso_pass-1234.zip` says that the password is 1234.
fn spaced(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.replace(['_', '-', '.', '+'], " ")
}

/// A note in UTF-8 or, as Windows writes them, in UTF-16; tags as words.
fn readable(octets: &[u8]) -> String {
    let text = match octets {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => crate::mail::mime::words::to_text("utf-16", octets),
        _ => String::from_utf8_lossy(octets).into_owned(),
    };
    text.replace(['<', '>'], " ")
}

/// The members of `object` when it is a container.
fn open(
    object: &Object<'_>,
    whole: Whole,
    limits: &Limits,
    budget: &mut Budget,
    findings: &mut Vec<Finding>,
) -> Vec<Object<'static>> {
    if is_entity(object) {
        return entity(object, limits, budget, findings);
    }
    if let Some(content) = smime::opaque_content(&object.data) {
        return signed(object, content, limits, budget, findings);
    }
    if openers(object).next().is_none() {
        return Vec::new();
    }
    if object.depth >= limits.archive_depth || budget.is_late() {
        let why = if budget.is_late() { "the time for unpacking is over" } else { "nested too deep" };
        Report::new(&object.path, findings).say("unpack.limit", why);
        return Vec::new();
    }
    members(object, whole, budget, findings)
        .into_iter()
        .map(|member| Object {
            path: format!("{}/{}", object.path, cut(&member.name)),
            kind: kind::of(&member.data),
            names: vec![member.name],
            declared: String::new(),
            data: Cow::Owned(member.data),
            origin: Origin::Member,
            depth: object.depth + 1,
        })
        .collect()
}

fn openers<'o>(object: &'o Object<'_>) -> impl Iterator<Item = &'static Opener> + use<'o> {
    ROOMS.iter().copied().flatten().filter(move |opener| (opener.takes)(object))
}

/// What every opener that takes `object` finds in it.
pub(super) fn members(
    object: &Object<'_>,
    whole: Whole,
    budget: &mut Budget,
    findings: &mut Vec<Finding>,
) -> Vec<Member> {
    // Word and PowerPoint keep a zip of their theme in the streams of the old formats.
    let whole = if object.kind == "application/x-ole-storage" { Whole::Inside } else { whole };
    let mut report = Report::new(&object.path, findings).whole(whole);
    let mut found = Vec::new();
    for opener in openers(object) {
        // Readers of other people's making may give up on what nobody thought of: that closes one container only.
        let opened = catch_unwind(AssertUnwindSafe(|| (opener.open)(object, budget, &mut report)));
        match opened {
            Ok(members) => found.extend(members),
            Err(_) => report.unknown("archive.malformed", "its reader gave up"),
        }
    }
    found
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
        Report::new(&object.path, findings).say("unpack.limit", "the signed content was not opened");
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

/// Octets that a client opens as a message or a saved page: what the unpacker marked as such, what looks like one, and
/// what is called one. Messages of the main reading are in the tree already.
fn is_entity(object: &Object<'_>) -> bool {
    if object.kind == kind::ENTITY {
        return true;
    }
    let in_tree =
        object.depth == 0 && matches!(&*object.declared, "message/rfc822" | "message/global" | "message/news");
    let text = matches!(object.kind, "text/plain" | "application/octet-stream");
    let called = |name: &String| {
        let name = name.to_ascii_lowercase();
        [".eml", ".mht", ".mhtml", ".nws"].iter().any(|ending| name.ends_with(ending))
    };
    !in_tree && (object.kind == kind::MESSAGE || (text && object.names.iter().any(called)))
}

/// The leaves of a MIME entity that stood inside a transfer encoding or an archive.
fn entity(
    object: &Object<'_>,
    limits: &Limits,
    budget: &mut Budget,
    findings: &mut Vec<Finding>,
) -> Vec<Object<'static>> {
    let depth = object.depth + 1;
    let mut full = |why: &str| Report::new(&object.path, findings).say("unpack.limit", why);
    if depth > limits.archive_depth || budget.is_late() {
        full("a message inside was not opened");
        return Vec::new();
    }
    let tree = mime::parse(&object.data, &limits.tree());
    if let Some(over) = tree.oddities.iter().find(|o| o.code == "mime.limit") {
        full(&over.detail);
    }
    let subject = tree.parts.first().and_then(|part| part.headers.text("subject")).unwrap_or_default();
    budget.learn(&[&mime::words::decode(&subject)]);
    let mut found = Vec::new();
    let path = |inner: &str| format!("{}/{}", object.path, if inner.is_empty() { "0" } else { inner });
    for part in tree.parts.iter().filter(|p| !p.is_multipart() || !p.decoded.is_empty()) {
        // The octets of an embedded message are its parts, which follow.
        if part.is_message() && matches!(part.decoded, Cow::Borrowed(_)) {
            continue;
        }
        if !budget.take(part.decoded.len()) {
            full("the budget of unpacked octets or files is spent");
            return found;
        }
        let data = part.decoded.to_vec();
        let (path, kind) = (path(&part.path), kind::of(&data));
        let (names, declared, data) = (part.names.clone(), part.content_type.clone(), Cow::Owned(data));
        found.push(Object { path, names, declared, kind, data, origin: Origin::Member, depth });
    }
    for other in tree.alternatives {
        if !budget.take(other.decoded.len()) {
            full("the budget of unpacked octets or files is spent");
            return found;
        }
        let kind = if other.entity { kind::ENTITY } else { kind::of(&other.decoded) };
        let names = if other.name.is_empty() { Vec::new() } else { vec![other.name] };
        let (path, data) = (path(&other.path), Cow::Owned(other.decoded.into_owned()));
        found.push(Object { path, names, declared: String::new(), kind, data, origin: Origin::Reading, depth });
    }
    found
}

fn cut(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}
