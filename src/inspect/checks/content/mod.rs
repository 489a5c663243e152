//! Checks that parse the sender's bytes; each runs inside an inspector process (or in-process for `luytre scan`).
//!
//! A message is opened once into a [`View`]: its MIME tree, and every object in it down to the members of nested
//! archives. The checks then look at that view, in the order of [`REGISTER`].

pub mod archive;
pub mod document;
pub mod hashes;
pub mod kind;
pub mod mime;
pub mod name;
pub mod objects;
pub mod outbox;
pub mod rules;
pub mod smime;
mod smime_check;
mod wrap;
pub mod yara;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use objects::{Object, Origin};
pub use outbox::Outbox;
pub use smime_check::initialise;

use crate::inspect::ContentFacts;
use crate::inspect::inspector::{Loaded, Task};
use crate::mail::mime::{self as tree, Tree};
use crate::mail::{ByteSize, Mailbox, Span};

/// Bounds of what is unpacked from one message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub mime_depth: usize,
    pub mime_parts: usize,
    pub header_fields: usize,
    pub archive_depth: usize,
    pub archive_files: usize,
    pub archive_bytes: ByteSize,
    /// Octets out for one octet in.
    pub archive_ratio: u64,
    /// For unpacking all of a message.
    pub archive_time: Span,
    /// CPU time of one YARA rule for one message; zero: as much as it takes.
    pub rule_time: Span,
    /// Address space of an inspector.
    pub memory: ByteSize,
    /// The longest message.
    pub message: ByteSize,
}

impl From<&crate::session::settings::Limits> for Limits {
    fn from(all: &crate::session::settings::Limits) -> Self {
        Self {
            mime_depth: all.mime_depth,
            mime_parts: all.mime_parts,
            header_fields: all.header_fields,
            archive_depth: all.archive_depth,
            archive_files: all.archive_files,
            archive_bytes: all.archive_bytes,
            archive_ratio: all.archive_ratio,
            archive_time: all.archive_time,
            rule_time: all.rule_time,
            memory: all.inspector_memory,
            message: all.message,
        }
    }
}

impl Limits {
    /// Octets that may leave the cage with one message: everything unpacked, every part, two rewritten copies.
    #[must_use]
    pub fn outgoing(&self) -> u64 {
        self.message.as_u64().saturating_mul(3).saturating_add(self.archive_bytes.as_u64()).min(1 << 30)
    }
    #[must_use]
    pub const fn tree(&self) -> tree::Limits {
        tree::Limits { depth: self.mime_depth, parts: self.mime_parts, header_fields: self.header_fields }
    }
}

/// What a check looks at.
#[derive(Debug)]
pub struct View<'a> {
    pub raw: &'a [u8],
    pub tree: &'a Tree<'a>,
    /// Every leaf, other reading and archive member, in the order found.
    pub objects: &'a [Object<'a>],
    /// What unpacking had to leave closed.
    pub unpacked: &'a [crate::inspect::Finding],
    pub task: &'a Task,
    /// The mailbox of the first From field, when it can be read.
    pub from: Option<&'a Mailbox>,
    /// Octets for the main process go in here.
    pub outbox: &'a Outbox,
}

/// One way to look at content. It reports and never scores; it does not await.
pub trait ContentCheck {
    fn examine(&self, view: &View<'_>, facts: &mut ContentFacts);
}

/// A check and its name in `[inspect] checks`.
pub struct Entry {
    pub id: &'static str,
    pub build: for<'p> fn(&'p Loaded) -> Box<dyn ContentCheck + 'p>,
}

/// Every content check.
pub const REGISTER: &[Entry] = &[
    Entry { id: "mime", build: |loaded| Box::new(mime::Mime::new(loaded)) },
    Entry { id: yara::ID, build: |loaded| Box::new(yara::Yara::new(loaded.yara(), loaded.timeout())) },
    Entry { id: "hashes", build: |loaded| Box::new(hashes::Hashes::new(loaded.hashes())) },
    Entry { id: "smime", build: |loaded| Box::new(smime_check::Smime::new(loaded.trust(), loaded.limits())) },
    Entry { id: "rules", build: |loaded| Box::new(rules::Rules::new(loaded.rules())) },
];
