//! Encrypted PDF (ISO 32000-1 §7.6, ISO 32000-2 §7.6). Most open without a password: the owner only forbids printing or
//! copying, so every reader sees the content, and so must we. Others open with a word of the letter, or stay closed.

use aes::cipher::{Array, BlockModeEncrypt, KeyIvInit};
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::super::cipher::{self, rc4};
use super::scan::{Object, Value};

/// What stands in for missing letters of a password (§7.6.3.3).
const PAD: [u8; 32] = *b"\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    Rc4,
    Aes128,
    Aes256,
    /// Only streams that say so are encrypted.
    None,
}

/// The key of a file.
#[derive(Debug)]
pub struct Key {
    key: Vec<u8>,
    method: Method,
}

fn string<'o>(object: &'o Object, name: &str) -> Option<&'o [u8]> {
    object.pairs.iter().find_map(|(k, v)| match v {
        Value::String(s) if k == name => Some(s.as_slice()),
        _ => None,
    })
}

fn number(object: &Object, name: &str) -> Option<i64> {
    object.pairs.iter().find_map(|(k, v)| match v {
        Value::Number(n) if k == name => Some(*n),
        _ => None,
    })
}

impl Key {
    /// The key that the user's password gives, if it opens the file. `dictionary` holds the pairs of `/Encrypt`.
    pub fn open(dictionary: &Object, id: &[u8], password: &str) -> Option<Self> {
        if !dictionary.is("Filter", "Standard") {
            return None;
        }
        let (version, revision) = (number(dictionary, "V")?, number(dictionary, "R")?);
        if version >= 5 {
            let key = new_key(dictionary, revision, password.as_bytes().get(..127).unwrap_or(password.as_bytes()))?;
            return Some(Self {
                key,
                method: if dictionary.is("StmF", "Identity") { Method::None } else { Method::Aes256 },
            });
        }
        let aes = dictionary.is("CFM", "AESV2");
        let length = match version {
            1 => 5,
            2 | 3 => usize::try_from(number(dictionary, "Length").unwrap_or(40)).ok()?.clamp(40, 128) / 8,
            _ => 16,
        };
        let method = match (version, aes) {
            (4, true) => Method::Aes128,
            (4, false) if dictionary.is("StmF", "Identity") => Method::None,
            _ => Method::Rc4,
        };
        let key = old_key(dictionary, id, revision, length, &padded(password))?;
        Some(Self { key, method })
    }

    /// The octets of one string or stream of an object.
    pub fn decrypt(&self, object: &Object, data: &[u8]) -> Vec<u8> {
        let own = || {
            let mut hash = Md5::new();
            hash.update(&self.key);
            hash.update(object.number.to_le_bytes().get(..3).unwrap_or_default());
            hash.update(object.generation.to_le_bytes().get(..2).unwrap_or_default());
            if self.method == Method::Aes128 {
                hash.update(b"sAlT");
            }
            let digest = hash.finalize().to_vec();
            digest.into_iter().take((self.key.len() + 5).min(16)).collect::<Vec<u8>>()
        };
        match self.method {
            Method::None => data.to_vec(),
            Method::Rc4 => rc4(&own(), data),
            Method::Aes128 => chained(&own(), data),
            Method::Aes256 => chained(&self.key, data),
        }
    }
}

/// A password of 32 octets, one a letter (§7.6.3.3, algorithm 2 a).
fn padded(password: &str) -> Vec<u8> {
    let letters = password.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'));
    letters.chain(PAD).take(32).collect()
}

/// Algorithms 2, 4 and 5: the key, if it makes the same `/U` (§7.6.3.3, §7.6.3.4).
fn old_key(dictionary: &Object, id: &[u8], revision: i64, length: usize, password: &[u8]) -> Option<Vec<u8>> {
    let (owner, user) = (string(dictionary, "O")?, string(dictionary, "U")?);
    let permissions = u32::try_from(number(dictionary, "P")? & 0xFFFF_FFFF).ok()?;
    let mut hash = Md5::new();
    hash.update(password);
    hash.update(owner.get(..32)?);
    hash.update(permissions.to_le_bytes());
    hash.update(id);
    let plain_metadata =
        dictionary.pairs.iter().any(|(k, v)| k == "EncryptMetadata" && matches!(v, Value::Word(w) if w == "false"));
    if revision >= 4 && plain_metadata {
        hash.update([0xFF; 4]);
    }
    let mut key = hash.finalize().to_vec();
    if revision >= 3 {
        for _ in 0..50 {
            key = Md5::digest(key.get(..length)?).to_vec();
        }
    }
    key.truncate(length);
    if revision == 2 {
        return (rc4(&key, &PAD).as_slice() == user.get(..32)?).then_some(key);
    }
    let mut hash = Md5::new();
    hash.update(PAD);
    hash.update(id);
    let mut check = hash.finalize().to_vec();
    for round in 0..20_u8 {
        let turned: Vec<u8> = key.iter().map(|b| b ^ round).collect();
        check = rc4(&turned, &check);
    }
    (check.get(..16)? == user.get(..16)?).then_some(key)
}

/// Algorithm 2.A of ISO 32000-2 with the user's password.
fn new_key(dictionary: &Object, revision: i64, password: &[u8]) -> Option<Vec<u8>> {
    let (user, coded) = (string(dictionary, "U")?, string(dictionary, "UE")?);
    let hash = |salt: &[u8]| {
        if revision >= 6 { hardened(salt, password) } else { Some(Sha256::digest([password, salt].concat()).to_vec()) }
    };
    if hash(user.get(32..40)?)?.as_slice() != user.get(..32)? {
        return None;
    }
    let between = hash(user.get(40..48)?)?;
    let mut key = coded.get(..32)?.to_vec();
    cipher::cbc(&between, &[0; 16], &mut key)?;
    Some(key)
}

/// Algorithm 2.B of ISO 32000-2 with the user's password.
fn hardened(salt: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let mut key = Sha256::digest([password, salt].concat()).to_vec();
    for round in 0_usize..1000 {
        let mut text = [password, &key].concat().repeat(64);
        let mut cipher = cbc::Encryptor::<aes::Aes128>::new_from_slices(key.get(..16)?, key.get(16..32)?).ok()?;
        for block in text.chunks_exact_mut(16) {
            cipher.encrypt_block(<&mut Array<u8, _>>::try_from(block).ok()?);
        }
        let sum: usize = text.iter().take(16).map(|b| usize::from(*b)).sum();
        key = match sum % 3 {
            0 => Sha256::digest(&text).to_vec(),
            1 => Sha384::digest(&text).to_vec(),
            _ => Sha512::digest(&text).to_vec(),
        };
        if round >= 63 && usize::from(*text.last()?) <= round - 31 {
            break;
        }
    }
    key.truncate(32);
    Some(key)
}

/// The vector stands before the data; padding at its end is cut off where it is well formed.
fn chained(key: &[u8], data: &[u8]) -> Vec<u8> {
    let Some((vector, body)) = data.split_at_checked(16) else { return Vec::new() };
    let mut out = body.get(..body.len() / 16 * 16).unwrap_or_default().to_vec();
    if cipher::cbc(key, vector, &mut out).is_none() {
        return Vec::new();
    }
    let pad = usize::from(out.last().copied().unwrap_or(0));
    if (1..=16).contains(&pad) {
        out.truncate(out.len().saturating_sub(pad));
    }
    out
}
