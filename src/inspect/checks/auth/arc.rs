//! ARC, RFC 8617: is the chain whole? Verified and recorded; no policy is built on it (DESIGN decision 10).
//! [`read`] is CPU work, [`verify`] asks for keys. A chain of more than 50 sets fails without a query (THREATS A-21).

use mail_auth::common::crypto::Algorithm;

use super::key;
use super::signature::{self, Material};
use super::tags::Tags;
use crate::env::Dns;
use crate::inspect::AuthResult;
use crate::mail::header::{Field, Headers};

/// RFC 8617 §4.2.1.
const MOST_SETS: usize = 50;

/// The chain as far as it can be judged without keys.
#[derive(Clone, Debug, Default)]
pub enum Chain {
    /// No ARC field at all.
    #[default]
    None,
    Broken(String),
    /// What keys must verify: the newest message signature, then every seal.
    Open(Vec<Open>),
}

#[derive(Clone, Debug)]
pub struct Open {
    what: String,
    domain: String,
    selector: String,
    algorithm: Algorithm,
    signature: Vec<u8>,
    octets: Vec<u8>,
}

/// One ARC set; each of its fields exactly once.
#[derive(Clone, Copy)]
struct Set<'a> {
    results: &'a [u8],
    message: &'a [u8],
    seal: &'a [u8],
}

/// Finds the sets and checks all that needs no key (RFC 8617 §5.2).
pub fn read(headers: &Headers<'_>, raw: &[u8], material: &mut Material<'_>) -> Chain {
    match sets(headers, raw).and_then(|sets| if sets.is_empty() { Ok(None) } else { check(&sets, material).map(Some) })
    {
        Ok(None) => Chain::None,
        Ok(Some(open)) => Chain::Open(open),
        Err(why) => Chain::Broken(why),
    }
}

/// The result and, unless it passed, the reason.
pub async fn verify(dns: &Dns, chain: Chain) -> (AuthResult, String) {
    let open = match chain {
        Chain::None => return (AuthResult::None, String::new()),
        Chain::Broken(why) => return (AuthResult::Fail, why),
        Chain::Open(open) => open,
    };
    for part in open {
        let Open { what, domain, selector, algorithm, signature, octets } = part;
        match key::fetch(dns, &selector, &domain, algorithm).await {
            Ok(key) if key.verifies(&octets, &signature, algorithm) => {}
            Ok(_) => return (AuthResult::Fail, format!("{what} does not verify")),
            Err((AuthResult::TempError, why)) => return (AuthResult::TempError, format!("{what}: {why}")),
            Err((_, why)) => return (AuthResult::Fail, format!("{what}: {why}")),
        }
    }
    (AuthResult::Pass, String::new())
}

/// The sets in order 1..N, each complete and no field twice.
fn sets<'a>(headers: &Headers<'_>, raw: &'a [u8]) -> Result<Vec<Set<'a>>, String> {
    let collect = |name: &str| -> Result<Vec<&'a [u8]>, String> {
        let fields: Vec<&Field<'_>> = headers.all(name).collect();
        if fields.len() > MOST_SETS {
            return Err(format!("more than {MOST_SETS} {name} fields"));
        }
        let mut slots: Vec<Option<&[u8]>> = vec![None; fields.len()];
        for field in fields {
            let number = instance(&field.unfolded(), name).ok_or_else(|| format!("{name} without a valid i="))?;
            let slot = number.checked_sub(1).and_then(|i| slots.get_mut(i));
            let slot =
                slot.filter(|slot| slot.is_none()).ok_or_else(|| format!("{name} i={number} is out of order"))?;
            *slot = raw.get(field.range.clone());
        }
        slots.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| format!("{name} fields are missing"))
    };
    let (results, messages, seals) =
        (collect("ARC-Authentication-Results")?, collect("ARC-Message-Signature")?, collect("ARC-Seal")?);
    if results.len() != messages.len() || messages.len() != seals.len() {
        return Err("a set is incomplete".to_owned());
    }
    let sets = results.into_iter().zip(messages).zip(seals);
    Ok(sets.map(|((results, message), seal)| Set { results, message, seal }).collect())
}

/// `i=` of a field: 1 to 50. In the results field it stands first and ends in a semicolon (RFC 8617 §4.1.1).
fn instance(value: &str, name: &str) -> Option<usize> {
    let text = if name == "ARC-Authentication-Results" {
        let (first, _) = value.split_once(';')?;
        let (tag, number) = first.split_once('=')?;
        if tag.trim() != "i" {
            return None;
        }
        number.trim().to_owned()
    } else {
        Tags::parse(value).ok()?.get("i")?.to_owned()
    };
    let digits = text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|i| digits && (1..=MOST_SETS).contains(i))
}

fn check(sets: &[Set<'_>], material: &mut Material<'_>) -> Result<Vec<Open>, String> {
    let mut open = Vec::with_capacity(sets.len() + 1);
    for (i, set) in sets.iter().enumerate() {
        let number = i + 1;
        let value = value(set.seal);
        let tags = Tags::parse(&value).map_err(|error| format!("ARC-Seal i={number}: {error}"))?;
        // RFC 8617 §5.2 step 3: the first seal says none, every other says pass.
        let expected = if i == 0 { "none" } else { "pass" };
        if tags.get("cv") != Some(expected) {
            return Err(format!("ARC-Seal i={number} does not say cv={expected}"));
        }
        // RFC 8617 §4.1.3: no h= here; a time, where given, is a number.
        if tags.get("h").is_some() || tags.number("t") == Some(None) {
            return Err(format!("ARC-Seal i={number} is malformed"));
        }
        open.push(seal(number, &tags, sets.get(..number).unwrap_or_default())?);
    }
    let newest = sets.last().map(|set| message_signature(sets.len(), set, material)).transpose()?;
    // Newest first: most broken chains end there, after one query.
    open.reverse();
    open.splice(..0, newest);
    Ok(open)
}

fn seal(number: usize, tags: &Tags<'_>, sets: &[Set<'_>]) -> Result<Open, String> {
    let what = format!("ARC-Seal i={number}");
    let fail = |why: String| format!("{what}: {why}");
    let (domain, selector) = signature::domain_and_selector(tags).map_err(fail)?;
    let algorithm = signature::algorithm(tags).map_err(fail)?;
    let octets_of_seal = signature::octets(tags, "b").map_err(fail)?;
    let fields: Vec<&[u8]> = sets.iter().flat_map(|set| [set.results, set.message, set.seal]).collect();
    let octets = signature::sealed_octets(&fields).ok_or_else(|| fail("cannot be read".to_owned()))?;
    Ok(Open { what, domain, selector, algorithm, signature: octets_of_seal, octets })
}

/// RFC 8617 §5.2 step 4: only the newest message signature must hold.
fn message_signature(number: usize, set: &Set<'_>, material: &mut Material<'_>) -> Result<Open, String> {
    let what = format!("ARC-Message-Signature i={number}");
    let fail = |why: String| format!("{what}: {why}");
    let value = value(set.message);
    let tags = Tags::parse(&value).map_err(|error| fail(error.to_string()))?;
    let read = signature::read(&tags).map_err(fail)?;
    // RFC 8617 §4.1.2: a message signature never covers a seal.
    if read.signed.iter().any(|name| name == "arc-seal") {
        return Err(fail("covers ARC-Seal".to_owned()));
    }
    if read.partial {
        return Err(fail("l= leaves a part of the body unsigned".to_owned()));
    }
    if !material.body_matches(&read) {
        return Err(fail("the body was changed".to_owned()));
    }
    let octets = material.signed_octets(&read, set.message).ok_or_else(|| fail("cannot be read".to_owned()))?;
    let signature::Signature { domain, selector, algorithm, signature, .. } = read;
    Ok(Open { what, domain, selector, algorithm, signature, octets })
}

/// The unfolded value of a whole field.
fn value(field: &[u8]) -> String {
    let after = memchr::memchr(b':', field).and_then(|colon| field.get(colon + 1..)).unwrap_or_default();
    crate::mail::header::unfold(after).into_owned()
}
