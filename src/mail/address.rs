//! Mail addresses, parsed once; after this no room handles an address as a bare string.
//! RFC 5321 §4.1.2 (grammar), §4.5.3.1 (lengths), RFC 6531 (SMTPUTF8), UTS 46 (domains become A-labels).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::units::text_serde;

/// Why a text is no address. `Display` is for operators; the session chooses its own reply codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    #[error("the address is empty")]
    Empty,
    #[error("there is no @")]
    NoAt,
    #[error("the local part is not valid (RFC 5321 §4.1.2)")]
    Local,
    #[error("the local part is longer than 64 octets (RFC 5321 §4.5.3.1.1)")]
    LocalTooLong,
    #[error("the domain is not valid")]
    Domain,
    #[error("the domain is longer than 255 octets (RFC 5321 §4.5.3.1.2)")]
    DomainTooLong,
    #[error("the address carries a route (%, !, a second @ or a source route)")]
    Route,
    #[error("address literals are not accepted here")]
    Literal,
}

/// A DNS domain name in lower-case A-label form, without a trailing dot: `xn--tnh-mu-xya.gov.vn`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Parses an LDH or internationalised name; U-labels become A-labels (UTS 46, strict).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > 1024 {
            return Err(AddressError::DomainTooLong);
        }
        if text.starts_with('[') {
            return Err(AddressError::Literal);
        }
        // UTS 46 maps U+3002 and full-width dots to '.'; a name that needs it was not written as a mail domain.
        if text.chars().any(|c| matches!(c, '\u{3002}' | '\u{ff0e}' | '\u{ff61}')) {
            return Err(AddressError::Domain);
        }
        let ascii = if text.is_ascii() && !text.contains("xn--") {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(text).map_err(|_| AddressError::Domain)?
        };
        if ascii.len() > 255 {
            return Err(AddressError::DomainTooLong);
        }
        let good = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if ascii.split('.').all(good) { Ok(Self(ascii.into())) } else { Err(AddressError::Domain) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `parent` or a name below it.
    #[must_use]
    pub fn is_within(&self, parent: &Self) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The organisational domain by the public suffix list; the name itself when it is a suffix.
    #[must_use]
    pub fn organisational(&self) -> Self {
        psl::domain_str(&self.0).map_or_else(|| self.clone(), |d| Self(d.into()))
    }

    /// As people read it: U-labels.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.0)
    }
}
impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl FromStr for Domain {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}
text_serde!(Domain);

/// `local@domain`. The local part is kept as written (quotes removed when they are not needed);
/// comparison of local parts ignores ASCII case, as every server behind us does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    local: Arc<str>,
    domain: Domain,
}

impl Mailbox {
    /// Parses `local@domain` without angle brackets. Quoted local parts are unquoted; routes of any
    /// kind (`%`, `!`, a second `@`, source routes) are [`AddressError::Route`] (RFC 5321 §F.2, THREATS S-21).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.starts_with('@') {
            return Err(AddressError::Route);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        let local = unquote(local)?;
        if local.len() > 64 {
            return Err(AddressError::LocalTooLong);
        }
        if local.contains(['@', '%', '!']) {
            return Err(AddressError::Route);
        }
        Ok(Self { local: local.into(), domain: Domain::parse(domain)? })
    }

    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }
    /// Whether SMTP without SMTPUTF8 can carry it (RFC 6531).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }
    /// The form in which tables are keyed: lower-case local part.
    #[must_use]
    pub fn folded(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }
}

/// Removes the quotes of a quoted-string local part; checks a dot-atom.
fn unquote(local: &str) -> Result<String, AddressError> {
    if let Some(inner) = local.strip_prefix('"') {
        let inner = inner.strip_suffix('"').ok_or(AddressError::Local)?;
        let mut out = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            let c = match c {
                '\\' => chars.next().ok_or(AddressError::Local)?,
                '"' => return Err(AddressError::Local),
                c => c,
            };
            if c.is_control() {
                return Err(AddressError::Local);
            }
            out.push(c);
        }
        return if out.is_empty() { Err(AddressError::Local) } else { Ok(out) };
    }
    let atom = |part: &str| !part.is_empty() && part.chars().all(is_atext);
    // `%`, `!` are atext and `@` is caught here, so that every route gets the same answer.
    if local.contains('@') {
        return Err(AddressError::Route);
    }
    if local.split('.').all(atom) { Ok(local.to_owned()) } else { Err(AddressError::Local) }
}

/// RFC 5322 §3.2.3 atext, and RFC 6532 for what is not ASCII.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.local.split('.').all(|part| !part.is_empty() && part.chars().all(is_atext));
        if plain {
            write!(f, "{}@{}", self.local, self.domain)
        } else {
            let escaped = self.local.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "\"{escaped}\"@{}", self.domain)
        }
    }
}
impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({self})")
    }
}
impl FromStr for Mailbox {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}
text_serde!(Mailbox);

/// The reverse path of MAIL FROM: a mailbox, or `<>` (RFC 5321 §4.5.5).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum ReversePath {
    #[default]
    Null,
    Mailbox(Mailbox),
}

impl ReversePath {
    #[must_use]
    pub const fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        self.mailbox().map(Mailbox::domain)
    }
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |m| m.fmt(f))
    }
}

/// The short name of an agency in the configuration: `so-tttt`. Used in metrics, paths and keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AgencyId(Arc<str>);

impl AgencyId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for AgencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for AgencyId {
    type Err = BadAgencyId;
    fn from_str(text: &str) -> Result<Self, BadAgencyId> {
        let good = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-');
        if good { Ok(Self(text.into())) } else { Err(BadAgencyId(text.to_owned())) }
    }
}
text_serde!(AgencyId);

/// An agency id that cannot serve as a metric label and a folder name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is not an agency id: use 1 to 40 of a-z, 0-9 and -")]
pub struct BadAgencyId(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, error: AddressError) {
        assert_eq!(Mailbox::parse(text), Err(error), "{text}");
    }

    #[test]
    fn rfc5321_4_1_2_addresses_are_parsed_into_parts() {
        let m = Mailbox::parse("An.Nguyen+x@Tinh.GOV.vn").unwrap();
        assert_eq!((m.local(), m.domain().as_str()), ("An.Nguyen+x", "tinh.gov.vn"));
        assert_eq!(Mailbox::parse("\"a b\"@x.vn").unwrap().to_string(), "\"a b\"@x.vn");
        assert_eq!(Mailbox::parse("\"ab\"@x.vn").unwrap().to_string(), "ab@x.vn");
    }

    #[test]
    fn rfc5321_f_2_routes_are_never_addresses() {
        for text in ["a%b@x.vn", "b!a@x.vn", "a@b@x.vn", "\"a@b\"@x.vn", "@r.vn:a@x.vn", "\"a%b\"@x.vn"] {
            refused(text, AddressError::Route);
        }
    }

    #[test]
    fn rfc5321_4_5_3_1_lengths_are_held() {
        refused(&format!("{}@x.vn", "a".repeat(65)), AddressError::LocalTooLong);
        refused(&format!("a@{}vn", "abcdefg.".repeat(32)), AddressError::DomainTooLong);
    }

    #[test]
    fn hostile_forms_are_refused() {
        refused("a", AddressError::NoAt);
        refused("a b@x.vn", AddressError::Local);
        refused(".a@x.vn", AddressError::Local);
        refused("a@[127.0.0.1]", AddressError::Literal);
        refused("a@x..vn", AddressError::Domain);
        refused("a@x.vn.", AddressError::Domain);
        refused("a@agency\u{3002}test", AddressError::Domain);
        refused("a\r\n@x.vn", AddressError::Local);
    }

    #[test]
    fn uts46_domains_become_a_labels() {
        assert_eq!(Domain::parse("TỈNH.vn").unwrap(), Domain::parse("tỉnh.vn").unwrap());
        assert!(Domain::parse("tỉnh.vn").unwrap().as_str().starts_with("xn--"));
    }

    #[test]
    fn domains_nest_by_whole_labels() {
        let parent = Domain::parse("gov.vn").unwrap();
        assert!(Domain::parse("a.gov.vn").unwrap().is_within(&parent));
        assert!(!Domain::parse("agov.vn").unwrap().is_within(&parent));
        assert_eq!(Domain::parse("a.b.tinh.gov.vn").unwrap().organisational().as_str(), "tinh.gov.vn");
    }
}
