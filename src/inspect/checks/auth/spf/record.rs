//! An SPF record: its grammar, read whole before anything of it is used (RFC 7208 §4.6, §5, §6, §12).
//! Own parser: mail-auth's takes stacked qualifiers, octets over 255 and prefix lengths over 32.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::{Macro, Place};

/// A record that follows the grammar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub directives: Vec<Directive>,
    pub redirect: Option<Macro>,
    pub exp: Option<Macro>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directive {
    pub qualifier: Qualifier,
    pub mechanism: Mechanism,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mechanism {
    All,
    Include(Macro),
    A(Option<Macro>, Prefixes),
    Mx(Option<Macro>, Prefixes),
    Ptr(Option<Macro>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(Macro),
}

/// Prefix lengths for addresses of either family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefixes {
    pub v4: u8,
    pub v6: u8,
}

/// Whether a TXT record is meant for SPF at all (RFC 7208 §4.5).
pub fn is_spf(text: &str) -> bool {
    let version = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("v=spf1"));
    version && matches!(text.as_bytes().get(6), None | Some(b' '))
}

impl Record {
    /// Reads a record that [`is_spf`]; the error names the term that breaks the grammar.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self { directives: Vec::new(), redirect: None, exp: None };
        let terms = text.get(6..).unwrap_or_default();
        for term in terms.split(' ').filter(|term| !term.is_empty()) {
            record.add(term).ok_or_else(|| term.chars().take(80).collect::<String>())?;
        }
        Ok(record)
    }

    fn add(&mut self, term: &str) -> Option<()> {
        // RFC 7208 §4.5: a record is ASCII; controls and blanks other than SP break the grammar too.
        if !term.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let Some((name, value)) = modifier(term) else {
            self.directives.push(directive(term)?);
            return Some(());
        };
        let slot = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.exp,
            // RFC 7208 §6: unknown modifiers are ignored, but their syntax is checked.
            _ => return Macro::parse(value, Place::Explanation).map(drop),
        };
        // RFC 7208 §6: each at most once.
        if slot.is_some() {
            return None;
        }
        *slot = Some(Macro::parse_domain(value)?);
        Some(())
    }
}

/// `name=value` with a name of the grammar, directly before any `:` or `/`.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    (letters && name.starts_with(|c: char| c.is_ascii_alphabetic())).then_some((name, value))
}

fn directive(term: &str) -> Option<Directive> {
    let (qualifier, rest) = match term.as_bytes().first()? {
        b'+' => (Qualifier::Pass, term.get(1..)?),
        b'-' => (Qualifier::Fail, term.get(1..)?),
        b'~' => (Qualifier::SoftFail, term.get(1..)?),
        b'?' => (Qualifier::Neutral, term.get(1..)?),
        _ => (Qualifier::Pass, term),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, argument) = rest.split_at(end);
    let mechanism = match (name.to_ascii_lowercase().as_str(), argument) {
        ("all", "") => Mechanism::All,
        ("include", _) => Mechanism::Include(Macro::parse_domain(argument.strip_prefix(':')?)?),
        ("exists", _) => Mechanism::Exists(Macro::parse_domain(argument.strip_prefix(':')?)?),
        ("a", _) => with_prefixes(argument).map(|(spec, prefixes)| Mechanism::A(spec, prefixes))?,
        ("mx", _) => with_prefixes(argument).map(|(spec, prefixes)| Mechanism::Mx(spec, prefixes))?,
        ("ptr", "") => Mechanism::Ptr(None),
        ("ptr", _) => Mechanism::Ptr(Some(Macro::parse_domain(argument.strip_prefix(':')?)?)),
        ("ip4", _) => {
            let (address, prefix) = address_and_prefix(argument.strip_prefix(':')?, 32)?;
            Mechanism::Ip4(address.parse().ok()?, prefix)
        }
        ("ip6", _) => {
            let (address, prefix) = address_and_prefix(argument.strip_prefix(':')?, 128)?;
            Mechanism::Ip6(address.parse().ok()?, prefix)
        }
        _ => return None,
    };
    Some(Directive { qualifier, mechanism })
}

/// `[":" domain-spec] ["/" n] ["//" n]` (RFC 7208 §5.3, §5.4).
fn with_prefixes(argument: &str) -> Option<(Option<Macro>, Prefixes)> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (rest, v6) = match argument.rsplit_once("//") {
        Some((rest, digits)) if number(digits) => (rest, prefix(digits, 128)?),
        _ => (argument, 128),
    };
    let (rest, v4) = match rest.rsplit_once('/') {
        Some((rest, digits)) if number(digits) => (rest, prefix(digits, 32)?),
        _ => (rest, 32),
    };
    let spec = match rest.strip_prefix(':') {
        Some(spec) => Some(Macro::parse_domain(spec)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((spec, Prefixes { v4, v6 }))
}

fn address_and_prefix(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, digits)) => Some((address, prefix(digits, most)?)),
        None => Some((text, most)),
    }
}

/// A prefix length without leading zeros.
fn prefix(digits: &str, most: u8) -> Option<u8> {
    let plain = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    digits.parse().ok().filter(|n| plain && *n <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7208_4_5_records_are_told_from_other_text() {
        for text in ["v=spf1", "V=SPF1 -all", "v=spf1  a"] {
            assert!(is_spf(text), "{text}");
        }
        for text in ["v=spf10", "v=spf", " v=spf1", "v=spf1\t-all", ""] {
            assert!(!is_spf(text), "{text}");
        }
    }

    #[test]
    fn rfc7208_12_terms_outside_the_grammar_spoil_the_record() {
        let bad = [
            "++all",
            "all:x.y",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4/032",
            "ip4:256.1.1.1",
            "ip6:::1/129",
            "a:",
            "a/",
            "a/33",
            "a//129",
            "a:/24",
            "mx:foo-bar",
            "ptr/0",
            "ptr:",
            "exists",
            "exists:x.y/24",
            "include",
            "redirect:x.y",
            "redirect=",
            "redirect=x.y redirect=x.y",
            "exp=x.y exp=x.y",
            "moo",
            "-all moo",
            "a\u{e9}",
            "ip4:1.2.3.4:80",
            "ip4",
            "a b\tc",
            "=x",
            "%all",
        ];
        for terms in bad {
            assert!(Record::parse(&format!("v=spf1 {terms}")).is_err(), "{terms}");
        }
    }

    #[test]
    fn rfc7208_12_terms_of_the_grammar_are_read() {
        let record =
            Record::parse("v=spf1 A:x.y/24//64 -mx//48 ?ptr ~ip6:2001:db8::/32 moo.x_=a:b/c exp=a.b ALL").unwrap();
        assert_eq!(record.directives.len(), 5);
        assert!(record.exp.is_some() && record.redirect.is_none());
        let Some(Directive { mechanism: Mechanism::A(Some(_), prefixes), .. }) = record.directives.first() else {
            panic!("{record:?}");
        };
        assert_eq!(*prefixes, Prefixes { v4: 24, v6: 64 });
    }
}
