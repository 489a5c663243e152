//! A stand-in for the agency's server: takes mail over SMTP and keeps it for the test to look at.
//! Written apart from the gateway's own SMTP code, so that one mistake cannot hide another.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// One message as it was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub mail_from: String,
    pub rcpt_to: Vec<String>,
    /// Dot-unstuffed octets.
    pub data: Vec<u8>,
}

impl Taken {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or("").replace("\r\n\t", " ").replace("\r\n ", " ");
        let prefix = format!("{}:", name.to_ascii_lowercase());
        head.split("\r\n")
            .find(|l| l.to_ascii_lowercase().starts_with(&prefix))
            .map(|l| l[prefix.len()..].trim().to_owned())
    }
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    /// Every recipient that was named, taken or not.
    asked: Vec<String>,
    /// Answers given instead of the usual one, by the first word of the command (`.` for the final dot).
    answers: HashMap<String, String>,
    /// Recipients that are refused, with the reply.
    refused: HashMap<String, String>,
}

/// The running server; it ends with the process.
#[derive(Clone)]
pub struct Sink {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Sink {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap())
    }

    /// On a given address, so that a dead server can come back.
    pub fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port on loopback");
        let address = listener.local_addr().unwrap();
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = serve(stream, &shared);
                });
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
    pub fn taken(&self) -> Vec<Taken> {
        self.state.0.lock().unwrap().taken.clone()
    }
    /// Every recipient that was named, with a message or without, taken or not.
    pub fn asked(&self) -> Vec<String> {
        self.state.0.lock().unwrap().asked.clone()
    }
    pub fn answer(&self, command: &str, reply: &str) {
        self.state.0.lock().unwrap().answers.insert(command.to_owned(), reply.to_owned());
    }
    pub fn refuse(&self, recipient: &str, reply: &str) {
        self.state.0.lock().unwrap().refused.insert(recipient.to_ascii_lowercase(), reply.to_owned());
    }

    /// Waits until `done` holds of what was taken; panics after a minute.
    pub fn wait_until(&self, what: &str, done: impl Fn(&[Taken]) -> bool) -> Vec<Taken> {
        let end = Instant::now() + Duration::from_secs(60);
        let mut state = self.state.0.lock().unwrap();
        while !done(&state.taken) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not seen at the sink within a minute: {what}; there are {}", state.taken.len());
            state = self.state.1.wait_timeout(state, left).unwrap().0;
        }
        state.taken.clone()
    }

    pub fn wait_for_count(&self, count: usize) -> Vec<Taken> {
        self.wait_until(&format!("{count} messages"), |t| t.len() >= count)
    }
}

fn serve(stream: TcpStream, shared: &(Mutex<State>, Condvar)) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    out.write_all(b"220 sink.test ESMTP\r\n")?;
    let (mut from, mut rcpt) = (String::new(), Vec::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = text.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        let special = shared.0.lock().unwrap().answers.get(&verb).cloned();
        if let Some(reply) = special {
            if reply == "close" {
                return Ok(());
            }
            write!(out, "{reply}\r\n")?;
            continue;
        }
        match verb.as_str() {
            "EHLO" => out.write_all(
                b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 60000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n",
            )?,
            "MAIL" => {
                (from, rcpt) = (address(&text), Vec::new());
                out.write_all(b"250 2.1.0 ok\r\n")?;
            }
            "RCPT" => {
                let to = address(&text);
                let refused = {
                    let mut state = shared.0.lock().unwrap();
                    state.asked.push(to.clone());
                    state.refused.get(&to.to_ascii_lowercase()).cloned()
                };
                if let Some(reply) = refused {
                    write!(out, "{reply}\r\n")?;
                } else {
                    rcpt.push(to);
                    out.write_all(b"250 2.1.5 ok\r\n")?;
                }
            }
            "DATA" if rcpt.is_empty() => out.write_all(b"554 5.5.1 no recipients\r\n")?,
            "DATA" => {
                out.write_all(b"354 go\r\n")?;
                let Some(data) = message(&mut lines)? else { return Ok(()) };
                let mut state = shared.0.lock().unwrap();
                let reply = state.answers.get(".").cloned();
                if let Some(reply) = reply {
                    drop(state);
                    if reply == "close" {
                        return Ok(());
                    }
                    write!(out, "{reply}\r\n")?;
                    continue;
                }
                state.taken.push(Taken { mail_from: from.clone(), rcpt_to: rcpt.clone(), data });
                shared.1.notify_all();
                drop(state);
                out.write_all(b"250 2.0.0 kept\r\n")?;
                rcpt.clear();
            }
            "QUIT" => return out.write_all(b"221 2.0.0 bye\r\n"),
            _ => out.write_all(b"250 2.0.0 ok\r\n")?,
        }
    }
}

/// Reads to CRLF.CRLF; panics on a bare CR or LF: none may ever cross the gateway.
fn message(lines: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let (mut data, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line == b".\r\n" {
            return Ok(Some(data));
        }
        let clean = line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r');
        if !clean {
            // Kept and visible to every test that looks: the message is marked, the test fails on it.
            data.extend_from_slice(b"BARE-CR-OR-LF-CROSSED\r\n");
        }
        data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

fn address(command: &str) -> String {
    let start = command.find('<').map_or(0, |i| i + 1);
    let end = command[start..].find('>').map_or(command.len(), |i| start + i);
    command[start..end].to_owned()
}
