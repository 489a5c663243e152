//! One message over an open connection: MAIL, RCPT and DATA (or BDAT) in one group where the server allows
//! (RFC 2920), the replies taken in order, every recipient's fate kept apart.

use super::commands::{self, Sender};
use super::{Abilities, Needs, Next, Stage, Trouble};
use crate::deliver::profile::Traits;
use crate::mail::transaction::BodyType;
use crate::mail::{Parcel, Reply};

/// Above this many recipients commands are not grouped: the answers must fit the peer's window (RFC 2920 §3.1).
const GROUP_LIMIT: usize = 300;
/// Up to this size a message travels behind its own commands by BDAT; a larger one waits for the recipients' answers.
const BDAT_AHEAD: usize = 256 << 10;

/// Which reply comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaiting {
    Reset,
    Mail,
    Recipient(usize),
    Data,
    Dot,
    Nothing,
}

/// One message for some of its recipients.
#[derive(Debug)]
pub struct Transaction<'a> {
    parcel: &'a Parcel,
    to: &'a [usize],
    state: State,
}

/// Where a transaction stands, without the message: what is kept while the last answer is awaited elsewhere.
#[derive(Debug)]
pub struct State {
    size_bytes: usize,
    abilities: Abilities,
    traits: Traits,
    grouped: bool,
    bdat: bool,
    awaiting: Awaiting,
    body_left: bool,
    mail_taken: bool,
    fates: Vec<Result<(), Reply>>,
    answer: Option<Reply>,
}

/// What the server said about the message.
#[derive(Debug)]
pub struct Answers {
    /// In the order of the recipients handed in: taken, or the reply that refused.
    pub fates: Vec<Result<(), Reply>>,
    /// The answer to the whole message; `None` when it did not come so far.
    pub answer: Option<Reply>,
    /// The server still holds an open transaction: RSET before the next one.
    pub needs_reset: bool,
}

impl<'a> Transaction<'a> {
    /// `to` are indices into the parcel's recipients; `size_bytes` as [`super::Wire::size_bytes`] counts.
    #[must_use]
    pub fn new(parcel: &'a Parcel, to: &'a [usize], size_bytes: usize, abilities: Abilities, traits: Traits) -> Self {
        let grouped = abilities.pipelining && traits.pipelining && to.len() <= GROUP_LIMIT;
        let bdat = abilities.chunking && traits.bdat;
        let state = State {
            size_bytes,
            abilities,
            traits,
            grouped,
            bdat,
            awaiting: Awaiting::Mail,
            body_left: false,
            mail_taken: false,
            fates: Vec::with_capacity(to.len()),
            answer: None,
        };
        Self { parcel, to, state }
    }

    /// A transaction whose MAIL and RCPTs were taken already: it goes on with the message.
    #[must_use]
    pub fn opened(
        parcel: &'a Parcel,
        to: &'a [usize],
        size_bytes: usize,
        abilities: Abilities,
        traits: Traits,
    ) -> Self {
        let mut this = Self::new(parcel, to, size_bytes, abilities, traits);
        this.state.grouped = false;
        this.state.mail_taken = true;
        this.state.fates = to.iter().map(|_| Ok(())).collect();
        this.state.awaiting = if this.state.bdat { Awaiting::Dot } else { Awaiting::Data };
        this
    }

    /// Lets go of the message, to wait for the last answer elsewhere.
    #[must_use]
    pub fn suspend(self) -> State {
        self.state
    }

    /// Goes on with a suspended transaction; `parcel` and `to` are those it was made with.
    #[must_use]
    pub const fn resume(parcel: &'a Parcel, to: &'a [usize], state: State) -> Self {
        Self { parcel, to, state }
    }

    /// Why this server cannot take this message, known before anything is sent; the sender gets it as its answer.
    /// `secured`: the connection is under verified TLS.
    #[must_use]
    pub fn unfit(&self, secured: bool) -> Option<Reply> {
        let mut can = self.state.abilities;
        can.requiretls &= secured;
        can.refuses(self.needs())
    }

    /// The first commands. `reset`: the server still holds an old transaction.
    pub fn begin(&mut self, reset: bool, out: &mut Vec<u8>) -> Next {
        if self.state.mail_taken {
            return self.data(out);
        }
        self.state.awaiting = Awaiting::Mail;
        if reset {
            out.extend_from_slice(b"RSET\r\n");
            self.state.awaiting = Awaiting::Reset;
            if !self.state.grouped {
                return Next::Read;
            }
        }
        self.mail(out);
        if !self.state.grouped {
            return Next::Read;
        }
        for index in 0..self.to.len() {
            self.recipient(index, out);
        }
        if self.state.bdat && self.state.size_bytes > BDAT_AHEAD {
            return Next::Read;
        }
        self.data(out)
    }

    /// What an error now would be about.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        if self.state.body_left {
            return Stage::Dot;
        }
        match self.state.awaiting {
            Awaiting::Reset | Awaiting::Mail => Stage::Mail,
            Awaiting::Recipient(_) => Stage::Recipient,
            Awaiting::Data => Stage::Data,
            Awaiting::Dot | Awaiting::Nothing => Stage::Body,
        }
    }

    /// The caller wrote the whole message. From here a lost answer is a doubt, not a failure.
    pub const fn body_sent(&mut self) {
        self.state.body_left = true;
    }

    /// Whether the message travels by BDAT: then [`super::Wire::plain`] is what is written.
    #[must_use]
    pub const fn by_bdat(&self) -> bool {
        self.state.bdat
    }

    /// Whether no reply came yet: a connection that rested was dead before we spoke.
    #[must_use]
    pub const fn is_unanswered(&self) -> bool {
        matches!(self.state.awaiting, Awaiting::Reset | Awaiting::Mail)
    }

    /// Whether the server may have taken the message although its answer is missing.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        let refused = self.state.fates.len() == self.to.len() && !self.any_taken();
        let no_sender = !self.state.mail_taken && !matches!(self.state.awaiting, Awaiting::Reset | Awaiting::Mail);
        self.state.body_left && !refused && !no_sender
    }

    /// One reply in; commands may be put into `out`.
    pub fn reply(&mut self, reply: Reply, out: &mut Vec<u8>) -> Result<Next, Trouble> {
        if let Some(trouble) = host_trouble(self.stage_of_reply(), &reply) {
            return Err(trouble);
        }
        match self.state.awaiting {
            Awaiting::Reset => {
                self.state.awaiting = Awaiting::Mail;
                if !self.state.grouped {
                    self.mail(out);
                }
                Ok(Next::Read)
            }
            Awaiting::Mail => Ok(self.after_mail(reply, out)),
            Awaiting::Recipient(index) => {
                let fate = if reply.is_positive() { Ok(()) } else { Err(reply) };
                // A sender that was refused is the reason, not "503 need MAIL" behind it.
                if self.state.mail_taken {
                    self.state.fates.push(fate);
                }
                Ok(self.after_recipient(index, out))
            }
            Awaiting::Data => self.after_data(reply, out),
            Awaiting::Dot => {
                if !reply.is_positive() {
                    self.refuse_taken(&reply);
                }
                self.state.answer = Some(reply);
                self.state.awaiting = Awaiting::Nothing;
                Ok(Next::Done)
            }
            Awaiting::Nothing => Err(Trouble::Nonsense(Stage::Dot, "a reply that nobody asked for")),
        }
    }

    /// The result; call it when [`Next::Done`] was returned.
    #[must_use]
    pub fn finish(self) -> Answers {
        // A transaction is open when MAIL was taken and no message ended it.
        let needs_reset = self.state.mail_taken && self.state.answer.is_none();
        Answers { fates: self.state.fates, answer: self.state.answer, needs_reset }
    }

    /// What is certain although the conversation ended among the recipients: those that were refused for ever stay
    /// refused, the others wait. `None` when nobody was. A server that hangs up after the third unknown recipient
    /// (DOMAIN §2.2) would else be asked about the same three for days.
    #[must_use]
    pub fn salvage(&self, trouble: &Trouble) -> Option<Answers> {
        let known = &self.state.fates;
        let sure = self.state.mail_taken && !self.state.body_left && trouble.stage() == Stage::Recipient;
        if !sure || !known.iter().any(|fate| fate.as_ref().is_err_and(Reply::is_permanent)) {
            return None;
        }
        // RFC 3463 X.4.2: bad connection.
        let waits = Reply::new(451, "4.4.2", trouble.to_string());
        let fate = |i: usize| match known.get(i) {
            Some(Err(reply)) => Err(reply.clone()),
            Some(Ok(())) | None => Err(waits.clone()),
        };
        Some(Answers { fates: (0..self.to.len()).map(fate).collect(), answer: None, needs_reset: false })
    }

    fn after_mail(&mut self, reply: Reply, out: &mut Vec<u8>) -> Next {
        self.state.awaiting = Awaiting::Recipient(0);
        self.state.mail_taken = reply.is_positive();
        if !self.state.mail_taken {
            self.state.fates = self.to.iter().map(|_| Err(reply.clone())).collect();
            if !self.state.grouped {
                self.state.awaiting = Awaiting::Nothing;
                return Next::Done;
            }
        } else if !self.state.grouped {
            self.recipient(0, out);
        }
        Next::Read
    }

    fn after_recipient(&mut self, index: usize, out: &mut Vec<u8>) -> Next {
        let next = index.saturating_add(1);
        if next < self.to.len() {
            self.state.awaiting = Awaiting::Recipient(next);
            if !self.state.grouped {
                self.recipient(next, out);
            }
            return Next::Read;
        }
        let ahead = self.state.grouped && !(self.state.bdat && self.state.size_bytes > BDAT_AHEAD);
        if ahead {
            self.state.awaiting = if self.state.bdat { Awaiting::Dot } else { Awaiting::Data };
            return Next::Read;
        }
        if !self.any_taken() {
            self.state.awaiting = Awaiting::Nothing;
            return Next::Done;
        }
        self.state.awaiting = if self.state.bdat { Awaiting::Dot } else { Awaiting::Data };
        self.data(out)
    }

    fn after_data(&mut self, reply: Reply, out: &mut Vec<u8>) -> Result<Next, Trouble> {
        if reply.code() == 354 {
            self.state.awaiting = Awaiting::Dot;
            if self.any_taken() {
                return Ok(Next::Body);
            }
            // RFC 2920 §3.1: nobody was taken and yet DATA began: a lone dot ends it, its answer says nothing.
            out.extend_from_slice(b".\r\n");
            return Ok(Next::Read);
        }
        if reply.is_positive() {
            return Err(Trouble::Nonsense(Stage::Data, "neither 354 nor a refusal"));
        }
        self.refuse_taken(&reply);
        self.state.awaiting = Awaiting::Nothing;
        Ok(Next::Done)
    }

    fn stage_of_reply(&self) -> Stage {
        match self.state.awaiting {
            Awaiting::Reset | Awaiting::Mail => Stage::Mail,
            Awaiting::Recipient(_) => Stage::Recipient,
            Awaiting::Data => Stage::Data,
            Awaiting::Dot | Awaiting::Nothing => Stage::Dot,
        }
    }

    fn any_taken(&self) -> bool {
        self.state.fates.iter().any(Result::is_ok)
    }

    fn refuse_taken(&mut self, reply: &Reply) {
        for fate in self.state.fates.iter_mut().filter(|f| f.is_ok()) {
            *fate = Err(reply.clone());
        }
    }

    fn needs(&self) -> Needs {
        Needs::of(self.parcel, self.to, self.state.size_bytes as u64)
    }

    fn mail(&self, out: &mut Vec<u8>) {
        let meta = &self.parcel.meta;
        let sender = Sender {
            path: &meta.sender,
            params: &meta.params,
            size_bytes: Some(self.state.size_bytes as u64),
            eight_bit: meta.params.body == BodyType::EightBitMime || !self.is_seven_bit(),
            smtputf8: self.needs().smtputf8,
        };
        commands::mail(sender, self.state.abilities, self.state.traits, out);
    }

    fn is_seven_bit(&self) -> bool {
        self.parcel.head.is_ascii() && self.parcel.body.is_ascii()
    }

    fn recipient(&self, index: usize, out: &mut Vec<u8>) {
        let Some(recipient) = self.to.get(index).and_then(|i| self.parcel.meta.recipients.get(*i)) else {
            return;
        };
        commands::rcpt(recipient, self.state.abilities, self.state.traits, out);
    }

    fn data(&self, out: &mut Vec<u8>) -> Next {
        if self.state.bdat {
            out.extend_from_slice(b"BDAT ");
            commands::put(out, self.state.size_bytes);
            out.extend_from_slice(b" LAST\r\n");
            return Next::Body;
        }
        out.extend_from_slice(b"DATA\r\n");
        Next::Read
    }
}

/// DESIGN §5a: 421 and 452 4.3.x are about the host; so is Exchange's `412 4.3.2` (DOMAIN §2.1), and a 452 to MAIL
/// without a finer code (RFC 5321 §4.2.3: insufficient system storage). A 3yz ends nothing (§4.2.1): only DATA asks for
/// one, and anywhere else it is no yes.
pub(in crate::deliver) fn host_trouble(stage: Stage, reply: &Reply) -> Option<Trouble> {
    match reply.code() {
        421 => Some(Trouble::NotReady(stage, reply.clone())),
        452 if reply.enhanced().starts_with("4.3.") || (reply.enhanced().is_empty() && stage == Stage::Mail) => {
            Some(Trouble::Pressure(stage, reply.clone()))
        }
        412 => Some(Trouble::Pressure(stage, reply.clone())),
        300..400 if stage != Stage::Data => Some(Trouble::Nonsense(stage, "a 3yz that nobody asked for")),
        _ => None,
    }
}
