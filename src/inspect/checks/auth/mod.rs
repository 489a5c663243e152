//! SPF, DKIM, ARC, DMARC and reverse DNS: who a message really comes from (RFC 7208, 6376, 8617, 9989, 8601).
//!
//! [`read`] looks at the bytes (CPU, no I/O: small messages inline, large ones on a thread), [`examine_letter`] asks DNS
//! within the message's budget and judges; [`examine`] does both. mail-auth gives canonical forms, hashes and signature
//! mathematics; it never asks DNS, and a panic in it becomes `auth.failed`. Nothing here refuses mail.
//!
//! | finding | says |
//! |---|---|
//! | `from.missing` `from.multiple` `from.multiple-address` `from.invalid` | there is no one author to authenticate; DMARC cannot pass |
//! | `from.display-address` | the display name holds an address of another domain |
//! | `from.bidi` | the display name turns the reading direction |
//! | `from.vip-display` | a protected person's name, from a domain that is not protected |
//! | `from.lookalike` | the From domain reads like a protected one |
//! | `from.own-domain` | From is of an agency, the client is not, and DMARC did not pass: counts like `dmarc.reject` |
//! | `sender.own-domain` | so is MAIL FROM, and SPF did not pass |
//! | `replyto.mismatch` | answers go to another organisation |
//! | `header.malformed` | a field clients act on is written so that readers differ (blank before the colon, folded name) |
//! | `header.odd` | another line that is no field |
//! | `header.duplicate` | a field that may stand once stands twice |
//! | `spf.pass` … `spf.permerror` | one of RFC 7208's seven results, of MAIL FROM |
//! | `spf.helo-fail` | the HELO name's own record refuses the client |
//! | `spf.permissive` | the pass is one that nearly everybody gets: it vouches for nothing |
//! | `dkim.pass` `dkim.fail` `dkim.policy` `dkim.permerror` `dkim.temperror` `dkim.none` | the best signature, else the first |
//! | `dkim.length-limited` | a signature with `l=`; it is not used |
//! | `dkim.weak-key` | passed with an RSA key of less than 2,048 bits |
//! | `dkim.too-many` | more signatures than are looked at |
//! | `dkim.old` `dkim.replay-suspect` | signed more than seven days ago; and no recipient stands in To or Cc |
//! | `arc.pass` `arc.fail` `arc.temperror` | the chain; nothing is said when there is none |
//! | `dmarc.pass` `dmarc.fail` `dmarc.none` `dmarc.temperror` | the result |
//! | `dmarc.reject` `dmarc.quarantine` | the policy that applies to a message that failed |
//! | `dmarc.wait` | not known, and a reject policy is known or cannot be excluded: 451 |
//! | `dmarc.weak-pass` | passed by a permissive SPF record alone |
//! | `iprev.pass` `iprev.fail` `iprev.permerror` `iprev.temperror` | reverse DNS; permerror: the address has no name |
//! | `auth.failed` | the message broke the parser; nothing of DKIM and ARC is known |
//! | `dns.degraded` | most recent look-ups found no server that answers |

mod all;
mod arc;
mod disguise;
mod dkim;
pub mod dmarc;
mod fields;
pub mod from;
mod iprev;
mod key;
mod report;
mod settings;
mod signature;
pub mod spf;
mod tags;
mod words;

use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use crate::env::Dns;
use crate::inspect::{AuthFacts, AuthResult, Finding};
use crate::mail::header::Headers;
use crate::mail::{Domain, Mailbox, ReversePath, Timestamp};

pub use settings::Settings;

/// A message and its envelope.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub client: IpAddr,
    /// As the client said it.
    pub helo: &'a str,
    pub sender: &'a ReversePath,
    pub recipients: &'a [&'a Mailbox],
    /// Header section and body with CRLF, as received.
    pub raw: &'a [u8],
    /// Domains of the agencies we stand before.
    pub own_domains: &'a [Domain],
    /// The client is one of ours (authenticated, or an agency's own network): it may use our domains.
    pub trusted: bool,
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuthReport {
    pub facts: AuthFacts,
    pub findings: Vec<Finding>,
}

/// What could be read from the bytes alone; owns all it needs.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    from: from::From,
    signatures: dkim::Signatures,
    chain: arc::Chain,
    findings: Vec<Finding>,
    is_addressed: bool,
}

/// Fields looked at; the limit of the session is 2,000 (THREATS S-17).
const MOST_FIELDS: usize = 4000;

/// Reads the message: From, signatures, ARC sets; hashes the body. No I/O; linear in the size.
#[must_use]
pub fn read(subject: Subject<'_>, settings: &Settings) -> Letter {
    let headers = Headers::parse_limited(subject.raw, MOST_FIELDS);
    let from = from::read(&headers);
    let mut findings = fields::findings(&headers);
    let protected = disguise::Protected {
        own_domains: subject.own_domains,
        domains: &settings.protected_domains,
        names: &settings.protected_names,
    };
    findings.extend(disguise::findings(&headers, &from, protected));
    let author = from.mailbox.as_ref().map(Mailbox::domain);
    // mail-auth parses a stranger's bytes: its panic must cost this message only (DESIGN §5a).
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut material = signature::Material::new(subject.raw, &headers);
        let signatures = dkim::read(&headers, subject.raw, &mut material, author, settings.dkim_signatures);
        (signatures, arc::read(&headers, subject.raw, &mut material))
    }));
    let (signatures, chain) = read.unwrap_or_else(|_| {
        findings.push(Finding::unknown("auth.failed", "reading the signatures failed"));
        (dkim::Signatures::default(), arc::Chain::Broken("could not be read".to_owned()))
    });
    let is_addressed = fields::is_addressed_to(&headers, subject.recipients);
    Letter { from, signatures, chain, findings, is_addressed }
}

/// Authenticates a message: [`read`] and [`examine_letter`].
pub async fn examine(dns: &Dns, subject: Subject<'_>, settings: &Settings, now: Timestamp) -> AuthReport {
    let letter = read(subject, settings);
    examine_letter(dns, subject, letter, settings, now).await
}

/// What one look at DNS tells; they run beside each other.
enum Part {
    Policy(Option<dmarc::Discovered>),
    Iprev((AuthResult, Option<String>, String)),
    Spf(spf::Outcome),
    Helo(Option<spf::Outcome>),
    Dkim(Vec<dkim::Verified>),
    Arc((AuthResult, String)),
}

/// Asks DNS and judges what [`read`] found. Takes at most `settings.dns_time` and `settings.dns_queries`.
pub async fn examine_letter(
    dns: &Dns,
    subject: Subject<'_>,
    letter: Letter,
    settings: &Settings,
    now: Timestamp,
) -> AuthReport {
    let dns = &dns.for_message(settings.dns_queries, settings.dns_time);
    let Letter { from, signatures, chain, findings, is_addressed } = letter;
    let author = from.mailbox.as_ref().map(Mailbox::domain);
    let left_out = signatures.left_out;
    let spf_domain = subject.sender.domain().map_or(subject.helo, Domain::as_str);
    let sender = subject.sender.mailbox().map_or_else(|| format!("postmaster@{}", subject.helo), ToString::to_string);
    let spf_query =
        |sender, domain| spf::Query { ip: subject.client, helo: subject.helo, sender, domain, now: now.seconds() };
    let helo_sender = format!("postmaster@{}", subject.helo);

    let mut seen = report::Seen { left_out, is_addressed, ..report::Seen::new(&from, subject, now) };
    let mut policy = None;
    // The policy first: when the budget runs out it must not be the victim's policy that stays unknown.
    let parts: [Pin<Box<dyn Future<Output = Part> + Send + '_>>; 6] = [
        Box::pin(async {
            Part::Policy(match author {
                Some(author) => Some(dmarc::discover(dns, author).await),
                None => None,
            })
        }),
        Box::pin(async { Part::Spf(spf::check(dns, spf_query(&sender, spf_domain)).await) }),
        Box::pin(async { Part::Dkim(dkim::verify(dns, signatures, now).await) }),
        Box::pin(async {
            // RFC 7208 §2.4: with a null sender the one evaluation is already that of HELO.
            Part::Helo(if subject.sender.is_null() {
                None
            } else {
                Some(spf::check(dns, spf_query(&helo_sender, subject.helo)).await)
            })
        }),
        Box::pin(async { Part::Iprev(iprev::check(dns, subject.client).await) }),
        Box::pin(async { Part::Arc(arc::verify(dns, chain).await) }),
    ];
    for part in all::all(parts.into_iter()).await {
        match part {
            Part::Policy(discovered) => policy = discovered,
            Part::Iprev(iprev) => seen.iprev = iprev,
            Part::Spf(outcome) => seen.spf = outcome,
            Part::Helo(outcome) => seen.helo = outcome,
            Part::Dkim(verified) => seen.dkim = verified,
            Part::Arc(arc) => seen.arc = arc,
        }
    }
    if let Some(discovered) = policy {
        let fact = dmarc::evaluate(dns, discovered, &seen.proofs(spf_domain)).await;
        seen.dmarc = Some(fact);
    }
    let degraded = dns.is_degraded().then(|| Finding::unknown("dns.degraded", "name servers do not answer"));
    let mut report = report::write(&seen, spf_domain);
    report.findings.extend(findings);
    report.findings.extend(degraded);
    report
}

#[cfg(test)]
mod tests;
