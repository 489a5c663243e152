//! ICAP (RFC 3507): `OPTIONS` first, then the octets as the body of a made-up HTTP answer (`RESPMOD`) or request
//! (`REQMOD`). The verdict is in the headers, which each maker names differently (DOMAIN §2.7).
//!
//! A preview (RFC 3507 §4.5) is only sent when the service asks for one; `204` only counts as clean when we allowed it.
//! The ISTag of every answer is the version of what the engine knows.

mod wire;

use super::settings::Method;
use super::{About, Answer, Engine, Objection, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;
use wire::Head;

impl Method {
    const fn word(self) -> &'static str {
        match self {
            Self::Respmod => "RESPMOD",
            Self::Reqmod => "REQMOD",
        }
    }
}

#[derive(Debug)]
pub struct Icap {
    /// As in the URI and the Host field.
    pub host: String,
    /// `avscan`, `respmod`, `squidclamav`: the path of the service.
    pub service: String,
    /// How it must be asked; none: as it offers.
    pub wanted: Option<Method>,
    /// What the service said in answer to OPTIONS; asked again with each new connection.
    pub offers: std::sync::Mutex<Offers>,
}

/// What OPTIONS told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offers {
    method: Method,
    allows_204: bool,
    preview: Option<usize>,
}

impl Icap {
    #[must_use]
    pub fn new(host: &str, service: &str, wanted: Option<Method>) -> Self {
        let offers = Offers { method: Method::Respmod, allows_204: false, preview: None };
        let service = service.trim_start_matches('/').to_owned();
        Self { host: host.to_owned(), service, wanted, offers: std::sync::Mutex::new(offers) }
    }

    fn offers(&self) -> Offers {
        *self.offers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn options(&self, talk: &mut Talk) -> Result<Head, Trouble> {
        let uri = format!("icap://{}/{}", self.host, self.service);
        let request = format!(
            "OPTIONS {uri} ICAP/1.0\r\nHost: {}\r\nUser-Agent: luytre\r\nEncapsulated: null-body=0\r\n\r\n",
            self.host
        );
        talk.send(request.as_bytes()).await?;
        let head = wire::head(talk).await?;
        if head.code != 200 {
            return Err(wire::refusal(&head));
        }
        wire::skip_body(talk, &head).await?;
        Ok(head)
    }
}

impl Engine for Icap {
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let head = self.options(talk).await?;
            let offers = read_offers(&head, self.wanted)?;
            *self.offers.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = offers;
            // RFC 3507 §4.10.2: the connection stays unless it says otherwise.
            if head.closes() { Err(Trouble::Cut) } else { Ok(()) }
        })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            let offers = self.offers();
            let (head, body) = wire::request(&self.host, &self.service, offers, &subject.bytes);
            let preview = offers.preview.map(|length| length.min(subject.bytes.len()));
            let whole = preview.is_none_or(|length| length == subject.bytes.len());
            let answer = if whole {
                let sent = async {
                    talk.send(&head).await?;
                    wire::send_body(talk, body, preview.is_some()).await
                }
                .await;
                wire::answer(talk, sent).await?
            } else {
                let (first, rest) = body.split_at_checked(preview.unwrap_or_default()).unwrap_or((body, &[]));
                talk.send(&head).await?;
                wire::send_preview(talk, first).await?;
                let answer = wire::head(talk).await?;
                if answer.code == 100 {
                    let sent = wire::send_body(talk, rest, false).await;
                    wire::answer(talk, sent).await?
                } else {
                    answer
                }
            };
            let inner = wire::inner(talk, &answer).await?;
            let said = verdict(&answer, inner.as_deref(), offers)?;
            Ok(Seen { answer: said, version: answer.field("istag").map(Trouble::shown), closes: answer.closes() })
        })
    }

    fn about<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async move {
            let head = self.options(talk).await?;
            Ok(About { version: Trouble::shown(head.field("istag").unwrap_or_default()), signatures_at: None })
        })
    }

    fn keeps(&self) -> bool {
        true
    }
}

/// RFC 3507 §4.10.2.
fn read_offers(head: &Head, wanted: Option<Method>) -> Result<Offers, Trouble> {
    let methods = head.field("methods").unwrap_or_default().to_ascii_uppercase();
    let known = wanted.map_or(vec![Method::Respmod, Method::Reqmod], |only| vec![only]);
    let Some(method) = known.iter().copied().find(|method| methods.contains(method.word())) else {
        let words: Vec<&str> = known.iter().map(|method| method.word()).collect();
        return Err(Trouble::error(format!("it offers no {}: {methods}", words.join(" and no "))));
    };
    let allows_204 = head.field("allow").is_some_and(|allow| allow.split(',').any(|code| code.trim() == "204"));
    let preview = head.field("preview").and_then(|length| length.trim().parse().ok());
    Ok(Offers { method, allows_204, preview })
}

/// What the headers of all makers come to, in the order of DOMAIN §2.7.
fn verdict(head: &Head, inner: Option<&str>, offers: Offers) -> Result<Answer, Trouble> {
    match head.code {
        200 | 204 => {}
        _ => return Err(wire::refusal(head)),
    }
    if let Some(found) = head.field("x-infection-found") {
        return infection(found);
    }
    if let Some(name) = head.field("x-virus-name") {
        return Ok(Answer::Infected(named(name)));
    }
    if let Some(id) = head.field("x-virus-id") {
        let none = id.trim().eq_ignore_ascii_case("no threats") || id.trim().is_empty();
        return Ok(if none { Answer::Clean } else { Answer::Infected(named(id)) });
    }
    if let Some(result) = head.field("x-fsecure-scan-result") {
        match result.trim().to_ascii_lowercase().as_str() {
            "clean" => {}
            "infected" => return Ok(Answer::Infected(named(head.field("x-fsecure-infection-name").unwrap_or("")))),
            other => return Err(Trouble::error(other)),
        }
    }
    if let Some(violations) = head.field("x-violations-found") {
        return Ok(violated(violations));
    }
    if let Some(why) = head.field("x-block-reason").or_else(|| head.field("x-blocked")) {
        let no = ["", "no", "false", "0"].contains(&why.trim().to_ascii_lowercase().as_str());
        return Ok(if no { Answer::Clean } else { Answer::Infected(named(why)) });
    }
    match (head.code, inner) {
        (204, _) if offers.allows_204 => Ok(Answer::Clean),
        // RFC 3507 §4.6: it may not say so unless it was allowed, or nothing but a preview was sent.
        (204, _) if offers.preview.is_some() => Ok(Answer::Clean),
        (204, _) => Err(Trouble::nonsense("204 without being allowed")),
        (_, Some(status)) => blocked(status),
        (_, None) => Err(Trouble::nonsense("200 without an answer inside")),
    }
}

/// `Type=0; Resolution=2; Threat=NAME;`: type 2 is a failure or a limit of the engine, not a virus.
fn infection(field: &str) -> Result<Answer, Trouble> {
    let part = |key: &str| {
        field.split(';').filter_map(|part| part.split_once('=')).find(|(k, _)| k.trim().eq_ignore_ascii_case(key))
    };
    let threat = part("threat").map_or("", |(_, name)| name).trim();
    match part("type").map_or("", |(_, kind)| kind).trim() {
        "2" if is_about_encryption(threat) => Ok(Answer::Objects(Objection::Encrypted, named(threat))),
        "2" => Ok(Answer::Objects(Objection::Limit, named(threat))),
        _ => Ok(Answer::Infected(named(threat))),
    }
}

fn is_about_encryption(threat: &str) -> bool {
    let lower = threat.to_ascii_lowercase();
    ["encrypt", "password"].iter().any(|word| lower.contains(word))
}

/// `1\r\n\tfile\r\n\tNAME\r\n\tid\r\n\tresolution`: a count, then four lines each. A count of 0 is clean.
fn violated(field: &str) -> Answer {
    let mut lines = field.lines().map(str::trim);
    let count: u32 = lines.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    if count == 0 { Answer::Clean } else { Answer::Infected(named(lines.nth(1).unwrap_or_default())) }
}

/// The made-up HTTP answer came back: ours unchanged, or a page that says it was blocked.
fn blocked(status: &str) -> Result<Answer, Trouble> {
    let mut words = status.split(' ');
    match (words.next(), words.next()) {
        (Some(protocol), Some("200")) if protocol.starts_with("HTTP/1.") => Ok(Answer::Clean),
        // c-icap redirects to a page.
        (Some(protocol), Some("403" | "307" | "302")) if protocol.starts_with("HTTP/1.") => {
            Ok(Answer::Infected("blocked".to_owned()))
        }
        // REQMOD gives the request back.
        (Some("POST" | "PUT"), Some(_)) => Ok(Answer::Clean),
        _ => Err(Trouble::nonsense(status)),
    }
}

fn named(text: &str) -> String {
    let text = Trouble::shown(text);
    if text.is_empty() { "unnamed".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: Offers = Offers { method: Method::Respmod, allows_204: true, preview: None };

    fn read(head: &str, inner: Option<&str>) -> Result<Answer, Trouble> {
        verdict(&wire::read_head(head).unwrap(), inner, OFFERS)
    }

    #[test]
    fn rfc3507_each_makers_header_is_read() {
        for (head, name) in [
            ("ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\n", "Eicar"),
            ("ICAP/1.0 200 OK\r\nX-Virus-Name: Eicar\r\n", "Eicar"),
            ("ICAP/1.0 200 OK\r\nX-Virus-ID: Eicar\r\n", "Eicar"),
            ("ICAP/1.0 200 OK\r\nX-FSecure-Scan-Result: infected\r\nX-FSecure-Infection-Name: Eicar\r\n", "Eicar"),
            ("ICAP/1.0 200 OK\r\nX-Violations-Found: 1\r\n\ta.com\r\n\tEicar\r\n\t11101\r\n\t2\r\n", "Eicar"),
            ("ICAP/1.0 200 OK\r\nX-Blocked: Eicar\r\n", "Eicar"),
        ] {
            assert_eq!(read(head, None), Ok(Answer::Infected(name.to_owned())), "{head}");
        }
        assert_eq!(read("ICAP/1.0 200 OK\r\nX-Virus-ID: no threats\r\n", None), Ok(Answer::Clean));
        assert_eq!(read("ICAP/1.0 200 OK\r\n", Some("HTTP/1.1 200 OK")), Ok(Answer::Clean));
        assert_eq!(read("ICAP/1.0 204 Unmodified\r\n", None), Ok(Answer::Clean));
        let blocked = Ok(Answer::Infected("blocked".to_owned()));
        assert_eq!(read("ICAP/1.0 200 OK\r\n", Some("HTTP/1.1 403 Forbidden")), blocked);
        assert_eq!(read("ICAP/1.0 200 OK\r\n", Some("HTTP/1.1 307 Temporary Redirect")), blocked);
    }

    #[test]
    fn limits_errors_and_licences_are_not_clean() {
        let limit = read("ICAP/1.0 200 OK\r\nX-Infection-Found: Type=2; Resolution=0; Threat=Max size;\r\n", None);
        assert_eq!(limit, Ok(Answer::Objects(Objection::Limit, "Max size".to_owned())));
        let locked =
            read("ICAP/1.0 200 OK\r\nX-Infection-Found: Type=2; Resolution=0; Threat=Encrypted zip;\r\n", None);
        assert!(matches!(locked, Ok(Answer::Objects(Objection::Encrypted, _))));
        let lapsed = read("ICAP/1.0 539 Aborted - No AV scanning license\r\n", None);
        assert!(matches!(lapsed, Err(Trouble::Licence(_))), "{lapsed:?}");
        assert!(matches!(read("ICAP/1.0 500 Server error\r\n", None), Err(Trouble::Error(_))));
        assert!(matches!(read("ICAP/1.0 404 Service not found\r\n", None), Err(Trouble::Error(_))));
        assert!(matches!(read("ICAP/1.0 413 Too large\r\n", None), Err(Trouble::TooLarge(_))));
        assert!(read("ICAP/1.0 200 OK\r\n", None).is_err());
        let silent = Offers { allows_204: false, ..OFFERS };
        assert!(verdict(&wire::read_head("ICAP/1.0 204 No\r\n").unwrap(), None, silent).is_err());
    }
}
