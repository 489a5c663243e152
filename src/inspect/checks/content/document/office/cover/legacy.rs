//! Covers of the old binary formats: RC4 with 40 bits (MS-OFFCRYPTO §2.3.6), RC4 by CryptoAPI (§2.3.5), XOR (§2.3.7).

use md5::Md5;
use sha1::{Digest, Sha1};

use super::super::super::bytes::{slice, u16_at, u32_at};
use super::super::super::cipher::rc4;
use super::slides::Place;
use super::xor::Xor;

/// Octets of a block with a key of its own: Word's and Excel's.
const WORD: usize = 512;
const EXCEL: usize = 1024;
/// Octets at the start of the WordDocument stream that stay in clear (MS-DOC §2.2.6.2).
const CLEAR: usize = 68;

#[derive(Debug)]
pub enum Legacy {
    Rc4(Verifier),
    /// With the length of its key in bits.
    Api(Verifier, usize),
    Xor(Xor),
}

#[derive(Clone, Debug)]
pub struct Verifier {
    salt: Vec<u8>,
    sealed: Vec<u8>,
    hash: Vec<u8>,
}

impl Verifier {
    fn read(data: &[u8], hash: usize, between: usize) -> Option<Self> {
        let at = 32 + between;
        Some(Self {
            salt: data.get(..16)?.to_vec(),
            sealed: data.get(16..32)?.to_vec(),
            hash: data.get(at..at + hash)?.to_vec(),
        })
    }
}

impl Legacy {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rc4(_) => "RC4",
            Self::Api(..) => "RC4 CryptoAPI",
            Self::Xor(_) => "XOR",
        }
    }

    /// From its version on.
    pub fn read(data: &[u8]) -> Option<Self> {
        match (u16_at(data, 0)?, u16_at(data, 2)?) {
            (1, 1) => Verifier::read(data.get(4..)?, 16, 0).map(Self::Rc4),
            (2..=4, 2) => {
                let size = u32_at(data, 8)?;
                let bits = u32_at(slice(data, 12, size), 16)?;
                let bits = if bits == 0 { 40 } else { bits };
                // Length of the salt, salt, verifier, length of its hash, hash.
                let rest = data.get(size.checked_add(16)?..)?;
                Verifier::read(rest, 20, 4).filter(|_| (40..=128).contains(&bits)).map(|v| Self::Api(v, bits))
            }
            _ => None,
        }
    }

    /// What streams are read with, when this is the password.
    pub fn key(&self, password: &str) -> Option<Key> {
        let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let key = match self {
            Self::Xor(cover) => return cover.array(password).map(Key::Xor),
            Self::Rc4(verifier) => {
                let short = Md5::digest(&wide);
                let repeated = [short.get(..5)?, &verifier.salt].concat().repeat(16);
                Key::Rc4(Md5::digest(repeated).get(..5)?.to_vec())
            }
            Self::Api(verifier, bits) => {
                Key::Api(Sha1::digest([verifier.salt.as_slice(), &wide].concat()).to_vec(), *bits)
            }
        };
        let (Self::Rc4(verifier) | Self::Api(verifier, _)) = self else { return None };
        let opened = rc4(&key.block(0), &[verifier.sealed.as_slice(), &verifier.hash].concat());
        let (input, hash) = opened.split_at_checked(16)?;
        let wanted = match self {
            Self::Rc4(_) => Md5::digest(input).to_vec(),
            _ => Sha1::digest(input).to_vec(),
        };
        (hash == wanted).then_some(key)
    }
}

/// What opens the streams of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    Rc4(Vec<u8>),
    Api(Vec<u8>, usize),
    Xor([u8; 16]),
    /// Of PowerPoint: with the objects it opens.
    Slides(Box<Self>, Vec<Place>),
}

impl Key {
    /// The key of one block (§2.3.5.2, §2.3.6.2).
    fn block(&self, number: u32) -> Vec<u8> {
        match self {
            Self::Rc4(base) => Md5::new().chain_update(base).chain_update(number.to_le_bytes()).finalize().to_vec(),
            Self::Api(base, bits) => {
                let mut key = Sha1::new().chain_update(base).chain_update(number.to_le_bytes()).finalize().to_vec();
                key.truncate(bits / 8);
                if *bits == 40 {
                    key.resize(16, 0);
                }
                key
            }
            Self::Xor(_) | Self::Slides(..) => Vec::new(),
        }
    }

    /// Objects of PowerPoint: eight octets of head, the last four of which say how long each is, in one run of the cipher.
    fn slides(&self, places: &[Place], data: Vec<u8>) -> Vec<u8> {
        let mut out = data.clone();
        let mut left = data.len().saturating_mul(2);
        for (number, start) in places {
            let key = self.block(*number);
            let length = u32_at(&rc4(&key, slice(&data, *start, 8)), 4).unwrap_or(0).saturating_add(8);
            let sealed = slice(&data, *start, length);
            // Objects lie one behind the other: more than all of it twice is a lie.
            let Some(rest) = left.checked_sub(sealed.len()) else { break };
            left = rest;
            if let Some(place) = out.get_mut(*start..start.saturating_add(sealed.len())) {
                place.copy_from_slice(&rc4(&key, sealed));
            }
        }
        out
    }

    fn blocks(&self, data: &[u8], size: usize) -> Vec<u8> {
        (0_u32..).zip(data.chunks(size)).flat_map(|(number, block)| rc4(&self.block(number), block)).collect()
    }

    /// The octets of a stream in clear; of a stream that is not covered, as they are.
    pub fn open(&self, name: &str, data: Vec<u8>) -> Vec<u8> {
        match (name.to_ascii_lowercase().as_str(), self) {
            ("powerpoint document", Self::Slides(key, places)) => key.slides(places, data),
            ("workbook" | "book", Self::Rc4(_) | Self::Api(..) | Self::Xor(_)) => self.book(data),
            ("worddocument", Self::Rc4(_) | Self::Api(..)) => {
                let mut out = self.blocks(&data, WORD);
                let clear = CLEAR.min(out.len());
                if let (Some(start), Some(clear)) = (out.get_mut(..clear), data.get(..clear)) {
                    start.copy_from_slice(clear);
                }
                out
            }
            ("data" | "0table" | "1table", Self::Rc4(_) | Self::Api(..)) => self.blocks(&data, WORD),
            _ => data,
        }
    }

    /// Records: their heads stay in clear, and the bodies of some (MS-XLS §2.2.10).
    fn book(&self, data: Vec<u8>) -> Vec<u8> {
        let mut out = match self {
            Self::Xor(_) => data.clone(),
            _ => self.blocks(&data, EXCEL),
        };
        let mut at = 0;
        while let (Some(kind), Some(length)) = (u16_at(&data, at), u16_at(&data, at + 2)) {
            let clear = match kind {
                // BOF, FilePass, UsrExcl, FileLock, InterfaceHdr, RRDInfo, RRDHead
                0x0809 | 0x0409 | 0x0209 | 0x002F | 0x0194 | 0x0195 | 0x00E1 | 0x0196 | 0x0138 => length,
                // The place of the sheet in BoundSheet8.
                0x0085 => 4.min(length),
                _ => 0,
            };
            let (start, end) = (at + 4 + clear, (at + 4 + length).min(data.len()));
            if let (Some(out), Some(data)) =
                (out.get_mut(at..start.min(data.len())), data.get(at..start.min(data.len())))
            {
                out.copy_from_slice(data);
            }
            if let (Self::Xor(array), Some(body)) = (self, out.get_mut(start.min(end)..end)) {
                // §2.3.7.4: by the end of the record.
                let first = (at + 4 + length + clear.min(4)) % 16;
                for (octet, mask) in body.iter_mut().zip(array.iter().cycle().skip(first)) {
                    *octet = (*octet ^ mask).rotate_right(5);
                }
            }
            at += 4 + length;
        }
        out
    }
}
