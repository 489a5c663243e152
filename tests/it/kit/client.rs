//! A small blocking SMTP client for tests; says exactly what it is told.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

/// In clear or under TLS.
trait Stream: Read + Write + Debug + Send {}
impl<T: Read + Write + Debug + Send> Stream for T {}

pub struct Client {
    lines: BufReader<Box<dyn Stream>>,
}

/// Code and full text of one reply.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub text: String,
}

impl Client {
    /// Connects and reads the banner.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let mut client = Self::open(address)?;
        client.read()?;
        Ok(client)
    }

    /// Connects behind a PROXY v1 header that names `client` as the source, and reads the banner.
    pub fn connect_as(address: SocketAddr, client: &str) -> std::io::Result<Self> {
        let mut this = Self::open(address)?;
        let family = if client.contains(':') { "TCP6" } else { "TCP4" };
        let own = if client.contains(':') { "::1" } else { "127.0.0.1" };
        this.send(format!("PROXY {family} {client} {own} 40000 25\r\n").as_bytes())?;
        this.read()?;
        Ok(this)
    }

    fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        Ok(Self { lines: BufReader::new(Box::new(stream)) })
    }

    /// The same under TLS, whatever certificate the server shows; EHLO is to be said anew.
    pub fn starttls(mut self) -> Self {
        assert_eq!(self.say("STARTTLS").unwrap().code, 220);
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        let config = connector.build().configure().unwrap().verify_hostname(false);
        Self { lines: BufReader::new(Box::new(config.connect("gw.agency.test", self.lines.into_inner()).unwrap())) }
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.lines.get_mut().write_all(bytes)
    }

    pub fn read(&mut self) -> std::io::Result<Answer> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            text.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0);
                return Ok(Answer { code, text });
            }
        }
    }

    pub fn say(&mut self, line: &str) -> std::io::Result<Answer> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.read()
    }

    /// One whole transaction; the first negative answer ends it and is returned.
    pub fn deliver(&mut self, from: &str, to: &[&str], message: &[u8]) -> std::io::Result<Answer> {
        self.deliver_with(from, false, to, message)
    }

    /// The same, announcing SMTPUTF8 (RFC 6531) where the envelope or the header needs it.
    pub fn deliver_with(&mut self, from: &str, utf8: bool, to: &[&str], message: &[u8]) -> std::io::Result<Answer> {
        let mut commands = vec![format!("MAIL FROM:<{from}>{}", if utf8 { " SMTPUTF8" } else { "" })];
        commands.extend(to.iter().map(|r| format!("RCPT TO:<{r}>")));
        commands.push("DATA".to_owned());
        for command in commands {
            let answer = self.say(&command)?;
            if answer.code >= 400 {
                return Ok(answer);
            }
        }
        let mut data = Vec::with_capacity(message.len() + 64);
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line.first() == Some(&b'.') {
                data.push(b'.');
            }
            data.extend_from_slice(line);
        }
        if !data.ends_with(b"\r\n") {
            data.extend_from_slice(b"\r\n");
        }
        data.extend_from_slice(b".\r\n");
        self.send(&data)?;
        self.read()
    }
}
