//! Messages written anew: parts taken out and replaced by a notice ([`strip`]), or the whole brought into one form that
//! every client reads alike ([`canonical`]). Pure functions from octets to octets; they run where hostile octets are
//! parsed, inside the cage.
//!
//! Invariants: signed or encrypted parts are never edited (RFC 1847, RFC 8551, RFC 9580; DESIGN decision 9). What is
//! returned was parsed again and has the same parts with the same octets, apart from what was asked for; else it is not
//! returned. What was read in more than one way is only ever written as one.
//!
//! A DKIM or ARC signature of the sender does not survive either change: the fields stay, and fail from here on. The
//! gateway's own Authentication-Results tell what they were worth on arrival (RFC 8601 §1.1).

mod canonical;
mod strip;
#[cfg(test)]
mod tests;

use super::{Limits, Part, Tree};

pub use canonical::canonical;
pub use strip::strip;

/// Which part of a message: its number as in [`Part::path`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartPath(String);

impl PartPath {
    /// From the path of an object: `2/inner.zip/a.exe` lies in part `2`.
    #[must_use]
    pub fn of(object: &str) -> Self {
        Self(object.split('/').next().unwrap_or_default().to_owned())
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a message stays as it is. The caller falls back on what it does with mail it must not deliver unchanged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CannotRewrite {
    #[error("part {0} is signed")]
    Signed(String),
    #[error("part {0} is encrypted")]
    Encrypted(String),
    #[error("the message can be read in several ways")]
    Ambiguous,
    #[error("the message breaks a limit, so that not all of it was read")]
    Limit,
    #[error("part {0} holds a whole entity inside a transfer encoding")]
    Encoded(String),
    #[error("part {0} is a fragment or lies elsewhere")]
    Fragment(String),
    #[error("part {0} holds files inside its text")]
    Embedded(String),
    #[error("there is no part {0}")]
    NoSuchPart(String),
    #[error("what was written does not read back as it should")]
    Unverified,
}

/// Whether somebody signed or encrypted what this part holds.
fn sealed(part: &Part<'_>) -> Option<CannotRewrite> {
    let path = || part.path.clone();
    let ends = |ending: &str| part.names.iter().any(|n| n.to_ascii_lowercase().ends_with(ending));
    match part.content_type.as_str() {
        "multipart/signed" | "application/pkcs7-signature" | "application/x-pkcs7-signature" => {
            return Some(CannotRewrite::Signed(path()));
        }
        "application/pgp-signature" => return Some(CannotRewrite::Signed(path())),
        "multipart/encrypted" | "application/pgp-encrypted" | "application/pgp" => {
            return Some(CannotRewrite::Encrypted(path()));
        }
        // Signed or enveloped (RFC 8551 §3.2): not to be edited either way.
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => return Some(CannotRewrite::Encrypted(path())),
        "application/octet-stream" if ends(".p7m") => return Some(CannotRewrite::Encrypted(path())),
        "application/octet-stream" if ends(".p7s") => return Some(CannotRewrite::Signed(path())),
        _ => {}
    }
    if part.content_type.starts_with("text/") {
        let holds = |mark: &[u8]| memchr::memmem::find(&part.decoded, mark).is_some();
        if holds(b"-----BEGIN PGP SIGNED MESSAGE-----") {
            return Some(CannotRewrite::Signed(path()));
        }
        if holds(b"-----BEGIN PGP MESSAGE-----") {
            return Some(CannotRewrite::Encrypted(path()));
        }
    }
    None
}

/// Whether this part is the outermost entity of a message, so that its header section is the message's.
fn is_message_root(tree: &Tree<'_>, part: &Part<'_>) -> bool {
    part.parent.and_then(|i| tree.parts.get(i)).is_none_or(Part::is_message)
}

/// Fields that say how the body is to be read.
fn is_content(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"mime-version") || name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case(b"content-"))
}

/// The whole message was read, within the limits.
fn check_whole(tree: &Tree<'_>) -> Result<(), CannotRewrite> {
    match tree.oddities.iter().any(|o| o.code == "mime.limit") {
        true => Err(CannotRewrite::Limit),
        false => Ok(()),
    }
}

fn is_ambiguous(tree: &Tree<'_>) -> bool {
    tree.oddities.iter().any(|o| o.code == "mime.ambiguous")
}

/// Reads back what was written.
fn reread<'a>(written: &'a [u8], limits: &Limits) -> Result<Tree<'a>, CannotRewrite> {
    let tree = super::parse(written, limits);
    check_whole(&tree)?;
    Ok(tree)
}
