//! One connection to a next hop: moves bytes between a socket and the client of [`crate::deliver::client`].
//! As few system calls as the protocol allows: one write for the commands of a message, one for the message with
//! its final dot, and reads only when a reply is awaited.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::internet::{Witness, check_of};
use crate::deliver::client::transaction::host_trouble;
use crate::deliver::client::wire::Slices;
use crate::deliver::client::{Abilities, Answers, Hello, Next, Replies, Stage, Transaction, Trouble, Wire, wire};
use crate::deliver::metrics::Metrics;
use crate::deliver::profile::Manners;
use crate::deliver::route::Hop;
use crate::deliver::settings::TlsMode;
use crate::env::net;
use crate::env::tls::client::{Connector, Link};
use crate::env::tls::guard::{Fault, FaultKind, Guard};
use crate::mail::{KeyPin, Reply};

/// Slices handed to one writev; a message that is all dots takes several.
const SLICES: usize = 64;
/// Under TLS slices are joined up to this size: each write is a record of its own otherwise.
const JOINED: usize = 64 << 10;

/// An open connection that has said EHLO.
#[derive(Debug)]
pub(in crate::deliver) struct Conn {
    link: Link,
    replies: Replies,
    out: Vec<u8>,
    abilities: Abilities,
    /// TLS with a certificate that was verified.
    verified: bool,
    /// The server offered STARTTLS and then refused it.
    refused_tls: bool,
    needs_reset: bool,
    pub(super) opened: Instant,
    pub(super) rested: Instant,
    pub(super) carried: u32,
    /// Refused recipients, and RSETs, so far: some servers count them (see [`Manners`]).
    refusals: u32,
    resets: u32,
    _counted: Counted,
}

/// Keeps the gauge of open connections right.
#[derive(Debug)]
struct Counted(Metrics);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// What an opening needs besides the hop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'a> {
    pub hop: &'a Hop,
    pub addresses: &'a [SocketAddr],
    pub name: &'a str,
    pub tls: TlsMode,
    pub connector: &'a Connector,
    /// For servers found by MX.
    pub guard: &'a Guard,
    /// Told what is seen of TLS.
    pub witness: &'a Witness,
    /// The connect alone ends here.
    pub connect: Instant,
    /// The TLS handshake ends here, so that there is time left to go on without it.
    pub handshake: Instant,
    pub deadline: Instant,
    pub metrics: &'a Metrics,
}

impl Conn {
    /// Dials, reads the banner, says EHLO, begins TLS where the policy wants it.
    pub async fn open(o: Opening<'_>) -> Result<Self, Trouble> {
        let stream = net::dial(o.addresses, o.connect).await.map_err(|e| Trouble::Connect(e.to_string()))?;
        if let (Ok(ours), Ok(theirs)) = (stream.local_addr(), stream.peer_addr()) {
            o.witness.ends(ours, theirs);
        }
        let mut hello = Hello::new(o.name, o.tls);
        let now = Instant::now();
        o.metrics.connection_opened();
        let conn = Self {
            link: Link::Plain(stream),
            replies: Replies::default(),
            out: Vec::new(),
            abilities: Abilities::default(),
            verified: false,
            refused_tls: false,
            needs_reset: false,
            opened: now,
            rested: now,
            carried: 0,
            refusals: 0,
            resets: 0,
            _counted: Counted(o.metrics.clone()),
        };
        let mut conn = match timeout_at(o.deadline, conn.greet(&mut hello, o)).await {
            Ok(greeted) => greeted?,
            Err(_) => return Err(Trouble::Slow(hello.stage())),
        };
        (conn.abilities, conn.refused_tls) = (hello.abilities(), hello.refused_tls());
        o.metrics.connected(conn.link.tls_version(), o.hop.tls);
        Ok(conn)
    }

    async fn greet(mut self, hello: &mut Hello<'_>, o: Opening<'_>) -> Result<Self, Trouble> {
        let mut next = Next::Read;
        loop {
            match next {
                Next::Read | Next::Body => {
                    self.write_commands().await.map_err(|_| Trouble::Lost(hello.stage()))?;
                    let reply = self.read_reply(hello.stage()).await?;
                    let more = !self.replies.is_idle();
                    next = hello.reply(&reply, more, &mut self.out)?;
                }
                Next::StartTls => {
                    self = self.secure(o).await?;
                    next = hello.secured(&mut self.out);
                }
                Next::Done => return Ok(self),
            }
        }
    }

    async fn secure(self, o: Opening<'_>) -> Result<Self, Trouble> {
        if let Some(check) = check_of(&o.hop.protection) {
            let securing = timeout_at(o.handshake, o.guard.secure(self.link, &o.hop.host, check)).await;
            let secured = securing.unwrap_or_else(|_| Err(stood_still())).map_err(|fault| {
                o.witness.fault(fault.clone());
                Trouble::Tls(fault.to_string())
            })?;
            if let Some(fault) = secured.fault {
                o.witness.fault(fault);
            }
            return Ok(Self { link: secured.link, verified: secured.proven, ..self });
        }
        let pins = &o.hop.tls_pins;
        let trust = o.hop.traits().trust(o.tls, !pins.is_empty());
        let upgraded = timeout_at(o.handshake, o.connector.upgrade(self.link, &o.hop.host, trust)).await;
        let upgraded = match upgraded {
            Ok(upgraded) => upgraded.map_err(|e| Fault { kind: FaultKind::Handshake, text: e.to_string() }),
            Err(_) => Err(stood_still()),
        };
        let link = upgraded.map_err(|fault| {
            o.witness.fault(fault.clone());
            Trouble::Tls(fault.to_string())
        })?;
        if !pins.is_empty() {
            let shown = link.key_digest().map(KeyPin::new);
            if !shown.is_some_and(|pin| pins.contains(&pin)) {
                let shown = shown.map_or_else(|| "no key".to_owned(), |pin| pin.to_string());
                return Err(Trouble::Tls(format!("it shows {shown}, which is none of tls_pins")));
            }
        }
        Ok(Self { link, verified: o.tls == TlsMode::Required, ..self })
    }

    #[must_use]
    pub const fn abilities(&self) -> Abilities {
        self.abilities
    }
    /// Whether the server has not seen so much of this connection that it would close it, or worse.
    #[must_use]
    pub const fn is_welcome(&self, manners: Manners) -> bool {
        self.refusals < manners.refusals && self.resets < manners.resets
    }
    /// Whether it is under TLS.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.link.tls_version().is_some()
    }
    /// Whether STARTTLS was offered and then refused.
    #[must_use]
    pub const fn was_refused_tls(&self) -> bool {
        self.refused_tls
    }
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.verified
    }
    /// Whether the peer neither closed a resting connection nor spoke unasked (421, for example).
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.replies.is_idle() && self.link.is_quiet()
    }

    /// Carries one message. After an error the connection is of no use, unless the transaction is in doubt and
    /// its answer may still come ([`Conn::last_answer`]).
    pub async fn carry(&mut self, tx: &mut Transaction<'_>, wire: &Wire<'_>, by: Patience) -> Result<(), Trouble> {
        match by {
            Patience::Until(deadline) => match timeout_at(deadline, self.converse(tx, wire, by)).await {
                Ok(done) => done,
                Err(_) => Err(Trouble::Slow(tx.stage())),
            },
            Patience::ByStage => self.converse(tx, wire, by).await,
        }
    }

    async fn converse(&mut self, tx: &mut Transaction<'_>, wire: &Wire<'_>, by: Patience) -> Result<(), Trouble> {
        self.out.clear();
        let mut next = tx.begin(std::mem::take(&mut self.needs_reset), &mut self.out);
        let mut torn = false;
        loop {
            match next {
                Next::Body => {
                    let written = self.write_message(wire, tx.by_bdat());
                    // RFC 5321 §4.5.3.2.5: three minutes for each piece; a whole message gets as much as ten.
                    torn = by.within(10 * MINUTE, written).await.is_none_or(|w| w.is_err());
                    if !torn {
                        tx.body_sent();
                    }
                }
                Next::Read if !self.out.is_empty() => {
                    let written = by.within(5 * MINUTE, self.write_commands()).await;
                    torn = written.is_none_or(|w| w.is_err());
                }
                Next::Read => {}
                Next::StartTls | Next::Done => return Ok(()),
            }
            let stage = tx.stage();
            let reply = by.within(patience_for(stage), self.read_reply(stage)).await.ok_or(Trouble::Slow(stage))??;
            // A server that refuses and closes while we still write has said why; a yes to half a message is no yes.
            if torn && reply.is_positive() {
                return Err(Trouble::Lost(stage));
            }
            next = tx.reply(reply, &mut self.out)?;
        }
    }

    /// One command and its answer. An error that is about the host ends the connection's use.
    pub async fn ask(
        &mut self,
        stage: Stage,
        deadline: Instant,
        command: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Reply, Trouble> {
        self.out.clear();
        command(&mut self.out);
        let asked = async {
            self.write_commands().await.map_err(|_| Trouble::Lost(stage))?;
            self.read_reply(stage).await
        };
        let reply = timeout_at(deadline, asked).await.map_err(|_| Trouble::Slow(stage))??;
        host_trouble(stage, &reply).map_or(Ok(reply), Err)
    }

    /// MAIL, with RSET before it where an old transaction is open.
    pub async fn mail(&mut self, deadline: Instant, command: impl FnOnce(&mut Vec<u8>)) -> Result<Reply, Trouble> {
        if std::mem::take(&mut self.needs_reset) {
            self.ask(Stage::Mail, deadline, |out| out.extend_from_slice(b"RSET\r\n")).await?;
        }
        self.ask(Stage::Mail, deadline, command).await
    }

    /// The server holds a transaction that came to nothing.
    pub fn leave_open(&mut self) {
        self.needs_reset = true;
        self.resets = self.resets.saturating_add(1);
        self.rested = Instant::now();
    }

    /// A recipient was refused outside of [`Conn::carry`].
    pub const fn count_refusal(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// Waits for the answers that are still missing after the final dot.
    pub async fn last_answer(&mut self, tx: &mut Transaction<'_>, deadline: Instant) -> Result<(), Trouble> {
        loop {
            let reply =
                timeout_at(deadline, self.read_reply(Stage::Dot)).await.map_err(|_| Trouble::Slow(Stage::Dot))??;
            if tx.reply(reply, &mut self.out)? == Next::Done {
                return Ok(());
            }
        }
    }

    /// The transaction is over; the connection may carry another one, where [`Conn::is_welcome`] says so.
    pub fn rest(&mut self, answers: &Answers) {
        self.needs_reset = answers.needs_reset;
        let refused = answers.fates.iter().filter(|fate| fate.is_err()).count();
        self.refusals = self.refusals.saturating_add(u32::try_from(refused).unwrap_or(u32::MAX));
        self.resets = self.resets.saturating_add(u32::from(answers.needs_reset));
        self.carried = self.carried.saturating_add(1);
        self.rested = Instant::now();
    }

    /// Says goodbye, shortly: a peer that does not listen is left alone.
    pub async fn quit(mut self) {
        self.out.clear();
        self.out.extend_from_slice(b"QUIT\r\n");
        let farewell = async {
            if self.write_commands().await.is_ok() {
                // The answer does not matter, but reading it keeps the peer from seeing a reset.
                let _ = self.read_reply(Stage::Hello).await;
            }
        };
        let _ = timeout(Duration::from_secs(2), farewell).await;
    }

    async fn read_reply(&mut self, stage: Stage) -> Result<Reply, Trouble> {
        loop {
            if let Some(reply) = self.replies.pull().map_err(|what| Trouble::Nonsense(stage, what))? {
                return Ok(reply);
            }
            match self.link.read_buf(self.replies.space()).await {
                Ok(0) | Err(_) => return Err(Trouble::Lost(stage)),
                Ok(_) => {}
            }
        }
    }

    async fn write_commands(&mut self) -> io::Result<()> {
        assert_clean(&self.out)?;
        self.link.write_all(&self.out).await?;
        self.out.clear();
        self.link.flush().await
    }

    /// What stands in `out`, then the message, in as few writes as they take.
    async fn write_message(&mut self, wire: &Wire<'_>, by_bdat: bool) -> io::Result<()> {
        assert_clean(&self.out)?;
        let commands = std::mem::take(&mut self.out);
        let slices = if by_bdat { wire.plain() } else { wire.stuffed() };
        let result = write_slices(&mut self.link, slices.behind(&commands)).await;
        self.out = commands;
        self.out.clear();
        result
    }
}

/// The other side neither answers the handshake nor ends it.
fn stood_still() -> Fault {
    Fault { kind: FaultKind::Handshake, text: "the handshake stood still".to_owned() }
}

/// Promise 3, at the last door: no bare CR or LF leaves in a command.
fn assert_clean(out: &[u8]) -> io::Result<()> {
    if wire::is_clean(out) { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "a bare CR or LF")) }
}

async fn write_slices(link: &mut Link, mut slices: Slices<'_>) -> io::Result<()> {
    if link.tls_version().is_some() {
        let mut joined = Vec::with_capacity(8 << 10);
        for slice in slices {
            for piece in slice.chunks(JOINED) {
                joined.extend_from_slice(piece);
                if joined.len() >= JOINED {
                    link.write_all(&joined).await?;
                    joined.clear();
                }
            }
        }
        link.write_all(&joined).await?;
        return link.flush().await;
    }
    loop {
        let mut batch: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(b""));
        let mut filled = 0_usize;
        for (place, slice) in batch.iter_mut().zip(slices.by_ref().take(SLICES)) {
            *place = IoSlice::new(slice);
            filled = filled.saturating_add(1);
        }
        if filled == 0 {
            return Ok(());
        }
        let mut left = batch.get_mut(..filled).unwrap_or_default();
        while !left.is_empty() {
            match link.write_vectored(left).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => IoSlice::advance_slices(&mut left, n),
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// RFC 5321 §4.5.3.2: how long a reply may take.
const fn patience_for(stage: Stage) -> Duration {
    match stage {
        Stage::Dot => Duration::from_secs(600),
        Stage::Data => Duration::from_secs(120),
        Stage::Body => Duration::from_secs(180),
        _ => Duration::from_secs(300),
    }
}

/// How long to wait for a peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// All of it until this moment: a sender waits behind us.
    Until(Instant),
    /// As RFC 5321 §4.5.3.2 says for each command: nobody waits.
    ByStage,
}

impl Patience {
    /// When something must be over for which `usual` is given where nobody waits.
    pub fn deadline(self, usual: Duration) -> Instant {
        match self {
            Self::Until(deadline) => deadline,
            Self::ByStage => Instant::now() + usual,
        }
    }

    /// Whether no sender waits.
    pub const fn is_unhurried(self) -> bool {
        matches!(self, Self::ByStage)
    }

    /// Under `Until` one timer stands around the whole conversation already.
    async fn within<T>(self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::Until(_) => Some(work.await),
            Self::ByStage => timeout(limit, work).await.ok(),
        }
    }
}
