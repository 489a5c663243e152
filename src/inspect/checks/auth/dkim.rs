//! DKIM, RFC 6376 with RFC 8301, 8463 and 8616: every signature that is looked at gets a result of its own.
//!
//! Two steps. [`read`] is CPU work without I/O: it picks the signatures, checks their tags, hashes the body. [`verify`]
//! fetches keys and verifies. A signature that does not cover From is a permerror (§6.1.1, THREATS T3); one with `l=`
//! is not used at all, since what it does not cover can be anything (THREATS A-12).

use mail_auth::common::crypto::Algorithm;

use super::all::all;
use super::key::{self, Key};
use super::signature::{self, Material, Signature};
use super::tags::Tags;
use crate::env::Dns;
use crate::inspect::AuthResult;
use crate::inspect::case::DkimFact;
use crate::mail::header::Headers;
use crate::mail::{Domain, Timestamp};

/// Clocks of senders differ from ours; a signature from further in the future is refused (THREATS A-15).
const FUTURE_SECONDS: i64 = 3600;
/// A signature that ran out less than this ago still counts.
const GRACE_SECONDS: i64 = 300;

/// The signatures of a message, ready for their keys.
#[derive(Clone, Debug, Default)]
pub struct Signatures {
    chosen: Vec<Chosen>,
    /// Fields beyond the limit, not looked at.
    pub left_out: usize,
}

#[derive(Clone, Debug)]
struct Chosen {
    fact: DkimFact,
    /// What is left to verify; `None` when the result is settled.
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    signature: Signature,
    octets: Vec<u8>,
}

/// A result with what only its key could tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    pub fact: DkimFact,
    /// Passed with an RSA key below 2,048 bits.
    pub weak_key: bool,
    /// `t=`, of a signature that passed.
    pub made: Option<i64>,
}

/// Picks `limit` signatures, those whose `d=` aligns with `from` first, and checks all that needs no key.
pub fn read(
    headers: &Headers<'_>,
    raw: &[u8],
    material: &mut Material<'_>,
    from: Option<&Domain>,
    limit: usize,
) -> Signatures {
    let mut fields: Vec<_> = headers.all("DKIM-Signature").collect();
    let aligned = |value: &str| {
        let signer = Tags::parse(value).ok().and_then(|tags| Domain::parse(tags.get("d")?).ok());
        signer.zip(from).is_some_and(|(signer, from)| signer.organisational() == from.organisational())
    };
    let found = fields.len();
    if found > limit {
        // Stable: within each half the order of the message stays.
        fields.sort_by_cached_key(|field| !aligned(&field.unfolded()));
        fields.truncate(limit);
    }
    let chosen = fields
        .into_iter()
        .map(|field| choose(&field.unfolded(), raw.get(field.range.clone()).unwrap_or_default(), material));
    Signatures { chosen: chosen.collect(), left_out: found.saturating_sub(limit) }
}

fn choose(value: &str, field: &[u8], material: &mut Material<'_>) -> Chosen {
    let settled =
        |fact: DkimFact, result, detail: String| Chosen { fact: DkimFact { result, detail, ..fact }, open: None };
    let tags = match Tags::parse(value) {
        Ok(tags) => tags,
        Err(error) => return settled(DkimFact::default(), AuthResult::PermError, error.to_string()),
    };
    let text = |name: &str| tags.get(name).unwrap_or_default().chars().take(253).collect::<String>();
    let fact = DkimFact {
        domain: text("d").to_ascii_lowercase(),
        selector: text("s"),
        algorithm: text("a"),
        signature_start: tags.compact("b").unwrap_or_default().chars().take(8).collect(),
        ..DkimFact::default()
    };
    let signature = match check(&tags) {
        Ok(signature) => signature,
        Err(why) => return settled(fact, AuthResult::PermError, why),
    };
    let fact = DkimFact { domain: signature.domain.clone(), selector: signature.selector.clone(), ..fact };
    if signature.partial {
        return settled(fact, AuthResult::Policy, "l= leaves a part of the body unsigned".to_owned());
    }
    if !material.body_matches(&signature) {
        return settled(fact, AuthResult::Fail, "the body was changed".to_owned());
    }
    match material.signed_octets(&signature, field) {
        Some(octets) => Chosen { fact, open: Some(Open { signature, octets }) },
        None => settled(fact, AuthResult::PermError, "the field cannot be read".to_owned()),
    }
}

/// What DKIM wants beyond the tags it shares with ARC (RFC 6376 §3.5, §6.1.1).
fn check(tags: &Tags<'_>) -> Result<Signature, String> {
    if tags.get("v") != Some("1") {
        return Err("v= is not 1".to_owned());
    }
    let signature = signature::read(tags)?;
    if !signature.signed.iter().any(|name| name == "from") {
        return Err("h= does not cover From (RFC 6376 §6.1.1)".to_owned());
    }
    if tags.get("q").is_some_and(|q| !q.split(':').any(|method| method.trim() == "dns/txt")) {
        return Err("q= knows no way to the key".to_owned());
    }
    if let Some(identity) = &signature.identity {
        let inside = identity.strip_suffix(&signature.domain).is_some_and(|r| r.is_empty() || r.ends_with('.'));
        if !inside {
            return Err("i= is outside d=".to_owned());
        }
    }
    Ok(signature)
}

/// Fetches the keys, all at once, and verifies.
pub async fn verify(dns: &Dns, signatures: Signatures, now: Timestamp) -> Vec<Verified> {
    all(signatures.chosen.into_iter().map(|chosen| settle(dns, chosen, now))).await
}

async fn settle(dns: &Dns, chosen: Chosen, now: Timestamp) -> Verified {
    let Chosen { fact, open } = chosen;
    let Some(Open { signature, octets }) = open else { return Verified { fact, weak_key: false, made: None } };
    let settled = |result, detail: &str| Verified {
        fact: DkimFact { result, detail: detail.to_owned(), ..fact.clone() },
        weak_key: false,
        made: None,
    };
    if signature.expires.is_some_and(|x| x.saturating_add(GRACE_SECONDS) < now.seconds()) {
        return settled(AuthResult::Fail, "the signature has expired");
    }
    if signature.made.is_some_and(|t| t > now.seconds().saturating_add(FUTURE_SECONDS)) {
        return settled(AuthResult::Fail, "the signature is from the future");
    }
    let key = match key::fetch(dns, &signature.selector, &signature.domain, signature.algorithm).await {
        Ok(key) => key,
        Err((result, why)) => return settled(result, &why),
    };
    match judge(&key, &signature, &octets) {
        Ok(()) => Verified { weak_key: key.weak, made: signature.made, ..settled(AuthResult::Pass, "") },
        Err((result, why)) => settled(result, why),
    }
}

fn judge(key: &Key, signature: &Signature, octets: &[u8]) -> Result<(), (AuthResult, &'static str)> {
    // RFC 6376 §3.6.1: t=s forbids identities of sub-domains.
    if key.exact_identity && signature.identity.as_ref().is_some_and(|identity| *identity != signature.domain) {
        return Err((AuthResult::PermError, "i= is of a sub-domain and the key forbids that"));
    }
    if key.verifies(octets, &signature.signature, signature.algorithm) {
        Ok(())
    } else if signature.algorithm == Algorithm::Ed25519Sha256 && signature.signature.len() != 64 {
        Err((AuthResult::PermError, "the signature is not of 64 octets"))
    } else {
        Err((AuthResult::Fail, "the signature does not verify"))
    }
}
