//! Filters of streams (ISO 32000-1 §7.4), in chains, each bounded.

use weezl::BitOrder;

use super::super::super::archive::{Budget, Stop};
use flate2::bufread::{DeflateDecoder, ZlibDecoder};

/// Filters applied one after the other.
const CHAIN: usize = 8;

/// How one stream is coded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coding {
    pub filters: Vec<String>,
    pub predictor: usize,
    pub columns: usize,
    pub colours: usize,
    pub bits: usize,
    /// §7.4.4.3: 0 when codes grow one later.
    pub late: bool,
}

/// What decoding gave.
#[derive(Default)]
pub struct Decoded {
    pub data: Vec<u8>,
    /// The filter that is left: a picture's own coding, or one nobody knows.
    pub left: Option<String>,
    pub bomb: bool,
    /// Octets that all its steps made, what was cut off among them.
    pub made: usize,
}

/// Decodes `data`, at most `most` octets at each step.
pub fn decode(data: &[u8], coding: &Coding, most: usize, budget: &Budget) -> Decoded {
    let (mut current, mut left, mut bomb, mut made) = (data.to_vec(), None, false, 0_usize);
    for filter in coding.filters.iter().take(CHAIN) {
        // Not counted here: that is decided by the caller, who knows what the stream is for.
        let next = match filter.as_str() {
            "FlateDecode" | "Fl" => {
                let (mut out, stop) = budget.peek(ZlibDecoder::new(current.as_slice()), current.len());
                if out.is_empty() {
                    let body = current.get(2..).unwrap_or_default();
                    out = budget.peek(DeflateDecoder::new(body), current.len()).0;
                }
                bomb |= stop == Stop::Bomb;
                predict(out, coding)
            }
            "LZWDecode" | "LZW" => predict(lzw(&current, coding.late, most), coding),
            "ASCIIHexDecode" | "AHx" => hex(&current),
            "ASCII85Decode" | "A85" => ascii85(&current),
            "RunLengthDecode" | "RL" => run_length(&current, most),
            "Crypt" => continue,
            other => {
                left = Some(other.to_owned());
                break;
            }
        };
        made = made.saturating_add(next.len());
        current = next;
        current.truncate(most);
    }
    Decoded { data: current, left, bomb, made }
}

fn lzw(data: &[u8], late: bool, most: usize) -> Vec<u8> {
    let mut decoder = if late {
        weezl::decode::Decoder::new(BitOrder::Msb, 8)
    } else {
        weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8)
    };
    let (mut out, mut input, mut chunk) = (Vec::new(), data, vec![0; 16 << 10]);
    while out.len() < most {
        let result = decoder.decode_bytes(input, &mut chunk);
        out.extend_from_slice(chunk.get(..result.consumed_out).unwrap_or_default());
        input = input.get(result.consumed_in..).unwrap_or_default();
        let stuck = result.consumed_in == 0 && result.consumed_out == 0;
        if stuck || !matches!(result.status, Ok(weezl::LzwStatus::Ok)) {
            break;
        }
    }
    out
}

fn hex(data: &[u8]) -> Vec<u8> {
    let digits = data.iter().take_while(|b| **b != b'>').filter_map(|b| char::from(*b).to_digit(16));
    let digits: Vec<u8> = digits.filter_map(|d| u8::try_from(d).ok()).collect();
    digits.chunks(2).map(|p| p.first().copied().unwrap_or(0) << 4 | p.get(1).copied().unwrap_or(0)).collect()
}

fn ascii85(data: &[u8]) -> Vec<u8> {
    let (mut out, mut group) = (Vec::new(), Vec::new());
    let data = data.strip_prefix(b"<~").unwrap_or(data);
    for b in data {
        match b {
            b'~' => break,
            b'z' if group.is_empty() => out.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => {
                group.push(u32::from(b - b'!'));
                if group.len() == 5 {
                    out.extend_from_slice(&number85(&group).to_be_bytes());
                    group.clear();
                }
            }
            _ => {}
        }
    }
    let left = group.len();
    if left > 1 {
        group.resize(5, 84);
        out.extend(number85(&group).to_be_bytes().iter().take(left - 1));
    }
    out
}

fn number85(group: &[u32]) -> u32 {
    group.iter().fold(0_u32, |sum, digit| sum.wrapping_mul(85).wrapping_add(*digit))
}

fn run_length(data: &[u8], most: usize) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(length) = data.get(at).map(|b| usize::from(*b)).filter(|l| *l != 128) {
        if out.len() > most {
            break;
        }
        if length < 128 {
            let end = (at + 2 + length).min(data.len());
            out.extend_from_slice(data.get(at + 1..end).unwrap_or_default());
            at += 2 + length;
        } else {
            out.extend(std::iter::repeat_n(data.get(at + 1).copied().unwrap_or(0), 257 - length));
            at += 2;
        }
    }
    out
}

/// Predictors of PNG (10 and up) and TIFF (2, eight bits) (§7.4.4.4).
fn predict(data: Vec<u8>, coding: &Coding) -> Vec<u8> {
    let bytes = (coding.colours.clamp(1, 32) * coding.bits.clamp(1, 32)).div_ceil(8);
    let row = (coding.colours.clamp(1, 32) * coding.bits.clamp(1, 32) * coding.columns.clamp(1, 1 << 20)).div_ceil(8);
    match coding.predictor {
        10.. => png(&data, row, bytes),
        2 if coding.bits == 8 => {
            let mut out = data;
            for line in out.chunks_mut(row) {
                for i in bytes..line.len() {
                    let before = line.get(i - bytes).copied().unwrap_or(0);
                    if let Some(b) = line.get_mut(i) {
                        *b = b.wrapping_add(before);
                    }
                }
            }
            out
        }
        _ => data,
    }
}

fn png(data: &[u8], row: usize, bytes: usize) -> Vec<u8> {
    let (mut out, mut above) = (Vec::with_capacity(data.len()), vec![0_u8; row]);
    for line in data.chunks(row + 1) {
        let Some((kind, body)) = line.split_first() else { break };
        let mut current: Vec<u8> = Vec::with_capacity(row);
        for (i, b) in body.iter().enumerate() {
            let left = i.checked_sub(bytes).and_then(|j| current.get(j)).copied().unwrap_or(0);
            let up = above.get(i).copied().unwrap_or(0);
            let corner = i.checked_sub(bytes).and_then(|j| above.get(j)).copied().unwrap_or(0);
            let guess = match kind {
                1 => left,
                2 => up,
                3 => u8::try_from((u16::from(left) + u16::from(up)) / 2).unwrap_or(0),
                4 => paeth(left, up, corner),
                _ => 0,
            };
            current.push(b.wrapping_add(guess));
        }
        out.extend_from_slice(&current);
        current.resize(row, 0);
        above = current;
    }
    out
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let p = a + b - c;
    let (pa, pb, pc) = ((p - a).abs(), (p - b).abs(), (p - c).abs());
    if pa <= pb && pa <= pc {
        left
    } else if pb <= pc {
        up
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso32000_7_4_each_filter_gives_its_text_back() {
        assert_eq!(hex(b"48 65 6C6c6f7>"), b"Hellop");
        assert_eq!(ascii85(b"87cURD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(run_length(b"\x02abc\xfed\x80zz", 100), b"abcddd");
        assert_eq!(lzw(&[0x80, 0x0B, 0x60, 0x50, 0x22, 0x0C, 0x0C, 0x85, 0x01], false, 100), b"-----A---B");
        assert_eq!(png(&[1, 1, 1, 1, 2, 1, 1, 1], 3, 1), [1, 2, 3, 2, 3, 4]);
    }
}
