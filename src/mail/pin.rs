//! A public key that is known by itself: of a next hop whose certificate no authority vouches for (Exchange and MDaemon
//! make their own, DOMAIN §2.1), or of a client on a relay listener. SHA-256 of the SubjectPublicKeyInfo, as RFC 7469 §2.4 counts it, so that a certificate renewed with
//! the same key keeps its pin.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PREFIX: &str = "sha256:";

/// One pin. Written `sha256:` and 64 hexadecimal digits (colons between them are fine), or 44 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyPin([u8; 32]);

/// Not a pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a pin is \"sha256:\" and the SHA-256 of the public key, 64 hexadecimal digits or 44 characters of base64")]
pub struct KeyPinError;

impl KeyPin {
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl FromStr for KeyPin {
    type Err = KeyPinError;

    fn from_str(text: &str) -> Result<Self, KeyPinError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(KeyPinError)?.trim();
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.len() == 64
            && let Some(digest) = from_hex(&digits)
        {
            return Ok(Self(digest));
        }
        let octets = STANDARD.decode(text).map_err(|_| KeyPinError)?;
        octets.try_into().map(Self).map_err(|_| KeyPinError)
    }
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0_u8; 32];
    for (octet, pair) in digest.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl Serialize for KeyPin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyPin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7469_2_4_a_pin_is_read_in_every_common_form() {
        let digest: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap() * 7);
        let pin = KeyPin::new(digest);
        let hex = pin.to_string();
        let digits = hex.strip_prefix("sha256:").unwrap();
        let pairs: Vec<&str> = (0..32).map(|i| &digits[2 * i..2 * i + 2]).collect();
        for text in [
            hex.clone(),
            format!("sha256:{}", digits.to_uppercase()),
            format!("sha256:{}", pairs.join(":")),
            format!(" sha256: {} ", STANDARD.encode(digest)),
        ] {
            assert_eq!(text.parse::<KeyPin>(), Ok(pin), "{text}");
        }
        assert_eq!(serde_json::to_string(&pin).unwrap(), format!("\"{hex}\""));
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        let short = "0".repeat(63);
        for bad in
            ["", "sha256:", &format!("sha256:{short}"), &"0".repeat(64), &format!("sha1:{short}0"), "sha256:????"]
        {
            assert_eq!(bad.parse::<KeyPin>(), Err(KeyPinError), "{bad}");
        }
    }
}
