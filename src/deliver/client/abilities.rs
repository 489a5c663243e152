//! What a server said in answer to EHLO (RFC 5321 §4.1.1.1), read leniently: `SIZE` without a number, unknown and
//! `X-` keywords, `AUTH=LOGIN` (DOMAIN §2.1, §2.4).

use crate::mail::Reply;

/// The extensions of one server. All off after HELO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Abilities {
    pub pipelining: bool,
    pub starttls: bool,
    pub eight_bit: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    pub chunking: bool,
    pub requiretls: bool,
    /// SIZE= is understood at MAIL.
    pub size: bool,
    /// The largest message it takes, octets; `None` when it did not say or said 0 (RFC 1870 §4).
    pub size_limit: Option<u64>,
}

impl Abilities {
    /// From the 250 of EHLO; the first line is the greeting and names no extension.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        let mut found = Self::default();
        for line in reply.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => found.pipelining = true,
                "STARTTLS" => found.starttls = true,
                "8BITMIME" => found.eight_bit = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "DSN" => found.dsn = true,
                "CHUNKING" => found.chunking = true,
                "REQUIRETLS" => found.requiretls = true,
                "SIZE" => {
                    found.size = true;
                    found.size_limit = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                }
                _ => {}
            }
        }
        found
    }
}
