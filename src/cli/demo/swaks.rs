//! Sends a message with swaks, a public SMTP client, from an address of the sample's own (PROXY protocol).

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::samples::{Sample, Way};

/// The last refusal of the session, else its last reply that was not to QUIT: code and last line.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub text: String,
    pub encrypted: bool,
}

/// Sends `raw` (CRLF, not dot-stuffed) to `to`. The bytes go out as they are: swaks mends nothing.
pub fn send(sample: &Sample, to: SocketAddr, raw: &[u8], scratch: &Path) -> io::Result<Answer> {
    std::fs::write(scratch, wire(raw))?;
    let mut command = Command::new("swaks");
    command
        .args(["--server", &to.ip().to_string(), "--port", &to.port().to_string(), "--ehlo", sample.helo])
        .args(["--from", sample.from, "--to", sample.to, "--no-data-fixup", "--data"])
        .arg(format!("@{}", scratch.display()))
        .args(["--timeout", "60"]);
    if sample.way == Way::InTls {
        command.arg("--tls");
    }
    if sample.way != Way::Out {
        command.args(["--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", sample.client]).args([
            "--proxy-source-port",
            "40000",
            "--proxy-dest",
            "127.0.0.1",
            "--proxy-dest-port",
            "25",
        ]);
    }
    let out = command.stdin(Stdio::null()).output();
    let out = out.map_err(|e| {
        io::Error::new(e.kind(), format!("cannot run swaks: {e}; install it with: apt-get install swaks"))
    })?;
    answer(&String::from_utf8_lossy(&out.stdout))
        .ok_or_else(|| io::Error::other(format!("swaks got no reply: {}", String::from_utf8_lossy(&out.stderr))))
}

/// What the sender's octets look like in DATA: dots doubled, and the final dot.
fn wire(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    let mut line_start = true;
    for (i, &byte) in raw.iter().enumerate() {
        // Only a line that CRLF ended begins a line: the smuggler's LF.CR LF stays as it is.
        if line_start && byte == b'.' {
            out.push(b'.');
        }
        out.push(byte);
        line_start = byte == b'\n' && i > 0 && raw.get(i - 1) == Some(&b'\r');
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    // The line end of the final dot is swaks' own.
    out.push(b'.');
    out
}

/// Reads swaks' transcript: `<-`, `<~` and `<**` lines are the server's, the last letter says plain, TLS or refused.
fn answer(transcript: &str) -> Option<Answer> {
    let reply = |line: &str| -> Option<(u16, String, bool)> {
        let line = line.trim_start();
        let (mark, rest) = line.split_once(' ')?;
        let encrypted = mark.contains('~');
        matches!(mark, "<-" | "<~" | "<**" | "<~*").then_some(())?;
        let rest = rest.trim();
        Some((rest.get(..3)?.parse().ok()?, rest.to_owned(), encrypted))
    };
    let replies: Vec<_> = transcript.lines().filter_map(reply).filter(|(code, ..)| *code != 221).collect();
    let refused = replies.iter().rfind(|(code, ..)| *code >= 400);
    let (code, text, encrypted) = refused.or(replies.last())?.clone();
    Some(Answer { code, text, encrypted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_refusal_or_the_last_reply() {
        let ok = "<-  220 a\n -> EHLO b\n<-  250-a\n<-  250 SIZE\n -> DATA\n<-  354 go\n<-  250 2.0.0 taken [ID]\n -> QUIT\n<-  221 bye\n";
        let got = answer(ok).unwrap();
        assert_eq!((got.code, got.text.as_str(), got.encrypted), (250, "250 2.0.0 taken [ID]", false));
        let refused = "<~  250 ok\n~> RCPT TO:<x>\n<~* 550 5.1.1 no\n ~> QUIT\n<~  221 bye\n";
        let got = answer(refused).unwrap();
        assert_eq!((got.code, got.encrypted), (550, true));
    }

    #[test]
    fn only_crlf_begins_a_line() {
        assert_eq!(wire(b".a\r\n.b\n.c"), b"..a\r\n..b\n.c\r\n.");
    }
}
