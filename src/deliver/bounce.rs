//! Delivery reports: `multipart/report` in Vietnamese and English, with the header of the original and nothing more
//! unless its sender asked for all of it (RET=FULL). RFC 3461 §6, RFC 6522, RFC 3464, RFC 6533 (addresses that are not
//! ASCII), RFC 3834 (no robot answers a robot). Pure; whether a report may be sent at all is decided by the caller.

mod status;
mod words;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::mail::header::{Headers, fold};
use crate::mail::transaction::{BodyType, Notify, Ret};
use crate::mail::{
    Destination, Language, MailId, MailParams, Mailbox, Parcel, ParcelMeta, Recipient, ReversePath, Timestamp,
};
use status::Form;

/// Of the original's header this much goes back.
const RETURNED: usize = 64 << 10;
/// An original up to this size goes back whole, to a sender that asked for that.
const RETURNED_WHOLE: u64 = 1 << 20;
/// Of a server's answer this much is quoted.
const QUOTED: usize = 400;
/// Fields of a header that goes back which are looked at.
const FIELDS: usize = 2000;
/// Fields that we or the agency's server wrote for ourselves: how a message was judged is not for its sender.
const OURS: [&str; 4] = ["x-luytre-", "x-spam-", "x-ms-exchange-organization-", "authentication-results"];

/// What is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// For ever.
    Failed,
    /// It is still being tried.
    Delayed,
    /// Taken by a server that reports nothing itself (RFC 3461 §5.2.2).
    Relayed,
}

/// One recipient of the report's original.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub recipient: &'a Recipient,
    /// RFC 3463.
    pub status: &'a str,
    /// One sentence: the server's reply, or what we met.
    pub said: &'a str,
    /// Whether `said` is a reply of SMTP.
    pub is_reply: bool,
}

/// All that a report is made of.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    pub kind: Kind,
    /// The report's own.
    pub id: MailId,
    pub now: Timestamp,
    /// Ours.
    pub hostname: &'a str,
    /// The author, in a domain that can sign where the report leaves for the Internet.
    pub from: &'a str,
    /// Which language stands first.
    pub language: Language,
    pub original: &'a Parcel,
    pub sender: &'a Mailbox,
    /// Where the report goes.
    pub destination: Destination,
    pub items: &'a [Item<'a>],
    /// When the original is given up.
    pub until: Timestamp,
}

/// The report as a message of its own, from `<>` to the sender.
#[must_use]
pub fn build(report: &Report<'_>) -> Parcel {
    let params = &report.original.meta.params;
    let foreign = !report.sender.is_ascii() || report.items.iter().any(|i| !i.recipient.mailbox.is_ascii());
    // RFC 6533 §4: the global form for who speaks SMTPUTF8; everybody else gets ASCII, which reaches every server.
    let smtputf8 = !report.sender.is_ascii() || (params.smtputf8 && foreign);
    let (returned_type, returned) = returned(report);
    let eight_bit = smtputf8 || !returned.is_ascii();
    let boundary = format!("=_luytre_{}", report.id);
    let subject = words::subject(report.kind, report.language);

    let mut body = Vec::with_capacity(returned.len().saturating_add(4096));
    part(&mut body, &boundary, "text/plain; charset=utf-8", "base64");
    base64_lines(&mut body, &words::text(report));
    let (form, status_type) = match smtputf8 {
        true => (Form::Global, "message/global-delivery-status"),
        false => (Form::Ascii, "message/delivery-status"),
    };
    part(&mut body, &boundary, status_type, if smtputf8 { "8bit" } else { "7bit" });
    body.extend_from_slice(status::fields(report, form).as_bytes());
    part(&mut body, &boundary, returned_type, if returned.is_ascii() { "7bit" } else { "8bit" });
    body.extend_from_slice(&returned);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());

    Parcel {
        meta: ParcelMeta {
            id: report.id,
            received_at: report.now,
            sender: ReversePath::Null,
            recipients: vec![Recipient {
                mailbox: report.sender.clone(),
                destination: report.destination.clone(),
                original: None,
                // RFC 3461 §6.1: a report asks for no report.
                notify: Notify { success: false, failure: false, delay: false, explicit: true },
            }],
            destination: report.destination.clone(),
            params: MailParams {
                body: if eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit },
                smtputf8,
                // RFC 8689 §5: a report is protected as what it speaks of.
                requiretls: report.original.meta.params.requiretls,
                ..MailParams::default()
            },
            sender_authenticated: false,
            subject: subject.clone(),
        },
        head: Bytes::from(head(report, &boundary, &subject)),
        body: Bytes::from(body),
    }
}

fn head(report: &Report<'_>, boundary: &str, subject: &str) -> Vec<u8> {
    let host = report.hostname;
    let mut head = Vec::with_capacity(1024);
    // RFC 5321 §6.3: our own name in a trace field; a report that comes back to us is counted by it.
    head.extend(fold("Received", &format!("by {host} (Luytre) id {}; {}", report.id, report.now.rfc5322())));
    head.extend(fold("From", &format!("Mail Delivery System <{}>", report.from)));
    head.extend(fold("To", &format!("<{}>", report.sender)));
    head.extend(fold("Subject", &encoded_words(subject)));
    head.extend(fold("Date", &report.now.rfc5322()));
    head.extend(fold("Message-ID", &format!("<{}@{host}>", report.id)));
    if let Some(about) = message_id(&report.original.head) {
        head.extend(fold("In-Reply-To", &about));
    }
    head.extend(fold("Auto-Submitted", "auto-replied"));
    head.extend(fold("MIME-Version", "1.0"));
    head.extend(fold(
        "Content-Type",
        &format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\""),
    ));
    head.extend_from_slice(b"\r\n");
    head
}

/// A stranger's text on one line of ASCII.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(QUOTED).collect()
}

/// What goes back of the original, and as what.
fn returned(report: &Report<'_>) -> (&'static str, Vec<u8>) {
    let original = report.original;
    let params = &original.meta.params;
    // RFC 8689 §5: of a message that requires TLS never more than the header.
    let wanted = report.kind == Kind::Failed && params.ret == Some(Ret::Full) && !params.requiretls;
    let mut head = returned_header(&original.head);
    let global = !head.is_ascii() && std::str::from_utf8(&head).is_ok();
    if wanted && original.size_bytes() <= RETURNED_WHOLE && original.head.len() <= RETURNED {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(&original.body);
        return (if global { "message/global" } else { "message/rfc822" }, head);
    }
    (if global { "message/global-headers" } else { "text/rfc822-headers" }, head)
}

/// The original's header without our own remarks, cut at the end of a line, without the empty line.
fn returned_header(head: &[u8]) -> Vec<u8> {
    let headers = Headers::parse_limited(head, FIELDS);
    let mut out = Vec::with_capacity(head.len().min(RETURNED));
    for field in headers.fields() {
        let starts =
            |prefix: &str| field.name.get(..prefix.len()).is_some_and(|n| n.eq_ignore_ascii_case(prefix.as_bytes()));
        if OURS.iter().any(|prefix| starts(prefix)) {
            continue;
        }
        let text = head.get(field.range.clone()).unwrap_or_default();
        let room = RETURNED.saturating_sub(out.len());
        if text.len() <= room {
            out.extend_from_slice(text);
            continue;
        }
        let lines = text.get(..room).and_then(|part| part.get(..=memchr::memrchr(b'\n', part)?));
        out.extend_from_slice(lines.unwrap_or_default());
        break;
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The original's Message-ID, when it is one.
fn message_id(head: &[u8]) -> Option<String> {
    let id = Headers::parse_limited(head, 2000).text("Message-ID")?;
    let plain = id.starts_with('<') && id.ends_with('>') && id.len() < 250 && id.bytes().all(|b| b.is_ascii_graphic());
    plain.then_some(id)
}

fn part(out: &mut Vec<u8>, boundary: &str, content_type: &str, encoding: &str) {
    let head =
        format!("\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
}

fn base64_lines(out: &mut Vec<u8>, text: &str) {
    for line in BASE64.encode(text).as_bytes().chunks(76) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
}

/// RFC 2047 §2: words of at most 75 characters, each whole characters.
fn encoded_words(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let (mut words, mut chunk) = (Vec::new(), String::new());
    for c in text.chars() {
        if chunk.len() + c.len_utf8() > 42 {
            words.push(format!("=?utf-8?B?{}?=", BASE64.encode(&chunk)));
            chunk.clear();
        }
        chunk.push(c);
    }
    words.push(format!("=?utf-8?B?{}?=", BASE64.encode(&chunk)));
    words.join(" ")
}

#[cfg(test)]
mod tests;
