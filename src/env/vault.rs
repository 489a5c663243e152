//! Sealing of what is kept on disk: AES-256-GCM (NIST SP 800-38D) with a random key for each thing, wrapped by a master
//! key. The home of `ring`.
//!
//! Invariants: a data key is used for one thing and every sealing has a fresh random nonce, so no nonce meets a key
//! twice; what a sealed octet string is for and where it stands is authenticated with it; keys are overwritten when
//! they are dropped and are never printed. Key material comes from the kernel's generator.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// Octets of a key.
pub const KEY: usize = 32;
/// What sealing adds: the nonce before, the tag behind.
pub const OVERHEAD: usize = NONCE_LEN + 16;
/// A wrapped data key.
pub const WRAP: usize = KEY + OVERHEAD;
/// Keys in one file; more are a mistake.
const MOST_KEYS: usize = 100;

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the kernel gives no random octets")]
    NoRandom,
    /// Damaged, exchanged, or sealed with another key.
    #[error("the seal is broken: the octets are not what was written, or the key is another")]
    Broken,
}

/// The name of a master key: the first octets of a digest of it. It tells nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A master key: wraps data keys and nothing else.
pub struct MasterKey {
    id: KeyId,
    octets: Secret,
}

/// Octets that are overwritten when they are given up.
#[derive(Clone)]
struct Secret([u8; KEY]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving the writes out.
        std::hint::black_box(&self.0);
    }
}

impl MasterKey {
    /// A new one.
    pub fn generate() -> Result<Self, VaultError> {
        let mut octets = [0; KEY];
        random(&mut octets)?;
        Ok(Self::of(octets))
    }

    fn of(octets: [u8; KEY]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"luytre master key id\0");
        context.update(&octets);
        let name = context.finish();
        let id = KeyId(name.as_ref().first_chunk().copied().unwrap_or_default());
        Self { id, octets: Secret(octets) }
    }

    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The line that stands in a key file.
    #[must_use]
    pub fn line(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(self.octets.0)
    }
}

impl FromStr for MasterKey {
    type Err = BadKeys;
    /// 64 hexadecimal digits (`openssl rand -hex 32`) or 32 octets in base64.
    fn from_str(text: &str) -> Result<Self, BadKeys> {
        let hex = |text: &str| -> Option<Vec<u8>> {
            let pair = |at: usize| u8::from_str_radix(text.get(at..at.checked_add(2)?)?, 16).ok();
            if text.len() == KEY * 2 { (0..KEY).map(|n| pair(n * 2)).collect() } else { None }
        };
        let octets = hex(text).or_else(|| base64::engine::general_purpose::STANDARD.decode(text).ok());
        let octets: [u8; KEY] = octets.and_then(|octets| octets.try_into().ok()).ok_or(BadKeys::Line(0))?;
        Ok(Self::of(octets))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// What is wrong with a key file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadKeys {
    #[error("there is no key in it")]
    Empty,
    #[error("line {0} is no key: 64 hexadecimal digits or 32 octets in base64 (`openssl rand -hex 32` makes one)")]
    Line(usize),
    #[error("there are too many keys in it")]
    Many,
}

/// Master keys: the first one wraps, the others only open what they wrapped before.
#[derive(Debug)]
pub struct Keys(Vec<MasterKey>);

impl Keys {
    /// A key file: one key a line, the one in use first; `#` begins a remark.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut all = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                all.push(line.parse().map_err(|_| BadKeys::Line(n.saturating_add(1)))?);
            }
            if all.len() > MOST_KEYS {
                return Err(BadKeys::Many);
            }
        }
        if all.is_empty() { Err(BadKeys::Empty) } else { Ok(Self(all)) }
    }

    /// One key, to begin with.
    #[must_use]
    pub fn of(key: MasterKey) -> Self {
        Self(vec![key])
    }

    /// With another key in use; those of before stay to open what they sealed.
    #[must_use]
    pub fn rotated(&self, key: MasterKey) -> Self {
        let old = self.0.iter().map(|old| MasterKey { id: old.id, octets: old.octets.clone() });
        Self(std::iter::once(key).chain(old).collect())
    }

    /// As [`Self::parse`] reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text =
            "# Master keys of the quarantine; the first one seals, the others open what they sealed.\n".to_owned();
        self.0.iter().for_each(|key| text.push_str(&format!("{} # {}\n", key.line(), key.id)));
        text
    }

    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.0.iter().map(MasterKey::id).collect()
    }

    /// The name of the one in use.
    #[must_use]
    pub fn current(&self) -> KeyId {
        self.0.first().map_or(KeyId([0; 8]), MasterKey::id)
    }

    /// A data key under the master key in use.
    pub fn wrap(&self, key: &DataKey) -> Result<(KeyId, [u8; WRAP]), VaultError> {
        let master = self.0.first().ok_or(VaultError::Broken)?;
        let sealed = cipher(&master.octets)?.seal(&master.id.0, &key.octets.0)?;
        Ok((master.id, sealed.try_into().map_err(|_| VaultError::Broken)?))
    }

    /// The data key again; `None` when the master key is not here.
    pub fn unwrap(&self, id: KeyId, wrapped: &[u8; WRAP]) -> Option<Result<DataKey, VaultError>> {
        let master = self.0.iter().find(|key| key.id == id)?;
        let open = || {
            let octets = cipher(&master.octets)?.open(&id.0, wrapped.to_vec())?;
            DataKey::of(octets.try_into().map_err(|_| VaultError::Broken)?)
        };
        Some(open())
    }

    /// A key for a purpose of its own, the same each time for the master key in use (HMAC-SHA-256 as in RFC 5869 §2.3).
    pub fn derived(&self, purpose: &str) -> Result<DataKey, VaultError> {
        let master = self.0.first().ok_or(VaultError::Broken)?;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &master.octets.0), purpose.as_bytes());
        DataKey::of(tag.as_ref().try_into().map_err(|_| VaultError::Broken)?)
    }
}

/// A key for one thing.
pub struct DataKey {
    octets: Secret,
    cipher: LessSafeKey,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

fn cipher(secret: &Secret) -> Result<DataKey, VaultError> {
    DataKey::of(secret.0)
}

impl DataKey {
    /// A new one.
    pub fn generate() -> Result<Self, VaultError> {
        let mut octets = [0; KEY];
        random(&mut octets)?;
        Self::of(octets)
    }

    fn of(octets: [u8; KEY]) -> Result<Self, VaultError> {
        let cipher = UnboundKey::new(&AES_256_GCM, &octets).map_err(|_| VaultError::Broken)?;
        Ok(Self { octets: Secret(octets), cipher: LessSafeKey::new(cipher) })
    }

    /// Nonce, ciphertext, tag. `place` says what it is and where it stands; it must be the same to open it.
    pub fn seal(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce)?;
        let mut out = Vec::with_capacity(plain.len().saturating_add(OVERHEAD));
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let (_, body) = out.split_at_mut(NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.cipher.seal_in_place_separate_tag(nonce, Aad::from(place), body);
        out.extend_from_slice(tag.map_err(|_| VaultError::Broken)?.as_ref());
        Ok(out)
    }

    /// What was sealed, or nothing at all.
    pub fn open(&self, place: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, VaultError> {
        let (nonce, body) = sealed.split_first_chunk_mut::<NONCE_LEN>().ok_or(VaultError::Broken)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.cipher.open_in_place(nonce, Aad::from(place), body).map_err(|_| VaultError::Broken)?.len();
        sealed.drain(..NONCE_LEN);
        sealed.truncate(plain);
        Ok(sealed)
    }
}

fn random(into: &mut [u8]) -> Result<(), VaultError> {
    SystemRandom::new().fill(into).map_err(|_| VaultError::NoRandom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_at_its_place_and_not_otherwise() {
        let (keys, data) = (Keys::of(MasterKey::generate().unwrap()), DataKey::generate().unwrap());
        let (id, wrapped) = keys.wrap(&data).unwrap();
        let again = keys.unwrap(id, &wrapped).unwrap().unwrap();
        let sealed = data.seal(b"body 1", b"thu mat").unwrap();
        assert_eq!(again.open(b"body 1", sealed.clone()), Ok(b"thu mat".to_vec()));
        assert_eq!(again.open(b"body 2", sealed.clone()), Err(VaultError::Broken), "another place");
        assert_eq!(DataKey::generate().unwrap().open(b"body 1", sealed.clone()), Err(VaultError::Broken));
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(data.open(b"body 1", bad), Err(VaultError::Broken), "octet {at}");
        }
        assert_eq!(data.open(b"body 1", vec![0; 5]), Err(VaultError::Broken));
        assert_ne!(data.seal(b"x", b"same").unwrap(), data.seal(b"x", b"same").unwrap(), "a nonce is used once");
        assert!(keys.unwrap(KeyId([0; 8]), &wrapped).is_none(), "an unknown master key is told from a broken seal");
    }

    #[test]
    fn a_key_file_reads_what_it_writes_and_an_old_key_opens_after_rotation() {
        let keys = Keys::of(MasterKey::generate().unwrap());
        let data = DataKey::generate().unwrap();
        let (id, wrapped) = keys.wrap(&data).unwrap();
        let rotated = keys.rotated(MasterKey::generate().unwrap());
        let read = Keys::parse(&rotated.text()).unwrap();
        assert_eq!(read.ids(), rotated.ids());
        assert!(read.current() != id && read.unwrap(id, &wrapped).unwrap().is_ok());
        let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        assert_eq!(Keys::parse(&format!("# mine\n\n  {hex} # x\n")).unwrap().ids().len(), 1);
        assert_eq!(Keys::parse("\n# nothing\n").err(), Some(BadKeys::Empty));
        assert_eq!(Keys::parse(&format!("{hex}\nabc\n")).err(), Some(BadKeys::Line(2)));
        let shown = format!("{keys:?} {data:?}");
        assert!(!shown.contains(&keys.0[0].line()), "{shown}");
    }
}
