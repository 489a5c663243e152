//! Decompression of MS-OVBA §2.4.1: chunks of 4,096 octets, copy tokens whose width grows with the position.

use super::super::super::bytes::{slice, u16_at};

const CHUNK: usize = 4096;
/// One container: far more than any module has.
const MOST: usize = 8 << 20;

/// The octets of a compressed container; what could be read before an error.
pub fn unpack(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if data.first() != Some(&1) {
        return out;
    }
    let mut at = 1;
    while let Some(header) = u16_at(data, at) {
        // Bits 12 to 14 sign a chunk; the last says whether it is compressed.
        if header & 0x7000 != 0x3000 || out.len() > MOST {
            break;
        }
        let size = (header & 0x0FFF) + 3;
        let body = slice(data, at + 2, size - 2);
        if header & 0x8000 == 0 {
            out.extend_from_slice(slice(body, 0, CHUNK));
        } else if !chunk(body, &mut out) {
            break;
        }
        at += size;
    }
    out
}

/// One chunk; false when it refers to octets before its start.
fn chunk(body: &[u8], out: &mut Vec<u8>) -> bool {
    let (start, mut at) = (out.len(), 0);
    while let Some(flags) = body.get(at) {
        at += 1;
        for bit in 0..8 {
            if flags >> bit & 1 == 0 {
                let Some(byte) = body.get(at) else { return true };
                out.push(*byte);
                at += 1;
            } else {
                let Some(token) = u16_at(body, at) else { return true };
                at += 2;
                if !copy(token, start, out) {
                    return false;
                }
            }
            if out.len() - start >= CHUNK {
                return true;
            }
        }
    }
    true
}

/// MS-OVBA §2.4.1.3.19: the further into the chunk, the more bits of a token are distance.
fn copy(token: usize, start: usize, out: &mut Vec<u8>) -> bool {
    let done = out.len() - start;
    let mut bits = 4;
    while (1_usize << bits) < done {
        bits += 1;
    }
    let bits = bits.min(12);
    let length = (token & (0xFFFF >> bits)) + 3;
    let distance = (token >> (16 - bits)) + 1;
    if distance > done {
        return false;
    }
    for _ in 0..length.min(CHUNK) {
        let Some(byte) = out.get(out.len() - distance).copied() else { return false };
        out.push(byte);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of MS-OVBA §3.2.
    #[test]
    fn ms_ovba_3_2_the_examples_of_the_specification() {
        let raw = b"\x01\x19\xB0\x00abcdefgh\x00ijklmnop\x00qrstuv.";
        assert_eq!(unpack(raw), b"abcdefghijklmnopqrstuv.");
        let normal = b"\x01\x2F\xB0\x00#aaabcde\x82f\x00\x70agahijk\x38\xA5\x0BA\x15\x8c\x37";
        assert!(unpack(normal).starts_with(b"#aaabcde"));
        let most = b"\x01\x03\xB0\x02a\x45\x00";
        assert_eq!(unpack(most), [b'a'; 73]);
    }

    #[test]
    fn broken_containers_end_early() {
        assert_eq!(unpack(b""), b"");
        assert_eq!(unpack(b"\x02\x03\xB0\x02aE\0"), b"");
        // A copy from before the start.
        assert_eq!(unpack(b"\x01\x03\xB0\x01\x45\x00"), b"");
        assert_eq!(unpack(b"\x01\x19\xB0\x00abc"), b"abc");
    }
}
