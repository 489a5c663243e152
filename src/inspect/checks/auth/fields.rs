//! Oddities of the header section that change who a message seems to come from (THREATS ).

use std::collections::HashMap;

use crate::inspect::Finding;
use crate::mail::Mailbox;
use crate::mail::header::{Field, Headers};

/// RFC 5322 §3.6 and RFC 2045: at most once each. From is judged on its own.
const ONCE: [&str; 14] = [
    "date",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "message-id",
    "in-reply-to",
    "references",
    "subject",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "return-path",
];

/// Fields a client acts on: malformed, they are an attack; any other malformed line is only odd.
const ACTED_ON: [&str; 17] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "dkim-signature",
    "authentication-results",
    "return-path",
    "resent-from",
];

/// `header.malformed`, `header.odd`, `header.duplicate`.
pub fn findings(headers: &Headers<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let names = |fields: &[&Field<'_>]| {
        let shown =
            fields.iter().take(5).map(|f| String::from_utf8_lossy(f.name.get(..40).unwrap_or(f.name)).into_owned());
        shown.collect::<Vec<_>>().join(", ")
    };
    let acted_on = |field: &Field<'_>| ACTED_ON.iter().any(|name| field.is(name));
    let malformed = headers.fields().iter().enumerate().filter(|(i, f)| f.malformed && !(*i == 0 && is_mbox_line(f)));
    let (bad, odd): (Vec<_>, Vec<_>) = malformed.map(|(_, f)| f).partition(|f| acted_on(f));
    if !bad.is_empty() {
        found.push(Finding::new("header.malformed").with(names(&bad)));
    }
    if !odd.is_empty() {
        found.push(Finding::new("header.odd").with(format!("{} lines: {}", odd.len(), names(&odd))));
    }
    let twice = duplicates(headers);
    if !twice.is_empty() {
        found.push(Finding::new("header.duplicate").with(twice.join(", ")));
    }
    found
}

/// `From a@x.vn Mon Nov 16 09:00:00 2026`: what mailbox files put before a message.
fn is_mbox_line(field: &Field<'_>) -> bool {
    !field.is("From") && field.name.starts_with(b"From ") && !field.name.ends_with(b" ")
}

fn duplicates(headers: &Headers<'_>) -> Vec<&'static str> {
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    for field in headers.fields() {
        if let Some(name) = ONCE.iter().find(|name| field.is(name)) {
            *counts.entry(name).or_default() += 1;
        }
    }
    ONCE.into_iter().filter(|name| counts.get(name).is_some_and(|n| *n > 1)).collect()
}

/// Whether any recipient stands in To or Cc (THREATS A-15).
pub fn is_addressed_to(headers: &Headers<'_>, recipients: &[&Mailbox]) -> bool {
    let shown: Vec<String> =
        headers.all("To").chain(headers.all("Cc")).take(10).map(|field| field.unfolded().to_lowercase()).collect();
    recipients.iter().any(|recipient| {
        let wanted = recipient.folded();
        shown.iter().any(|text| text.contains(&wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(raw: &[u8]) -> Vec<String> {
        findings(&Headers::parse(raw)).into_iter().map(|f| f.code.into_owned()).collect()
    }

    #[test]
    fn malformed_fields_are_told_from_odd_lines() {
        assert_eq!(codes(b"From : a\r\n\r\n"), ["header.malformed"]);
        assert_eq!(codes(b" From: a\r\nFrom: b\r\n\r\n"), ["header.malformed"]);
        assert_eq!(codes(b"From\r\n : a\r\n\r\n"), ["header.malformed"]);
        assert_eq!(codes(b"nonsense\r\nFrom: b\r\n\r\n"), ["header.odd"]);
        assert!(codes(b"From a@x.vn Mon Nov 16 09:00:00 2026\r\nFrom: b\r\n\r\n").is_empty());
    }

    #[test]
    fn rfc5322_3_6_fields_that_stand_twice_are_reported() {
        assert_eq!(codes(b"Subject: a\r\nsubject: b\r\nReceived: c\r\nReceived: d\r\n\r\n"), ["header.duplicate"]);
    }

    #[test]
    fn recipients_are_looked_for_in_to_and_cc() {
        let headers = Headers::parse(b"To: An <AN@x.vn>\r\nCc: b@y.vn\r\n\r\n");
        let (an, other) = (Mailbox::parse("an@x.vn").unwrap(), Mailbox::parse("c@x.vn").unwrap());
        assert!(is_addressed_to(&headers, &[&other, &an]));
        assert!(!is_addressed_to(&headers, &[&other]));
    }
}
