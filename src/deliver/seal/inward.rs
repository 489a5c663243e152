//! Mail to an agency: the stranger's copies of our fields go, ours stand in front, the body stays where it is.

use bytes::Bytes;

use super::{Sealed, header};
use crate::deliver::settings::Profile;
use crate::envelope::Envelope;
use crate::inspect::{AuthFacts, AuthResult, SmimeFact, SmimeStatus};
use crate::mail::header::fold;
use crate::verdict::{Action, Group};

/// Exchange's spam confidence for mail that we tagged: above its default junk threshold of 4. Never −1, which
/// would switch the server's own checks off (DOMAIN §2.1).
const TAGGED_SCL: u8 = 6;
/// Codes shown in X-Luytre-Verdict.
const MAX_CODES: usize = 5;

/// What is known of a message on its way to an agency.
#[derive(Clone, Copy, Debug)]
pub struct Inward<'a> {
    /// Our own name: authserv-id and `by` of Received.
    pub hostname: &'a str,
    pub envelope: &'a Envelope,
    pub auth: &'a AuthFacts,
    pub smime: &'a SmimeFact,
    /// The decision for the recipients of this copy.
    pub group: &'a Group,
    pub profile: Profile,
}

/// Makes the copy for one group of recipients. `body` is a slice of `raw`. A few µs: one pass over the header
/// section, no look at the body.
#[must_use]
pub fn inward(raw: &Bytes, facts: &Inward<'_>) -> Sealed {
    let mut head = Vec::with_capacity(4096);
    let envelope = facts.envelope;
    let single = match facts.group.recipients.as_slice() {
        [only] => envelope.recipients().get(*only).map(|r| &r.mailbox),
        _ => None,
    };
    head.extend(header::received(envelope, facts.hostname, rdns(facts.auth), single));
    head.extend(fold("Authentication-Results", &results(facts)));
    head.extend(fold("X-Luytre-Receipt", &envelope.id().to_string()));
    head.extend(fold("X-Luytre-Verdict", &verdict(facts.group)));
    if let Some(copy) = facts.group.copy {
        head.extend(fold("X-Luytre-Rewritten", copy.as_str()));
    }
    if !facts.group.strip.is_empty() {
        // Its author's signatures fail from here on; what they were worth stands above.
        head.extend(fold("X-Luytre-Rewritten", "stripped"));
    }
    if facts.group.action == Action::Tag {
        head.extend_from_slice(b"X-Spam-Flag: YES\r\n");
        head.extend(fold("X-Spam-Score", &format!("{:.1}", facts.group.score)));
        if matches!(facts.profile, Profile::Exchange2007 | Profile::Exchange2010) {
            head.extend(fold("X-MS-Exchange-Organization-SCL", &TAGGED_SCL.to_string()));
        }
    }
    let body = header::copy_without_ours(raw, facts.hostname, &mut head);
    head.extend_from_slice(b"\r\n");
    Sealed { head: head.into(), body: raw.slice(body.min(raw.len())..), notes: Vec::new() }
}

fn rdns(auth: &AuthFacts) -> Option<&str> {
    auth.iprev_name.as_deref().filter(|_| auth.iprev == AuthResult::Pass)
}

fn verdict(group: &Group) -> String {
    let codes: Vec<String> = group.because.iter().take(MAX_CODES).map(|code| header::clean(code)).collect();
    let because = if codes.is_empty() { String::new() } else { format!("; because={}", codes.join(",")) };
    format!("{}; score={:.1}{because}", group.action, group.score)
}

/// RFC 8601 §2.2. Every value that a stranger chose is a token or a quoted string of harmless characters.
fn results(facts: &Inward<'_>) -> String {
    let auth = facts.auth;
    let mut out = format!("{};", facts.hostname);
    spf(&mut out, facts.envelope, auth);
    if auth.dkim.is_empty() {
        out.push_str(" dkim=none;");
    }
    for signature in &auth.dkim {
        out.push_str(&format!(" dkim={}{}", signature.result, reason(signature.result, &signature.detail)));
        for (name, text) in [("d", &signature.domain), ("s", &signature.selector), ("b", &signature.signature_start)] {
            if !text.is_empty() {
                out.push_str(&format!(" header.{name}={}", value(text)));
            }
        }
        out.push(';');
    }
    let author = auth.from.as_ref().map(|m| format!(" header.from={}", m.domain())).unwrap_or_default();
    out.push_str(&format!(" dmarc={}{author};", auth.dmarc.result));
    out.push_str(&format!(" arc={};", auth.arc));
    out.push_str(&format!(
        " iprev={} policy.iprev={};",
        auth.iprev,
        facts.envelope.client().address.ip().to_canonical()
    ));
    out.push_str(&smime(facts.smime));
    out
}

fn spf(out: &mut String, envelope: &Envelope, auth: &AuthFacts) {
    let helo = value(envelope.helo());
    if auth.spf_helo != AuthResult::None && !envelope.sender().is_null() {
        out.push_str(&format!(" spf={} smtp.helo={helo};", auth.spf_helo));
    }
    let property = match (envelope.sender().domain(), &auth.spf_domain) {
        (Some(domain), _) => format!("smtp.mailfrom={domain}"),
        (None, Some(domain)) => format!("smtp.helo={}", value(domain)),
        (None, None) => format!("smtp.helo={helo}"),
    };
    out.push_str(&format!(" spf={}{} {property};", auth.spf, reason(auth.spf, &auth.spf_detail)));
}

/// RFC 7281 names the properties; the status in words stands in a comment, as people read it.
fn smime(fact: &SmimeFact) -> String {
    if fact.status == SmimeStatus::None {
        return " smime=none".to_owned();
    }
    let who = fact.signers.iter().flat_map(|s| &s.addresses).next();
    let who = who.map(|address| format!(" body.smime-identifier={}", value(address))).unwrap_or_default();
    format!(" smime={} ({}){who}", fact.status.result(), fact.status)
}

/// Why a check did not pass, for whoever reads the field; short and harmless.
fn reason(result: AuthResult, detail: &str) -> String {
    if detail.is_empty() || matches!(result, AuthResult::Pass | AuthResult::None) {
        return String::new();
    }
    let text: String = detail
        .chars()
        .take(80)
        .map(|c| if c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\')) { c } else { '?' })
        .collect();
    format!(" reason=\"{}\"", text.trim())
}

/// `pvalue` of RFC 8601 §2.2: as it stands when it is a dot-atom or address, else quoted; controls, blanks, quotes
/// and non-ASCII become `?`.
fn value(text: &str) -> String {
    let text: String = text.chars().take(255).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.@^_`{|}~".contains(c);
    if !text.is_empty() && text.chars().all(token) {
        return text;
    }
    let inner: String = text.chars().map(|c| if matches!(c, '"' | '\\') { '?' } else { c }).collect();
    format!("\"{inner}\"")
}
