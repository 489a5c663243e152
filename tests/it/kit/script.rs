//! SMTP dialogues as text, played byte for byte against an address.
//!
//! One instruction a line; text is literal with the escapes `\r \n \t \0 \\ \" \xHH`:
//! `C: TEXT` and `R: N TEXT` send (successive ones in one write; `{n}` counts, `{pad1m}` is a mebibyte of text lines),
//! `W: MS` waits, `D: MS TEXT` dribbles bytes, `S: P` reads one reply (codes with `|`, `5xx`, `*`, `close`, then `/regex/`
//! or `!/regex/`), `S*: N P` reads N, `S+: P` all until a second of silence, `S-: MS` expects silence, `T:` and `T?:` start
//! TLS, `X:` hangs up. Header lines `# key: value` say what must hold afterwards; [`judge`] checks them.

mod judge;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use regex::Regex;

use judge::judge;

/// How long a reply may take before the script fails.
const PATIENCE: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(1);

/// A message that reached the other side of the gateway.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub sender: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

/// A parsed script.
pub struct Script {
    pub name: String,
    headers: HashMap<String, Vec<String>>,
    steps: Vec<Step>,
}

enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    Dribble(Duration, Vec<u8>),
    Expect(Pattern),
    ExpectTimes(usize, Pattern),
    ExpectAll(Pattern),
    Silence(Duration),
    Tls { always: bool },
    Abort,
}

/// What a reply must look like.
struct Pattern {
    codes: Vec<String>,
    text: Option<(Regex, bool)>,
}

/// What happened.
#[derive(Default)]
pub struct Played {
    pub failures: Vec<String>,
    pub replies: Vec<(u16, String)>,
    pub keywords: Vec<String>,
    pub closed: bool,
    aborted: bool,
    skipped: bool,
}

impl Script {
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut script = Self { name: name.to_owned(), headers: HashMap::new(), steps: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            if let Some(header) = line.strip_prefix('#') {
                if let Some((key, value)) = header.split_once(':') {
                    script.headers.entry(key.trim().to_owned()).or_default().push(value.trim().to_owned());
                }
            } else if !line.trim().is_empty() {
                script.instruction(line).map_err(|error| format!("{name}:{}: {error}", number + 1))?;
            }
        }
        Ok(script)
    }

    fn instruction(&mut self, line: &str) -> Result<(), String> {
        let (tag, text) = line.split_once(':').ok_or("no tag")?;
        let text = text.strip_prefix(' ').unwrap_or(text);
        let millis = |text: &str| text.trim().parse().map(Duration::from_millis).map_err(|e| format!("{text}: {e}"));
        let counted = |text: &str| -> Result<(usize, String), String> {
            let (count, rest) = text.split_once(' ').ok_or("a number and a text")?;
            Ok((count.parse().map_err(|_| "not a number".to_owned())?, rest.to_owned()))
        };
        let step = match tag {
            "C" => return self.send(&unescape(text)?),
            "R" => {
                let (count, text) = counted(text)?;
                let mut out = Vec::new();
                for n in 1..=count {
                    let filled = text.replace("{n}", &n.to_string());
                    for (i, piece) in filled.split("{pad1m}").enumerate() {
                        if i > 0 {
                            out.extend_from_slice(&pad());
                        }
                        out.extend_from_slice(&unescape(piece)?);
                    }
                }
                return self.send(&out);
            }
            "W" => Step::Wait(millis(text)?),
            "D" => {
                let (pause, text) = counted(text)?;
                Step::Dribble(Duration::from_millis(pause as u64), unescape(&text)?)
            }
            "S" => Step::Expect(Pattern::parse(text)?),
            "S*" => {
                let (count, pattern) = counted(text)?;
                Step::ExpectTimes(count, Pattern::parse(&pattern)?)
            }
            "S+" => Step::ExpectAll(Pattern::parse(text)?),
            "S-" => Step::Silence(millis(text)?),
            "T" => Step::Tls { always: true },
            "T?" => Step::Tls { always: false },
            "X" => Step::Abort,
            other => return Err(format!("no instruction {other}")),
        };
        self.steps.push(step);
        Ok(())
    }

    /// Successive texts are one write.
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(Step::Send(before)) = self.steps.last_mut() {
            before.extend_from_slice(bytes);
        } else {
            self.steps.push(Step::Send(bytes.to_vec()));
        }
        Ok(())
    }

    /// The values of a header line, in order.
    pub fn header(&self, key: &str) -> impl Iterator<Item = &str> {
        self.headers.get(key).into_iter().flatten().map(String::as_str)
    }
}

/// A mebibyte of text lines.
fn pad() -> Vec<u8> {
    let line = [[b'p'; 62].as_slice(), b"\r\n"].concat();
    line.repeat((1 << 20) / line.len())
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().ok_or("an escape without its letter")? {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'"' => b'"',
            b'x' => {
                let digits = [bytes.next().unwrap_or(b'?'), bytes.next().unwrap_or(b'?')];
                let digits = std::str::from_utf8(&digits).map_err(|e| e.to_string())?;
                u8::from_str_radix(digits, 16).map_err(|e| e.to_string())?
            }
            other => return Err(format!("no escape \\{}", char::from(other))),
        });
    }
    Ok(out)
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (codes, regex) =
            text.trim().split_once(' ').map_or((text.trim(), ""), |(codes, rest)| (codes, rest.trim()));
        let text = if regex.is_empty() {
            None
        } else {
            let (wanted, body) = regex.strip_prefix('!').map_or((true, regex), |rest| (false, rest));
            let body =
                body.strip_prefix('/').and_then(|b| b.strip_suffix('/')).ok_or("a regex stands between slashes")?;
            Some((Regex::new(body).map_err(|e| e.to_string())?, wanted))
        };
        Ok(Self { codes: codes.split('|').map(str::to_owned).collect(), text })
    }

    fn allows_close(&self) -> bool {
        self.codes.iter().any(|code| code == "close" || code == "*")
    }

    fn matches(&self, code: u16, text: &str) -> bool {
        let code = code.to_string();
        let by_code = self.codes.iter().any(|wanted| match wanted.strip_suffix("xx") {
            Some(class) => code.starts_with(class),
            None => *wanted == code || wanted == "*",
        });
        by_code && self.text.as_ref().is_none_or(|(regex, wanted)| regex.is_match(text) == *wanted)
    }
}

/// The line to the gateway.
enum Link {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
    Down,
}

struct Player {
    link: Link,
    buffer: Vec<u8>,
    played: Played,
}

/// What reading brought.
enum Got {
    Reply(u16, String),
    Closed,
    Nothing,
}

impl Player {
    fn socket(&self) -> Option<&TcpStream> {
        match &self.link {
            Link::Plain(tcp) => Some(tcp),
            Link::Tls(tls) => Some(tls.get_ref()),
            Link::Down => None,
        }
    }

    /// Reads once, for `patience` at most; `None` when nothing came.
    fn pull(&mut self, patience: Duration) -> Option<usize> {
        let _ = self.socket()?.set_read_timeout(Some(patience.max(Duration::from_millis(1))));
        let mut bytes = [0; 16384];
        let read = match &mut self.link {
            Link::Plain(tcp) => tcp.read(&mut bytes),
            Link::Tls(tls) => tls.read(&mut bytes),
            Link::Down => Ok(0),
        };
        match read {
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Some(count)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                None
            }
            Err(_) => Some(0),
        }
    }

    /// One whole reply.
    fn reply(&mut self, patience: Duration) -> Got {
        let until = Instant::now() + patience;
        loop {
            if let Some((code, text, length)) = whole_reply(&self.buffer) {
                self.buffer.drain(..length);
                self.played.replies.push((code, text.clone()));
                if code == 250 && text.contains('\n') {
                    self.played.keywords =
                        text.lines().skip(1).filter_map(|l| l.split(' ').next()).map(str::to_ascii_uppercase).collect();
                }
                return Got::Reply(code, text);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Got::Nothing;
            }
            if self.pull(left) == Some(0) {
                self.played.closed = true;
                return Got::Closed;
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        match &mut self.link {
            Link::Plain(tcp) => tcp.write_all(bytes).is_ok(),
            Link::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()).is_ok(),
            Link::Down => false,
        }
    }

    /// `false` ends the script.
    fn expect(&mut self, pattern: &Pattern, what: &str) -> bool {
        match self.reply(PATIENCE) {
            Got::Reply(code, text) if pattern.matches(code, &text) => true,
            Got::Reply(code, text) => {
                self.played.failures.push(format!("{what}: wanted {:?}, got {code} {text}", pattern.codes));
                false
            }
            Got::Closed if pattern.allows_close() => false,
            Got::Closed => {
                self.played.failures.push(format!("{what}: wanted {:?}, the connection was closed", pattern.codes));
                false
            }
            Got::Nothing => {
                self.played.failures.push(format!("{what}: wanted {:?}, nothing came", pattern.codes));
                false
            }
        }
    }

    fn expect_all(&mut self, pattern: &Pattern, what: &str) -> bool {
        loop {
            match self.reply(SILENCE) {
                Got::Reply(code, text) if pattern.matches(code, &text) => {}
                Got::Reply(code, text) => {
                    self.played.failures.push(format!("{what}: wanted only {:?}, got {code} {text}", pattern.codes));
                    return false;
                }
                Got::Nothing => return true,
                Got::Closed => {
                    if !pattern.allows_close() {
                        self.played.failures.push(format!("{what}: the connection was closed"));
                    }
                    return false;
                }
            }
        }
    }

    fn secure(&mut self) -> Result<(), String> {
        let Link::Plain(tcp) = std::mem::replace(&mut self.link, Link::Down) else {
            return Err("TLS twice".to_owned());
        };
        let _ = tcp.set_read_timeout(Some(PATIENCE));
        let mut connector = SslConnector::builder(SslMethod::tls_client()).map_err(|e| e.to_string())?;
        connector.set_verify(SslVerifyMode::NONE);
        let config = connector.build().configure().map_err(|e| e.to_string())?.verify_hostname(false);
        self.link = Link::Tls(config.connect("gateway.test", tcp).map_err(|e| e.to_string())?);
        Ok(())
    }

    fn dribble(&mut self, pause: Duration, bytes: &[u8]) {
        for byte in bytes {
            if !self.write(&[*byte]) || self.pull(pause).is_some() {
                return;
            }
        }
    }
}

fn whole_reply(buffer: &[u8]) -> Option<(u16, String, usize)> {
    let (mut at, mut text) = (0, String::new());
    loop {
        let end = at + buffer[at..].iter().position(|b| *b == b'\n')? + 1;
        let line = String::from_utf8_lossy(&buffer[at..end]).trim_end().to_owned();
        let code = line.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
        text.push_str(line.get(4..).unwrap_or(""));
        at = end;
        if line.as_bytes().get(3) != Some(&b'-') {
            return Some((code, text, at));
        }
        text.push('\n');
    }
}

/// Plays the whole script.
pub fn play(script: &Script, address: SocketAddr) -> Played {
    let tcp = match TcpStream::connect(address) {
        Ok(tcp) => tcp,
        Err(error) => return Played { failures: vec![format!("connect: {error}")], ..Played::default() },
    };
    let _ = tcp.set_nodelay(true);
    let _ = tcp.set_write_timeout(Some(PATIENCE));
    let mut player = Player { link: Link::Plain(tcp), buffer: Vec::new(), played: Played::default() };
    for (number, step) in script.steps.iter().enumerate() {
        let what = format!("step {}", number + 1);
        let goes_on = match step {
            // A peer that has hung up shows at the next expectation.
            Step::Send(bytes) => {
                player.write(bytes);
                true
            }
            // What stands before and behind is meant to come in packets of its own, in the middle of a message or before
            // the banner, where the gateway says nothing that one could wait for instead. Nothing is timed: a wait that
            // is too short makes one packet of two, and what must hold holds for that too.
            Step::Wait(time) => {
                std::thread::sleep(*time);
                true
            }
            Step::Dribble(pause, bytes) => {
                player.dribble(*pause, bytes);
                true
            }
            Step::Expect(pattern) => player.expect(pattern, &what),
            Step::ExpectTimes(count, pattern) => (0..*count).all(|_| player.expect(pattern, &what)),
            Step::ExpectAll(pattern) => player.expect_all(pattern, &what),
            Step::Silence(time) => match player.reply(*time) {
                Got::Reply(code, text) => {
                    player.played.failures.push(format!("{what}: silence was wanted, got {code} {text}"));
                    false
                }
                Got::Closed => false,
                Got::Nothing => true,
            },
            Step::Tls { always } => {
                if *always || player.played.replies.last().is_some_and(|(code, _)| *code == 220) {
                    match player.secure() {
                        Ok(()) => true,
                        // With `T?:` a server that breaks the handshake off has closed the door, which is fine.
                        Err(_) if !always => false,
                        Err(error) => {
                            player.played.failures.push(format!("{what}: {error}"));
                            false
                        }
                    }
                } else {
                    true
                }
            }
            Step::Abort => {
                player.played.aborted = true;
                player.link = Link::Down;
                false
            }
        };
        if !goes_on {
            break;
        }
        let lacks =
            |need: &str| !player.played.keywords.is_empty() && !player.played.keywords.iter().any(|k| k == need);
        if script.header("needs").any(|need| need != "STARTTLS" && lacks(need)) {
            player.played.skipped = true;
            break;
        }
    }
    player.played
}

/// Everything that did not hold: the replies, the headers of the script, and that the next client is served.
pub fn check(script: &Script, address: SocketAddr, sink: &dyn Fn() -> Vec<Delivered>) -> Vec<String> {
    let played = play(script, address);
    check_played(script, &played, address, sink)
}

/// The same of a script that was played.
pub fn check_played(
    script: &Script,
    played: &Played,
    address: SocketAddr,
    sink: &dyn Fn() -> Vec<Delivered>,
) -> Vec<String> {
    let mut failures = judge(script, played, &sink());
    if script.header("profile").any(|profile| profile.contains("proxy")) {
        // The next client would have to bring a PROXY header of its own.
        return failures;
    }
    let next = Script::parse("next", "S: 220\nC: QUIT\\r\\n\nS: 221\n").expect("a good script");
    failures.extend(play(&next, address).failures.into_iter().map(|f| format!("the next connection: {f}")));
    failures
}
