//! Lists of MAPI properties inside TNEF attributes (MS-OXTNEF §2.1.3.4, MS-OXCDATA §2.11.1).

use super::{FILES, File, Kind, Open, Reader, body, narrow, wide};

/// Property identifiers (MS-OXPROPS).
mod id {
    pub const BODY: u16 = 0x1000;
    pub const RTF_COMPRESSED: u16 = 0x1009;
    pub const BODY_HTML: u16 = 0x1013;
    pub const DISPLAY_NAME: u16 = 0x3001;
    pub const ATTACH_DATA: u16 = 0x3701;
    pub const ATTACH_FILENAME: u16 = 0x3704;
    pub const ATTACH_LONG_FILENAME: u16 = 0x3707;
}

/// Property types.
mod kind {
    pub const OBJECT: u16 = 0x000D;
    pub const NARROW: u16 = 0x001E;
    pub const WIDE: u16 = 0x001F;
    pub const BINARY: u16 = 0x0102;
    pub const MULTIPLE: u16 = 0x1000;
}

/// An object in a property begins with the identifier of its interface.
const INTERFACE: usize = 16;

/// Names and content of an attachment.
pub(super) fn of_attachment<'a>(value: &'a [u8], open: &mut Open<'a>, left: &mut usize) {
    each(value, left, |number, of_type, octets| match number {
        id::ATTACH_LONG_FILENAME => {
            open.first_name(text(of_type, octets));
        }
        id::ATTACH_FILENAME | id::DISPLAY_NAME => open.name(text(of_type, octets)),
        id::ATTACH_DATA => {
            let inner = octets.get(INTERFACE..).unwrap_or_default();
            if of_type == kind::OBJECT && inner.starts_with(&super::MAGIC) {
                open.data(inner, Kind::Message);
            } else if of_type == kind::OBJECT && !inner.is_empty() {
                open.data(inner, Kind::File);
            } else {
                open.data(octets, Kind::File);
            }
        }
        _ => {}
    });
}

/// The bodies of a message.
pub(super) fn of_message<'a>(value: &'a [u8], files: &mut Vec<File<'a>>, left: &mut usize) {
    each(value, left, |number, _, octets| {
        if files.len() > FILES {
            return;
        }
        match number {
            id::RTF_COMPRESSED => files.push(body("body.rtf", octets, Kind::CompressedRtf)),
            id::BODY_HTML => files.push(body("body.html", octets, Kind::File)),
            id::BODY => files.push(body("body.txt", octets, Kind::File)),
            _ => {}
        }
    });
}

fn text(of_type: u16, octets: &[u8]) -> String {
    if of_type == kind::WIDE { wide(octets) } else { narrow(octets) }
}

/// Calls `see` with number, type and octets of each value that has a length of its own; stops where the list breaks.
fn each<'a>(value: &'a [u8], left: &mut usize, mut see: impl FnMut(u16, u16, &'a [u8])) {
    let mut reader = Reader(value);
    let Some(count) = reader.double() else { return };
    for _ in 0..count {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        if one(&mut reader, left, &mut see).is_none() {
            return;
        }
    }
}

fn one<'a>(reader: &mut Reader<'a>, left: &mut usize, see: &mut impl FnMut(u16, u16, &'a [u8])) -> Option<()> {
    let of_type = reader.word()?;
    let number = reader.word()?;
    if number >= 0x8000 {
        reader.take(16)?;
        if reader.double()? == 0 {
            reader.double()?;
        } else {
            let length = reader.length()?;
            padded(reader, length)?;
        }
    }
    let base = of_type & !kind::MULTIPLE;
    let is_counted = matches!(base, kind::OBJECT | kind::NARROW | kind::WIDE | kind::BINARY);
    let values = if is_counted || of_type & kind::MULTIPLE != 0 { reader.double()? } else { 1 };
    for _ in 0..values {
        *left = left.checked_sub(1)?;
        if is_counted {
            let length = reader.length()?;
            // What is there of a cut value is looked at, too.
            let whole = reader.0;
            match padded(reader, length) {
                Some(octets) => see(number, base, octets),
                None => {
                    see(number, base, whole);
                    return None;
                }
            }
        } else {
            let width = match base {
                0x0005 | 0x0006 | 0x0007 | 0x0014 | 0x0040 => 8,
                0x0048 => 16,
                0x0001 => 0,
                // Two octets are written as four.
                _ => 4,
            };
            reader.take(width)?;
        }
    }
    Some(())
}

/// `length` octets, and what fills them up to a multiple of four.
fn padded<'a>(reader: &mut Reader<'a>, length: usize) -> Option<&'a [u8]> {
    let octets = reader.take(length)?;
    let fill = length.wrapping_neg() & 3;
    reader.take(fill.min(reader.0.len()))?;
    Some(octets)
}
