//! Macro strings: their grammar and their expansion (RFC 7208 §7). No I/O: the validated name of `%{p}` is handed in.

use std::borrow::Cow;
use std::net::IpAddr;

/// A macro string, checked against the grammar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Macro(Vec<Token>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Literal(String),
    /// `%%`, `%_`, `%-`: a literal that counts as an expansion in the grammar.
    Escape(&'static str),
    Variable {
        letter: char,
        escape: bool,
        keep: usize,
        reverse: bool,
        delimiters: String,
    },
}

/// Where a macro string stands: `c`, `r` and `t` are for explanations only (RFC 7208 §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Domain,
    Explanation,
}

/// What the letters stand for.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    pub ip: IpAddr,
    pub helo: &'a str,
    /// `local@domain`, postmaster filled in.
    pub sender: &'a str,
    /// `<domain>` of the check_host() at hand.
    pub domain: &'a str,
    /// `%{p}`: the validated name, or `unknown`.
    pub validated: &'a str,
    /// Seconds since 1970.
    pub now: i64,
}

impl Macro {
    /// Reads a macro string; `None` when the grammar forbids it.
    pub fn parse(text: &str, place: Place) -> Option<Self> {
        let (mut tokens, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find('%') {
            let (literal, macro_text) = rest.split_at(at);
            push_literal(&mut tokens, literal);
            let after = macro_text.get(1..)?;
            let (token, length) = match after.chars().next()? {
                '%' => (Token::Escape("%"), 1),
                '_' => (Token::Escape(" "), 1),
                '-' => (Token::Escape("%20"), 1),
                '{' => {
                    let end = after.find('}')?;
                    (variable(after.get(1..end)?, place)?, end + 1)
                }
                _ => return None,
            };
            tokens.push(token);
            rest = after.get(length..)?;
        }
        push_literal(&mut tokens, rest);
        Some(Self(tokens))
    }

    /// A domain-spec: a macro string that ends in an expansion or in a dot and a top label (RFC 7208 §7.1).
    pub fn parse_domain(text: &str) -> Option<Self> {
        let spec = Self::parse(text, Place::Domain)?;
        let good = match spec.0.last()? {
            Token::Literal(tail) => ends_in_top_label(tail),
            Token::Escape(_) | Token::Variable { .. } => true,
        };
        good.then_some(spec)
    }

    /// Whether expansion wants the validated name of the client, which costs look-ups.
    pub fn wants_validated_name(&self) -> bool {
        self.0.iter().any(|token| matches!(token, Token::Variable { letter: 'p', .. }))
    }

    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for token in &self.0 {
            match token {
                Token::Literal(text) => out.push_str(text),
                Token::Escape(text) => out.push_str(text),
                Token::Variable { letter, escape, keep, reverse, delimiters } => {
                    let value = values.letter(*letter);
                    let value = transformed(&value, *keep, *reverse, delimiters);
                    if *escape { push_escaped(&mut out, &value) } else { out.push_str(&value) }
                }
            }
            // A name is cut at 253 octets anyway; an explanation longer than this is nobody's.
            if out.len() > 4096 {
                break;
            }
        }
        out
    }

    /// The expansion as a name to ask for: without trailing dot, labels dropped from the left until it fits 253
    /// octets (RFC 7208 §7.3).
    pub fn expand_name(&self, values: &Values<'_>) -> String {
        let full = self.expand(values);
        let mut name = full.strip_suffix('.').unwrap_or(&full);
        while name.len() > 253 {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        name.to_owned()
    }
}

fn push_literal(tokens: &mut Vec<Token>, text: &str) {
    if !text.is_empty() {
        tokens.push(Token::Literal(text.to_owned()));
    }
}

/// The inside of `%{...}`: a letter, digits, `r`, delimiters.
fn variable(text: &str, place: Place) -> Option<Token> {
    let mut chars = text.chars();
    let letter = chars.next()?;
    let lower = letter.to_ascii_lowercase();
    let known = "slodipvh".contains(lower) || (place == Place::Explanation && "crt".contains(lower));
    if !known {
        return None;
    }
    let rest = chars.as_str();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(digits);
    let keep = match number {
        "" => usize::MAX,
        // RFC 7208 §7.3: the number is nonzero.
        number => match number.parse() {
            Ok(0) => return None,
            Ok(keep) => keep,
            Err(_) => usize::MAX,
        },
    };
    let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    let delimiters = if delimiters.is_empty() { "." } else { delimiters };
    Some(Token::Variable {
        letter: lower,
        escape: letter.is_ascii_uppercase(),
        keep,
        reverse,
        delimiters: delimiters.to_owned(),
    })
}

/// RFC 7208 §7.1: `"." toplabel [ "." ]`, a top label being LDH, not all digits, hyphens inside only.
fn ends_in_top_label(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, label)) = text.rsplit_once('.') else { return false };
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.bytes().all(|b| b.is_ascii_digit())
}

fn transformed<'a>(value: &'a str, keep: usize, reverse: bool, delimiters: &str) -> Cow<'a, str> {
    if keep == usize::MAX && !reverse && delimiters == "." {
        return Cow::Borrowed(value);
    }
    let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
    if reverse {
        parts.reverse();
    }
    let from = parts.len().saturating_sub(keep);
    Cow::Owned(parts.get(from..).unwrap_or_default().join("."))
}

/// RFC 7208 §7.3: everything outside RFC 3986's unreserved set becomes %XX.
fn push_escaped(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

impl Values<'_> {
    fn letter(&self, letter: char) -> Cow<'_, str> {
        let (local, domain) = self.sender.rsplit_once('@').unwrap_or(("postmaster", self.sender));
        match letter {
            's' => self.sender.into(),
            'l' => local.into(),
            'o' => domain.into(),
            'd' => self.domain.into(),
            'i' => dotted(self.ip).into(),
            'p' => self.validated.into(),
            'v' => if self.ip.is_ipv4() { "in-addr" } else { "ip6" }.into(),
            'h' => self.helo.into(),
            'c' => self.ip.to_string().into(),
            // RFC 7208 §7.3: "unknown" where the host's name is not to be told.
            'r' => "unknown".into(),
            't' => self.now.to_string().into(),
            _ => "".into(),
        }
    }
}

/// `192.0.2.1`, or 32 nibbles with dots.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            let mut out = String::with_capacity(64);
            for nibble in nibbles {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase());
            }
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(ip: &str) -> Values<'static> {
        Values {
            ip: ip.parse().unwrap(),
            helo: "mx.example.org",
            sender: "strong-bad@email.example.com",
            domain: "email.example.com",
            validated: "mx.example.org",
            now: 1,
        }
    }

    /// The table of RFC 7208 §7.4.
    #[test]
    fn rfc7208_7_4_examples() {
        let cases = [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ];
        for (text, expected) in cases {
            let spec = Macro::parse_domain(text).unwrap();
            assert_eq!(spec.expand(&values("192.0.2.3")), expected, "{text}");
        }
        let six = Macro::parse_domain("%{ir}.%{v}._spf.%{d2}").unwrap().expand(&values("2001:db8::cb01"));
        assert_eq!(
            six.to_lowercase(),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn rfc7208_7_1_grammar_is_held() {
        for bad in ["%{x}", "%{d0}", "%{d", "%(d)", "foo%", "%{dr!}", "%{c}", "%{}", "foo", "a.b-", "1.2", ""] {
            assert_eq!(Macro::parse_domain(bad), None, "{bad}");
        }
        for good in ["%{d}", "a.b", "a.b.", "a%%", "%{d2r+-}.x.y-z"] {
            assert!(Macro::parse_domain(good).is_some(), "{good}");
        }
        assert!(Macro::parse("%{c} %{r} %{t}", Place::Explanation).is_some());
    }
}
