//! A server that plays a role: a next hop on a loopback port that speaks SMTP correctly until the script says
//! otherwise. At each state it can answer anything, answer in one-octet packets, stand still, or cut the line.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Where a conversation stands when the peer has to do something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    /// Instead of the handshake, after the 220 of STARTTLS was said.
    Handshake,
    Mail,
    Rcpt,
    Data,
    /// After the 354, before any octet of the message is read.
    Body,
    Dot,
    Rset,
}

/// What it does there.
#[derive(Clone, Debug)]
pub enum Act {
    Say(String),
    SayAndCut(String),
    /// Nothing, until somebody calls [`Peer::release`]; then the usual answer.
    Stall,
    /// As `Stall`, but this is said afterwards.
    StallThen(String),
    /// As `Stall`, but the line is cut afterwards.
    StallAndCut,
    Cut,
}

pub fn say(text: &str) -> Option<Act> {
    Some(Act::Say(text.to_owned()))
}

/// The moment of a decision.
#[derive(Clone, Debug)]
pub struct Moment {
    pub at: At,
    /// Connections so far, this one included.
    pub connection: usize,
    /// Messages taken so far on all connections.
    pub taken: usize,
    /// The command as it came; empty for banner, body and dot.
    pub line: String,
    /// More octets have come already: commands in a group.
    pub behind: bool,
}

type Plot = dyn Fn(&Moment) -> Option<Act> + Send + Sync;

/// One message as it was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub mail: String,
    pub to: Vec<String>,
    /// Dots removed, final line end kept.
    pub data: Vec<u8>,
    pub tls: bool,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    taken: Vec<Taken>,
    commands: Vec<String>,
}

/// The server. Ends with its runtime.
#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    role: Arc<Role>,
}

struct Role {
    plot: Box<Plot>,
    extensions: Vec<&'static str>,
    one_octet: bool,
    tls: Option<SslAcceptor>,
    stalled: Notify,
    go_on: Notify,
    arrived: Notify,
}

impl Peer {
    /// A server that offers `extensions` and follows `plot` where that says something.
    pub async fn start(
        extensions: &[&'static str],
        plot: impl Fn(&Moment) -> Option<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::with(extensions, plot, false, None).await
    }

    pub async fn with(
        extensions: &[&'static str],
        plot: impl Fn(&Moment) -> Option<Act> + Send + Sync + 'static,
        one_octet: bool,
        tls: Option<SslAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let role = Arc::new(Role {
            plot: Box::new(plot),
            extensions: extensions.to_vec(),
            one_octet,
            tls,
            stalled: Notify::new(),
            go_on: Notify::new(),
            arrived: Notify::new(),
        });
        let peer = Self { address: listener.local_addr().unwrap(), seen: Arc::default(), role };
        let server = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = {
                    let mut seen = server.seen.lock().unwrap();
                    seen.connections += 1;
                    seen.connections
                };
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream, connection).await });
            }
        });
        peer
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.seen.lock().unwrap().taken.clone()
    }
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }
    pub fn commands(&self) -> Vec<String> {
        self.seen.lock().unwrap().commands.clone()
    }
    /// Returns when the peer stands still.
    pub async fn stalled(&self) {
        self.role.stalled.notified().await;
    }
    /// Ends one standstill.
    pub fn release(&self) {
        self.role.go_on.notify_one();
    }
    /// Returns when a message was taken.
    pub async fn arrived(&self) {
        self.role.arrived.notified().await;
    }

    async fn serve(&self, stream: TcpStream, connection: usize) {
        stream.set_nodelay(true).unwrap();
        let mut line = Talk::new(stream, self, connection, false);
        let Some(true) = line.talk(true).await else { return };
        let (Some(acceptor), stream) = (&self.role.tls, line.stream) else { return };
        let mut tls = tokio_openssl::SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
        if std::pin::Pin::new(&mut tls).accept().await.is_ok() {
            Talk::new(tls, self, connection, true).talk(false).await;
        }
    }
}

/// One connection, in clear or under TLS.
struct Talk<'a, S> {
    stream: S,
    buffer: Vec<u8>,
    peer: &'a Peer,
    connection: usize,
    tls: bool,
    mail: String,
    to: Vec<String>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    fn new(stream: S, peer: &'a Peer, connection: usize, tls: bool) -> Self {
        Self { stream, buffer: Vec::new(), peer, connection, tls, mail: String::new(), to: Vec::new() }
    }

    /// `Some(true)` when TLS begins now; `None` when the line is dead.
    async fn talk(&mut self, banner: bool) -> Option<bool> {
        if banner {
            self.act(At::Banner, "", "220 peer.local ESMTP").await?;
        }
        loop {
            let line = self.line().await?;
            self.peer.seen.lock().unwrap().commands.push(line.clone());
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let mut lines = vec!["peer.local greets you"];
                    lines.extend(self.peer.role.extensions.iter().filter(|e| !(self.tls && **e == "STARTTLS")));
                    let last = lines.len() - 1;
                    let text: Vec<String> = lines
                        .iter()
                        .enumerate()
                        .map(|(i, l)| format!("250{}{l}", if i == last { ' ' } else { '-' }))
                        .collect();
                    self.act(At::Ehlo, &line, &text.join("\r\n")).await?;
                }
                "HELO" => drop(self.act(At::Helo, &line, "250 peer.local").await?),
                "STARTTLS" => {
                    if self.act(At::StartTls, &line, "220 2.0.0 go ahead").await?.starts_with("220") {
                        return match (self.peer.role.plot)(&self.moment(At::Handshake, "")) {
                            None => Some(true),
                            Some(Act::Say(text)) => {
                                // No TLS at all comes: what a broken server says when it sees the first octets of it.
                                self.fill().await?;
                                self.write(&text).await?;
                                None
                            }
                            Some(Act::StallAndCut | Act::Stall) => {
                                self.peer.role.stalled.notify_one();
                                self.peer.role.go_on.notified().await;
                                None
                            }
                            Some(_) => None,
                        };
                    }
                }
                "MAIL" => {
                    let said = self.act(At::Mail, &line, "250 2.1.0 Sender OK").await?;
                    if said.starts_with('2') {
                        (self.mail, self.to) = (line, Vec::new());
                    }
                }
                "RCPT" => {
                    let without = self.mail.is_empty();
                    let usual = if without { "503 5.5.1 MAIL first" } else { "250 2.1.5 Recipient OK" };
                    let said = if without {
                        self.write(usual).await?;
                        usual.to_owned()
                    } else {
                        self.act(At::Rcpt, &line, usual).await?
                    };
                    if said.starts_with('2') {
                        self.to.push(line);
                    }
                }
                "DATA" => self.data(&line).await?,
                "BDAT" => self.bdat(&line).await?,
                "RSET" => {
                    self.mail.clear();
                    self.act(At::Rset, &line, "250 2.0.0 Reset").await?;
                }
                "QUIT" => {
                    self.write("221 2.0.0 bye").await?;
                    return None;
                }
                _ => self.write("500 5.5.2 what").await?,
            }
        }
    }

    async fn data(&mut self, line: &str) -> Option<()> {
        if self.to.is_empty() {
            return self.write("554 5.5.1 no valid recipients").await;
        }
        if !self.act(At::Data, line, "354 Start mail input; end with <CRLF>.<CRLF>").await?.starts_with("354") {
            return Some(());
        }
        self.act(At::Body, "", "").await?;
        let mut data = Vec::new();
        loop {
            let text = self.raw_line().await?;
            if text == b".\r\n" {
                return self.take(data).await;
            }
            data.extend_from_slice(text.strip_prefix(b".").unwrap_or(&text));
        }
    }

    async fn bdat(&mut self, line: &str) -> Option<()> {
        let size: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
        if !self.to.is_empty() {
            self.act(At::Body, "", "").await?;
        }
        while self.buffer.len() < size {
            self.fill().await?;
        }
        let data = self.buffer.drain(..size).collect();
        if self.to.is_empty() {
            return self.write("503 5.5.1 no valid recipients").await;
        }
        self.take(data).await
    }

    async fn take(&mut self, data: Vec<u8>) -> Option<()> {
        let said = self.decide(At::Dot, "", "250 2.0.0 Queued as 4711").await;
        let (mail, to) = (std::mem::take(&mut self.mail), std::mem::take(&mut self.to));
        let said = said?;
        // Noted before it is said, so that who hears it can look.
        if said.starts_with('2') {
            let taken = Taken { mail, to, data, tls: self.tls };
            self.peer.seen.lock().unwrap().taken.push(taken);
            self.peer.role.arrived.notify_one();
        }
        self.write(&said).await
    }

    fn moment(&self, at: At, line: &str) -> Moment {
        let taken = self.peer.seen.lock().unwrap().taken.len();
        let behind = !self.buffer.is_empty();
        Moment { at, connection: self.connection, taken, line: line.to_owned(), behind }
    }

    /// Does what the plot says, else `usual`; gives what was said. Nothing is said at `Body`.
    async fn act(&mut self, at: At, line: &str, usual: &str) -> Option<String> {
        let said = self.decide(at, line, usual).await?;
        if !said.is_empty() {
            self.write(&said).await?;
        }
        Some(said)
    }

    async fn decide(&mut self, at: At, line: &str, usual: &str) -> Option<String> {
        let mut said = usual.to_owned();
        match (self.peer.role.plot)(&self.moment(at, line)) {
            None => {}
            Some(Act::Say(text)) => said = text,
            Some(Act::SayAndCut(text)) => {
                self.write(&text).await?;
                self.stream.shutdown().await.ok()?;
                return None;
            }
            Some(Act::Cut) => return None,
            Some(Act::Stall) => {
                self.peer.role.stalled.notify_one();
                self.peer.role.go_on.notified().await;
            }
            Some(Act::StallThen(text)) => {
                self.peer.role.stalled.notify_one();
                self.peer.role.go_on.notified().await;
                said = text;
            }
            Some(Act::StallAndCut) => {
                self.peer.role.stalled.notify_one();
                self.peer.role.go_on.notified().await;
                return None;
            }
        }
        Some(said)
    }

    async fn write(&mut self, text: &str) -> Option<()> {
        let text = format!("{text}\r\n");
        if self.peer.role.one_octet {
            for octet in text.bytes() {
                self.stream.write_all(&[octet]).await.ok()?;
                self.stream.flush().await.ok()?;
                tokio::task::yield_now().await;
            }
            return Some(());
        }
        self.stream.write_all(text.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }

    async fn line(&mut self) -> Option<String> {
        let line = self.raw_line().await?;
        let line = line.strip_suffix(b"\r\n").expect("a command ends with CRLF").to_vec();
        Some(String::from_utf8(line).unwrap())
    }

    async fn raw_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                return Some(self.buffer.drain(..=end).collect());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

/// A self-signed certificate for `name`, and the acceptor that shows it.
pub fn certificate(name: &str) -> (SslAcceptor, Vec<u8>) {
    let (key, certificate) = key_and_certificate(name);
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    (acceptor.build(), certificate.to_pem().unwrap())
}

/// An acceptor for loopback, made once: a key costs a while.
pub fn loopback_acceptor() -> SslAcceptor {
    static MADE: std::sync::OnceLock<SslAcceptor> = std::sync::OnceLock::new();
    MADE.get_or_init(|| certificate("127.0.0.1").0).clone()
}

pub fn key_and_certificate(name: &str) -> (PKey<Private>, X509) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    let mut names = SubjectAlternativeName::new();
    if name.parse::<std::net::IpAddr>().is_ok() {
        names.ip(name)
    } else {
        names.dns(name)
    };
    let names = names.build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (key, builder.build())
}
