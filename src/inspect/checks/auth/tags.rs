//! Tag lists `a=1; b=2` of DKIM, ARC and DMARC (RFC 6376 §3.2), read strictly: a name twice spoils the list.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Names and values in their order; white space around values is gone, inside it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tags<'a>(Vec<(&'a str, &'a str)>);

/// What is wrong with a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TagError {
    #[error("a tag is not written name=value")]
    Syntax,
    #[error("a tag stands twice")]
    Twice,
}

const MOST: usize = 64;

impl<'a> Tags<'a> {
    pub fn parse(text: &'a str) -> Result<Self, TagError> {
        let mut tags: Vec<(&str, &str)> = Vec::new();
        let mut pieces = text.split(';').peekable();
        while let Some(piece) = pieces.next() {
            // One semicolon may end the list.
            if piece.trim().is_empty() && pieces.peek().is_none() {
                break;
            }
            let (name, value) = piece.split_once('=').ok_or(TagError::Syntax)?;
            let name = name.trim();
            let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if !good || tags.len() >= MOST {
                return Err(TagError::Syntax);
            }
            if tags.iter().any(|(known, _)| *known == name) {
                return Err(TagError::Twice);
            }
            tags.push((name, value.trim()));
        }
        Ok(Self(tags))
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The name of the first tag.
    pub fn first(&self) -> Option<&'a str> {
        self.0.first().map(|(name, _)| *name)
    }

    /// A value with all white space removed.
    pub fn compact(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).map(compact)
    }

    /// Base64 with white space in it; `Some(Err)` when it is there and cannot be read.
    pub fn base64(&self, name: &str) -> Option<Result<Vec<u8>, base64::DecodeError>> {
        self.compact(name).map(|text| BASE64.decode(text.as_bytes()))
    }

    /// A number of at most twelve digits (RFC 6376 §3.5); `Some(None)` when it is no number.
    pub fn number(&self, name: &str) -> Option<Option<i64>> {
        self.get(name).map(|text| {
            let digits = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse().ok() } else { None }
        })
    }
}

/// Padding may be missing and spare bits set: signers differ, and the signature decides.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn compact(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_whitespace()) {
        text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>().into()
    } else {
        text.into()
    }
}

/// LDH labels with dots, each 1 to 63 octets, 253 in all; what a selector and a signing domain must be (THREATS A-17).
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6376_3_2_lists_are_read() {
        let tags = Tags::parse(" v=1 ; a = rsa-sha256;\r\n\tb=AA\r\n BB ; ").unwrap();
        assert_eq!((tags.first(), tags.get("a")), (Some("v"), Some("rsa-sha256")));
        assert_eq!(tags.base64("b").unwrap().unwrap(), [0, 0, 65]);
        assert_eq!(Tags::parse("").unwrap(), Tags::default());
    }

    #[test]
    fn rfc6376_3_2_broken_lists_are_refused() {
        assert_eq!(Tags::parse("a=1; a=2"), Err(TagError::Twice));
        for text in ["a", "=1", "a=1;;b=2", "1a=2", "a b=1"] {
            assert_eq!(Tags::parse(text), Err(TagError::Syntax), "{text}");
        }
        assert_eq!(Tags::parse("t=12x").unwrap().number("t"), Some(None));
    }

    #[test]
    fn names_with_odd_octets_are_no_host_names() {
        for bad in ["", "a..b", "a\0.b", "a b", "-a.b", "a/b", &"x".repeat(64)] {
            assert!(!is_host_name(bad), "{bad}");
        }
        assert!(is_host_name("s1._x.bank-1.example"));
    }
}
