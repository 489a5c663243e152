//! Standard encryption of OOXML (MS-OFFCRYPTO §2.3.4.5 to §2.3.4.9): AES in single blocks, a key by SHA-1.

use sha1::{Digest, Sha1};

use super::super::super::bytes::{slice, u32_at};
use super::super::super::cipher;

/// §2.3.4.7
pub const ROUNDS: u64 = 50_000;

#[derive(Debug)]
pub struct Standard {
    /// Octets of the key.
    length: usize,
    salt: Vec<u8>,
    verifier: Vec<u8>,
    hash: Vec<u8>,
}

impl Standard {
    /// From behind the version: flags, size of the header, header, verifier.
    pub fn read(description: &[u8]) -> Option<Self> {
        let size = u32_at(description, 4)?;
        let header = slice(description, 8, size);
        let length = match u32_at(header, 8)? {
            0x660F => 24,
            0x6610 => 32,
            0x660E | 0 => 16,
            _ => return None,
        };
        let rest = description.get(size.checked_add(8)?..)?;
        let salt = slice(rest, 4, 16).to_vec();
        Some(Self { length, salt, verifier: rest.get(20..36)?.to_vec(), hash: rest.get(40..72)?.to_vec() })
    }

    /// The file's key, when this is the password.
    pub fn key(&self, password: &str) -> Option<Vec<u8>> {
        let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut last = Sha1::digest([self.salt.as_slice(), &wide].concat());
        for round in 0..ROUNDS as u32 {
            last = Sha1::new().chain_update(round.to_le_bytes()).chain_update(last).finalize();
        }
        let digest = Sha1::new().chain_update(last).chain_update([0; 4]).finalize();
        let half = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(&digest).for_each(|(b, d)| *b ^= d);
            Sha1::digest(block).to_vec()
        };
        let key = [half(0x36), half(0x5C)].concat().get(..self.length)?.to_vec();
        let (mut verifier, mut hash) = (self.verifier.clone(), self.hash.clone());
        cipher::ecb(&key, &mut verifier)?;
        cipher::ecb(&key, &mut hash)?;
        hash.starts_with(&Sha1::digest(&verifier)).then_some(key)
    }
}

/// The octets behind the length.
pub fn open(key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut out = sealed.to_vec();
    cipher::ecb(key, &mut out).map(|()| out)
}
