//! Kaspersky Scan Engine over HTTP: `POST /scanmemory` with the octets; one word answers. `GET /basesdate` tells
//! of which day its bases are.

use super::{ANSWER, About, Answer, Engine, Objection, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;
use crate::mail::Span;

#[derive(Clone, Debug)]
pub struct ScanEngine {
    /// As in the Host field.
    pub host: String,
    /// It gives up after this time; a little less than we wait.
    pub timeout: Span,
}

impl Engine for ScanEngine {
    fn greet<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async { Ok(()) })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            let head = format!(
                "POST /scanmemory HTTP/1.1\r\nHost: {}\r\nX-KAV-ProtocolVersion: 1\r\nX-KAV-Timeout: {}\r\n\
                 X-KAV-ObjectURL: mail\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                self.host,
                self.timeout.as_millis().saturating_mul(9) / 10,
                subject.bytes.len()
            );
            let sent = async {
                talk.send(head.as_bytes()).await?;
                talk.send(&subject.bytes).await
            }
            .await;
            let answer = talk.rest(ANSWER).await;
            let answer = match (answer, sent) {
                (Ok(answer), _) if !answer.is_empty() => answer,
                (Ok(_), Ok(())) => return Err(Trouble::Cut),
                (_, Err(error)) | (Err(error), _) => return Err(error.into()),
            };
            read_response(&answer).map(Into::into)
        })
    }

    fn about<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async move {
            let head = format!(
                "GET /basesdate HTTP/1.1\r\nHost: {}\r\nX-KAV-ProtocolVersion: 1\r\nConnection: close\r\n\r\n",
                self.host
            );
            talk.send(head.as_bytes()).await?;
            match read_body(&talk.rest(ANSWER).await?) {
                // The release date of its bases: other bases, other verdicts.
                Ok(body) if body.len() <= 100 && body.bytes().any(|b| b.is_ascii_digit()) => {
                    Ok(About { version: format!("bases {}", Trouble::shown(body)), signatures_at: None })
                }
                Ok(_) | Err(Trouble::Error(_)) => Ok(About::default()),
                Err(trouble) => Err(trouble),
            }
        })
    }
}

fn read_response(octets: &[u8]) -> Result<Answer, Trouble> {
    read_word(&read_body(octets)?)
}

/// Status line, fields, body; the body by its length where one is given, so that a cut answer is none.
fn read_body(octets: &[u8]) -> Result<String, Trouble> {
    let text = String::from_utf8_lossy(octets);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Err(Trouble::Cut) };
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    match code {
        Some("200") => {}
        Some("413") => return Err(Trouble::TooLarge(Trouble::shown(status))),
        Some(_) => return Err(Trouble::error(status)),
        None => return Err(Trouble::nonsense(status)),
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    if length.is_some_and(|length| body.len() < length) {
        return Err(Trouble::Cut);
    }
    Ok(body.to_owned())
}

fn read_word(body: &str) -> Result<Answer, Trouble> {
    let body = body.trim();
    if let Some(name) = body.strip_prefix("DETECT") {
        let name = name.trim();
        return Ok(Answer::Infected(if name.is_empty() { "unnamed".to_owned() } else { Trouble::shown(name) }));
    }
    if body == "CLEAN" {
        return Ok(Answer::Clean);
    }
    if body.starts_with("CLEAN AND CONTAINS OFFICE MACRO") {
        return Ok(Answer::Objects(Objection::Macros, body.to_owned()));
    }
    if body.starts_with("NON_SCANNED") {
        if body.contains("PASSWORD PROTECTED") {
            return Ok(Answer::Objects(Objection::Encrypted, body.to_owned()));
        }
        return Err(Trouble::error(body));
    }
    if body.starts_with("SERVER_ERROR") { Err(Trouble::error(body)) } else { Err(Trouble::nonsense(body)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_scan_engine() {
        let read = |body: &str| {
            read_response(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        };
        assert_eq!(read("CLEAN"), Ok(Answer::Clean));
        assert_eq!(read("DETECT EICAR-Test-File"), Ok(Answer::Infected("EICAR-Test-File".to_owned())));
        assert!(matches!(read("CLEAN AND CONTAINS OFFICE MACRO"), Ok(Answer::Objects(Objection::Macros, _))));
        let locked = read("NON_SCANNED (PASSWORD PROTECTED)");
        assert!(matches!(locked, Ok(Answer::Objects(Objection::Encrypted, _))));
        assert!(matches!(read("NON_SCANNED (LICENSE EXPIRED)"), Err(Trouble::Licence(_))));
        assert!(matches!(read("NON_SCANNED (SCAN ERROR)"), Err(Trouble::Error(_))));
        assert!(matches!(read("SERVER_ERROR"), Err(Trouble::Error(_))));
        assert!(matches!(read("CLEANISH"), Err(Trouble::Nonsense(_))));
        assert!(matches!(read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nCLEAN"), Err(Trouble::Cut)));
        assert!(matches!(read_response(b"HTTP/1.1 413 Large\r\n\r\n"), Err(Trouble::TooLarge(_))));
    }
}
