//! Microsoft cabinets (MS-CAB): folders of blocks, stored, MSZIP, Quantum or LZX, and files that lie in their octets. A
//! file that begins or goes on in another cabinet is listed.

use std::io::Read;

use flate2::bufread::DeflateDecoder;
use lzxd::{Lzxd, WindowSize};

use super::super::Object;
use super::bytes::{le, piece, upto};
use super::quantum::Quantum;
use super::{Budget, Member, Report, Stop};

/// One block unpacks to this much at most.
const BLOCK: usize = 32 << 10;
/// Names are shorter than this: MS-CAB §2.3 has 256 octets.
const NAME: usize = 1024;
/// Numbers of folders that stand for "in the cabinet before" and "in the next one".
const ELSEWHERE: usize = 0xFFFD;

struct Header {
    length: usize,
    files_at: usize,
    folders: usize,
    files: usize,
    folders_at: usize,
    /// Octets that are the maker's own, in each folder and each block.
    reserved: (usize, usize),
}

impl Header {
    fn read(data: &[u8]) -> Option<Self> {
        let flags = le(data, 30, 2)?;
        let mut at = 36;
        let mut reserved = (0, 0);
        if flags & 4 != 0 {
            let header = le(data, 36, 2)?;
            reserved = (le(data, 38, 1)?, le(data, 39, 1)?);
            at += 4 + header;
        }
        // Names of the cabinets before and behind, two strings each.
        for _ in 0..2 * ((flags & 1) + (flags >> 1 & 1)) {
            at += memchr::memchr(0, upto(data, at, NAME))? + 1;
        }
        Some(Self {
            length: le(data, 8, 4)?,
            files_at: le(data, 16, 4)?,
            folders: le(data, 26, 2)?,
            files: le(data, 28, 2)?,
            folders_at: at,
            reserved,
        })
    }
}

struct Folder {
    blocks_at: usize,
    blocks: usize,
    coding: usize,
}

impl Folder {
    /// Of a coding that is opened here.
    const fn is_known(&self) -> bool {
        matches!(self.coding & 15, 0..=3)
    }
}

struct File {
    name: String,
    size: usize,
    offset: usize,
    folder: usize,
}

/// How long the cabinet that begins `data` is; `None` when no program would take it for one. Fields that programs pass
/// over may hold anything, lengths over the end too.
pub(super) fn length(data: &[u8]) -> Option<usize> {
    let header = Header::read(data).filter(|_| data.starts_with(b"MSCF") && le(data, 25, 1) == Some(1))?;
    let sane = header.folders > 0
        && header.files > 0
        && header.files_at >= header.folders_at
        && file(data, &mut header.files_at.clone()).is_some()
        && folder(data, &header, 0).is_some_and(|first| first.blocks_at < data.len() && first.coding & 15 <= 3);
    sane.then_some(if header.length >= 36 { header.length } else { data.len() })
}

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    read(&object.data, budget, report)
}

/// The members of the cabinet that begins `data`.
pub(super) fn read(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let Some(header) = Header::read(data) else {
        report.unknown("archive.malformed", "the header of the cabinet is cut off");
        return Vec::new();
    };
    report.ends_at(header.length.min(data.len()));
    let folders: Vec<Folder> = (0..header.folders).map_while(|n| folder(data, &header, n)).collect();
    let (files, whole) = files(data, &header);
    if folders.len() < header.folders || !whole {
        report.unknown("archive.malformed", "the directory of the cabinet is cut off");
    }
    let mut members = Vec::new();
    let mut octets: Option<(usize, Vec<u8>)> = None;
    for file in files {
        report.check_name(&file.name);
        if file.folder >= ELSEWHERE {
            report.unknown("archive.volume", &format!("{:?} goes on in another cabinet", file.name));
        }
        // Each folder is unpacked once: its files follow each other.
        if octets.as_ref().is_none_or(|(number, _)| *number != file.folder) {
            let unpacked = match folders.get(file.folder) {
                Some(folder) => unpack(data, &header, folder, budget, report),
                None => Vec::new(),
            };
            octets = Some((file.folder, unpacked));
        }
        let all = octets.as_ref().map_or(&[][..], |(_, octets)| octets);
        let (data, stop) = budget.copy(upto(all, file.offset, file.size));
        let known = all.is_empty() && folders.get(file.folder).is_some_and(|f| !f.is_known());
        if data.len() < file.size && stop == Stop::End && file.folder < ELSEWHERE && !known {
            report.unknown("archive.malformed", &format!("{:?} cannot be unpacked to its end", file.name));
        }
        members.push(Member { name: file.name, data });
        if report.stopped(stop, "cabinet") {
            break;
        }
    }
    members
}

fn folder(data: &[u8], header: &Header, number: usize) -> Option<Folder> {
    let at = header.folders_at + number * (8 + header.reserved.0);
    Some(Folder { blocks_at: le(data, at, 4)?, blocks: le(data, at + 4, 2)?, coding: le(data, at + 6, 2)? })
}

/// The files, and whether all that were promised are there.
fn files(data: &[u8], header: &Header) -> (Vec<File>, bool) {
    let (mut files, mut at) = (Vec::new(), header.files_at);
    for _ in 0..header.files {
        let Some(file) = file(data, &mut at) else { return (files, false) };
        files.push(file);
    }
    (files, true)
}

fn file(data: &[u8], at: &mut usize) -> Option<File> {
    let fields = piece(data, *at, 16)?;
    let rest = upto(data, *at + 16, NAME);
    let end = memchr::memchr(0, rest)?;
    let name = String::from_utf8_lossy(rest.get(..end)?).into_owned();
    *at += 16 + end + 1;
    Some(File { name, size: le(fields, 0, 4)?, offset: le(fields, 4, 4)?, folder: le(fields, 8, 2)? })
}

/// What the blocks of a folder unpack to, as far as they can be read and fit.
fn unpack(data: &[u8], header: &Header, folder: &Folder, budget: &Budget, report: &mut Report<'_>) -> Vec<u8> {
    let mut decoder = match folder.coding & 15 {
        0 => Decoder::Stored,
        1 => Decoder::Mszip(Vec::new()),
        2 => match Quantum::new(folder.coding >> 8 & 0x1F) {
            Some(quantum) => Decoder::Quantum(Box::new(quantum)),
            None => {
                report.unknown("archive.malformed", "the window of the cabinet is of no known size");
                return Vec::new();
            }
        },
        3 => match window(folder.coding >> 8 & 0x1F) {
            Some(window) => Decoder::Lzx(Box::new(Lzxd::new(window))),
            None => {
                report.unknown("archive.malformed", "the window of the cabinet is of no known size");
                return Vec::new();
            }
        },
        other => {
            report.unknown("archive.unsupported", &format!("coding {other} of the cabinet is not known"));
            return Vec::new();
        }
    };
    let (mut out, mut at) = (Vec::new(), folder.blocks_at);
    let dense = budget.dense(data.len());
    for _ in 0..folder.blocks {
        let (Some(packed), Some(size)) = (le(data, at + 4, 2), le(data, at + 6, 2)) else { break };
        let block = upto(data, at + 8 + header.reserved.1, packed);
        at += 8 + header.reserved.1 + packed;
        let Some(unpacked) = decoder.block(block, size.min(BLOCK)) else { break };
        let length = out.len() + unpacked.len();
        if length > budget.bytes().min(dense) || budget.is_late() {
            report.stopped(if length > dense { Stop::Bomb } else { Stop::Full }, "cabinet");
            break;
        }
        out.extend_from_slice(&unpacked);
    }
    out
}

/// The window of LZX of so many octets, as a power of two.
pub(in super::super) fn window(power: usize) -> Option<WindowSize> {
    Some(match power {
        15 => WindowSize::KB32,
        16 => WindowSize::KB64,
        17 => WindowSize::KB128,
        18 => WindowSize::KB256,
        19 => WindowSize::KB512,
        20 => WindowSize::MB1,
        21 => WindowSize::MB2,
        _ => return None,
    })
}

enum Decoder {
    Stored,
    /// With what the block before it unpacked to.
    Mszip(Vec<u8>),
    Quantum(Box<Quantum>),
    Lzx(Box<Lzxd>),
}

impl Decoder {
    fn block(&mut self, block: &[u8], size: usize) -> Option<Vec<u8>> {
        match self {
            Self::Stored => Some(block.to_vec()),
            Self::Quantum(quantum) => quantum.block(block, size),
            Self::Lzx(lzx) => lzx.decompress_next(block, size).ok().map(<[u8]>::to_vec),
            Self::Mszip(before) => {
                let stream = block.strip_prefix(b"CK")?;
                // MS-MCI §2.4: the block before is this one's dictionary. A stored block in front says the same.
                let length = u16::try_from(before.len()).ok()?;
                let lead = [&[0], &length.to_le_bytes()[..], &(!length).to_le_bytes(), before].concat();
                let mut out = Vec::new();
                let source = std::io::BufReader::with_capacity(BLOCK, lead.chain(stream));
                // What was read before a stream broke off is kept.
                let _ = DeflateDecoder::new(source).take((before.len() + size) as u64).read_to_end(&mut out);
                let unpacked = out.split_off(before.len().min(out.len()));
                before.clone_from(&unpacked);
                Some(unpacked)
            }
        }
    }
}
