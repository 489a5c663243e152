//! XOR obfuscation, method 1 (MS-OFFCRYPTO §2.3.7.1 to §2.3.7.4): sixteen octets made of a password of at most fifteen.

use super::super::super::bytes::u16_at;

const PAD: [u8; 15] = [0xBB, 0xFF, 0xFF, 0xBA, 0xFF, 0xFF, 0xB9, 0x80, 0x00, 0xBE, 0x0F, 0x00, 0xBF, 0x0F, 0x00];
const INITIAL: [u16; 15] = [
    0xE1F0, 0x1D0F, 0xCC9C, 0x84C0, 0x110C, 0x0E10, 0xF1CE, 0x313E, 0x1872, 0xE139, 0xD40F, 0x84F9, 0x280C, 0xA96A,
    0x4EC3,
];
const MATRIX: [u16; 105] = [
    0xAEFC, 0x4DD9, 0x9BB2, 0x2745, 0x4E8A, 0x9D14, 0x2A09, 0x7B61, 0xF6C2, 0xFDA5, 0xEB6B, 0xC6F7, 0x9DCF, 0x2BBF,
    0x4563, 0x8AC6, 0x05AD, 0x0B5A, 0x16B4, 0x2D68, 0x5AD0, 0x0375, 0x06EA, 0x0DD4, 0x1BA8, 0x3750, 0x6EA0, 0xDD40,
    0xD849, 0xA0B3, 0x5147, 0xA28E, 0x553D, 0xAA7A, 0x44D5, 0x6F45, 0xDE8A, 0xAD35, 0x4A4B, 0x9496, 0x390D, 0x721A,
    0xEB23, 0xC667, 0x9CEF, 0x29FF, 0x53FE, 0xA7FC, 0x5FD9, 0x47D3, 0x8FA6, 0x0F6D, 0x1EDA, 0x3DB4, 0x7B68, 0xF6D0,
    0xB861, 0x60E3, 0xC1C6, 0x93AD, 0x377B, 0x6EF6, 0xDDEC, 0x45A0, 0x8B40, 0x06A1, 0x0D42, 0x1A84, 0x3508, 0x6A10,
    0xAA51, 0x4483, 0x8906, 0x022D, 0x045A, 0x08B4, 0x1168, 0x76B4, 0xED68, 0xCAF1, 0x85C3, 0x1BA7, 0x374E, 0x6E9C,
    0x3730, 0x6E60, 0xDCC0, 0xA9A1, 0x4363, 0x86C6, 0x1DAD, 0x3331, 0x6662, 0xCCC4, 0x89A9, 0x0373, 0x06E6, 0x0DCC,
    0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48C4,
];

#[derive(Clone, Copy, Debug)]
pub struct Xor {
    verifier: u16,
}

impl Xor {
    /// From behind the kind: key, verifier.
    pub fn read(data: &[u8]) -> Option<Self> {
        Some(Self { verifier: u16::try_from(u16_at(data, 2)?).ok()? })
    }

    /// The sixteen octets, when this is the password.
    pub fn array(&self, password: &str) -> Option<[u8; 16]> {
        let letters: Vec<u8> = password.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(0)).collect();
        let usable = !letters.is_empty() && letters.len() <= PAD.len() && !letters.contains(&0);
        (usable && verifier(&letters) == self.verifier).then(|| array(&letters))?
    }
}

/// §2.3.7.1
fn verifier(letters: &[u8]) -> u16 {
    let length = u8::try_from(letters.len()).unwrap_or(0);
    let turned = letters.iter().rev().chain([&length]).fold(0_u16, |sum, letter| {
        let high = u16::from(sum & 0x4000 != 0);
        (high | (sum << 1 & 0x7FFF)) ^ u16::from(*letter)
    });
    turned ^ 0xCE4B
}

/// §2.3.7.2
fn key(letters: &[u8]) -> Option<u16> {
    let mut key = *INITIAL.get(letters.len().checked_sub(1)?)?;
    let mut rows = MATRIX.iter().rev();
    for letter in letters.iter().rev() {
        let mut bits = *letter;
        for _ in 0..7 {
            let row = rows.next()?;
            if bits & 0x40 != 0 {
                key ^= row;
            }
            bits <<= 1;
        }
    }
    Some(key)
}

/// The password and its padding, every octet with one half of the key.
fn array(letters: &[u8]) -> Option<[u8; 16]> {
    let [low, high] = key(letters)?.to_le_bytes();
    let mut out = [0; 16];
    let text = letters.iter().chain(&PAD);
    for ((place, letter), half) in out.iter_mut().zip(text).zip([low, high].into_iter().cycle()) {
        *place = (letter ^ half).rotate_right(1);
    }
    Some(out)
}
