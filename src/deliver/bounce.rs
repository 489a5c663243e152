//! Delivery reports: `multipart/report` in Vietnamese and English, with the header of the original and nothing more.
//! RFC 3461 §6, RFC 3462, RFC 3464, RFC 6533 (addresses that are not ASCII), RFC 3834 (no robot answers a robot).
//! Pure; whether a report may be sent at all is decided by the caller.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::mail::header::{Headers, fold};
use crate::mail::transaction::{BodyType, Notify};
use crate::mail::{
    Destination, Language, MailId, MailParams, Mailbox, Parcel, ParcelMeta, Recipient, ReversePath, Timestamp,
};

/// Of the original's header this much goes back.
const RETURNED: usize = 64 << 10;
/// Of a server's answer this much is quoted.
const QUOTED: usize = 400;

/// What is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// For ever.
    Failed,
    /// It is still being tried.
    Delayed,
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
    let returned = returned_header(&report.original.head);
    let utf8 = !report.sender.is_ascii() || report.items.iter().any(|i| !i.recipient.mailbox.is_ascii());
    let smtputf8 = utf8 || (report.original.meta.params.smtputf8 && !returned.is_ascii());
    let eight_bit = smtputf8 || !returned.is_ascii();
    let boundary = format!("=_luytre_{}", report.id);
    let subject = subject(report);

    let mut body = Vec::with_capacity(returned.len().saturating_add(4096));
    part(&mut body, &boundary, "text/plain; charset=utf-8", "base64");
    base64_lines(&mut body, &text(report));
    let status_type = if smtputf8 { "message/global-delivery-status" } else { "message/delivery-status" };
    part(&mut body, &boundary, status_type, if smtputf8 { "8bit" } else { "7bit" });
    body.extend_from_slice(status(report).as_bytes());
    let header_type = if smtputf8 { "message/global-headers" } else { "text/rfc822-headers" };
    part(&mut body, &boundary, header_type, if eight_bit { "8bit" } else { "7bit" });
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
                // RFC 8689 §5: a report is protected as what it speaks of; only headers go back anyway.
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
    head.extend(fold("From", &format!("Mail Delivery System <mailer-daemon@{host}>")));
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

fn subject(report: &Report<'_>) -> String {
    match (report.kind, report.language) {
        (Kind::Failed, Language::Vi) => "Thư không gửi được / Undelivered mail".to_owned(),
        (Kind::Failed, Language::En) => "Undelivered mail / Thư không gửi được".to_owned(),
        (Kind::Delayed, Language::Vi) => "Thư gửi bị chậm / Delayed mail".to_owned(),
        (Kind::Delayed, Language::En) => "Delayed mail / Thư gửi bị chậm".to_owned(),
    }
}

/// The part for people, both languages.
fn text(report: &Report<'_>) -> String {
    let (vi, en) = match report.kind {
        Kind::Failed => (
            format!(
                "Thư của bạn nhận lúc {} không đến được người nhận dưới đây. Hệ thống sẽ không gửi lại nữa.",
                report.original.meta.received_at.rfc5322()
            ),
            format!(
                "Your message of {} could not be delivered to the recipients below. It will not be tried again.",
                report.original.meta.received_at.rfc5322()
            ),
        ),
        Kind::Delayed => (
            format!(
                "Thư của bạn chưa đến được người nhận dưới đây. Hệ thống tiếp tục gửi lại đến {}; bạn không cần gửi lại.",
                report.until.rfc5322()
            ),
            format!(
                "Your message has not reached the recipients below yet. It will be tried until {}; you need not send it again.",
                report.until.rfc5322()
            ),
        ),
    };
    let mut list = String::new();
    for item in report.items {
        // Writing into memory does not fail.
        let _ = write!(list, "  <{}>\r\n    {}\r\n", item.recipient.mailbox, clean(item.said));
    }
    let (first, second) = match report.language {
        Language::Vi => (vi, en),
        Language::En => (en, vi),
    };
    format!("{first}\r\n\r\n{second}\r\n\r\n{list}\r\n-- \r\n{} ({})\r\n", report.hostname, report.original.meta.id)
}

/// The part for machines (RFC 3464 §2).
fn status(report: &Report<'_>) -> String {
    let meta = &report.original.meta;
    let mut out = format!("Reporting-MTA: dns; {}\r\n", report.hostname);
    if let Some(envid) = &meta.params.envid {
        let _ = write!(out, "Original-Envelope-Id: {}\r\n", clean(envid));
    }
    let _ = write!(out, "Arrival-Date: {}\r\n", meta.received_at.rfc5322());
    for item in report.items {
        let mailbox = &item.recipient.mailbox;
        out.push_str("\r\n");
        if let Some(original) = &item.recipient.original {
            let _ = write!(out, "Original-Recipient: {}\r\n", clean(original));
        }
        // RFC 6533 §3: an address that is not ASCII has the type utf-8.
        let kind = if mailbox.is_ascii() { "rfc822" } else { "utf-8" };
        let action = if report.kind == Kind::Failed { "failed" } else { "delayed" };
        let _ =
            write!(out, "Final-Recipient: {kind}; {mailbox}\r\nAction: {action}\r\nStatus: {}\r\n", clean(item.status));
        if !item.said.is_empty() {
            let kind = if item.is_reply { "smtp" } else { "x-luytre" };
            let _ = write!(out, "Diagnostic-Code: {kind}; {}\r\n", clean(item.said));
        }
        if report.kind == Kind::Delayed {
            let _ = write!(out, "Will-Retry-Until: {}\r\n", report.until.rfc5322());
        }
    }
    out
}

/// A stranger's text on one line of ASCII.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(QUOTED).collect()
}

/// The original's header, cut at the end of a line.
fn returned_header(head: &[u8]) -> Vec<u8> {
    let cut = match head.get(..RETURNED) {
        None => head,
        Some(part) => memchr::memrchr(b'\n', part).and_then(|at| part.get(..=at)).unwrap_or_default(),
    };
    let cut = cut.strip_suffix(b"\r\n\r\n").map_or(cut, |rest| head.get(..rest.len().saturating_add(2)).unwrap_or(cut));
    cut.to_vec()
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
