//! The letter that tells an agency's postmaster what was found too late, in Vietnamese and English. Pure.
//!
//! It goes from `<>` (RFC 5321 §4.5.5: nobody answers it with a report) and says who should be asked, not what the mail
//! was about: no subject stands in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::Hit;
use crate::mail::transaction::{BodyType, Notify};
use crate::mail::{Destination, MailId, MailParams, Mailbox, Parcel, ParcelMeta, Recipient, ReversePath, Timestamp};

/// Lines in one letter; the rest stands in the record.
const MOST_LINES: usize = 100;
/// Octets of text in one line of base64 (RFC 2045 §6.8: 76 characters).
const LINE: usize = 57;

/// All that it is made of.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    pub id: MailId,
    pub now: Timestamp,
    pub hostname: &'a str,
    /// The agency's postmaster.
    pub to: &'a Mailbox,
    pub destination: Destination,
    pub hits: &'a [Hit],
}

/// As a message of its own.
#[must_use]
pub fn build(letter: &Letter<'_>) -> Parcel {
    let (id, host, now) = (letter.id, letter.hostname, letter.now);
    let received = letter.hits.iter().filter(|hit| hit.is_delivery()).count();
    let subject =
        format!("Luy Tre: {received} thu da chuyen nay bi xem la doc hai / delivered mail is known to be bad");
    let head = format!(
        "Received: by {host} (Luytre) id {id}; {}\r\nFrom: Luy Tre <postmaster@{host}>\r\nTo: <{}>\r\n\
         Subject: {subject}\r\nDate: {}\r\nMessage-ID: <{id}@{host}>\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        now.rfc5322(),
        letter.to,
        now.rfc5322(),
    );
    let body: String = text(letter.hits).as_bytes().chunks(LINE).map(|chunk| BASE64.encode(chunk) + "\r\n").collect();
    let recipient = Recipient {
        mailbox: letter.to.clone(),
        destination: letter.destination.clone(),
        original: None,
        notify: Notify { success: false, failure: false, delay: false, explicit: true },
    };
    Parcel {
        meta: ParcelMeta {
            id,
            received_at: now,
            sender: ReversePath::Null,
            recipients: vec![recipient],
            destination: letter.destination.clone(),
            params: MailParams { body: BodyType::SevenBit, ..MailParams::default() },
            sender_authenticated: false,
            subject,
        },
        head: Bytes::from(head),
        body: Bytes::from(body),
    }
}

fn text(hits: &[Hit]) -> String {
    let (received, held): (Vec<&Hit>, Vec<&Hit>) = hits.iter().partition(|hit| hit.is_delivery());
    let (received_lines, held_lines) = (lines(&received), lines(&held));
    let mut out = String::new();
    if !received.is_empty() {
        out.push_str(&format!(
            "Những thư sau đã được chuyển đến người nhận; theo hiểu biết hôm nay thì không nên chuyển.\r\n\
             Hãy báo cho người nhận, xóa thư khỏi hộp thư và kiểm tra máy tính của họ.\r\n\r\n{received_lines}\r\n"
        ));
    }
    if !held.is_empty() {
        out.push_str(&format!(
            "Những thư sau vẫn đang bị giữ, chưa ai nhận; hôm nay biết là có mã độc, đừng thả:\r\n\r\n{held_lines}\r\n"
        ));
    }
    out.push_str("Xem thêm: luytre receipt MÃ; luytre log audit --what retro; luytre retro.\r\n\r\n----\r\n\r\n");
    if !received.is_empty() {
        out.push_str(&format!(
            "These messages were delivered; by what is known today they should not have been.\r\n\
             Tell the recipients, take the messages out of their mailboxes, look at their computers.\r\n\r\n\
             {received_lines}\r\n"
        ));
    }
    if !held.is_empty() {
        out.push_str(&format!(
            "These are still held, nobody received them; they are known to carry malware today, do not release \
             them:\r\n\r\n{held_lines}\r\n"
        ));
    }
    out.push_str("More: luytre receipt ID; luytre log audit --what retro; luytre retro.\r\n");
    out
}

/// One entry a hit. Names in it come from strangers: without controls and turned letters, and cut.
fn lines(hits: &[&Hit]) -> String {
    let shown = |text: &str| -> String {
        let harmless = |c: &char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        text.chars().filter(harmless).take(120).collect()
    };
    let mut out: String = hits
        .iter()
        .take(MOST_LINES)
        .map(|hit| {
            let sender = if hit.sender.is_empty() { "<>" } else { &hit.sender };
            let to: Vec<String> = hit.recipients.iter().take(20).map(|to| shown(to)).collect();
            let time = hit.time.get(..16).unwrap_or(&hit.time);
            format!(
                "  {time}  {}\r\n    {} -> {}\r\n    {} ({})\r\n",
                hit.id,
                shown(sender),
                to.join(", "),
                shown(&hit.name),
                shown(&hit.because)
            )
        })
        .collect();
    if let Some(more @ 1..) = hits.len().checked_sub(MOST_LINES) {
        out.push_str(&format!("  ... +{more}\r\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_postmaster_is_told_in_both_languages_who_received_what_and_nothing_that_steers() {
        let hit = Hit {
            id: MailId::from_u128(7 << 80),
            time: "2026-11-20T08:00:00Z".into(),
            recipients: vec!["an@agency.test".into()],
            name: "bao-gia\u{202e}fdp.exe\r\nBcc: x".into(),
            because: "seen as malware.emotet".into(),
            sender: String::new(),
            agency: "so".into(),
            direction: "in".into(),
            part: "2".into(),
            sha256: "ab".repeat(32),
            then: crate::verdict::Action::Deliver,
            state: "delivered".into(),
        };
        let held = Hit { state: super::super::HELD.into(), because: "malware.new".into(), ..hit.clone() };
        let hits = [vec![hit; 140], vec![held]].concat();
        let to: Mailbox = "postmaster@agency.test".parse().unwrap();
        let destination = Destination::Agency("so".parse().unwrap());
        let (id, now) = (MailId::from_u128(9), Timestamp::from_seconds(1_795_302_082));
        let parcel = build(&Letter { id, now, hostname: "gw.test", to: &to, destination, hits: &hits });
        assert!(parcel.meta.sender.is_null() && parcel.head.is_ascii() && parcel.body.is_ascii());
        assert!(parcel.head.ends_with(b"\r\n\r\n"));
        let coded: Vec<u8> = parcel.body.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        // Each line was coded by itself; only the last one may be padded.
        let text = String::from_utf8(BASE64.decode(coded).unwrap()).unwrap();
        for part in ["đã được chuyển", "were delivered", "an@agency.test", "seen as malware.emotet", "+40", "đừng thả"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{202e}') && !text.contains("\r\nBcc"), "{text}");
    }
}
