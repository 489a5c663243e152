//! Containers opened in memory. Entries are read, never written to a disk; names are text, never paths.
//! Every container draws on one budget a message; what goes over it is a finding, and so is what stays closed.

mod budget;
mod bytes;
mod cab;
mod crypt;
mod embedded;
mod image;
mod lha;
mod lzw;
mod passwords;
mod quantum;
mod rar;
mod report;
mod sevenz;
mod stream;
mod tar;
#[cfg(test)]
mod tests;
mod unix;
mod volumes;
mod zip;

pub use budget::{Budget, Stop, WINDOW};
pub(super) use cab::window as lzx_window;
pub(super) use image::{is_fat, is_partitioned};
pub(super) use lha::is_lha;
pub use passwords::Passwords;
pub(super) use report::has_room;
pub use report::{Report, Whole};
pub(super) use tar::is_tar;
pub(super) use unix::is_cpio;
pub use volumes::join;

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
    Opener { takes: |o| o.kind == "application/x-7z-compressed", open: sevenz::open },
    Opener { takes: |o| o.kind == "application/vnd.rar", open: rar::open },
    Opener { takes: |o| o.kind == "application/vnd.ms-cab-compressed", open: cab::open },
    Opener { takes: |o| o.kind == "application/x-archive", open: unix::ar },
    Opener { takes: |o| o.kind == "application/x-cpio", open: unix::cpio },
    Opener { takes: |o| o.kind == "application/x-rpm", open: unix::rpm },
    Opener { takes: |o| o.kind == "application/x-lzh", open: lha::lha },
    Opener { takes: |o| o.kind == "application/x-arj", open: lha::arj },
    Opener { takes: |o| OPTICAL.contains(&o.kind), open: image::optical },
    Opener { takes: |o| DISKS.contains(&o.kind), open: image::open },
    Opener { takes: |o| CLOSED.contains(&o.kind), open: closed },
    Opener { takes: |o| zip::is_inside(&o.data), open: zip::open },
    // Last: it looks behind what the others found.
    Opener { takes: embedded::is_inside, open: embedded::open },
];

/// One file in one coding.
const STREAMS: &[&str] = &[
    "application/gzip",
    "application/x-bzip2",
    "application/x-compress",
    "application/x-lz4",
    "application/x-lzip",
    "application/x-lzma",
    "application/x-ms-compress",
    "application/x-xz",
    "application/zstd",
];

const OPTICAL: &[&str] = &["application/x-iso9660-image", "application/x-udf-image"];

const DISKS: &[&str] = &[
    "application/x-exfat-image",
    "application/x-disk-image",
    "application/x-fat-image",
    "application/x-ntfs-image",
    "application/x-vhd",
    "application/x-vhdx",
];

/// Containers that are known and cannot be opened here: their content was not seen.
const CLOSED: &[&str] = &[
    "application/x-ace",
    "application/x-alz",
    "application/x-apple-diskimage",
    "application/x-egg",
    "application/x-ext-image",
    "application/x-freearc",
    "application/x-grzip",
    "application/x-hfs-image",
    "application/x-lrzip",
    "application/x-lzop",
    "application/x-ms-kwaj",
    "application/x-parallels-disk",
    "application/x-qemu-disk",
    "application/x-squashfs",
    "application/x-virtualbox-disk",
    "application/x-vmdk",
    "application/x-wim",
    "application/x-xar",
    "application/x-zoo",
];

/// Whether something in the octets may be under a password, and their members are not a document's own parts.
#[must_use]
pub fn takes_passwords(kind: &str, data: &[u8]) -> bool {
    let behind = kind.starts_with("image/") || kind == "application/pdf" || kind == "application/octet-stream";
    STREAMS.contains(&kind)
        || OPTICAL.contains(&kind)
        || DISKS.contains(&kind)
        || matches!(
            kind,
            "application/zip"
                | "application/vnd.rar"
                | "application/x-7z-compressed"
                | "application/x-msdownload"
                | "application/ms-tnef"
                | "application/vnd.ms-cab-compressed"
                | "application/x-archive"
                | "application/x-arj"
                | "application/x-cpio"
                | "application/x-lzh"
                | "application/x-tar"
                | "message/rfc822"
        )
        || (behind && (zip::is_inside(data) || embedded::is_marked(data)))
}

fn closed(object: &Object<'_>, _: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    report.unknown("archive.unsupported", &format!("{} cannot be opened", object.kind));
    Vec::new()
}
