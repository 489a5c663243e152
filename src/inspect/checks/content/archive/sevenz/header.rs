//! The header database of a 7z archive (7zFormat.txt): folders, their coders, and the files that they unpack to.
//! Every count is bounded by what the header's own octets could describe, so that a small header asks for little memory.

use super::super::bytes::utf16;

/// Property numbers.
mod id {
    pub(super) const END: u8 = 0;
    pub(super) const ARCHIVE_PROPERTIES: u8 = 2;
    pub(super) const ADDITIONAL: u8 = 3;
    pub(super) const MAIN_STREAMS: u8 = 4;
    pub(super) const FILES: u8 = 5;
    pub(super) const PACK_INFO: u8 = 6;
    pub(super) const UNPACK_INFO: u8 = 7;
    pub(super) const SUB_STREAMS: u8 = 8;
    pub(super) const SIZE: u8 = 9;
    pub(super) const CRC: u8 = 10;
    pub(super) const FOLDER: u8 = 11;
    pub(super) const CODERS_SIZE: u8 = 12;
    pub(super) const COUNT: u8 = 13;
    pub(super) const EMPTY_STREAM: u8 = 14;
    pub(super) const EMPTY_FILE: u8 = 15;
    pub(super) const NAMES: u8 = 17;
}

/// 7-Zip takes 32 coders, and no archive in use has more than five.
const CODERS: usize = 8;
const STREAMS: usize = 8;
/// More files, folders or streams than any mail may unpack to.
const COUNT: usize = 1 << 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Coder {
    pub(super) method: Vec<u8>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) properties: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    pub(super) coders: Vec<Coder>,
    /// Input stream, and the output stream that feeds it.
    pub(super) bonds: Vec<(usize, usize)>,
    /// Input streams that come from the archive.
    pub(super) packed: Vec<usize>,
    /// Of each output stream.
    pub(super) sizes: Vec<u64>,
    pub(super) crc: Option<u32>,
    /// Of the files in it.
    pub(super) files: Vec<(u64, Option<u32>)>,
}

impl Folder {
    /// The output that feeds nothing else: what the folder unpacks to.
    pub(super) fn last(&self) -> Option<usize> {
        let outputs: usize = self.coders.iter().map(|c| c.outputs).sum();
        (0..outputs).find(|output| self.bonds.iter().all(|(_, from)| from != output))
    }
    pub(super) fn size(&self) -> u64 {
        self.last().and_then(|n| self.sizes.get(n)).copied().unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    /// Where the packed octets begin, behind the signature header.
    pub(super) position: u64,
    pub(super) packed: Vec<u64>,
    pub(super) folders: Vec<Folder>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) has_data: bool,
}

#[derive(Debug)]
pub(super) enum Header {
    /// The header lies packed in these streams.
    Encoded(Streams),
    Plain(Streams, Vec<Entry>),
}

impl Header {
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        let mut r = Reader(octets);
        match r.byte()? {
            0x17 => Some(Self::Encoded(streams(&mut r)?)),
            1 => plain(&mut r),
            _ => None,
        }
    }
}

fn plain(r: &mut Reader<'_>) -> Option<Header> {
    let (mut main, mut entries) = (Streams::default(), Vec::new());
    loop {
        match r.byte()? {
            id::END => return Some(Header::Plain(main, entries)),
            id::ARCHIVE_PROPERTIES => skip_properties(r)?,
            id::ADDITIONAL => drop(streams(r)?),
            id::MAIN_STREAMS => main = streams(r)?,
            id::FILES => entries = files(r)?,
            _ => return None,
        }
    }
}

fn skip_properties(r: &mut Reader<'_>) -> Option<()> {
    while r.byte()? != id::END {
        let length = r.size()?;
        r.take(length)?;
    }
    Some(())
}

fn streams(r: &mut Reader<'_>) -> Option<Streams> {
    let mut all = Streams::default();
    let mut counted = false;
    loop {
        match r.byte()? {
            id::END => break,
            id::PACK_INFO => pack_info(r, &mut all)?,
            id::UNPACK_INFO => all.folders = folders(r)?,
            id::SUB_STREAMS => {
                sub_streams(r, &mut all.folders)?;
                counted = true;
            }
            _ => return None,
        }
    }
    if !counted {
        for folder in &mut all.folders {
            folder.files = vec![(folder.size(), folder.crc)];
        }
    }
    Some(all)
}

fn pack_info(r: &mut Reader<'_>, all: &mut Streams) -> Option<()> {
    all.position = r.number()?;
    let count = r.count()?;
    loop {
        match r.byte()? {
            id::END => return Some(()),
            id::SIZE => all.packed = (0..count).map(|_| r.number()).collect::<Option<_>>()?,
            id::CRC => drop(checksums(r, count)?),
            _ => return None,
        }
    }
}

fn folders(r: &mut Reader<'_>) -> Option<Vec<Folder>> {
    if r.byte()? != id::FOLDER {
        return None;
    }
    let count = r.count()?;
    // In a further stream: no writer does that.
    if r.byte()? != 0 {
        return None;
    }
    let mut all = (0..count).map(|_| folder(r)).collect::<Option<Vec<_>>>()?;
    loop {
        match r.byte()? {
            id::END => return Some(all),
            id::CODERS_SIZE => {
                for folder in &mut all {
                    let outputs = folder.coders.iter().map(|c| c.outputs).sum();
                    folder.sizes = (0..outputs).map(|_| r.number()).collect::<Option<_>>()?;
                }
            }
            id::CRC => {
                let sums = checksums(r, count)?;
                all.iter_mut().zip(sums).for_each(|(folder, sum)| folder.crc = sum);
            }
            _ => return None,
        }
    }
}

fn folder(r: &mut Reader<'_>) -> Option<Folder> {
    let mut folder = Folder::default();
    let (mut inputs, mut outputs) = (0_usize, 0_usize);
    for _ in 0..within(r.count()?, 1, CODERS)? {
        let flags = r.byte()?;
        let method = r.take(usize::from(flags & 15))?.to_vec();
        let (ins, outs) = if flags & 0x10 == 0 { (1, 1) } else { (r.count()?, r.count()?) };
        let length = if flags & 0x20 == 0 { 0 } else { r.size()? };
        let properties = r.take(length)?.to_vec();
        inputs += within(ins, 1, STREAMS)?;
        outputs += within(outs, 1, STREAMS)?;
        folder.coders.push(Coder { method, inputs: ins, outputs: outs, properties });
    }
    for _ in 1..outputs {
        folder.bonds.push((within(r.count()?, 0, inputs - 1)?, within(r.count()?, 0, outputs - 1)?));
    }
    let free = (inputs + 1).checked_sub(outputs)?;
    if free == 1 {
        folder.packed = (0..inputs).filter(|input| folder.bonds.iter().all(|(to, _)| to != input)).take(1).collect();
    } else {
        folder.packed = (0..free).map(|_| r.count()).collect::<Option<_>>()?;
    }
    Some(folder)
}

fn sub_streams(r: &mut Reader<'_>, folders: &mut [Folder]) -> Option<()> {
    let mut counts = vec![1; folders.len()];
    let mut next = r.byte()?;
    if next == id::COUNT {
        counts = (0..folders.len()).map(|_| r.count()).collect::<Option<_>>()?;
        next = r.byte()?;
    }
    within(counts.iter().sum(), 0, COUNT)?;
    let sized = next == id::SIZE;
    for (folder, count) in folders.iter_mut().zip(&counts) {
        let mut left = folder.size();
        for n in 1..=*count {
            let size = if n == *count || !sized { left } else { r.number()? };
            left = left.checked_sub(size)?;
            folder.files.push((size, None));
        }
    }
    if sized {
        next = r.byte()?;
    }
    loop {
        match next {
            id::END => break,
            id::CRC => {
                let is_known = |f: &Folder| f.files.len() == 1 && f.crc.is_some();
                let unknown = folders.iter().filter(|f| !is_known(f)).map(|f| f.files.len()).sum();
                let mut sums = checksums(r, unknown)?.into_iter();
                for folder in folders.iter_mut().filter(|f| !is_known(f)) {
                    folder.files.iter_mut().for_each(|(_, sum)| *sum = sums.next().flatten());
                }
            }
            _ => return None,
        }
        next = r.byte()?;
    }
    for folder in folders.iter_mut() {
        if let ([(_, sum @ None)], Some(crc)) = (&mut *folder.files, folder.crc) {
            *sum = Some(crc);
        }
    }
    Some(())
}

fn files(r: &mut Reader<'_>) -> Option<Vec<Entry>> {
    let count = r.count()?;
    let (mut names, mut empty): (Vec<String>, Vec<bool>) = (Vec::new(), Vec::new());
    let mut files = Vec::new();
    loop {
        let property = r.byte()?;
        if property == id::END {
            break;
        }
        let length = r.size()?;
        let mut body = Reader(r.take(length)?);
        match property {
            id::NAMES if body.byte()? == 0 => names = split_names(body.0, count),
            id::EMPTY_STREAM => empty = body.bits(count)?,
            id::EMPTY_FILE => files = body.bits(empty.iter().filter(|e| **e).count())?,
            _ => {}
        }
    }
    let mut files = files.into_iter();
    let mut entries = Vec::new();
    for n in 0..count {
        let is_empty = empty.get(n).copied().unwrap_or(false);
        let is_folder = is_empty && !files.next().unwrap_or(false);
        let name = names.get(n).cloned().unwrap_or_default();
        if !is_folder {
            entries.push(Entry { name, has_data: !is_empty });
        }
    }
    Some(entries)
}

fn split_names(mut octets: &[u8], count: usize) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < count && !octets.is_empty() {
        let end = octets.chunks_exact(2).position(|pair| pair == [0, 0]).unwrap_or(octets.len() / 2);
        let (name, rest) = octets.split_at((2 * end).min(octets.len()));
        names.push(utf16(name));
        octets = rest.get(2..).unwrap_or_default();
    }
    names
}

fn checksums(r: &mut Reader<'_>, count: usize) -> Option<Vec<Option<u32>>> {
    let known = if r.byte()? == 0 { r.bits(count)? } else { vec![true; count] };
    let sum = |r: &mut Reader<'_>| r.take(4)?.try_into().ok().map(u32::from_le_bytes);
    known.into_iter().map(|known| if known { sum(r).map(Some) } else { Some(None) }).collect()
}

fn within(value: usize, least: usize, most: usize) -> Option<usize> {
    (least..=most).contains(&value).then_some(value)
}

struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    fn take(&mut self, length: usize) -> Option<&'d [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    /// The leading ones of the first octet tell how many more there are.
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let more = first.leading_ones();
        let low = self.take(usize::try_from(more).ok()?)?;
        let low = low.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b));
        if more >= 7 {
            return Some(low);
        }
        let high = u64::from(first & (0x7F >> more));
        Some(low | high << (8 * more))
    }
    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }
    /// A number of things.
    fn count(&mut self) -> Option<usize> {
        within(self.size()?, 0, COUNT)
    }
    fn bits(&mut self, count: usize) -> Option<Vec<bool>> {
        let octets = self.take(count.div_ceil(8))?;
        let bit = |n: usize| octets.get(n / 8).is_some_and(|b| b & (0x80 >> (n % 8)) != 0);
        Some((0..count).map(bit).collect())
    }
}
