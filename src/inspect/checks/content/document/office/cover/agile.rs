//! Agile encryption of OOXML (MS-OFFCRYPTO §2.3.4.10 to §2.3.4.15): described in XML, AES in segments of 4,096 octets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::super::super::cipher;
use super::super::super::markup::{self, Piece, Tag};

/// What is hashed with the password's digest for each of three keys (§2.3.4.13).
const INPUT: [u8; 8] = [0xFE, 0xA7, 0xD2, 0x76, 0x3B, 0x4B, 0x9E, 0x79];
const VALUE: [u8; 8] = [0xD7, 0xAA, 0x0F, 0x6D, 0x30, 0x61, 0x34, 0x4E];
const KEY: [u8; 8] = [0x14, 0x6E, 0x0B, 0xE7, 0xAB, 0xAC, 0xD0, 0xD6];
const SEGMENT: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(&self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
    /// §2.3.4.11: the digest is hashed again so often, behind a counter.
    fn rounds(self, start: &[u8], rounds: u32) -> Vec<u8> {
        fn turn<D: Digest>(start: &[u8], rounds: u32) -> Vec<u8> {
            let mut last = D::digest(start);
            for round in 0..rounds {
                last = D::new().chain_update(round.to_le_bytes()).chain_update(&last).finalize();
            }
            last.to_vec()
        }
        match self {
            Self::Sha1 => turn::<Sha1>(start, rounds),
            Self::Sha256 => turn::<Sha256>(start, rounds),
            Self::Sha384 => turn::<Sha384>(start, rounds),
            Self::Sha512 => turn::<Sha512>(start, rounds),
        }
    }
}

/// `keyData` or `encryptedKey`.
#[derive(Debug)]
struct Coding {
    salt: Vec<u8>,
    hash: Hash,
    /// Octets of the key.
    length: usize,
}

impl Coding {
    fn read(tag: &Tag) -> Option<Self> {
        let hash = match tag.get("hashalgorithm") {
            "SHA1" | "SHA-1" => Hash::Sha1,
            "SHA256" | "SHA-256" => Hash::Sha256,
            "SHA384" | "SHA-384" => Hash::Sha384,
            "SHA512" | "SHA-512" => Hash::Sha512,
            _ => return None,
        };
        let usual = tag.get("cipheralgorithm") == "AES" && tag.get("cipherchaining") == "ChainingModeCBC";
        let bits = tag.get("keybits").parse::<usize>().ok()?;
        (usual && matches!(bits, 128 | 192 | 256)).then_some(())?;
        Some(Self { salt: STANDARD.decode(tag.get("saltvalue")).ok()?, hash, length: bits / 8 })
    }
    /// A digest cut to a key, or made longer (§2.3.4.11).
    fn fit(&self, mut digest: Vec<u8>) -> Vec<u8> {
        digest.resize(self.length, 0x36);
        digest
    }
}

/// What is known of the file's cover.
#[derive(Debug)]
pub struct Agile {
    data: Coding,
    password: Coding,
    rounds: u32,
    input: Vec<u8>,
    value: Vec<u8>,
    key: Vec<u8>,
}

impl Agile {
    pub fn read(description: &[u8]) -> Option<Self> {
        let (mut data, mut password) = (None, None);
        markup::walk(&markup::decode(description), |piece| match piece {
            Piece::Start(tag) if tag.name == "keydata" => data = data.take().or_else(|| Coding::read(&tag)),
            Piece::Start(tag) if tag.name == "encryptedkey" && !tag.get("spincount").is_empty() => {
                password.get_or_insert(tag);
            }
            _ => {}
        });
        let (data, tag): (Coding, Tag) = (data?, password?);
        let octets = |name: &str| STANDARD.decode(tag.get(name)).ok();
        Some(Self {
            data,
            password: Coding::read(&tag)?,
            rounds: tag.get("spincount").parse().ok()?,
            input: octets("encryptedverifierhashinput")?,
            value: octets("encryptedverifierhashvalue")?,
            key: octets("encryptedkeyvalue")?,
        })
    }

    pub const fn rounds(&self) -> u64 {
        self.rounds as u64
    }

    /// The file's key, when this is the password.
    pub fn key(&self, password: &str) -> Option<Vec<u8>> {
        let coding = &self.password;
        let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let digest = coding.hash.rounds(&[coding.salt.as_slice(), &wide].concat(), self.rounds);
        let open = |block: [u8; 8], sealed: &[u8]| {
            let key = coding.fit(coding.hash.of(&[digest.as_slice(), &block].concat()));
            let mut out = sealed.to_vec();
            cipher::cbc(&key, &vector(coding.salt.clone()), &mut out).map(|()| out)
        };
        let wanted = coding.hash.of(&open(INPUT, &self.input)?);
        if !open(VALUE, &self.value)?.starts_with(&wanted) {
            return None;
        }
        let mut key = open(KEY, &self.key)?;
        key.truncate(self.data.length);
        Some(key)
    }

    /// The octets behind the length.
    pub fn open(&self, key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut out = sealed.to_vec();
        for (number, segment) in (0_u32..).zip(out.chunks_mut(SEGMENT)) {
            let salt = self.data.hash.of(&[self.data.salt.as_slice(), &number.to_le_bytes()].concat());
            cipher::cbc(key, &vector(salt), segment)?;
        }
        Some(out)
    }
}

/// Sixteen octets (§2.3.4.12).
fn vector(mut salt: Vec<u8>) -> Vec<u8> {
    salt.resize(16, 0x36);
    salt
}
