//! The two covers of zip: the traditional one (APPNOTE §6.1) and AES (WinZip's AE-1 and AE-2). A password counts as
//! found only when the octets it gives unpack to what the header's checksum, or the authentication code, promises.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::super::bytes::{le, piece};
use super::super::crypt::pbkdf2;
use super::super::{Budget, Stop};
use super::entry::Entry;
use super::method::{self, Out};

/// Method number of an entry under AES; the true one is in the extra field.
const COVERED: usize = 99;
/// Rounds of PBKDF2, fixed by the format.
const ROUNDS: u32 = 1000;

/// The extra field of AES.
#[derive(Clone, Copy)]
pub(super) struct Aes {
    /// Octets of the key: 16, 24 or 32.
    key: usize,
    method: usize,
}

impl Aes {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let key = match body.get(4)? {
            1 => 16,
            2 => 24,
            3 => 32,
            _ => return None,
        };
        Some(Self { key, method: le(body, 5, 2)? })
    }
}

/// What `body` is under `password`, when that is the one.
pub(super) fn attempt(entry: &Entry<'_>, body: &[u8], password: &[u8], budget: &Budget) -> Option<Out> {
    match entry.aes {
        Some(aes) if entry.method == COVERED => under_aes(entry, aes, body, password, budget),
        _ => traditional(entry, body, password, budget),
    }
}

fn traditional(entry: &Entry<'_>, body: &[u8], password: &[u8], budget: &Budget) -> Option<Out> {
    let mut keys = Keys::new(password);
    let header: Vec<u8> = body.get(..12)?.iter().map(|b| keys.open(*b)).collect();
    // With a descriptor behind the octets the checksum was not known yet: then the time takes its place.
    let check = *header.last()?;
    if check != (entry.crc >> 24) as u8 && check != (entry.time >> 8) as u8 {
        return None;
    }
    let plain: Vec<u8> = body.get(12..)?.iter().map(|b| keys.open(*b)).collect();
    let out = method::unpack(entry, entry.method, &plain, plain.len(), budget).ok()?;
    // A limit may cut the octets short: then the check octet and a stream that unpacks must do.
    let cut = matches!(out.stop, Stop::Bomb | Stop::Full) && entry.method != 0;
    (cut || (out.stop == Stop::End && out.crc() == entry.crc)).then_some(out)
}

/// APPNOTE §6.1.5.
struct Keys([u32; 3]);

impl Keys {
    fn new(password: &[u8]) -> Self {
        let mut keys = Self([0x1234_5678, 0x2345_6789, 0x3456_7890]);
        password.iter().for_each(|b| keys.update(*b));
        keys
    }
    fn update(&mut self, plain: u8) {
        let [a, b, c] = &mut self.0;
        *a = step(*a, plain);
        *b = b.wrapping_add(*a & 0xFF).wrapping_mul(134_775_813).wrapping_add(1);
        *c = step(*c, (*b >> 24) as u8);
    }
    fn open(&mut self, covered: u8) -> u8 {
        let [.., c] = self.0;
        let mask = (c | 2) & 0xFFFF;
        let plain = covered ^ ((mask.wrapping_mul(mask ^ 1) >> 8) as u8);
        self.update(plain);
        plain
    }
}

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler: a wrong index does not build")]
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let (mut sum, mut bit) = (octet as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0xEDB8_8320 };
            bit += 1;
        }
        table[octet] = sum;
        octet += 1;
    }
    table
};

/// One octet more of a CRC-32, without the inversions at its ends.
fn step(crc: u32, octet: u8) -> u32 {
    let [low, ..] = crc.to_le_bytes();
    TABLE.get(usize::from(low ^ octet)).copied().unwrap_or_default() ^ (crc >> 8)
}

fn under_aes(entry: &Entry<'_>, aes: Aes, body: &[u8], password: &[u8], budget: &Budget) -> Option<Out> {
    let salt = aes.key / 2;
    let mut derived = vec![0; aes.key * 2 + 2];
    pbkdf2::<Hmac<Sha1>>(password, body.get(..salt)?, ROUNDS, &mut derived);
    // Two octets tell most wrong passwords at once, ten behind the octets tell the rest.
    if derived.get(aes.key * 2..)? != piece(body, salt, 2)? {
        return None;
    }
    let covered = body.get(salt + 2..body.len().checked_sub(10)?)?;
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(derived.get(aes.key..aes.key * 2)?).ok()?;
    mac.update(covered);
    if mac.finalize().into_bytes().get(..10)? != body.get(body.len() - 10..)? {
        return None;
    }
    let key = derived.get(..aes.key)?;
    let plain = match aes.key {
        16 => counter(&aes::Aes128::new_from_slice(key).ok()?, covered),
        24 => counter(&aes::Aes192::new_from_slice(key).ok()?, covered),
        _ => counter(&aes::Aes256::new_from_slice(key).ok()?, covered),
    };
    method::unpack(entry, aes.method, &plain, plain.len(), budget).ok()
}

/// Counter mode with a little-endian counter that begins at one.
fn counter<C: BlockCipherEncrypt>(cipher: &C, covered: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(covered.len());
    for (number, chunk) in (1_u128..).zip(covered.chunks(16)) {
        let mut block = aes::cipher::Array::<u8, C::BlockSize>::default();
        for (place, octet) in block.iter_mut().zip(number.to_le_bytes()) {
            *place = octet;
        }
        cipher.encrypt_block(&mut block);
        plain.extend(chunk.iter().zip(&block).map(|(c, mask)| c ^ mask));
    }
    plain
}
