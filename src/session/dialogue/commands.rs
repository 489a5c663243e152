//! What each command does.

use std::net::{IpAddr, SocketAddr};

use super::{Behind, Chunks, Dialogue, Hello, Next, OVERRUN, Role, Step, out_of_order};
use crate::mail::{MailParams, Reply, ReversePath};
use crate::session::command::{Command, is_host_name, not_ascii};
use crate::session::desk::{Reason, Request};
use crate::session::sasl::MECHANISMS;

impl Dialogue {
    pub(super) fn command(&mut self, command: Command, behind: Behind) -> Step {
        if let Some(step) = self.out_of_step(&command, behind) {
            return step;
        }
        match command {
            Command::Hello { name, esmtp } => self.hello_command(name, esmtp),
            Command::Mail { sender, params } => self.mail(sender, params),
            Command::Rcpt { request, ascii } => self.rcpt(request, ascii),
            Command::Data => self.data(),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => {
                self.junk();
                self.draft = None;
                Step::say(Reply::new(250, "2.0.0", "OK"))
            }
            Command::Noop => {
                self.junk();
                Step::say(Reply::new(250, "2.0.0", "OK"))
            }
            Command::Help => {
                self.junk();
                Step::say(Reply::new(214, "2.0.0", "Commands: EHLO MAIL RCPT DATA BDAT RSET NOOP STARTTLS QUIT"))
            }
            Command::Verify => {
                self.junk();
                // RFC 5321 §7.3: the same answer whoever is asked about.
                Step::say(Reply::new(252, "2.5.0", "Send mail, and see"))
            }
            Command::StartTls => self.starttls(),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial),
            Command::Etrn(node) => self.etrn(node),
            Command::Quit => Step::say(Reply::new(221, "2.0.0", "Goodbye")).then(Next::Close),
            Command::Xclient(pairs) => self.xclient(&pairs),
        }
    }

    fn junk(&mut self) {
        self.junk = self.junk.saturating_add(1);
    }

    /// Bytes that came before their time (RFC 2920 §3.1; THREATS S-05, S-09).
    fn out_of_step(&self, command: &Command, behind: Behind) -> Option<Step> {
        if behind == Behind::Nothing {
            return None;
        }
        let reason = match command {
            Command::StartTls => Reason::StartTls,
            Command::Hello { .. } | Command::Data | Command::Auth { .. } | Command::Xclient(_) => Reason::Pipelining,
            Command::Quit => return None,
            // Who said HELO was never offered PIPELINING.
            _ if self.hello.as_ref().is_some_and(|hello| !hello.esmtp) => Reason::Pipelining,
            _ => return None,
        };
        Some(Step::close(Reply::new(554, "5.5.0", "You did not wait for the answer"), reason))
    }

    fn hello_command(&mut self, name: String, esmtp: bool) -> Step {
        let own_literal = || {
            let local = self.client.local.ip();
            let inner = name.trim_matches(['[', ']']);
            // RFC 5321 §4.1.3: the tag in any case.
            let tag = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
            let inner = inner.get(tag.map_or(0, str::len)..).unwrap_or(inner);
            local != self.client.address.ip() && inner.parse() == Ok(local)
        };
        // THREATS S-25: nobody else is us.
        if name.eq_ignore_ascii_case(&self.house.hostname) || own_literal() {
            return Step::refuse(Reply::new(550, "5.7.1", "This name is ours, not yours"), Reason::Helo);
        }
        if self.hello.is_some() {
            self.junk();
        }
        self.draft = None;
        let reply = if esmtp { self.extensions(&name) } else { Reply::new(250, "", self.house.hostname.clone()) };
        self.hello = Some(Hello { name, esmtp });
        Step::say(reply)
    }

    fn extensions(&self, name: &str) -> Reply {
        let mut reply = Reply::new(250, "", format!("{} greets {name}", self.house.hostname))
            .line("PIPELINING")
            .line(format!("SIZE {}", self.house.limits.message.as_u64()))
            .line("8BITMIME")
            .line("ENHANCEDSTATUSCODES")
            .line("CHUNKING")
            .line("DSN");
        if self.client.tls.is_some() {
            // RFC 8689 §2: only inside TLS.
            reply = reply.line("REQUIRETLS");
        } else if self.station.tls.is_some() {
            reply = reply.line("STARTTLS");
        }
        if self.offers_auth() {
            reply = reply.line(format!("AUTH {MECHANISMS}"));
        }
        if self.station.xclient.contains(self.peer) {
            reply = reply.line("XCLIENT NAME ADDR PORT PROTO HELO");
        }
        if self.station.role == Role::Relay {
            reply = reply.line("ETRN");
        }
        reply.line("SMTPUTF8")
    }

    /// RFC 1985: an agency's server asks for its mail. Strangers have nothing to ask for.
    fn etrn(&mut self, node: String) -> Step {
        self.junk();
        if self.station.role != Role::Relay {
            return Step::refuse(Reply::new(502, "5.5.1", "Command not implemented"), Reason::Protocol);
        }
        if self.hello.is_none() {
            return Step::refuse(out_of_order("EHLO first"), Reason::Protocol);
        }
        // §5.1: while no transaction is under way.
        if self.draft.is_some() {
            return Step::refuse(out_of_order("Not inside a transaction"), Reason::Protocol);
        }
        Step::go(Next::Turn(node))
    }

    fn mail(&mut self, sender: ReversePath, params: MailParams) -> Step {
        if self.hello.is_none() {
            return Step::refuse(out_of_order("EHLO first"), Reason::Protocol);
        }
        if self.draft.is_some() {
            return Step::refuse(out_of_order("A sender was given already"), Reason::Protocol);
        }
        if params.requiretls && self.client.tls.is_none() {
            return Step::refuse(Reply::new(530, "5.7.10", "REQUIRETLS needs TLS here too"), Reason::Protocol);
        }
        // RFC 1870 §6.1: what is declared too large need not be sent.
        if params.size.is_some_and(|size| size > self.house.limits.message.as_u64()) {
            return Step::refuse(Reply::new(552, "5.3.4", "The message is too large"), Reason::Size);
        }
        Step::go(Next::Open(sender, params))
    }

    fn rcpt(&mut self, request: Request, ascii: bool) -> Step {
        let limit = self.house.limits.recipients;
        let Some(draft) = &mut self.draft else { return Step::refuse(out_of_order("MAIL first"), Reason::Protocol) };
        if draft.chunks != Chunks::None {
            return Step::refuse(out_of_order("Chunks have begun"), Reason::Protocol);
        }
        if !ascii && !draft.opening.params.smtputf8 {
            return Step::refuse(not_ascii(), Reason::Recipient);
        }
        if draft.recipients.len() >= limit {
            draft.overrun = draft.overrun.saturating_add(1);
            if draft.overrun > limit.saturating_mul(OVERRUN) {
                return Step::close(Reply::new(421, "4.7.0", "Too many recipients"), Reason::Recipients);
            }
            // RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction.
            return Step::refuse(Reply::new(452, "4.5.3", "Too many recipients in one message"), Reason::Recipients);
        }
        Step::go(Next::Check(request))
    }

    fn data(&self) -> Step {
        let Some(draft) = &self.draft else { return Step::refuse(out_of_order("MAIL first"), Reason::Protocol) };
        if draft.chunks != Chunks::None {
            return Step::refuse(out_of_order("Chunks have begun; DATA cannot follow BDAT"), Reason::Protocol);
        }
        if draft.recipients.is_empty() {
            return Step::refuse(Reply::new(554, "5.5.1", "No valid recipients"), Reason::Protocol);
        }
        Step::say(Reply::new(354, "", "End with <CRLF>.<CRLF>")).then(Next::Data)
    }

    fn bdat(&mut self, size: u64, last: bool) -> Step {
        let limit = self.house.limits.message.as_u64();
        if size > limit {
            // More than we are ready to read and drop (THREATS S-33).
            return Step::close(Reply::new(552, "5.3.4", "The message is too large"), Reason::Size);
        }
        let swallow = |reply| Step::refuse(reply, Reason::Protocol).then(Next::Swallow { size });
        let Some(draft) = &mut self.draft else { return swallow(out_of_order("MAIL first")) };
        if draft.chunks == Chunks::Broken {
            if last {
                self.draft = None;
            }
            return swallow(out_of_order("A chunk was refused; RSET first"));
        }
        if draft.recipients.is_empty() {
            draft.chunks = Chunks::None;
            return swallow(Reply::new(503, "5.5.1", "No valid recipients"));
        }
        draft.chunks = Chunks::Begun;
        Step::go(Next::Chunk { size, last })
    }

    fn starttls(&self) -> Step {
        if self.client.tls.is_some() {
            return Step::refuse(out_of_order("TLS is on already"), Reason::Protocol);
        }
        if self.station.tls.is_none() {
            return Step::refuse(Reply::new(502, "5.5.1", "TLS is not offered"), Reason::Protocol);
        }
        if self.hello.is_none() {
            return Step::refuse(out_of_order("EHLO first"), Reason::Protocol);
        }
        Step::say(Reply::new(220, "2.0.0", "Go ahead")).then(Next::StartTls)
    }

    /// Another client's facts, from a proxy that we were told to believe (Postfix's XCLIENT; THREATS S-24).
    fn xclient(&mut self, pairs: &[(String, String)]) -> Step {
        if !self.station.xclient.contains(self.peer) {
            return Step::refuse(Reply::new(550, "5.7.0", "Not from here"), Reason::Proxy);
        }
        if self.draft.is_some() {
            return Step::refuse(out_of_order("Not inside a transaction"), Reason::Protocol);
        }
        let (mut address, mut name, mut esmtp) = (self.client.address, None, true);
        for (attribute, value) in pairs {
            let known = !matches!(value.to_ascii_uppercase().as_str(), "[UNAVAILABLE]" | "[TEMPUNAVAIL]");
            let good = match (attribute.as_str(), known) {
                ("ADDR", true) => {
                    let text = value.strip_prefix("IPV6:").or_else(|| value.strip_prefix("IPv6:")).unwrap_or(value);
                    text.parse::<IpAddr>()
                        .map(|ip| address = SocketAddr::new(ip.to_canonical(), address.port()))
                        .is_ok()
                }
                ("PORT", true) => value.parse().map(|port| address.set_port(port)).is_ok(),
                ("HELO", true) => {
                    name = Some(value.clone());
                    is_host_name(value.as_bytes())
                }
                ("PROTO", true) => {
                    esmtp = value.eq_ignore_ascii_case("ESMTP");
                    esmtp || value.eq_ignore_ascii_case("SMTP")
                }
                // The name is looked up by ourselves where it matters.
                ("NAME", _) => true,
                ("ADDR" | "PORT" | "HELO" | "PROTO", false) => true,
                _ => false,
            };
            if !good {
                return Step::refuse(Reply::new(501, "5.5.4", "An XCLIENT attribute is not valid"), Reason::Proxy);
            }
        }
        self.client.address = address;
        // What the proxy's own TLS session proved is about the proxy.
        if let Some(tls) = &mut self.client.tls {
            (tls.account, tls.client) = (None, None);
        }
        self.hello = name.map(|name| Hello { name, esmtp });
        (self.errors, self.junk) = (0, 0);
        self.banner()
    }

    /// Whether early talkers are looked for: strangers only.
    #[must_use]
    pub fn waits_for_early_talkers(&self) -> bool {
        self.station.role == Role::Mx && !self.house.limits.pregreet.is_zero()
    }
}
