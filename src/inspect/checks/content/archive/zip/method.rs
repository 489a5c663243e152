//! The compression methods of zip (APPNOTE §4.4.5).

use std::io::{BufReader, Read};

use flate2::bufread::DeflateDecoder;

use super::super::bytes::{le, piece};
use super::super::stream;
use super::super::{Budget, Stop};
use super::entry::Entry;

/// What came out.
pub(super) struct Out {
    pub(super) data: Vec<u8>,
    pub(super) stop: Stop,
    /// How many octets went in, where the coding tells.
    pub(super) used: Option<usize>,
}

impl Out {
    pub(super) fn crc(&self) -> u32 {
        crc32fast::hash(&self.data)
    }
}

/// `packed` is what the header says of the length, for the density of the outcome. `Err`: not a method known here.
pub(super) fn unpack(entry: &Entry<'_>, method: usize, body: &[u8], packed: usize, budget: &Budget) -> Result<Out, ()> {
    let packed = packed.min(body.len()).max(1);
    let read = |source: &mut dyn Read| {
        let (data, stop) = budget.peek(source, packed);
        Out { data, stop, used: None }
    };
    Ok(match method {
        0 => read(&mut &*body),
        8 => {
            let mut decoder = DeflateDecoder::new(body);
            let (data, stop) = budget.peek(&mut decoder, packed);
            Out { data, stop, used: usize::try_from(decoder.total_in()).ok() }
        }
        9 => read(&mut deflate64::Deflate64Decoder::with_buffer(body)),
        12 => read(&mut bzip2::bufread::MultiBzDecoder::new(body)),
        14 => match lzma(entry, body) {
            Some(mut decoder) => read(&mut decoder),
            None => Out { data: Vec::new(), stop: Stop::Broken, used: None },
        },
        20 | 93 => {
            let (data, stop) = stream::zstd(body, budget);
            Out { data, stop, used: None }
        }
        95 => read(&mut stream::xz(body)),
        98 => match ppmd(body) {
            Some(mut decoder) => read(&mut decoder),
            None => Out { data: Vec::new(), stop: Stop::Broken, used: None },
        },
        _ => return Err(()),
    })
}

/// APPNOTE §5.8.8: version, length of the properties, the properties, then the stream, which may say where it ends.
fn lzma<'b>(entry: &Entry<'_>, body: &'b [u8]) -> Option<impl Read + use<'b>> {
    let (properties, size) = (*body.get(4)?, le(body, 5, 4)?);
    let length = le(body, 2, 2)?;
    let rest = body.get(4 + length..)?;
    let ends_itself = entry.flags & 2 != 0;
    stream::lzma_raw(rest, properties, size, if ends_itself { u64::MAX } else { entry.size as u64 })
}

/// APPNOTE §5.10: two octets of parameters, then PPMd version I, revision 1.
fn ppmd(body: &[u8]) -> Option<impl Read + use<'_>> {
    let parameters = le(body, 0, 2)?;
    let (order, memory) = ((parameters & 15) + 1, (((parameters >> 4) & 255) + 1) << 20);
    if memory > super::super::WINDOW.saturating_mul(2) {
        return None;
    }
    let restoration =
        ppmd_rust::RestoreMethod::try_from(u16::try_from(parameters >> 12).ok()?.to_le_bytes()[0]).ok()?;
    let rest = BufReader::new(piece(body, 2, body.len() - 2)?);
    ppmd_rust::Ppmd8Decoder::new(rest, u32::try_from(order).ok()?, u32::try_from(memory).ok()?, restoration).ok()
}
