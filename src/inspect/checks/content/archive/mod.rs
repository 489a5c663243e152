//! Containers opened in memory. Entries are read, never written to a disk; names are text, never paths.
//! Every container draws on one budget a message; what goes over it is a finding, and so is what stays closed.

mod budget;
mod bytes;
mod crypt;
mod lzw;
mod passwords;
mod report;
mod stream;
mod tar;
#[cfg(test)]
mod tests;
mod zip;

pub use budget::{Budget, Stop, WINDOW};
pub use passwords::Passwords;
pub use report::Report;

use super::Object;

/// What was found in a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub name: String,
    pub data: Vec<u8>,
}

/// Reads a container of one format: its members, as far as the budget goes, and what is odd about it. It never fails;
/// what it could not see is in the report.
pub type Open = fn(&Object<'_>, &mut Budget, &mut Report<'_>) -> Vec<Member>;

/// A format and how it is opened.
#[derive(Clone, Copy)]
pub struct Opener {
    /// Whether the octets are of this format: by their true type, or by a mark anywhere in them.
    pub takes: fn(&Object<'_>) -> bool,
    pub open: Open,
}

/// Every archive format. An object may be of several at once (a zip behind a program): all that take it open it.
pub const OPENERS: &[Opener] = &[
    Opener { takes: |o| STREAMS.contains(&o.kind), open: stream::open },
    Opener { takes: |o| o.kind == "application/x-tar", open: tar::open },
    Opener { takes: |o| CLOSED.contains(&o.kind), open: closed },
    Opener { takes: |o| zip::is_inside(&o.data), open: zip::open },
];

/// One file in one coding.
const STREAMS: &[&str] = &[
    "application/gzip",
    "application/x-bzip2",
    "application/x-compress",
    "application/x-lz4",
    "application/x-lzip",
    "application/x-lzma",
    "application/x-xz",
    "application/zstd",
];

/// Containers that are known and cannot be opened here: their content was not seen.
const CLOSED: &[&str] = &[
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/vnd.ms-cab-compressed",
    "application/x-iso9660-image",
];

fn closed(object: &Object<'_>, _: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    report.unknown("archive.unsupported", &format!("{} cannot be opened", object.kind));
    Vec::new()
}
