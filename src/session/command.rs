//! One command line to a [`Command`].
//!
//! smtp-proto has the grammar of verbs and parameter values. Our own checks stand before it, because it is laxer than
//! a gateway may be: it drops source routes and quotes, reads `<postmaster>` as `<>`, and takes a parameter twice
//! (read in 0.2.5). So paths and parameters are cut out of the raw line here, and addresses are `mail::address`'s.

use std::borrow::Cow;

use smtp_proto::{
    MAIL_BODY_8BITMIME, MAIL_BODY_BINARYMIME, MAIL_REQUIRETLS, MAIL_RET_FULL, MAIL_RET_HDRS, MAIL_SMTPUTF8,
    RCPT_NOTIFY_DELAY, RCPT_NOTIFY_FAILURE, RCPT_NOTIFY_NEVER, RCPT_NOTIFY_SUCCESS, Request as Grammar,
};

use super::desk::{Request, Target};
use super::sasl::Response;
use crate::mail::address::AddressError;
use crate::mail::transaction::{BodyType, Notify, Ret};
use crate::mail::{MailParams, Mailbox, Reply, ReversePath};

/// RFC 5321 §4.5.3.1.3, brackets included.
const PATH_MAX: usize = 256;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    Hello {
        name: String,
        esmtp: bool,
    },
    Mail {
        sender: ReversePath,
        params: MailParams,
    },
    /// `ascii`: whether the address was written without letters beyond ASCII.
    Rcpt {
        request: Request,
        ascii: bool,
    },
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Help,
    Verify,
    StartTls,
    /// `mechanism` as written, empty where none was.
    Auth {
        mechanism: String,
        initial: Option<Response>,
    },
    /// Send what waits for this node (RFC 1985).
    Etrn(String),
    Quit,
    Xclient(Vec<(String, String)>),
}

/// What a line is that is no command of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Answered, and the session goes on.
    Reply(Reply),
    /// An unknown verb or one that is not offered: junk.
    Junk(Reply),
    /// Another protocol, or octets whose end we cannot know: answered, then closed.
    Close(Reply),
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Verbs of HTTP and of its header, which a browser or a tricked server sends to port 25 (THREATS S-07).
const HTTP: [&str; 16] = [
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PRI",
    "HOST:",
    "USER-AGENT:",
    "ACCEPT:",
    "CONTENT-TYPE:",
    "CONTENT-LENGTH:",
    "REFERER:",
];
/// Verbs that exist somewhere and not here (RFC 5321 §4.2.4: 502).
const LEGACY: [&str; 14] = [
    "EXPN", "ATRN", "TURN", "SEND", "SOML", "SAML", "DEBUG", "WIZ", "BURL", "LHLO", "KILL", "SHOWQ", "XEXCH50",
    "XFORWARD",
];

/// Reads one line without its CRLF.
pub fn parse(line: &[u8]) -> Result<Command, Refused> {
    if line.contains(&0) {
        return Err(Reply::new(501, "5.5.2", "A NUL octet is not allowed").into());
    }
    let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
    let argument = rest.trim_ascii();
    match verb.as_str() {
        "" => Err(Refused::Junk(unknown())),
        "MAIL" => mail(argument),
        "RCPT" => rcpt(argument),
        "BDAT" => bdat(argument),
        "EHLO" | "HELO" => hello(argument, verb == "EHLO"),
        "XCLIENT" => xclient(argument),
        "AUTH" => Ok(auth(argument)),
        "ETRN" => etrn(argument),
        "DATA" => bare(argument, Command::Data),
        "RSET" => bare(argument, Command::Rset),
        "QUIT" => bare(argument, Command::Quit),
        "STARTTLS" => bare(argument, Command::StartTls),
        verb if HTTP.contains(&verb) => Err(Refused::Close(Reply::new(421, "4.7.0", "This is a mail server"))),
        verb if LEGACY.contains(&verb) => Err(Refused::Junk(Reply::new(502, "5.5.1", "Command not implemented"))),
        _ => plain(line),
    }
}

/// `MAIL FROM:<@>` as `MAIL FROM:<>`: how an old Domino writes the null sender (DOMAIN §2.4). For the agencies' own
/// servers only; from a stranger it is no address.
#[must_use]
pub fn domino_null_sender(line: &[u8]) -> Option<Vec<u8>> {
    const START: &[u8] = b"MAIL FROM:";
    let (start, rest) = line.split_at_checked(START.len())?;
    let rest = rest.trim_ascii_start().strip_prefix(b"<@>")?;
    let parameters = rest.is_empty() || rest.starts_with(b" ");
    (start.eq_ignore_ascii_case(START) && parameters).then(|| [START, b"<>", rest].concat())
}

fn bare(argument: &[u8], command: Command) -> Result<Command, Refused> {
    if argument.is_empty() {
        Ok(command)
    } else {
        Err(Reply::new(501, "5.5.4", "This command takes no parameter").into())
    }
}

/// The verbs whose arguments do not matter to us: smtp-proto knows them.
fn plain(line: &[u8]) -> Result<Command, Refused> {
    match grammar(line) {
        Ok(Grammar::Noop { .. }) => Ok(Command::Noop),
        Ok(Grammar::Help { .. }) => Ok(Command::Help),
        Ok(Grammar::Vrfy { .. }) => Ok(Command::Verify),
        Ok(_) | Err(smtp_proto::Error::UnknownCommand) => Err(Refused::Junk(unknown())),
        Err(smtp_proto::Error::SyntaxError { syntax }) => {
            Err(Reply::new(501, "5.5.4", format!("Syntax: {syntax}")).into())
        }
        Err(_) => Err(Refused::Junk(unknown())),
    }
}

fn unknown() -> Reply {
    Reply::new(500, "5.5.2", "Command not recognised")
}

/// What smtp-proto makes of the line. It wants the line end back.
fn grammar(line: &[u8]) -> Result<Grammar<String>, smtp_proto::Error> {
    let mut whole = Vec::with_capacity(line.len().saturating_add(2));
    whole.extend_from_slice(line);
    whole.extend_from_slice(b"\r\n");
    Grammar::parse(&mut whole.iter()).map(Grammar::into_owned)
}

/// RFC 5321 §4.1.1.1, narrowed to what may stand in logs and headers (THREATS S-26).
#[must_use]
pub fn is_host_name(name: &[u8]) -> bool {
    let good = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=255).contains(&name.len()) && name.iter().all(good)
}

fn hello(argument: &[u8], esmtp: bool) -> Result<Command, Refused> {
    match std::str::from_utf8(argument) {
        Ok(name) if is_host_name(argument) => Ok(Command::Hello { name: name.to_owned(), esmtp }),
        _ => Err(Reply::new(501, "5.5.4", "HELO or EHLO needs one host name").into()),
    }
}

fn bdat(argument: &[u8]) -> Result<Command, Refused> {
    // What follows such a line is a chunk of unknown length: it must not be read as commands (THREATS S-33).
    let unreadable = || Refused::Close(Reply::new(501, "5.5.4", "Syntax: BDAT chunk-size [LAST]"));
    let mut words = argument.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let size = words.next().filter(|word| word.iter().all(u8::is_ascii_digit)).ok_or_else(unreadable)?;
    let last = match (words.next(), words.next()) {
        (None, _) => false,
        (Some(word), None) if word.eq_ignore_ascii_case(b"LAST") => true,
        _ => return Err(unreadable()),
    };
    // Digits that do not fit are a size that does not fit either.
    let size = std::str::from_utf8(size).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX);
    Ok(Command::Bdat { size, last })
}

/// One name, with `@` in front for a domain with everything under it (RFC 1985 §5.3).
fn etrn(argument: &[u8]) -> Result<Command, Refused> {
    match std::str::from_utf8(argument) {
        Ok(node) if is_host_name(node.strip_prefix('@').unwrap_or(node).as_bytes()) => {
            Ok(Command::Etrn(node.to_owned()))
        }
        _ => Err(Reply::new(501, "5.5.4", "Syntax: ETRN domain").into()),
    }
}

/// RFC 4954 §4: a mechanism and perhaps the first response. Whether they are any good the dialogue says, for where AUTH
/// is not offered nobody is told what would be.
fn auth(argument: &[u8]) -> Command {
    let (mechanism, rest) = argument.split_at(argument.iter().position(|b| *b == b' ').unwrap_or(argument.len()));
    let initial = rest.trim_ascii();
    Command::Auth {
        mechanism: String::from_utf8_lossy(mechanism).into_owned(),
        initial: (!initial.is_empty()).then(|| Response::new(initial)),
    }
}

/// Postfix's XCLIENT: `NAME=value` pairs, values in xtext.
fn xclient(argument: &[u8]) -> Result<Command, Refused> {
    let bad = || Refused::Reply(Reply::new(501, "5.5.4", "Syntax: XCLIENT attribute=value..."));
    let text = std::str::from_utf8(argument).map_err(|_| bad())?;
    let pairs: Option<Vec<_>> = text
        .split_ascii_whitespace()
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_ascii_uppercase(), xtext(value)?))
        })
        .collect();
    pairs.filter(|pairs| !pairs.is_empty()).map(Command::Xclient).ok_or_else(bad)
}

fn mail(argument: &[u8]) -> Result<Command, Refused> {
    let syntax = || Reply::new(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]");
    let (path, rest) = path_of(argument, "FROM:").ok_or_else(syntax)?;
    let pairs = parameters(rest, &["SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "REQUIRETLS", "AUTH"])?;
    let utf8 = pairs.iter().any(|(name, _)| name == "SMTPUTF8");
    let path = text_of(path, utf8)?;
    let sender = if path.is_empty() {
        ReversePath::Null
    } else {
        if path.len() > PATH_MAX.saturating_sub(2) {
            return Err(Reply::new(501, "5.1.7", "The sender address is too long").into());
        }
        ReversePath::Mailbox(Mailbox::parse(&path).map_err(sender_refusal)?)
    };
    let size = pairs.iter().find(|(name, _)| name == "SIZE").map(|(_, value)| size_of(value)).transpose()?;
    let envid = xtext_parameter(&pairs, "ENVID", 100)?;
    xtext_parameter(&pairs, "AUTH", 500)?;
    let flags = match grammar(&for_grammar(&pairs, "MAIL FROM:<>")) {
        Ok(Grammar::Mail { from }) => from.flags,
        Err(smtp_proto::Error::InvalidParameter { param }) => {
            return Err(Reply::new(501, "5.5.4", format!("The value of {param} is not valid")).into());
        }
        _ => return Err(syntax().into()),
    };
    if flags & MAIL_BODY_BINARYMIME != 0 {
        return Err(Reply::new(501, "5.5.4", "BINARYMIME is not offered").into());
    }
    let ret = match flags & (MAIL_RET_FULL | MAIL_RET_HDRS) {
        MAIL_RET_FULL => Some(Ret::Full),
        MAIL_RET_HDRS => Some(Ret::Headers),
        _ => None,
    };
    let params = MailParams {
        size,
        body: if flags & MAIL_BODY_8BITMIME != 0 { BodyType::EightBitMime } else { BodyType::SevenBit },
        smtputf8: flags & MAIL_SMTPUTF8 != 0,
        requiretls: flags & MAIL_REQUIRETLS != 0,
        ret,
        envid,
    };
    Ok(Command::Mail { sender, params })
}

fn rcpt(argument: &[u8]) -> Result<Command, Refused> {
    let syntax = || Reply::new(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]");
    let (path, rest) = path_of(argument, "TO:").ok_or_else(syntax)?;
    let pairs = parameters(rest, &["NOTIFY", "ORCPT"])?;
    // Whether letters beyond ASCII are welcome was said at MAIL: the dialogue looks at that.
    let path = text_of(path, true)?;
    let original = pairs.iter().find(|(name, _)| name == "ORCPT").map(|(_, value)| orcpt(value)).transpose()?;
    // RFC 6533 §3: letters beyond ASCII in ORCPT too.
    let ascii = path.is_ascii() && original.as_deref().is_none_or(str::is_ascii);
    let target = if path.eq_ignore_ascii_case("postmaster") {
        Target::Postmaster
    } else if path.len() > PATH_MAX.saturating_sub(2) {
        return Err(Reply::new(501, "5.1.3", "The recipient address is too long").into());
    } else {
        Target::Mailbox(Mailbox::parse(&path).map_err(recipient_refusal)?)
    };
    let flags = match grammar(&for_grammar(&pairs, "RCPT TO:<a@b>")) {
        Ok(Grammar::Rcpt { to }) => to.flags,
        Err(smtp_proto::Error::InvalidParameter { param }) => {
            return Err(Reply::new(501, "5.5.4", format!("The value of {param} is not valid")).into());
        }
        _ => return Err(syntax().into()),
    };
    let explicit = pairs.iter().any(|(name, _)| name == "NOTIFY");
    let has = |bit: u64| flags & bit != 0;
    if has(RCPT_NOTIFY_NEVER) && has(RCPT_NOTIFY_SUCCESS | RCPT_NOTIFY_FAILURE | RCPT_NOTIFY_DELAY) {
        return Err(Reply::new(501, "5.5.4", "NOTIFY=NEVER stands alone").into());
    }
    let notify = if explicit {
        Notify {
            success: has(RCPT_NOTIFY_SUCCESS),
            failure: has(RCPT_NOTIFY_FAILURE),
            delay: has(RCPT_NOTIFY_DELAY),
            explicit,
        }
    } else {
        Notify::default()
    };
    Ok(Command::Rcpt { request: Request { target, original, notify }, ascii })
}

/// The line for smtp-proto, with a harmless path and without SIZE and ORCPT: those were read here already, and its reading
/// of paths, of numbers that do not fit and of addresses beyond ASCII is not ours.
fn for_grammar(pairs: &Pairs, start: &str) -> Vec<u8> {
    let mut whole = start.to_owned();
    for (name, value) in pairs.iter().filter(|(name, _)| name != "SIZE" && name != "ORCPT") {
        whole.push(' ');
        whole.push_str(name);
        if !value.is_empty() {
            whole.push('=');
            whole.push_str(value);
        }
    }
    whole.into_bytes()
}

/// `FROM:<path> rest` to path and rest. A blank behind the colon is taken, for many old senders write it.
fn path_of<'a>(argument: &'a [u8], keyword: &str) -> Option<(&'a [u8], &'a [u8])> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword.as_bytes()) {
        return None;
    }
    let rest = rest.trim_ascii_start().strip_prefix(b"<")?;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })?;
    let (path, rest) = (rest.get(..end)?, rest.get(end.saturating_add(1)..)?);
    (rest.is_empty() || rest.starts_with(b" ")).then(|| (path, rest.trim_ascii()))
}

/// RFC 6531 §3.1: UTF-8 where SMTPUTF8 was said, else ASCII.
fn text_of(path: &[u8], utf8: bool) -> Result<Cow<'_, str>, Refused> {
    match std::str::from_utf8(path) {
        Ok(text) if utf8 || text.is_ascii() => Ok(text.into()),
        _ => Err(not_ascii().into()),
    }
}

/// An address that needs SMTPUTF8 without it, or that is not UTF-8.
#[must_use]
pub fn not_ascii() -> Reply {
    Reply::new(553, "5.6.7", "This address needs SMTPUTF8 and valid UTF-8")
}

type Pairs = Vec<(String, String)>;

/// The parameters behind a path: known ones, each once (RFC 5321 §4.1.1.11).
fn parameters(rest: &[u8], known: &[&str]) -> Result<Pairs, Refused> {
    let mut pairs = Pairs::new();
    for word in rest.split(|b| *b == b' ').filter(|word| !word.is_empty()) {
        let Some(word) = std::str::from_utf8(word).ok().filter(|word| !word.chars().any(char::is_control)) else {
            return Err(Reply::new(501, "5.5.4", "A parameter is not valid").into());
        };
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let name = name.to_ascii_uppercase();
        if !known.contains(&name.as_str()) {
            return Err(Reply::new(555, "5.5.4", "A parameter is not recognised or not offered").into());
        }
        if pairs.iter().any(|(other, _)| *other == name) {
            return Err(Reply::new(501, "5.5.4", format!("{name} was given twice")).into());
        }
        pairs.push((name, value.to_owned()));
    }
    Ok(pairs)
}

/// RFC 1870 §5: up to 20 digits; what does not fit in 64 bits is too large in any case.
fn size_of(value: &str) -> Result<u64, Refused> {
    if (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()) {
        Ok(value.parse().unwrap_or(u64::MAX))
    } else {
        Err(Reply::new(501, "5.5.4", "The value of SIZE is not valid").into())
    }
}

fn xtext_parameter(pairs: &Pairs, name: &str, limit: usize) -> Result<Option<String>, Refused> {
    let Some((_, value)) = pairs.iter().find(|(other, _)| other == name) else { return Ok(None) };
    // RFC 3461 §4.4, RFC 4954 §5: what stands behind the encoding is US-ASCII.
    if value.is_empty() || value.len() > limit || !xtext(value).is_some_and(|text| text.is_ascii()) {
        return Err(Reply::new(501, "5.5.4", format!("The value of {name} is not valid")).into());
    }
    Ok(Some(value.clone()))
}

/// `rfc822;xtext` (RFC 3461 §4.2); under SMTPUTF8 `utf-8;...` (RFC 6533 §3). Kept as written.
fn orcpt(value: &str) -> Result<String, Refused> {
    let good = value.len() <= 500
        && value.split_once(';').is_some_and(|(kind, address)| {
            let named = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let utf8 = kind.eq_ignore_ascii_case("utf-8") && !address.chars().any(|c| c.is_control() || c == ' ');
            named && !address.is_empty() && (utf8 || xtext(address).is_some())
        });
    if good { Ok(value.to_owned()) } else { Err(Reply::new(501, "5.5.4", "The value of ORCPT is not valid").into()) }
}

/// Decodes xtext (RFC 3461 §4); `None` when it is malformed or hides a control character (THREATS S-28).
fn xtext(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => {
                let upper = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F').then_some(char::from(b));
                let (high, low) = (upper(bytes.next()?)?.to_digit(16)?, upper(bytes.next()?)?.to_digit(16)?);
                u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?
            }
            b'!'..=b'~' if byte != b'=' => byte,
            _ => return None,
        };
        let char = char::from(byte);
        // Also the controls above ASCII (U+0080 to U+009F), which some terminals obey.
        if char.is_control() {
            return None;
        }
        out.push(char);
    }
    Some(out)
}

fn sender_refusal(error: AddressError) -> Refused {
    match error {
        AddressError::Route => Reply::new(550, "5.7.1", "Source routes are not accepted").into(),
        AddressError::LocalTooLong | AddressError::DomainTooLong => {
            Reply::new(501, "5.1.7", "The sender address is too long").into()
        }
        _ => Reply::new(501, "5.1.7", "The sender address is not valid").into(),
    }
}

fn recipient_refusal(error: AddressError) -> Refused {
    match error {
        // RFC 5321 §F.2: routes are refused even where they end at a domain of ours (THREATS S-21).
        AddressError::Route | AddressError::Literal => Reply::new(550, "5.7.1", "Relaying is not allowed").into(),
        AddressError::LocalTooLong | AddressError::DomainTooLong => {
            Reply::new(501, "5.1.3", "The recipient address is too long").into()
        }
        _ => Reply::new(501, "5.1.3", "The recipient address is not valid").into(),
    }
}

#[cfg(test)]
mod tests;
