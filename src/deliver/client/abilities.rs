//! What a server said in answer to EHLO (RFC 5321 §4.1.1.1), read leniently: `SIZE` without a number, unknown and
//! `X-` keywords, `AUTH=LOGIN` (DOMAIN §2.1, §2.4).

use crate::mail::{MailParams, Mailbox, Parcel, Reply, ReversePath};

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

    /// Why a server with these abilities cannot take such a message; `None` when it can, as far as this tells.
    #[must_use]
    pub fn refuses(&self, needs: Needs) -> Option<Reply> {
        if self.size_limit.zip(needs.size_bytes).is_some_and(|(limit, size)| size > limit) {
            // RFC 1870 §6.1: the client need not try.
            return Some(Reply::new(552, "5.3.4", "Message too large for the next server"));
        }
        if needs.smtputf8 && !self.smtputf8 {
            // RFC 6531 §3.1: no downgrade; RFC 3463 X.6.7.
            return Some(Reply::new(550, "5.6.7", "The next server does not support internationalised addresses"));
        }
        if needs.requiretls && !self.requiretls {
            // RFC 8689 §4.2.1.
            return Some(Reply::new(550, "5.7.30", "REQUIRETLS support required"));
        }
        None
    }
}

/// What a message asks of every server on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// `None` while nobody has said.
    pub size_bytes: Option<u64>,
    pub smtputf8: bool,
    pub requiretls: bool,
}

impl Needs {
    /// Of a whole message for the recipients `to`.
    #[must_use]
    pub fn of(parcel: &Parcel, to: &[usize], size_bytes: u64) -> Self {
        let meta = &parcel.meta;
        let ascii = meta.sender.mailbox().is_none_or(Mailbox::is_ascii)
            && to.iter().filter_map(|i| meta.recipients.get(*i)).all(|r| r.mailbox.is_ascii());
        Self {
            size_bytes: Some(size_bytes),
            smtputf8: !ascii || (meta.params.smtputf8 && !parcel.head.is_ascii()),
            requiretls: meta.params.requiretls,
        }
    }

    /// Of a message of which only the envelope is known so far.
    #[must_use]
    pub fn announced(sender: &ReversePath, to: &Mailbox, params: &MailParams) -> Self {
        let ascii = sender.mailbox().is_none_or(Mailbox::is_ascii) && to.is_ascii();
        Self { size_bytes: params.size, smtputf8: !ascii, requiretls: params.requiretls }
    }
}
