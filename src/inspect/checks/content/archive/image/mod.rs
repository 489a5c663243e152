//! Disk images: what a double click mounts, and what then carries no mark of the Internet. ISO 9660 and UDF; raw disks
//! and the virtual ones of Windows (VHD, VHDX), with their partitions; FAT, exFAT and NTFS volumes in any of them.
//!
//! A disk is seen through [`Disk`], which knows where its octets lie in the file: a disk of a terabyte in a file of a
//! megabyte stays a megabyte. What a volume of another kind holds is not seen (`archive.unsupported`).

mod disk;
mod exfat;
mod fat;
mod iso;
mod lznt;
mod ntfs;
mod udf;
mod vhd;

use std::collections::BTreeSet;

pub(in super::super) use disk::{is_fat, is_partitioned};
pub(super) use iso::open as optical;

use super::super::Object;
use super::{Budget, Member, Report, Stop};
use disk::{Disk, Volume};

/// Folders are followed, and entries looked at, upto so many a volume.
const ENTRIES: usize = 1 << 16;

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    let disk = match object.kind {
        "application/x-vhd" => vhd::vhd(data),
        "application/x-vhdx" => vhd::vhdx(data),
        _ => Some(Disk::raw(data)),
    };
    let Some(disk) = disk else {
        report.unknown("archive.malformed", "the tables of the virtual disk are damaged");
        return Vec::new();
    };
    if disk.has_parent {
        report.unknown("archive.unsupported", "the disk holds only what differs from another");
    }
    let mut taker = Taker { members: Vec::new(), budget, report, packed: data.len(), places: BTreeSet::new() };
    let volumes = disk.volumes();
    if volumes.is_empty() {
        taker.report.unknown("archive.unsupported", "the disk has no partition that can be read");
    }
    for volume in volumes {
        if volume.is_ntfs() {
            ntfs::read(&volume, &mut taker);
        } else if volume.is_fat() {
            fat::read(&volume, &mut taker);
        } else if volume.is_exfat() {
            exfat::read(&volume, &mut taker);
        } else {
            taker.report.unknown("archive.unsupported", &format!("a volume of kind {}", volume.name()));
        }
    }
    // Nobody sends an image without a file: what is in it was not found.
    if taker.members.is_empty() {
        taker.report.unknown("archive.malformed", "the image holds no file that can be read");
    }
    taker.members
}

/// Where files of an image go.
struct Taker<'t, 'f> {
    members: Vec<Member>,
    budget: &'t mut Budget,
    report: &'t mut Report<'f>,
    /// Octets of the whole image, for the density of what comes out.
    packed: usize,
    /// Where files lay that were taken.
    places: BTreeSet<(u64, u64)>,
}

const HOLE: usize = 64 << 10;
const PIECE: usize = 1 << 20;
/// Characters of a path; folders that lie deeper keep the end of theirs.
const PATH: usize = 1024;

fn join(path: &str, name: &str) -> String {
    match path.len() {
        0 => name.to_owned(),
        1..=PATH => format!("{path}/{name}"),
        _ => format!("…/{name}"),
    }
}

/// A piece of a file: where it lies on the volume, and how long it is; `None`: a hole.
type Extent = (Option<u64>, u64);

impl Taker<'_, '_> {
    /// Takes a file of `size` octets that lies in `extents`; false when nothing more fits.
    fn file(&mut self, name: String, volume: &Volume<'_, '_>, extents: &[Extent], size: u64) -> bool {
        self.report.check_name(&name);
        let dense = self.budget.dense(self.packed);
        let cap = self.budget.bytes().min(dense) as u64;
        let (mut data, mut left) = (Vec::new(), size.min(cap));
        for (at, length) in extents {
            let part = usize::try_from(left.min(*length)).unwrap_or(usize::MAX);
            if part == 0 || data.try_reserve(part).is_err() || self.budget.is_late() {
                break;
            }
            match at {
                // In pieces: what is put together from blocks is never held twice in full.
                Some(at) => {
                    for start in (0..part).step_by(PIECE) {
                        data.extend_from_slice(&volume.read(at.saturating_add(start as u64), PIECE.min(part - start)));
                    }
                }
                // Zeros that stand for a longer hole.
                None => data.resize(data.len() + part.min(HOLE), 0),
            }
            left -= part as u64;
        }
        let mut stop = Stop::End;
        if size > cap {
            stop = if cap == dense as u64 { Stop::Bomb } else { Stop::Full };
        } else if (data.len() as u64) < size && extents.iter().all(|(at, _)| at.is_some()) {
            self.report.unknown("archive.malformed", &format!("{name:?} does not lie in the image to its end"));
        }
        if self.budget.is_late() || !self.budget.take(data.len()) {
            stop = Stop::Full;
        }
        self.report.stopped(stop, &name);
        self.members.push(Member { name, data });
        stop != Stop::Full
    }

    /// Whether work can go on.
    fn may_go_on(&mut self) -> bool {
        let spent = self.budget.is_spent();
        if spent {
            self.report.stopped(Stop::Full, "image");
        }
        !spent
    }
}
