//! A public key as a domain publishes it in DNS, and whether it verifies a signature (RFC 6376 §3.6.1, RFC 8301, 8463).

use mail_auth::common::crypto::Algorithm;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;

use super::tags::Tags;
use crate::env::Dns;
use crate::inspect::AuthResult;

/// A key record longer than this is no key.
const MOST_OCTETS: usize = 4096;
/// RFC 8301 §3.2: shorter RSA keys must not be accepted.
const FEWEST_BITS: usize = 1024;
/// RFC 8301 asks for 4,096 at least; beyond this a key only costs time.
const MOST_BITS: usize = 8192;

/// A key that may verify mail.
pub struct Key {
    key: DomainKey,
    /// `t=s`: the identity must be of the signing domain itself.
    pub exact_identity: bool,
    /// RSA below 2,048 bits.
    pub weak: bool,
}

/// Why there is no key: the result for the signature and the reason.
pub type Missing = (AuthResult, String);

/// Fetches and reads the key at `selector._domainkey.domain`. Of several records the first that reads counts.
pub async fn fetch(dns: &Dns, selector: &str, domain: &str, algorithm: Algorithm) -> Result<Key, Missing> {
    let name = format!("{selector}._domainkey.{domain}");
    let texts = match dns.txt(&name).await {
        Ok(texts) => texts,
        Err(error) if error.is_void() => return Err((AuthResult::PermError, format!("no key at {name}"))),
        Err(error) => return Err((AuthResult::TempError, error.to_string())),
    };
    let mut problem = None;
    for text in &texts {
        match Key::read(text, algorithm) {
            Ok(key) => return Ok(key),
            Err(why) => problem = problem.or(Some(why)),
        }
    }
    Err((AuthResult::PermError, problem.map_or_else(|| format!("no key at {name}"), str::to_owned)))
}

impl Key {
    fn read(text: &str, algorithm: Algorithm) -> Result<Self, &'static str> {
        if text.len() > MOST_OCTETS {
            return Err("the key record is too long");
        }
        let tags = Tags::parse(text).map_err(|_| "the key record cannot be read")?;
        if tags.get("v").is_some_and(|v| v != "DKIM1" || tags.first() != Some("v")) {
            return Err("the key record is not of DKIM1");
        }
        let kind = tags.get("k").filter(|k| !k.is_empty()).unwrap_or("rsa");
        let wanted = if algorithm == Algorithm::Ed25519Sha256 { "ed25519" } else { "rsa" };
        if kind != wanted {
            return Err("the key is of another kind than the signature");
        }
        let lists = |name: &str, word: &str| {
            tags.get(name)
                .is_none_or(|list| list.split(':').any(|entry| matches!(entry.trim(), "*") || entry.trim() == word))
        };
        if tags.get("h").is_some() && !lists("h", "sha256") {
            return Err("the key is not for sha256");
        }
        if !lists("s", "email") {
            return Err("the key is not for mail");
        }
        match tags.compact("p").as_deref() {
            None => return Err("the key record has no key"),
            Some("") => return Err("the key is revoked"),
            Some(_) => {}
        }
        let octets = match tags.base64("p") {
            Some(Ok(octets)) => octets,
            _ => return Err("the key is not base64"),
        };
        let key = DomainKey::parse(text.as_bytes()).map_err(|_| "the key record cannot be read")?;
        let bits = key.p.public_key_bits();
        let weak = if wanted == "rsa" {
            if bits < FEWEST_BITS {
                return Err("the RSA key is shorter than 1024 bits (RFC 8301)");
            }
            if bits > MOST_BITS {
                return Err("the RSA key is longer than 8192 bits");
            }
            bits < 2048
        } else {
            if octets.len() != 32 {
                return Err("the Ed25519 key is not of 32 octets");
            }
            false
        };
        let exact_identity = tags.get("t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "s"));
        Ok(Self { key, exact_identity, weak })
    }

    /// Whether `signature` was made over `octets` with this key.
    pub fn verifies(&self, octets: &[u8], signature: &[u8], algorithm: Algorithm) -> bool {
        self.key.p.verify_bytes(octets, signature, algorithm).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn read(text: &str) -> Result<(), &'static str> {
        Key::read(text, Algorithm::Ed25519Sha256).map(drop)
    }

    #[test]
    fn rfc6376_3_6_1_key_records_are_held_to_the_grammar() {
        assert_eq!(read(&format!("v=DKIM1; k=ed25519; h=sha256; s=*; t=s; n=; p={ED}")), Ok(()));
        assert_eq!(read(&format!("k=ed25519; p={ED}")), Ok(()));
        for bad in [
            format!("v=DKIM0; k=ed25519; p={ED}"),
            format!("k=ed25519; v=DKIM1; p={ED}"),
            format!("v=DKIM1; p={ED}"),
            format!("v=DKIM1; k=ed25519; h=sha1; p={ED}"),
            format!("v=DKIM1; k=ed25519; s=tlsrpt; p={ED}"),
            "v=DKIM1; k=ed25519; p=".to_owned(),
            "v=DKIM1; k=ed25519".to_owned(),
            "v=DKIM1; k=ed25519; p=AAAA".to_owned(),
            format!("v=DKIM1; k=ed25519; p={ED}; p={ED}"),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rfc8301_short_rsa_keys_are_refused() {
        let short = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALlfiByxp1G06vKhBgBjOSBCZNs+85CICvfYcseIJWSdJq7ytPIZuE8Ac+Hk7C+5che/kCDSK3vrgCSjQA827psCAwEAAQ==";
        let answer = Key::read(&format!("v=DKIM1; k=rsa; p={short}"), Algorithm::RsaSha256).map(drop);
        assert_eq!(answer, Err("the RSA key is shorter than 1024 bits (RFC 8301)"));
    }
}
