//! The part of a report for machines: `message/delivery-status` (RFC 3464 §2), or its global form (RFC 6533).
//!
//! Parameters of the session are xtext (RFC 3461 §4); a report gives them decoded. An address that is not ASCII has
//! the type `utf-8`: as it is in the global form, in the ASCII form as utf-8-addr-xtext (`\x{1ED7}`, RFC 6533 §3).

use std::fmt::Write as _;

use super::{Kind, Report, clean};
use crate::mail::Mailbox;

/// Whether letters beyond ASCII may stand in the part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Ascii,
    Global,
}

/// One block about the message, one about each recipient.
#[must_use]
pub fn fields(report: &Report<'_>, form: Form) -> String {
    let meta = &report.original.meta;
    let mut out = format!("Reporting-MTA: dns; {}\r\n", report.hostname);
    if let Some(envid) = &meta.params.envid {
        // Writing into memory does not fail.
        let _ = write!(out, "Original-Envelope-Id: {}\r\n", clean(&decoded(envid)));
    }
    let _ = write!(out, "Arrival-Date: {}\r\n", meta.received_at.rfc5322());
    for item in report.items {
        out.push_str("\r\n");
        if let Some(original) = item.recipient.original.as_deref().and_then(|given| original(given, form)) {
            let _ = write!(out, "Original-Recipient: {original}\r\n");
        }
        let action = match report.kind {
            Kind::Failed => "failed",
            Kind::Delayed => "delayed",
            Kind::Relayed => "relayed",
        };
        let (address, status) = (final_recipient(&item.recipient.mailbox, form), class_of(report.kind, item.status));
        let _ = write!(out, "Final-Recipient: {address}\r\nAction: {action}\r\nStatus: {status}\r\n");
        if !item.said.is_empty() {
            let kind = if item.is_reply { "smtp" } else { "x-luytre" };
            let _ = write!(out, "Diagnostic-Code: {kind}; {}\r\n", clean(item.said));
        }
        if report.kind != Kind::Relayed {
            let _ = write!(out, "Last-Attempt-Date: {}\r\n", report.now.rfc5322());
        }
        if report.kind == Kind::Delayed {
            let _ = write!(out, "Will-Retry-Until: {}\r\n", report.until.rfc5322());
        }
    }
    out
}

/// RFC 3464 §2.3.4: the class says what the action says, whatever digit a server put there; a code that is none is
/// replaced.
fn class_of(kind: Kind, status: &str) -> String {
    let class = match kind {
        Kind::Failed => '5',
        Kind::Delayed => '4',
        Kind::Relayed => '2',
    };
    let number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let mut parts = status.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(subject), Some(detail)) if number(subject) && number(detail) => {
            format!("{class}.{subject}.{detail}")
        }
        _ => format!("{class}.0.0"),
    }
}

fn final_recipient(mailbox: &Mailbox, form: Form) -> String {
    if mailbox.is_ascii() {
        return format!("rfc822; {mailbox}");
    }
    match form {
        Form::Global => format!("utf-8; {mailbox}"),
        Form::Ascii => format!("utf-8; {}", addr_xtext(&mailbox.to_string())),
    }
}

/// ORCPT as a field: its type, and the address without the encoding of the session; `None` when it is malformed.
fn original(given: &str, form: Form) -> Option<String> {
    let (kind, address) = given.split_once(';')?;
    if !kind.eq_ignore_ascii_case("utf-8") {
        return Some(format!("{}; {}", clean(kind), clean(&decoded(address))));
    }
    let address: String = unescaped(&decoded(address)).chars().filter(|c| !c.is_control()).take(500).collect();
    Some(match form {
        Form::Global => format!("utf-8; {address}"),
        Form::Ascii => format!("utf-8; {}", addr_xtext(&address)),
    })
}

/// xtext (RFC 3461 §4) in clear; what is no xtext stays as it is, and so does a `+XX` that hides a control character.
fn decoded(xtext: &str) -> String {
    let mut out = String::with_capacity(xtext.len());
    let mut rest = xtext;
    while let Some((before, after)) = rest.split_once('+') {
        out.push_str(before);
        let octet = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match octet.filter(|octet| octet.is_ascii_graphic() || *octet == b' ') {
            Some(octet) => {
                out.push(char::from(octet));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('+');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// `\x{HEX}` back to the letter it stands for (RFC 6533 §3, EmbeddedUnicodeChar).
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let letter = after.split_once('}').and_then(|(hex, behind)| {
            let point = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() <= 6)?;
            Some((char::from_u32(point)?, behind))
        });
        match letter {
            Some((letter, behind)) => {
                out.push(letter);
                rest = behind;
            }
            None => {
                out.push_str("\\x{");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// utf-8-addr-xtext (RFC 6533 §3): printable ASCII but for `+`, `=` and `\`; everything else by its number.
fn addr_xtext(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for letter in address.chars() {
        match letter {
            '+' | '=' | '\\' => _ = write!(out, "\\x{{{:02X}}}", u32::from(letter)),
            '!'..='~' => out.push(letter),
            _ => _ = write!(out, "\\x{{{:02X}}}", u32::from(letter)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3461_4_xtext_is_decoded_and_hides_no_line_end() {
        for (given, expected) in
            [("QQ314159", "QQ314159"), ("a+2Bb+3Dc", "a+b=c"), ("x+0D+0Ay", "x+0D+0Ay"), ("+", "+"), ("+zz+2", "+zz+2")]
        {
            assert_eq!(decoded(given), expected);
        }
    }

    #[test]
    fn rfc6533_3_addresses_travel_both_ways() {
        let address = "đỗ+thư=a\\b@x.vn";
        let coded = addr_xtext(address);
        assert_eq!(coded, "\\x{111}\\x{1ED7}\\x{2B}th\\x{1B0}\\x{3D}a\\x{5C}b@x.vn");
        assert_eq!(unescaped(&coded), address);
        assert_eq!(unescaped("\\x{}\\x{110000}\\x{41"), "\\x{}\\x{110000}\\x{41", "what is none stays");
        assert_eq!(original("utf-8;\\x{111}@x.vn", Form::Global).as_deref(), Some("utf-8; đ@x.vn"));
        assert_eq!(original("utf-8;đ@x.vn", Form::Ascii).as_deref(), Some("utf-8; \\x{111}@x.vn"));
        assert_eq!(original("rfc822;a+2Bb@x.vn", Form::Ascii).as_deref(), Some("rfc822; a+b@x.vn"));
    }

    #[test]
    fn rfc3464_2_3_4_the_class_fits_the_action() {
        assert_eq!(class_of(Kind::Failed, "4.2.1"), "5.2.1");
        assert_eq!(class_of(Kind::Delayed, "4.4.7"), "4.4.7");
        assert_eq!(class_of(Kind::Relayed, ""), "2.0.0");
        assert_eq!(class_of(Kind::Failed, "5.1.1\r\nX: y"), "5.0.0");
        assert_eq!(class_of(Kind::Failed, "5.7.509"), "5.7.509");
    }
}
