//! The whole protocol as a pure machine: what happened goes in, what to say and what to do next comes out.
//!
//! No socket, no clock. `session::run` feeds it lines, the desk's answers and the ends of messages. Order of commands is
//! RFC 5321 §4.1.4; pipelining RFC 2920; chunks RFC 3030; STARTTLS RFC 3207. What strangers may not do is THREATS §2.

mod auth;
mod commands;
mod step;

use std::net::IpAddr;
use std::sync::Arc;

pub use auth::Refusal as AuthRefusal;
pub use step::{Behind, Next, Silence, Step};

use super::command::{self, Refused};
use super::desk::{Letter, Opening, Reason};
use super::house::{House, Station};
use super::line::{Bounds, Fault};
use crate::listen::{ClientFacts, Role, TlsFacts};
use crate::mail::{MailId, MailParams, Recipient, Reply, ReversePath, Span, Timestamp};

/// From this many errors on each further one waits a second for its answer (THREATS S-15).
const SLOW_AFTER: u32 = 10;
/// This many times the recipient limit may be overrun with 452 before the session ends.
const OVERRUN: usize = 10;
/// Received fields that carry our own name: more are a loop (THREATS S-29).
pub(super) const OWN_HOPS: usize = 5;

/// One session.
#[derive(Debug)]
pub struct Dialogue {
    house: Arc<House>,
    station: Arc<Station>,
    client: ClientFacts,
    /// Who really is connected; `client` may be somebody XCLIENT named.
    peer: IpAddr,
    hello: Option<Hello>,
    draft: Option<Draft>,
    errors: u32,
    junk: u32,
    /// AUTH attempts that failed.
    attempts: u32,
    /// There is stress, and this client feels it.
    hurried: bool,
}

#[derive(Debug)]
struct Hello {
    name: String,
    esmtp: bool,
}

/// A transaction between MAIL FROM and its end.
#[derive(Debug)]
struct Draft {
    opening: Opening,
    recipients: Vec<Recipient>,
    /// RCPT commands beyond the limit.
    overrun: usize,
    chunks: Chunks,
}

/// BDAT in this transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunks {
    None,
    Begun,
    /// One was refused: only RSET, or the last chunk, ends it (RFC 3030 §2).
    Broken,
}

impl Dialogue {
    #[must_use]
    pub fn new(house: Arc<House>, station: Arc<Station>, client: ClientFacts) -> Self {
        let peer = client.address.ip();
        Self { house, station, client, peer, hello: None, draft: None, errors: 0, junk: 0, attempts: 0, hurried: false }
    }

    /// Who really is connected, where a PROXY header spoke for somebody else.
    pub const fn connected_from(&mut self, peer: IpAddr) {
        self.peer = peer;
    }

    /// Whether fewer errors are forgiven now (`limits.stress`).
    pub const fn hurry(&mut self, hurried: bool) {
        self.hurried = hurried;
    }

    /// The configuration as it is now; taken at each MAIL FROM.
    pub fn refresh(&mut self, house: Arc<House>) {
        if let Some(station) = house.station(self.station.address) {
            self.station = Arc::clone(station);
        }
        self.house = house;
        self.forget_lost_account();
    }

    #[must_use]
    pub fn house(&self) -> &House {
        &self.house
    }
    #[must_use]
    pub fn station(&self) -> &Station {
        &self.station
    }
    #[must_use]
    pub const fn client(&self) -> &ClientFacts {
        &self.client
    }
    #[must_use]
    pub fn hello(&self) -> &str {
        self.hello.as_ref().map_or("", |hello| &hello.name)
    }
    #[must_use]
    pub fn opening(&self) -> Option<&Opening> {
        self.draft.as_ref().map(|draft| &draft.opening)
    }
    /// Whether the client has introduced itself.
    #[must_use]
    pub const fn is_introduced(&self) -> bool {
        self.hello.is_some()
    }

    /// What MAIL FROM opens.
    #[must_use]
    pub fn open(&self, id: MailId, received_at: Timestamp, sender: ReversePath, params: MailParams) -> Opening {
        Opening {
            id,
            received_at,
            client: self.client.clone(),
            helo: self.hello().to_owned(),
            esmtp: self.hello.as_ref().is_some_and(|hello| hello.esmtp),
            sender,
            params,
        }
    }

    /// The bounds of the message that begins now.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let limits = &self.house.limits;
        Bounds {
            message: limits.message.as_u64(),
            line: limits.line.as_u64(),
            header: limits.header.as_u64(),
            header_fields: limits.header_fields,
            received: limits.received,
            normalize: self.station.normalize.contains(self.client.address.ip()),
        }
    }

    /// The banner.
    #[must_use]
    pub fn banner(&self) -> Step {
        Step::say(Reply::new(220, "", format!("{} ESMTP", self.house.hostname)))
    }

    /// The client spoke before the banner (THREATS S-08).
    #[must_use]
    pub fn early(&self) -> Step {
        Step::close(Reply::new(554, "5.5.0", "You spoke before the greeting"), Reason::Pregreet)
    }

    /// A command line came in, without its CRLF.
    pub fn line(&mut self, line: &[u8], behind: Behind) -> Step {
        let mended = (self.station.role == Role::Relay).then(|| command::domino_null_sender(line)).flatten();
        let step = match command::parse(mended.as_deref().unwrap_or(line)) {
            Ok(command) => self.command(command, behind),
            Err(Refused::Reply(reply)) => {
                let reason = refusal_reason(&reply);
                Step::refuse(reply, reason)
            }
            Err(Refused::Junk(reply)) => {
                self.junk = self.junk.saturating_add(1);
                Step::refuse(reply, Reason::Protocol)
            }
            Err(Refused::Close(reply)) => Step::close(reply, Reason::Protocol),
        };
        self.tallied(step)
    }

    /// The desk answered MAIL FROM.
    pub fn opened(&mut self, opening: Opening, answer: Result<(), Reply>) -> Step {
        match answer {
            Ok(()) => {
                self.draft = Some(Draft { opening, recipients: Vec::new(), overrun: 0, chunks: Chunks::None });
                Step::say(Reply::new(250, "2.1.0", "Sender OK"))
            }
            Err(reply) => {
                let step = Step::refuse(reply, Reason::Sender).about(Some(opening));
                self.tallied(step)
            }
        }
    }

    /// The desk answered RCPT TO.
    pub fn checked(&mut self, answer: Result<Recipient, Reply>) -> Step {
        match (answer, &mut self.draft) {
            (Ok(recipient), Some(draft)) => {
                draft.recipients.push(recipient);
                Step::say(Reply::new(250, "2.1.5", "Recipient OK"))
            }
            (Ok(_), None) => Step::refuse(out_of_order("MAIL first"), Reason::Protocol),
            (Err(reply), _) => self.tallied(Step::refuse(reply, Reason::Recipient)),
        }
    }

    /// The desk answered ETRN.
    pub fn turned(&mut self, reply: Reply) -> Step {
        let step = if reply.is_positive() { Step::say(reply) } else { Step::refuse(reply, Reason::Protocol) };
        self.tallied(step)
    }

    /// The end of DATA was reached, or the last chunk read. Without a fault the letter goes to the desk.
    pub fn ended(&mut self, fault: Option<Fault>, own_hops: usize) -> Result<Letter, Box<Step>> {
        let fault = fault.or((own_hops > OWN_HOPS).then_some(Fault::TooManyHops));
        let draft = self.draft.take();
        if let Some(fault) = fault {
            return Err(Box::new(refused_message(fault).about(draft.map(|draft| draft.opening))));
        }
        draft
            .map(|draft| Letter { opening: draft.opening, recipients: draft.recipients })
            .ok_or_else(|| Box::new(Step::refuse(out_of_order("MAIL first"), Reason::Protocol)))
    }

    /// The desk answered the letter.
    pub fn answered(&mut self, reply: Reply) -> Step {
        if reply.is_positive() {
            // A client that delivers mail may say NOOP or RSET between messages for as long as it does.
            self.junk = 0;
        }
        Step::say(reply)
    }

    /// A chunk that is not the last was read.
    pub fn chunk_ended(&mut self, size: u64, fault: Option<Fault>) -> Step {
        let Some(draft) = &mut self.draft else { return Step::refuse(out_of_order("MAIL first"), Reason::Protocol) };
        if let Some(fault) = fault {
            draft.chunks = Chunks::Broken;
            let id = draft.opening.id;
            return refused_message(fault).with_id(id);
        }
        Step::say(Reply::new(250, "2.0.0", format!("{size} octets received")))
    }

    /// Trouble of ours with the message's bytes; `halfway` means that more of them would come.
    pub fn troubled(&mut self, halfway: bool) -> Step {
        let draft = self.draft.take();
        let reply =
            Reply::new(if halfway { 421 } else { 451 }, "4.3.0", "The message cannot be kept now; try again later");
        let step = Step::refuse(reply, Reason::Resources).about(draft.map(|draft| draft.opening));
        if halfway { step.then(Next::Close) } else { step }
    }

    /// A message that goes on for ever after it was too large (THREATS S-16).
    pub fn endless(&mut self) -> Step {
        let draft = self.draft.take();
        refused_message(Fault::MessageTooLong).about(draft.map(|draft| draft.opening)).then(Next::Close)
    }

    /// The handshake succeeded: everything said before it is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, facts: TlsFacts) {
        self.client.tls = Some(facts);
        (self.hello, self.draft) = (None, None);
    }

    /// A command line that is none: bare CR or LF, or too long (THREATS S-03, S-11).
    #[must_use]
    pub fn bad_line(&self, too_long: bool) -> Step {
        let reply = if too_long {
            Reply::new(500, "5.5.6", "The line is too long")
        } else {
            Reply::new(500, "5.5.2", "Lines end with CRLF")
        };
        Step::close(reply, if too_long { Reason::Protocol } else { Reason::LineEnds })
    }

    /// Octets of another protocol, such as a TLS handshake (THREATS S-07).
    #[must_use]
    pub fn foreign(&self) -> Step {
        Step::close(Reply::new(421, "4.7.0", "This is a mail server"), Reason::Protocol)
    }

    /// The client took too long.
    #[must_use]
    pub fn silent(&self, what: Silence) -> Step {
        let text = match what {
            Silence::Command => "Timeout while waiting for a command",
            Silence::Data => "Timeout while receiving the message",
            Silence::Session => "The session lasts too long without a message",
        };
        Step::close(Reply::new(421, "4.4.2", text), Reason::Timeout)
    }

    /// The gateway goes down.
    #[must_use]
    pub fn shutdown(&self) -> Step {
        Step::close(Reply::new(421, "4.3.2", "The service is going down; try again soon"), Reason::Shutdown)
    }

    /// Counts errors and junk, slows and ends sessions that have too many.
    fn tallied(&mut self, mut step: Step) -> Step {
        let (limits, stress) = (&self.house.limits, &self.house.limits.stress);
        let (errors, junk) = if self.hurried {
            (limits.errors.min(stress.errors), limits.junk_commands.min(stress.junk_commands))
        } else {
            (limits.errors, limits.junk_commands)
        };
        let permanent = step.reply().is_some_and(Reply::is_permanent);
        if permanent {
            self.errors = self.errors.saturating_add(1);
            if self.errors >= errors && step.next != Next::Close {
                return Step::close(Reply::new(421, "4.7.0", "Too many errors"), Reason::Errors);
            }
            if self.errors >= SLOW_AFTER.min(errors) {
                step.delay = Span::seconds(1);
            }
        }
        if self.junk > junk {
            return Step::close(Reply::new(421, "4.7.0", "Too many commands without mail"), Reason::Junk);
        }
        step
    }
}

fn out_of_order(text: &'static str) -> Reply {
    Reply::new(503, "5.5.1", text)
}

/// Which counter a refusal by grammar belongs to.
fn refusal_reason(reply: &Reply) -> Reason {
    match (reply.code(), reply.enhanced()) {
        (_, "5.1.7") => Reason::Sender,
        (550, _) | (_, "5.1.3") => Reason::Recipient,
        _ => Reason::Protocol,
    }
}

fn refused_message(fault: Fault) -> Step {
    let (reply, reason) = match fault {
        Fault::BareNewline => (Reply::new(550, "5.6.11", "The message has a bare CR or LF"), Reason::LineEnds),
        Fault::Nul => (Reply::new(550, "5.6.0", "The message has a NUL octet"), Reason::LineEnds),
        Fault::MessageTooLong => (Reply::new(552, "5.3.4", "The message is too large"), Reason::Size),
        Fault::LineTooLong => (Reply::new(552, "5.3.4", "The message has a line that is too long"), Reason::Limits),
        Fault::HeaderTooLong => (Reply::new(552, "5.3.4", "The header of the message is too large"), Reason::Limits),
        Fault::TooManyFields => (Reply::new(552, "5.3.4", "The message has too many header fields"), Reason::Limits),
        Fault::TooManyHops => (Reply::new(554, "5.4.6", "The message is going round in a loop"), Reason::Loop),
    };
    Step::refuse(reply, reason)
}

#[cfg(test)]
mod tests;
