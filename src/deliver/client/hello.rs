//! Opening a connection: banner, EHLO with HELO behind it, STARTTLS and EHLO again (RFC 5321 §3.1, §3.2; RFC 3207).

use super::{Abilities, Next, Stage, Trouble};
use crate::deliver::settings::TlsMode;
use crate::mail::Reply;

/// Where the opening stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    /// TLS runs; the caller has not said so yet.
    Handshake,
    Ready,
}

/// The opening of one connection.
#[derive(Debug)]
pub struct Hello<'a> {
    name: &'a str,
    tls: TlsMode,
    secured: bool,
    /// STARTTLS was offered, and refused when we took it.
    refused_tls: bool,
    state: State,
    abilities: Abilities,
}

impl<'a> Hello<'a> {
    /// `name` is ours, for EHLO. Begins by reading the banner.
    #[must_use]
    pub fn new(name: &'a str, tls: TlsMode) -> Self {
        Self { name, tls, secured: false, refused_tls: false, state: State::Banner, abilities: Abilities::default() }
    }

    /// What an error now would be about.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.state {
            State::Banner => Stage::Banner,
            State::StartTls | State::Handshake => Stage::StartTls,
            State::Ehlo | State::Helo | State::Ready => Stage::Hello,
        }
    }

    /// What the server can do; complete when [`Next::Done`] was returned.
    #[must_use]
    pub const fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Whether the server offered STARTTLS and did not go through with it.
    #[must_use]
    pub const fn refused_tls(&self) -> bool {
        self.refused_tls
    }

    /// TLS runs now: everything the server said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, out: &mut Vec<u8>) -> Next {
        self.secured = true;
        self.abilities = Abilities::default();
        self.ehlo(out)
    }

    /// One reply in. `more` says that octets stand behind it in the buffer.
    pub fn reply(&mut self, reply: &Reply, more: bool, out: &mut Vec<u8>) -> Result<Next, Trouble> {
        match self.state {
            // RFC 5321 §4.2.3: anything but 220 means "not now" or "never"; either says nothing about our message.
            State::Banner if reply.code() == 220 => Ok(self.ehlo(out)),
            State::Ehlo if reply.is_positive() => {
                self.abilities = Abilities::read(reply);
                self.after_ehlo(out)
            }
            // RFC 5321 §3.2: a server that does not know EHLO is asked with HELO.
            State::Ehlo if reply.is_permanent() => {
                self.state = State::Helo;
                line(out, &["HELO ", self.name]);
                Ok(Next::Read)
            }
            State::Helo if reply.is_positive() => {
                self.abilities = Abilities::default();
                self.after_ehlo(out)
            }
            // THREATS S-05: what stands behind the 220 was put there by somebody on the line.
            State::StartTls if reply.code() == 220 && more => {
                Err(Trouble::Nonsense(Stage::StartTls, "octets behind the 220 of STARTTLS"))
            }
            State::StartTls if reply.code() == 220 => {
                self.state = State::Handshake;
                Ok(Next::StartTls)
            }
            State::StartTls if reply.code() != 421 && self.tls != TlsMode::Required => {
                // Refused, and the connection still is what it was: go on in clear.
                self.refused_tls = true;
                self.state = State::Ready;
                Ok(Next::Done)
            }
            State::StartTls => Err(Trouble::Tls(reply.to_string())),
            _ => Err(Trouble::NotReady(self.stage(), reply.clone())),
        }
    }

    fn ehlo(&mut self, out: &mut Vec<u8>) -> Next {
        self.state = State::Ehlo;
        line(out, &["EHLO ", self.name]);
        Next::Read
    }

    fn after_ehlo(&mut self, out: &mut Vec<u8>) -> Result<Next, Trouble> {
        if self.secured || self.tls == TlsMode::None {
            self.state = State::Ready;
            return Ok(Next::Done);
        }
        if self.abilities.starttls {
            self.state = State::StartTls;
            line(out, &["STARTTLS"]);
            return Ok(Next::Read);
        }
        self.state = State::Ready;
        if self.tls == TlsMode::Required { Err(Trouble::NoTls) } else { Ok(Next::Done) }
    }
}

fn line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
