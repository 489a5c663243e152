//! Documents, pages, shortcuts and pictures: files that a double click shows, and that can hold or start more than
//! they show. An opener takes one object apart: what another program would find in it is scanned like any attachment,
//! what it would run or fetch is a finding, and where it leads goes into the message's links.
//!
//! Openers go by content, never by the sender's word, read as leniently as the programs they stand for, and share
//! the budget of the message. Source and text that a document holds in coded form become objects too, so that rules
//! see them in clear.

mod bytes;
mod cipher;
mod flate;
mod link;
mod markup;
pub mod office;
mod page;
mod pdf;
mod picture;
mod report;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::archive::Budget;
use super::{Limits, Object, Origin, kind};
use crate::inspect::Finding;
pub use pdf::{Change, Signature, signatures};
use report::{Found, Report, Role};

/// Whether an opener has something to say about an object.
type Applies = fn(&Object<'_>) -> bool;
/// Takes one object apart.
type Opener = fn(&Object<'_>, &mut Budget, &mut Report<'_>) -> Vec<Found>;

/// The links found in one document, one a line (RFC 2483 §5).
pub const LINKS: &str = "text/uri-list";
/// Source and text in clear that a document holds in coded form.
const TEXT: &str = "text/x-extracted";
/// A piece of a format that is no file by itself: scanned, never opened.
const PIECE: &str = "application/x-piece";

/// Whether `object` is a piece of a document, which nothing opens further.
#[must_use]
pub fn is_piece(object: &Object<'_>) -> bool {
    matches!(object.kind, TEXT | LINKS | PIECE)
}

/// Whether what `data` holds may be under a password that the letter names.
#[must_use]
pub fn takes_passwords(data: &[u8]) -> bool {
    match kind::of(data) {
        "application/x-ole-storage" => true,
        "application/pdf" => memchr::memmem::find(data, b"/Encrypt").is_some(),
        _ => false,
    }
}

/// By content: who can take it apart. Several may apply: a polyglot is each of its faces.
const OPENERS: &[(Applies, Opener)] = &[
    (office::is_compound, office::compound),
    (office::is_rtf, office::rtf),
    (office::is_notebook, office::notebook),
    (office::is_active_mime, office::open_active_mime),
    (office::is_archive_behind, office::archive_behind),
    (office::is_part, office::part),
    (pdf::is_pdf, pdf::open),
    (page::is_page, page::open),
    (link::is_shell_link, link::shell_link),
    (link::is_shortcut, link::shortcut),
    (link::is_script, link::script),
    (link::is_help, link::help),
    (link::is_mailbox, link::mailbox),
    (picture::is_picture, picture::open),
    (picture::is_drawn, picture::drawn),
    (picture::is_vector, picture::vector),
];

/// Everything inside `object` when it is a document of any kind.
#[must_use]
pub fn open(
    object: &Object<'_>,
    limits: &Limits,
    budget: &mut Budget,
    findings: &mut Vec<Finding>,
) -> Vec<Object<'static>> {
    if is_piece(object) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut report = Report::new(object, findings);
    for (_, opener) in OPENERS.iter().filter(|(applies, _)| applies(object)) {
        if budget.is_late() {
            report.say("unpack.limit", "the time for unpacking is over");
            break;
        }
        // What nobody thought of closes one document, not the message.
        match catch_unwind(AssertUnwindSafe(|| opener(object, budget, &mut report))) {
            Ok(inside) => found.extend(inside),
            Err(_) => report.unknown("archive.malformed", "its reader gave up"),
        }
    }
    let links = report.links();
    if object.depth >= limits.archive_depth && !found.is_empty() {
        findings.push(Finding::new("unpack.limit").with(format!("{}: nested too deep", object.path)));
        found.clear();
    }
    if !links.is_empty() {
        found.push(Found { name: "links".to_owned(), data: links, role: Role::Links });
    }
    found.into_iter().map(|found| child(object, found)).collect()
}

fn child(object: &Object<'_>, found: Found) -> Object<'static> {
    let name: String = found.name.chars().filter(|c| !c.is_control()).take(200).collect();
    let (origin, kind, names) = match found.role {
        Role::Member => (Origin::Member, kind::of(&found.data), vec![found.name]),
        Role::Entity => (Origin::Member, kind::ENTITY, Vec::new()),
        Role::Stream => (Origin::Reading, piece(&found.data), Vec::new()),
        Role::Text => (Origin::Reading, TEXT, Vec::new()),
        Role::Links => (Origin::Reading, LINKS, Vec::new()),
    };
    Object {
        path: format!("{}/{name}", object.path),
        names,
        declared: if kind == kind::ENTITY { kind::ENTITY.to_owned() } else { String::new() },
        kind,
        data: Cow::Owned(found.data),
        origin,
        depth: object.depth + 1,
    }
}

/// The kind of a stream: only what begins like a file is one.
fn piece(data: &[u8]) -> &'static str {
    let kind = kind::of(data);
    let loose = matches!(kind, "application/octet-stream" | "text/plain") && !data.starts_with(b"ActiveMime");
    if loose { PIECE } else { kind }
}

/// The links of all documents among `objects`, for rules and receipts.
pub fn links<'o>(objects: &'o [Object<'_>]) -> impl Iterator<Item = &'o str> {
    let lists = objects.iter().filter(|o| o.kind == LINKS && o.origin == Origin::Reading);
    lists.filter_map(|o| std::str::from_utf8(&o.data).ok()).flat_map(str::lines)
}
