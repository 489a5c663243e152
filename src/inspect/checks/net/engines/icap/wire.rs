//! ICAP on the wire: a request with its chunks, an answer with its headers and what is encapsulated in it
//! (RFC 3507 §4.3, §4.4).

use std::io;

use super::super::settings::Method;
use super::super::{ANSWER, Trouble};
use super::Offers;
use crate::env::talk::Talk;

/// Octets in one chunk.
const CHUNK: usize = 256 << 10;
/// What a blocked answer may bring along: a page for people.
const BODY: usize = 64 << 20;

/// The first lines of an ICAP answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub code: u16,
    status: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The first field of that name (lower case), unfolded: folds are line ends.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
    pub fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }
}

/// An answer that is no verdict.
pub(super) fn refusal(head: &Head) -> Trouble {
    match head.code {
        // RFC 3507 §4.3.3, and what makers send for sizes.
        413 | 533 => Trouble::TooLarge(Trouble::shown(&head.status)),
        539 => Trouble::Licence(Trouble::shown(&head.status)),
        _ => Trouble::error(&head.status),
    }
}

/// Text of status line and fields, without the empty line.
pub(super) fn read_head(text: &str) -> Result<Head, Trouble> {
    let mut lines = text.split("\r\n").flat_map(|line| line.split('\n'));
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("ICAP/1.0 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let Some(code) = code else { return Err(Trouble::nonsense(status)) };
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), fields.last_mut()) {
            value.push('\n');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        } else {
            return Err(Trouble::nonsense(line));
        }
    }
    Ok(Head { code, status: status.to_owned(), fields })
}

pub(super) async fn head(talk: &mut Talk) -> Result<Head, Trouble> {
    read_head(&section(talk).await?)
}

/// Lines up to an empty one.
async fn section(talk: &mut Talk) -> Result<String, Trouble> {
    let mut text = String::new();
    loop {
        let line = talk.line(ANSWER).await?;
        if line.is_empty() && !text.is_empty() {
            return Ok(text);
        }
        if text.len() + line.len() > ANSWER {
            return Err(Trouble::nonsense("more headers than an answer has"));
        }
        text.push_str(&line);
        text.push_str("\r\n");
    }
}

/// The answer's head, also where the engine had enough before we were done: its answer counts, not the broken pipe.
pub(super) async fn answer(talk: &mut Talk, sent: io::Result<()>) -> Result<Head, Trouble> {
    match (head(talk).await, sent) {
        (Ok(head), _) => Ok(head),
        (Err(_), Err(error)) => Err(error.into()),
        (Err(trouble), Ok(())) => Err(trouble),
    }
}

/// The head of a request, and the body to follow in chunks.
pub(super) fn request<'b>(host: &str, service: &str, offers: Offers, bytes: &'b [u8]) -> (Vec<u8>, &'b [u8]) {
    let length = bytes.len();
    let http_request = match offers.method {
        Method::Respmod => format!("GET http://{host}/mail HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        Method::Reqmod => format!(
            "POST http://{host}/mail HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {length}\r\n\r\n"
        ),
    };
    let http_answer = match offers.method {
        Method::Respmod => {
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n")
        }
        Method::Reqmod => String::new(),
    };
    let body = http_request.len() + http_answer.len();
    let encapsulated = match offers.method {
        Method::Respmod => format!("req-hdr=0, res-hdr={}, res-body={body}", http_request.len()),
        Method::Reqmod => format!("req-hdr=0, req-body={body}"),
    };
    let allow = if offers.allows_204 { "Allow: 204\r\n" } else { "" };
    let preview = offers.preview.map(|most| format!("Preview: {}\r\n", most.min(length))).unwrap_or_default();
    let head = format!(
        "{} icap://{host}/{service} ICAP/1.0\r\nHost: {host}\r\nUser-Agent: luytre\r\n{allow}{preview}\
         Encapsulated: {encapsulated}\r\n\r\n{http_request}{http_answer}",
        offers.method.word()
    );
    (head.into_bytes(), bytes)
}

/// The whole body, or what follows a preview. `ieof`: the preview was everything (RFC 3507 §4.5).
pub(super) async fn send_body(talk: &mut Talk, body: &[u8], ieof: bool) -> io::Result<()> {
    for chunk in body.chunks(CHUNK) {
        let mut out = format!("{:x}\r\n", chunk.len()).into_bytes();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        talk.send(&out).await?;
    }
    talk.send(if ieof { b"0; ieof\r\n\r\n" } else { b"0\r\n\r\n" }).await
}

pub(super) async fn send_preview(talk: &mut Talk, first: &[u8]) -> io::Result<()> {
    let mut out = Vec::new();
    if !first.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", first.len()).as_bytes());
        out.extend_from_slice(first);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    talk.send(&out).await
}

/// The first line of the HTTP message that came back, if one did. Whatever else comes with it is read away, so that
/// the connection can be used again.
pub(super) async fn inner(talk: &mut Talk, head: &Head) -> Result<Option<String>, Trouble> {
    let Some(encapsulated) = head.field("encapsulated").filter(|_| head.code == 200) else { return Ok(None) };
    let (mut status, mut has_body) = (None, false);
    for part in encapsulated.split(',').filter_map(|part| part.trim().split_once('=')) {
        match part.0 {
            // What stands last decides: a blocked request is answered with `res-hdr`.
            "res-hdr" | "req-hdr" => status = section(talk).await?.lines().next().map(str::to_owned),
            "res-body" | "req-body" | "opt-body" => has_body = true,
            "null-body" => {}
            other => return Err(Trouble::nonsense(other)),
        }
    }
    if has_body {
        read_chunks(talk).await?;
    }
    Ok(status)
}

/// The body of an answer to OPTIONS, which nobody wants.
pub(super) async fn skip_body(talk: &mut Talk, head: &Head) -> Result<(), Trouble> {
    let has_body = head.field("encapsulated").is_some_and(|list| list.contains("opt-body"));
    if has_body { read_chunks(talk).await } else { Ok(()) }
}

async fn read_chunks(talk: &mut Talk) -> Result<(), Trouble> {
    let mut left = BODY;
    loop {
        let line = talk.line(ANSWER).await?;
        let length = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(length, 16).map_err(|_| Trouble::nonsense(&line))?;
        if length == 0 {
            // Trailers, if any, and the empty line.
            while !talk.line(ANSWER).await?.is_empty() {}
            return Ok(());
        }
        left = left.checked_sub(length).ok_or_else(|| Trouble::nonsense("a body without end"))?;
        let mut chunk = length;
        while chunk > 0 {
            let piece = chunk.min(CHUNK);
            talk.exactly(piece).await?;
            chunk -= piece;
        }
        if !talk.line(ANSWER).await?.is_empty() {
            return Err(Trouble::nonsense("a chunk of another length"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3507_4_4_offsets_are_those_of_the_encapsulated_parts() {
        let offers = Offers { method: Method::Respmod, allows_204: true, preview: Some(4) };
        let (head, body) = request("av.example", "avscan", offers, b"octets");
        let text = String::from_utf8(head).unwrap();
        let (icap, http) = text.split_once("\r\n\r\n").unwrap();
        let http_answer = http.find("HTTP/1.1 200").unwrap();
        assert!(icap.starts_with("RESPMOD icap://av.example/avscan ICAP/1.0\r\n"), "{icap}");
        assert!(icap.ends_with(&format!("req-hdr=0, res-hdr={http_answer}, res-body={}", http.len())), "{icap}");
        assert!(icap.contains("\r\nAllow: 204\r\nPreview: 4\r\n"));
        assert_eq!(body, b"octets");
    }

    #[test]
    fn heads_are_fields_with_folds() {
        let head =
            read_head("ICAP/1.0 200 OK\r\nISTag: \"a\"\r\nX-Violations-Found: 1\r\n\ta\r\n\tb\r\nConnection: close")
                .unwrap();
        assert_eq!((head.code, head.field("istag"), head.closes()), (200, Some("\"a\""), true));
        assert_eq!(head.field("x-violations-found"), Some("1\na\nb"));
        for odd in ["", "HTTP/1.1 200 OK", "ICAP/1.0 20", "ICAP/1.0 200 OK\r\nno field"] {
            assert!(read_head(odd).is_err(), "{odd}");
        }
    }
}
