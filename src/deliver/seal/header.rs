//! Fields that only we may write: found in mail from outside and taken out, and the trace field that we add.

use crate::envelope::Envelope;
use crate::mail::header::{self, Field, Headers};
use crate::mail::{Domain, Mailbox};

/// Families of fields that the gateway or the server behind it trusts (THREATS A-20; Exchange's header firewall).
const INTERNAL: [&str; 7] = [
    "x-luytre-",
    "x-spam-",
    "received-spf",
    "x-ms-exchange-organization-",
    "x-ms-exchange-forest-",
    "x-ms-exchange-crosstenant",
    "x-ms-exchange-crosspremises",
];

/// Appends the header section of `raw` to `out` without the fields that claim to be ours; no empty line at the end.
/// Returns where the body begins.
pub fn copy_without_ours(raw: &[u8], hostname: &str, out: &mut Vec<u8>) -> usize {
    let headers = Headers::parse(raw);
    // Runs of kept fields are copied at once.
    let (mut from, mut upto) = (0, 0);
    for field in headers.fields() {
        if is_ours(field, hostname) {
            out.extend_from_slice(raw.get(from..upto).unwrap_or_default());
            from = field.range.end;
        }
        upto = field.range.end;
    }
    out.extend_from_slice(raw.get(from..upto).unwrap_or_default());
    // A header section that ends with the message may lack its last line end.
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    headers.body_offset()
}

fn is_ours(field: &Field<'_>, hostname: &str) -> bool {
    let starts = |prefix: &str| {
        field.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    INTERNAL.iter().any(|prefix| starts(prefix))
        || (field.is("Authentication-Results") && claims_name(field.value, hostname))
}

/// RFC 8601 §5: whether the authserv-id folds to our name. Comments, quotes, case, a final dot, a version or a
/// U-label form do not hide it; to be sure every word before the first `;` is compared.
pub fn claims_name(value: &[u8], hostname: &str) -> bool {
    let text = header::unfold(value);
    words_before_semicolon(&text).iter().any(|word| folds_to(word, hostname))
}

fn folds_to(word: &str, hostname: &str) -> bool {
    let word = word.strip_suffix('.').unwrap_or(word);
    if word.eq_ignore_ascii_case(hostname) {
        return true;
    }
    !word.is_ascii() && Domain::parse(word).is_ok_and(|d| d.as_str().eq_ignore_ascii_case(hostname))
}

/// Words outside comments up to the first `;` outside quotes; quotes are removed (RFC 5322 §3.2.4).
fn words_before_semicolon(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut depth, mut quoted) = (0_usize, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted || depth > 0 => {
                if let (Some(next), 0) = (chars.next(), depth) {
                    word.push(next);
                }
            }
            '"' if depth == 0 => quoted = !quoted,
            _ if quoted => word.push(c),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            ';' => break,
            c if c.is_whitespace() || c == '/' => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

/// The trace field of RFC 5321 §4.4. `single` is named when the copy has one recipient only: several would tell
/// each of them about the others.
pub fn received(envelope: &Envelope, hostname: &str, rdns: Option<&str>, single: Option<&Mailbox>) -> Vec<u8> {
    let client = envelope.client();
    let literal = match client.address.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    };
    let from = clean(envelope.helo());
    let from = if from.is_empty() { "unknown" } else { &from };
    let tcp = rdns.map_or_else(|| format!("({literal})"), |name| format!("({} {literal})", clean(name)));
    let with = protocol(envelope);
    let tls = client
        .tls
        .as_ref()
        .map_or_else(String::new, |tls| format!(" (using {} with cipher {})", clean(&tls.version), clean(&tls.cipher)));
    let rcpt = single.filter(|m| m.is_ascii() || envelope.params().smtputf8);
    let rcpt = rcpt.map_or_else(String::new, |mailbox| format!(" for <{mailbox}>"));
    let date = envelope.received_at().rfc5322();
    header::fold(
        "Received",
        &format!("from {from} {tcp}{tls} by {hostname} with {with} id {}{rcpt}; {date}", envelope.id()),
    )
}

/// RFC 3848, RFC 6531 §4.3.
fn protocol(envelope: &Envelope) -> &'static str {
    let tls = envelope.client().tls.as_ref();
    let logged_in = tls.is_some_and(|tls| tls.account.is_some());
    match (envelope.is_esmtp(), envelope.params().smtputf8, tls.is_some()) {
        (_, true, false) => "UTF8SMTP",
        (_, true, true) if logged_in => "UTF8SMTPSA",
        (_, true, true) => "UTF8SMTPS",
        (true, false, true) if logged_in => "ESMTPSA",
        (true, false, true) => "ESMTPS",
        (true, false, false) => "ESMTP",
        (false, false, _) => "SMTP",
    }
}

/// A stranger's word inside a field of ours: what could end a comment, a quote or a line becomes `?`.
pub fn clean(text: &str) -> String {
    text.chars()
        .take(255)
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '(' | ')' | '\\' | '"' | ';' | '<' | '>') { c } else { '?' })
        .collect()
}
