//! Mail of an agency to the world: completed, cleaned of our internal fields, S/MIME-signed, DKIM-signed.

use bytes::Bytes;

use super::keys::SealKeys;
use super::{SealError, Sealed, dkim, header, smime};
use crate::envelope::Envelope;
use crate::mail::header::{Headers, fold};
use crate::mail::mime::{self, Limits};
use crate::mail::{Mailbox, Timestamp};

/// What is known of a message on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Outward<'a> {
    pub hostname: &'a str,
    pub envelope: &'a Envelope,
    /// The one author; without one nothing is signed, for it is not ours to vouch for.
    pub from: Option<&'a Mailbox>,
    pub keys: &'a SealKeys,
    /// When it is signed.
    pub now: Timestamp,
}

/// What a seal did not do, and why; for receipt, log and metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// No DKIM key belongs to the From domain.
    DkimForeignDomain,
    /// The author signed or encrypted it already.
    SmimeAlreadySealed,
    /// The certificate speaks for other domains.
    SmimeForeignDomain,
    /// The certificate's time is over.
    SmimeExpired,
    /// 8-bit content inside signed parts or headers: no form of it survives every relay.
    SmimeNotSevenBit,
}

impl Note {
    /// Every one of them.
    pub const ALL: [Self; 5] = [
        Self::DkimForeignDomain,
        Self::SmimeAlreadySealed,
        Self::SmimeForeignDomain,
        Self::SmimeExpired,
        Self::SmimeNotSevenBit,
    ];

    /// The label of the metric.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::DkimForeignDomain => "dkim_foreign_domain",
            Self::SmimeAlreadySealed => "smime_already_sealed",
            Self::SmimeForeignDomain => "smime_foreign_domain",
            Self::SmimeExpired => "smime_expired",
            Self::SmimeNotSevenBit => "smime_not_seven_bit",
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DkimForeignDomain => "no DKIM key belongs to the From domain",
            Self::SmimeAlreadySealed => "the author signed or encrypted the message already",
            Self::SmimeForeignDomain => "the S/MIME certificate speaks for other domains than From",
            Self::SmimeExpired => "the S/MIME certificate has expired",
            Self::SmimeNotSevenBit => "the content has no 7-bit form that leaves its signed parts alone",
        }
    }
}

/// Makes the copy that leaves. Costs a private-key operation for each key: run it on the pool.
///
/// # Errors
/// A key that does not sign; the message waits.
pub fn outward(raw: &Bytes, facts: &Outward<'_>) -> Result<Sealed, SealError> {
    let mut head = Vec::with_capacity(4096);
    let single = match facts.envelope.recipients() {
        [only] => Some(&only.mailbox),
        _ => None,
    };
    head.extend(header::received(facts.envelope, facts.hostname, None, single));
    let offset = header::copy_without_ours(raw, facts.hostname, &mut head);
    let mut body = raw.slice(offset.min(raw.len())..);
    complete(&mut head, facts);
    let mut notes = Vec::new();
    match may_sign(raw, facts) {
        Ok(Some(pair)) => match smime::sign(pair, &head, &body, facts.envelope.id())? {
            Some((new_head, new_body)) => (head, body) = (new_head, new_body.into()),
            None => notes.push(Note::SmimeNotSevenBit),
        },
        Ok(None) => {}
        Err(note) => notes.push(note),
    }
    let signatures = dkim_signatures(&head, &body, facts, &mut notes)?;
    let mut out = signatures;
    out.extend_from_slice(&head);
    out.extend_from_slice(b"\r\n");
    Ok(Sealed { head: out.into(), body, notes })
}

/// RFC 6409 §8.1, §8.2: a submission without Date or Message-ID gets them.
fn complete(head: &mut Vec<u8>, facts: &Outward<'_>) {
    let headers = Headers::parse(head);
    let (no_date, no_id) = (headers.find("Date").is_none(), headers.find("Message-ID").is_none());
    if no_date {
        head.extend(fold("Date", &facts.envelope.received_at().rfc5322()));
    }
    if no_id {
        head.extend(fold("Message-ID", &format!("<{}@{}>", facts.envelope.id(), facts.hostname)));
    }
}

fn may_sign<'a>(raw: &[u8], facts: &Outward<'a>) -> Result<Option<&'a super::keys::SmimePair>, Note> {
    let (Some(pair), Some(from)) = (&facts.keys.smime, facts.from) else { return Ok(None) };
    if !pair.serves(from) {
        return Err(Note::SmimeForeignDomain);
    }
    if pair.not_after() <= facts.now {
        return Err(Note::SmimeExpired);
    }
    if smime::is_sealed_by_author(&mime::parse(raw, &Limits::default())) {
        return Err(Note::SmimeAlreadySealed);
    }
    Ok(Some(pair))
}

fn dkim_signatures(head: &[u8], body: &[u8], facts: &Outward<'_>, notes: &mut Vec<Note>) -> Result<Vec<u8>, SealError> {
    if facts.keys.dkim.is_empty() {
        return Ok(Vec::new());
    }
    // Only for our own domains and only where the signature will align (THREATS I-07, A-24).
    let ours: Vec<_> = facts
        .keys
        .dkim
        .iter()
        .filter(|pair| facts.from.is_some_and(|from| from.domain().is_within(&pair.domain)))
        .collect();
    if ours.is_empty() {
        notes.push(Note::DkimForeignDomain);
        return Ok(Vec::new());
    }
    let hash = dkim::body_hash(body);
    let mut fields = Vec::new();
    for pair in ours {
        fields.extend(dkim::sign(pair, head, &hash, facts.now)?);
    }
    Ok(fields)
}
