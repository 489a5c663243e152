//! AUTH as arithmetic over lines: which mechanism, what to ask next, and at the end a name and a password
//! (RFC 4954; PLAIN is RFC 4616, LOGIN a draft that every old client speaks). Nothing here knows an account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What we offer, in the words of EHLO.
pub const MECHANISMS: &str = "PLAIN LOGIN";

/// The prompts of LOGIN, as clients expect them.
const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    Plain,
    Login,
}

impl Mechanism {
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        if word.eq_ignore_ascii_case("PLAIN") {
            Some(Self::Plain)
        } else if word.eq_ignore_ascii_case("LOGIN") {
            Some(Self::Login)
        } else {
            None
        }
    }
}

/// What came with the AUTH command. Not shown by `Debug`: there is a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Response(Vec<u8>);

impl Response {
    #[must_use]
    pub fn new(line: &[u8]) -> Self {
        Self(line.to_vec())
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Response")
    }
}

/// Who claims to be whom. The password is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub name: String,
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where an exchange stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// `334` with this text, then the next line.
    Ask(&'static str),
    Done(Credentials),
    /// `*` (RFC 4954 §4): the client thinks better of it.
    Cancelled,
    /// Not base64, or not what the mechanism says.
    Malformed,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    name: Option<String>,
}

impl Exchange {
    #[must_use]
    pub const fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, name: None }
    }

    /// The first turn: with the initial response of the AUTH command where there was one (`=` is an empty one).
    pub fn begin(&mut self, initial: Option<&Response>) -> Turn {
        match (initial.map(|response| response.0.as_slice()), self.mechanism) {
            (Some(b"="), _) => self.answer(b""),
            (Some(initial), _) => self.answer(initial),
            (None, Mechanism::Plain) => Turn::Ask(""),
            (None, Mechanism::Login) => Turn::Ask(USERNAME),
        }
    }

    /// A line of the client, without its CRLF.
    pub fn answer(&mut self, line: &[u8]) -> Turn {
        if line == b"*" {
            return Turn::Cancelled;
        }
        let Ok(decoded) = STANDARD.decode(line) else { return Turn::Malformed };
        match (self.mechanism, self.name.take()) {
            (Mechanism::Plain, _) => plain(&decoded).map_or(Turn::Malformed, Turn::Done),
            (Mechanism::Login, None) => {
                let Some(name) = clean(&decoded) else { return Turn::Malformed };
                self.name = Some(name);
                Turn::Ask(PASSWORD)
            }
            (Mechanism::Login, Some(name)) => Turn::Done(Credentials { name, password: decoded }),
        }
    }
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`. Nobody may act for another, so authzid is empty or the same name.
fn plain(message: &[u8]) -> Option<Credentials> {
    let mut fields = message.split(|byte| *byte == 0);
    let (Some(acting), Some(name), Some(password), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return None;
    };
    let name = clean(name)?;
    let same = acting.is_empty() || clean(acting).is_some_and(|acting| acting.eq_ignore_ascii_case(&name));
    same.then(|| Credentials { name, password: password.to_vec() })
}

fn clean(name: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(name).ok()?;
    (!text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(text: &str) -> Vec<u8> {
        STANDARD.encode(text).into_bytes()
    }
    fn who(name: &str, password: &str) -> Turn {
        Turn::Done(Credentials { name: name.to_owned(), password: password.as_bytes().to_vec() })
    }

    #[test]
    fn rfc4616_plain_in_one_line_or_two() {
        let message = coded("\0an\0mật khẩu");
        assert_eq!(Exchange::new(Mechanism::Plain).begin(Some(&Response(message))), who("an", "mật khẩu"));
        let mut exchange = Exchange::new(Mechanism::Plain);
        assert_eq!(exchange.begin(None), Turn::Ask(""));
        assert_eq!(exchange.answer(&coded("AN\0an\0x")), who("an", "x"), "acting for oneself");
        for bad in ["other\0an\0x", "an\0x", "\0an\0x\0", "\0\0x", "\0a\u{7}n\0x", ""] {
            assert_eq!(Exchange::new(Mechanism::Plain).begin(Some(&Response(coded(bad)))), Turn::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn login_asks_twice_and_takes_the_name_with_the_command() {
        let mut exchange = Exchange::new(Mechanism::Login);
        assert_eq!(exchange.begin(None), Turn::Ask(USERNAME));
        assert_eq!(exchange.answer(&coded("an")), Turn::Ask(PASSWORD));
        assert_eq!(exchange.answer(&coded("x")), who("an", "x"));
        let mut exchange = Exchange::new(Mechanism::Login);
        assert_eq!(exchange.begin(Some(&Response(coded("an")))), Turn::Ask(PASSWORD));
        assert_eq!(exchange.answer(b"*"), Turn::Cancelled);
    }

    #[test]
    fn rfc4954_4_what_is_no_base64_is_malformed_and_a_star_cancels() {
        for bad in [&b"AGFu"[..], b"!!!!", b"AGFu\xff", b"=", b"AA"] {
            let turn = Exchange::new(Mechanism::Plain).answer(bad);
            assert_eq!(turn, Turn::Malformed, "{bad:?}");
        }
        assert_eq!(Exchange::new(Mechanism::Plain).answer(b"*"), Turn::Cancelled);
        assert_eq!(
            Exchange::new(Mechanism::Plain).begin(Some(&Response(b"=".to_vec()))),
            Turn::Malformed,
            "an empty response is no PLAIN"
        );
    }

    #[test]
    fn passwords_are_not_for_logs() {
        let shown = format!("{:?}", who("an", "secret"));
        assert!(shown.contains("an") && !shown.contains("115") && !shown.contains("secret"), "{shown}");
    }
}
