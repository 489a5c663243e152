//! Compressed RTF (MS-OXRTFCP): a header, then literals and references into a ring of 4096 octets that starts with
//! usual RTF words.

use super::Reader;

/// What the ring holds at the start (MS-OXRTFCP §2.1.2.1).
const START: &[u8; 207] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
const RING: usize = 4096;
const COMPRESSED: u32 = 0x7546_5A4C;
const PLAIN: u32 = 0x414C_454D;

/// The RTF text; at most `limit` octets. `None` when the header is none of this format. What could be read before an
/// error is returned.
#[must_use]
pub fn decompress(data: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut reader = Reader(data);
    let _packed = reader.double()?;
    let length = reader.length()?;
    let form = reader.double()?;
    let _checksum = reader.double()?;
    let room = length.min(limit);
    if form == PLAIN {
        return Some(reader.0.get(..room.min(reader.0.len())).unwrap_or_default().to_vec());
    }
    if form != COMPRESSED {
        return None;
    }
    let mut out = Vec::with_capacity(room.min(data.len().saturating_mul(4)));
    let mut ring = Ring::new();
    let _ = unpack(&mut reader, &mut ring, &mut out, room);
    Some(out)
}

/// `None` when the octets end before the end mark.
fn unpack(reader: &mut Reader<'_>, ring: &mut Ring, out: &mut Vec<u8>, room: usize) -> Option<()> {
    while out.len() < room {
        let control = reader.byte()?;
        for bit in 0..8 {
            if control >> bit & 1 == 0 {
                let byte = reader.byte()?;
                ring.push(byte);
                out.push(byte);
            } else {
                let token = u16::from_be_bytes(reader.take(2)?.try_into().ok()?);
                let (offset, length) = (usize::from(token >> 4), usize::from(token & 15) + 2);
                if offset == ring.at {
                    return Some(());
                }
                for step in 0..length {
                    let byte = ring.get(offset + step);
                    ring.push(byte);
                    out.push(byte);
                }
            }
            if out.len() >= room {
                out.truncate(room);
                return Some(());
            }
        }
    }
    Some(())
}

struct Ring {
    octets: Vec<u8>,
    at: usize,
}

impl Ring {
    fn new() -> Self {
        let mut octets = START.to_vec();
        octets.resize(RING, b' ');
        Self { octets, at: START.len() }
    }
    fn get(&self, at: usize) -> u8 {
        self.octets.get(at % RING).copied().unwrap_or_default()
    }
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.octets.get_mut(self.at) {
            *slot = byte;
        }
        self.at = (self.at + 1) % RING;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of MS-OXRTFCP §4.1.1.
    #[test]
    fn ms_oxrtfcp_4_1_1_the_example_is_read() {
        let packed = [
            0x2d, 0, 0, 0, 0x2b, 0, 0, 0, 0x4c, 0x5a, 0x46, 0x75, 0xf1, 0xc5, 0xc7, 0xa7, 0x03, 0x00, 0x0a, 0x00, 0x72,
            0x63, 0x70, 0x67, 0x31, 0x32, 0x35, 0x42, 0x32, 0x0a, 0xf3, 0x20, 0x68, 0x65, 0x6c, 0x09, 0x00, 0x20, 0x62,
            0x77, 0x05, 0xb0, 0x6c, 0x64, 0x7d, 0x0a, 0x80, 0x0f, 0xa0,
        ];
        let text = decompress(&packed, 1000).unwrap();
        assert_eq!(std::str::from_utf8(&text).unwrap(), "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
        assert_eq!(decompress(&packed, 5).unwrap(), b"{\\rtf");
        for cut in 0..packed.len() {
            assert!(decompress(&packed[..cut], 1000).is_none_or(|t| text.starts_with(&t)));
        }
    }
}
