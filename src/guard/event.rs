//! What happened at the door as a line that a SIEM or an intrusion monitor reads: JSON, CEF, and the syslog frame around
//! them (RFC 5424): a refusal, a ban, a failed handshake, an account that suddenly sends much, a state of the gateway.
//! What strangers said stands in it, so controls are escaped and lengths are bounded.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::Serialize;

use super::settings::SyslogFormat;
use crate::env::tls::handshake::HandshakeError;
use crate::listen::stress::Turn;
use crate::listen::{ClientFacts, Role};
use crate::mail::Timestamp;
use crate::session::desk::{Refusal, Sudden};

/// Longest text of a stranger that is kept of one field.
const LONGEST: usize = 512;

/// One event. Field names are part of the contract with those who read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Event {
    /// RFC 3339, UTC.
    pub time: String,
    /// `refusal`, `ban`, `tls`, `sudden`, or, about the gateway itself and without a client, `stress` or `list`.
    pub event: &'static str,
    pub address: String,
    pub port: u16,
    /// `mx` or `relay`.
    pub listener: &'static str,
    pub local: String,
    /// Stable word: why (`recipient`, `pregreet`, `harvesting`, ...).
    pub reason: &'static str,
    /// Which rule, list or entry; empty where the reason says all.
    pub rule: String,
    /// What the client was told: `550 5.1.1 ...`; empty for a ban.
    pub reply: String,
    pub helo: String,
    pub sender: String,
    pub recipient: String,
    /// Who sends outward: the account that logged in; for `sudden` else the client certificate's fingerprint, or the
    /// address. Empty otherwise.
    pub account: String,
    /// The message's or refusal's id, as in `luytre receipt`.
    pub id: String,
    /// When a ban ends, RFC 3339; empty otherwise.
    pub until: String,
}

impl Event {
    #[must_use]
    pub fn refusal(refusal: &Refusal<'_>) -> Self {
        Self {
            reason: refusal.reason.as_str(),
            rule: bounded(refusal.reply.cause()),
            reply: bounded(&refusal.reply.to_string()),
            helo: bounded(refusal.helo),
            sender: refusal.sender.map(|sender| bounded(&sender.to_string())).unwrap_or_default(),
            recipient: bounded(refusal.recipient.unwrap_or_default()),
            account: account(refusal.client),
            id: refusal.id.to_string(),
            ..Self::of("refusal", refusal.at, refusal.client)
        }
    }

    /// Somebody was sent away until then.
    #[must_use]
    pub fn ban(refusal: &Refusal<'_>, offence: &'static str, until: Timestamp) -> Self {
        Self { event: "ban", reason: offence, until: until.rfc3339(), reply: String::new(), ..Self::refusal(refusal) }
    }

    /// A TLS handshake that came to nothing. Nothing was said: there is no reply.
    #[must_use]
    pub fn handshake(client: &ClientFacts, error: &HandshakeError, at: Timestamp) -> Self {
        Self { reason: error.cause.as_str(), rule: bounded(&error.detail), ..Self::of("tls", at, client) }
    }

    /// Somebody on a relay listener suddenly sends much; its mail was taken.
    #[must_use]
    pub fn sudden(sudden: &Sudden<'_>) -> Self {
        let opening = sudden.opening;
        Self {
            reason: "sudden",
            rule: format!("agency:{}", sudden.agency),
            helo: bounded(&opening.helo),
            sender: bounded(&opening.sender.to_string()),
            account: bounded(sudden.account),
            id: opening.id.to_string(),
            ..Self::of("sudden", sudden.at, &opening.client)
        }
    }

    /// Something about the gateway itself: nobody is its client.
    #[must_use]
    pub fn state(event: &'static str, reason: &'static str, rule: String, at: Timestamp) -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let none = String::new;
        Self {
            address: none(),
            local: none(),
            listener: "",
            reason,
            rule,
            ..Self::about(event, at, nobody, nobody, Role::Mx)
        }
    }

    /// Stress began or ended.
    #[must_use]
    pub fn stress(turn: Turn, at: Timestamp) -> Self {
        let (cause, rule) = match turn {
            Turn::Begins(cause) => (cause, "begins".to_owned()),
            Turn::Ends(cause, lasted) => (cause, format!("ends after {} s", lasted.as_seconds())),
        };
        Self::state("stress", cause.as_str(), rule, at)
    }

    fn of(event: &'static str, at: Timestamp, client: &ClientFacts) -> Self {
        Self::about(event, at, client.address, client.local, client.role)
    }

    fn about(event: &'static str, at: Timestamp, client: SocketAddr, local: SocketAddr, role: Role) -> Self {
        let none = String::new;
        Self {
            time: at.rfc3339(),
            event,
            address: client.ip().to_canonical().to_string(),
            port: client.port(),
            listener: if role == Role::Relay { "relay" } else { "mx" },
            local: local.to_string(),
            reason: "",
            rule: none(),
            reply: none(),
            helo: none(),
            sender: none(),
            recipient: none(),
            account: none(),
            id: none(),
            until: none(),
        }
    }

    /// One line, without its end.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// ArcSight's Common Event Format, version 0.
    #[must_use]
    pub fn cef(&self) -> String {
        let severity = match self.event {
            "sudden" => 8,
            "ban" | "list" => 7,
            "stress" => 6,
            "tls" => 3,
            _ => 4,
        };
        let version = env!("CARGO_PKG_VERSION");
        let mut line =
            format!("CEF:0|Luy Tre|luytre|{version}|{}.{}|mail {}|{severity}|", self.event, self.reason, self.event);
        let (host, port) = self.local.rsplit_once(':').unwrap_or((&self.local, ""));
        let port_text = if self.port == 0 { String::new() } else { self.port.to_string() };
        let fields = [
            ("rt", self.time.as_str()),
            ("src", &self.address),
            ("spt", &port_text),
            ("dst", host.trim_matches(['[', ']'])),
            ("dpt", port),
            ("app", "SMTP"),
            ("reason", self.reason),
            ("cs1Label", "rule"),
            ("cs1", &self.rule),
            ("shost", &self.helo),
            ("suser", &self.sender),
            ("suid", &self.account),
            ("duser", &self.recipient),
            ("externalId", &self.id),
            ("end", &self.until),
            ("msg", &self.reply),
        ];
        let mut first = true;
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            if name == &"cs1Label" && self.rule.is_empty() {
                continue;
            }
            // Writing to a String cannot fail.
            let _ = write!(line, "{}{name}={}", if first { "" } else { " " }, escaped(value));
            first = false;
        }
        line
    }

    /// The RFC 5424 frame: facility mail (2), severity notice (5) where somebody was only turned away, else warning (4).
    #[must_use]
    pub fn syslog(&self, format: SyslogFormat, hostname: &str, process: u32) -> String {
        let severity = if matches!(self.event, "refusal" | "tls") { 5 } else { 4 };
        let text = match format {
            SyslogFormat::Cef => self.cef(),
            SyslogFormat::Json => self.json(),
        };
        // RFC 5424 §6.4: UTF-8 is announced by a byte order mark.
        let mark = if text.is_ascii() { "" } else { "\u{feff}" };
        format!("<{}>1 {} {hostname} luytre {process} {} - {mark}{text}", 2 * 8 + severity, self.time, self.event)
    }
}

fn account(client: &ClientFacts) -> String {
    client.tls.as_ref().and_then(|tls| tls.account.as_ref()).map_or_else(String::new, |account| bounded(&account.name))
}

/// CEF: backslash, equals sign and line ends are escaped in values; other controls have no place in a line.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' | '=' => out.extend(['\\', c]),
            '\n' | '\r' => out.push_str("\\n"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// Bounded, and without what makes a terminal or a reader see something else than what is there: control characters
/// beyond ASCII, marks that turn the direction of text, invisible line ends. ASCII controls are escaped by each format.
fn bounded(text: &str) -> String {
    let deceives = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().take(LONGEST).map(|c| if deceives(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
