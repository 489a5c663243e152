//! MAIL and RCPT with the parameters that a server understands (RFC 1870, 3461, 6152, 6531, 8689).

use super::Abilities;
use crate::deliver::profile::Traits;
use crate::mail::transaction::{Notify, Ret};
use crate::mail::{MailParams, Recipient, ReversePath};

/// What MAIL says.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    pub path: &'a ReversePath,
    pub params: &'a MailParams,
    /// `None` while it is not known.
    pub size_bytes: Option<u64>,
    /// The message has octets beyond ASCII, or its sender said so.
    pub eight_bit: bool,
    pub smtputf8: bool,
}

/// `MAIL FROM:<...>` and its parameters.
pub fn mail(sender: Sender<'_>, can: Abilities, traits: Traits, out: &mut Vec<u8>) {
    out.extend_from_slice(b"MAIL FROM:<");
    if let Some(mailbox) = sender.path.mailbox() {
        put(out, mailbox);
    }
    out.push(b'>');
    if let Some(size) = sender.size_bytes.filter(|_| can.size && traits.size) {
        out.extend_from_slice(b" SIZE=");
        put(out, size);
    }
    // Deviates from RFC 6152 §3: a server without 8BITMIME gets the octets as they are, as from every MTA
    // that does not re-encode; re-encoding would break the signatures that we verify and make.
    if can.eight_bit && sender.eight_bit {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    if can.smtputf8 && sender.smtputf8 {
        out.extend_from_slice(b" SMTPUTF8");
    }
    if sender.params.requiretls && can.requiretls {
        out.extend_from_slice(b" REQUIRETLS");
    }
    if can.dsn && traits.dsn {
        match sender.params.ret {
            Some(Ret::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(Ret::Headers) => out.extend_from_slice(b" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = sender.params.envid.as_deref().filter(|id| is_xtext(id)) {
            out.extend_from_slice(b" ENVID=");
            out.extend_from_slice(envid.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// `RCPT TO:<...>` and its parameters.
pub fn rcpt(recipient: &Recipient, can: Abilities, traits: Traits, out: &mut Vec<u8>) {
    out.extend_from_slice(b"RCPT TO:<");
    put(out, &recipient.mailbox);
    out.push(b'>');
    if can.dsn && traits.dsn {
        dsn_parameters(recipient, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 3461 §4.1, §4.2: passed on as the client said them.
fn dsn_parameters(recipient: &Recipient, out: &mut Vec<u8>) {
    let Notify { success, failure, delay, explicit } = recipient.notify;
    if explicit {
        let said = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        let words: Vec<&str> = said.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
        out.extend_from_slice(b" NOTIFY=");
        out.extend_from_slice(if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }.as_bytes());
    }
    if let Some(original) = recipient.original.as_deref().filter(|o| is_xtext(o)) {
        out.extend_from_slice(b" ORCPT=");
        out.extend_from_slice(original.as_bytes());
    }
}

/// Nothing but printable ASCII without spaces: cannot end a parameter, a command or a line.
fn is_xtext(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Appends `value` as it is written.
pub(super) fn put(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing into memory does not fail.
    let _ = write!(out, "{value}");
}
