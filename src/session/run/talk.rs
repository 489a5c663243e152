//! One session: bytes from the wire to the dialogue, its answers back, the desk asked in between.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Surroundings;
use super::alarm::{Alarm, Late};
use super::gather::Gathering;
use super::stress;
use super::wire::Wire;
use crate::env::tls::handshake::HandshakeError;
use crate::mail::{Recipient, Reply, Span};
use crate::session::desk::{Desk, Reason, Refusal};
use crate::session::dialogue::{Behind, Dialogue, Next, Silence, Step};
use crate::session::line::{Line, command_line};
use crate::session::metrics::Outcome;

/// A line that begins so may be longer, and so may a response to a challenge: RFC 4954 §4 allows 12 KiB.
const AUTH_MAX: usize = 12 << 10;

/// Whether the session goes on.
pub(super) type Flow<T = ()> = ControlFlow<Outcome, T>;

/// What the next line is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Command,
    /// To a challenge of AUTH.
    Response,
}

/// One session with everything it needs.
pub struct Talk<D: Desk> {
    pub wire: Wire,
    pub dialogue: Dialogue,
    pub around: Arc<Surroundings<D>>,
    pub stop: watch::Receiver<bool>,
    /// Whether there is stress.
    pub stress: watch::Receiver<bool>,
    pub transaction: Option<D::Transaction>,
    /// The message that BDAT is building.
    pub chunks: Option<Gathering<D::Basin>>,
    /// When the session began, or its last message was taken.
    pub since: Instant,
    pub alarm: Alarm,
}

impl<D: Desk> Talk<D> {
    /// The whole session, up to the last reply.
    pub async fn run(&mut self) -> Outcome {
        let outcome = self.converse().await;
        // Nobody waits for an answer to a transaction that was not finished.
        self.transaction = None;
        self.chunks = None;
        outcome
    }

    async fn converse(&mut self) -> Outcome {
        // Boxed, as is what else happens once: a session that is idle should not carry the room for it.
        match Box::pin(self.greet()).await {
            Flow::Continue(()) => {}
            Flow::Break(outcome) => return outcome,
        }
        loop {
            let was_introduced = self.dialogue.is_introduced();
            let step = match self.next_step().await {
                Flow::Continue(step) => step,
                Flow::Break(outcome) => return outcome,
            };
            if !was_introduced && self.dialogue.is_introduced() {
                Box::pin(self.around.desk.hold_back(self.dialogue.client())).await;
            }
            if let Flow::Break(outcome) = self.act(step).await {
                return outcome;
            }
            if self.dialogue.opening().is_none() {
                self.transaction = None;
                self.chunks = None;
            }
        }
    }

    async fn greet(&mut self) -> Flow {
        if let Err(reply) = self.around.desk.welcome(self.dialogue.client()) {
            return self.act(Step::close(reply, Reason::Guard)).await;
        }
        let strange = self.dialogue.waits_for_early_talkers()
            && !self.around.familiar().is_known(self.dialogue.client().address.ip(), self.around.clock.now());
        let pause = if strange { self.dialogue.house().limits.pregreet } else { Span::ZERO };
        let early = if self.wire.pending().is_empty() {
            let (desk, client) = (Arc::clone(&self.around.desk), self.dialogue.client().clone());
            let hush = async {
                desk.hold_back(&client).await;
                if !pause.is_zero() {
                    sleep(pause.as_std()).await;
                }
            };
            tokio::select! {
                biased;
                () = hush => false,
                read = self.wire.read_command() => match read {
                    Ok(count) if count > 0 => true,
                    _ => return Flow::Break(Outcome::Gone),
                },
            }
        } else {
            true
        };
        let step = if early { self.dialogue.early() } else { self.dialogue.banner() };
        self.act(step).await
    }

    /// Waits for one command line, or for what ends the wait, and lets the dialogue answer it.
    async fn next_step(&mut self) -> Flow<Step> {
        Flow::Continue(match self.next_line(Expected::Command).await? {
            Ok(length) => self.answer(length),
            Err(step) => *step,
        })
    }

    /// Waits for one line: its length with CRLF, or the step that ends the wait.
    pub(super) async fn next_line(&mut self, expected: Expected) -> Flow<Result<usize, Box<Step>>> {
        // In a group the next command is here already.
        if let Some(line) = self.line_here(expected) {
            return Flow::Continue(line.map_err(Box::new));
        }
        let instead = |step| Flow::Continue(Err(Box::new(step)));
        let (mut stop, mut stress) = (self.stop.clone(), self.stress.clone());
        let mut stopped = pin!(stopped(&mut stop));
        let is_stranger = self.around.is_stranger(self.dialogue.client());
        let mut deadline = None;
        loop {
            // Waited for anew only after it came: nobody pays for it with each octet.
            let mut haste = pin!(stress::begins(&mut stress));
            loop {
                // THREATS S-31: the time of a line counts from its first octet, not from its last.
                let begun = !self.wire.pending().is_empty();
                let end = self.since + self.dialogue.house().limits.session_timeout.as_std();
                let until = match deadline {
                    Some((until, true)) => until,
                    Some((until, false)) if !begun => until,
                    _ => Instant::now() + self.patience(begun).as_std(),
                };
                deadline = Some((until, begun));
                let may_be_hurried = is_stranger && !*self.stress.borrow();
                if self.wire.flush().await.is_err() {
                    return Flow::Break(Outcome::Gone);
                }
                let read = tokio::select! {
                    biased;
                    read = self.alarm.until(until.min(end), self.wire.read_command()) => read,
                    () = &mut stopped => return instead(self.dialogue.shutdown()),
                    () = &mut haste, if may_be_hurried => {
                        // Who has waited long already gets the shorter time from here on.
                        deadline = Some((until.min(Instant::now() + self.patience(begun).as_std()), begun));
                        break;
                    }
                };
                match read {
                    Ok(Ok(count)) if count > 0 => {
                        if let Some(line) = self.line_here(expected) {
                            return Flow::Continue(line.map_err(Box::new));
                        }
                    }
                    Ok(_) => return Flow::Break(Outcome::Gone),
                    Err(Late) if until > end => return instead(self.dialogue.silent(Silence::Session)),
                    Err(Late) => return instead(self.dialogue.silent(Silence::Command)),
                }
            }
        }
    }

    /// The line that has come, its length with CRLF; or what is no line. Nothing while there is less than one.
    fn line_here(&self, expected: Expected) -> Option<Result<usize, Step>> {
        let pending = self.wire.pending();
        // A TLS handshake begins with 22; nothing that begins so is a command.
        if pending.first() == Some(&0x16) {
            return Some(Err(self.dialogue.foreign()));
        }
        let auth =
            expected == Expected::Response || pending.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        let limit = self.dialogue.house().limits.command.as_usize();
        match command_line(pending, if auth { AUTH_MAX.max(limit) } else { limit }) {
            Line::Complete(length) => Some(Ok(length)),
            Line::BareNewline => Some(Err(self.dialogue.bad_line(false))),
            Line::TooLong => Some(Err(self.dialogue.bad_line(true))),
            Line::Incomplete => None,
        }
    }

    fn answer(&mut self, length: usize) -> Step {
        let hurried = self.is_hurried();
        self.dialogue.hurry(hurried);
        let pending = self.wire.pending();
        let behind = if pending.len() > length { Behind::Bytes } else { Behind::Nothing };
        let line = pending.get(..length.saturating_sub(2)).unwrap_or_default();
        let step = self.dialogue.line(line, behind);
        self.wire.consume(length);
        step
    }

    /// Does what the dialogue asks, until it asks for the next command.
    async fn act(&mut self, mut step: Step) -> Flow {
        loop {
            if let Next::Swallow { size } = step.next {
                Box::pin(self.swallow(size)).await?;
            }
            self.say(&mut step).await;
            step = match step.next {
                Next::Read | Next::Swallow { .. } => return Flow::Continue(()),
                Next::Close => {
                    let quit = step.reply().is_some_and(|reply| reply.code() == 221);
                    return Flow::Break(if quit { Outcome::Quit } else { Outcome::Ended });
                }
                Next::Open(sender, params) => {
                    self.dialogue.refresh(self.around.house());
                    let now = self.around.clock.now();
                    let opening = self.dialogue.open(self.around.dice.mail_id(now), now, sender, params);
                    // Boxed: an idle session should not carry the room this needs.
                    let answer = Box::pin(self.around.desk.open(&opening)).await;
                    let answer = answer.map(|transaction| self.transaction = Some(transaction));
                    self.dialogue.opened(opening, answer)
                }
                Next::Check(request) => {
                    let name = request.target.to_string();
                    let answer = self.check(request).await.and_then(|recipient| self.paced(recipient));
                    self.dialogue.checked(answer).naming(name)
                }
                Next::Turn(node) => {
                    let reply = Box::pin(self.around.desk.turn(self.dialogue.client(), &node)).await;
                    self.dialogue.turned(reply)
                }
                Next::Data => Box::pin(self.data()).await?,
                Next::Chunk { size, last } => Box::pin(self.chunk(size, last)).await?,
                Next::StartTls => return self.starttls().await,
                Next::Authenticate { mechanism, initial } => {
                    Box::pin(self.authenticate(mechanism, initial.as_ref())).await?
                }
            };
        }
    }

    async fn check(&mut self, request: crate::session::desk::Request) -> Result<Recipient, Reply> {
        match (&mut self.transaction, self.dialogue.opening()) {
            (Some(transaction), Some(opening)) => {
                Box::pin(self.around.desk.recipient(transaction, opening, request)).await
            }
            _ => Err(Reply::new(503, "5.5.1", "MAIL first")),
        }
    }

    /// Puts the reply of a step into the buffer; a refusal of mail is named, counted and told to the desk.
    pub(super) async fn say(&mut self, step: &mut Step) {
        let Some(said) = &mut step.say else { return };
        if !step.delay.is_zero() {
            sleep(step.delay.as_std()).await;
        }
        if let Some(reason) = said.reason {
            self.around.metrics.refused(reason);
            let now = self.around.clock.now();
            let opening = said.opening.as_ref().or_else(|| self.dialogue.opening());
            let id = said.id.or_else(|| opening.map(|o| o.id)).unwrap_or_else(|| self.around.dice.mail_id(now));
            let client = self.dialogue.client();
            if reason.concerns_mail() {
                let (code, enhanced) = (said.reply.code(), said.reply.enhanced().to_owned());
                let cause = said.reply.cause().to_owned();
                said.reply = Reply::new(code, enhanced, format!("{} (id {id})", said.reply.text())).because(cause);
            }
            let helo = self.dialogue.hello();
            let sender = opening.map(|o| &o.sender);
            let recipient = said.recipient.as_deref();
            let refusal = Refusal { id, at: now, client, helo, sender, recipient, reason, reply: &said.reply };
            self.around.desk.noticed(&refusal);
            if reason.concerns_mail() {
                self.around.desk.refused(&refusal);
            }
            tracing::info!(%id, client = %client.address, reason = reason.as_str(), reply = %said.reply, "refused");
        }
        self.wire.say(&said.reply);
    }

    async fn starttls(&mut self) -> Flow {
        if self.wire.flush().await.is_err() {
            return Flow::Break(Outcome::Gone);
        }
        let Some(acceptor) = self.dialogue.station().tls.clone() else { return Flow::Break(Outcome::Failed) };
        let patience = self.dialogue.house().limits.command_timeout.as_std();
        let secured = timeout(patience, Box::pin(self.wire.secure(&acceptor))).await;
        match secured.unwrap_or_else(|_| Err(HandshakeError::timeout())) {
            Ok(negotiated) => {
                self.around.metrics.secured(&negotiated.version);
                self.dialogue.secured(negotiated.into());
                Flow::Continue(())
            }
            Err(error) => {
                let client = self.dialogue.client();
                tracing::info!(client = %client.address, %error, "TLS handshake failed");
                self.around.metrics.handshake_failed(error.cause);
                self.around.desk.handshake_failed(client, &error, self.around.clock.now());
                Flow::Break(Outcome::Tls)
            }
        }
    }
}

/// Resolves when the gateway goes down; never when nobody can say so any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
