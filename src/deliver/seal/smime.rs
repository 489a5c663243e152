//! S/MIME signing: a detached signature of the agency around the whole content (RFC 8551 §3.5.3).

use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::stack::Stack;

use super::keys::SmimePair;
use super::{SealError, sevenbit};
use crate::mail::MailId;
use crate::mail::header::Headers;
use crate::mail::mime::Tree;

/// A message: header section without its empty line, and body.
pub type Parts = (Vec<u8>, Vec<u8>);

/// Signs the message `head` (header section without its empty line) and `body`; gives the new ones. `None` when the
/// content has no 7-bit form that leaves signed parts alone.
pub fn sign(pair: &SmimePair, head: &[u8], body: &[u8], id: MailId) -> Result<Option<Parts>, SealError> {
    // RFC 8551 §3.1: the content's own fields go inside, the message's stay outside.
    let (mut outer, mut entity) = (Vec::with_capacity(head.len() + 256), Vec::with_capacity(body.len() + 256));
    for field in Headers::parse(head).fields() {
        let octets = head.get(field.range.clone()).unwrap_or_default();
        let is_content = field.name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case(b"Content-"));
        if is_content {
            entity.extend_from_slice(octets);
        } else if !field.is("MIME-Version") {
            outer.extend_from_slice(octets);
        }
    }
    if Headers::parse(&entity).find("Content-Type").is_none() {
        // Text without a type is plain text; if it has 8-bit octets it is UTF-8 or was already unreadable.
        let charset = if body.is_ascii() { "us-ascii" } else { "utf-8" };
        entity.extend_from_slice(format!("Content-Type: text/plain; charset={charset}\r\n").as_bytes());
    }
    entity.extend_from_slice(b"\r\n");
    entity.extend_from_slice(body);
    let Some(entity) = sevenbit::convert(entity) else { return Ok(None) };
    let signature = detached(pair, &entity).map_err(|e| SealError::Smime(e.to_string()))?;
    Ok(Some(wrap(outer, &entity, &signature, id)))
}

fn detached(pair: &SmimePair, entity: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let mut chain = Stack::new()?;
    for certificate in &pair.chain {
        chain.push(certificate.clone())?;
    }
    // BINARY: the octets are canonical already. SHA-256 is OpenSSL's default digest for RSA
    // and EC keys.
    let flags = CMSOptions::DETACHED | CMSOptions::BINARY;
    CmsContentInfo::sign(Some(&pair.certificate), Some(&pair.key), Some(&chain), Some(entity), flags)?.to_der()
}

fn wrap(mut head: Vec<u8>, entity: &[u8], signature: &[u8], id: MailId) -> Parts {
    let mut boundary = format!("luytre-{id}");
    while memchr::memmem::find(entity, boundary.as_bytes()).is_some() {
        boundary.push('x');
    }
    head.extend_from_slice(
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n\
             \tmicalg=sha-256; boundary=\"{boundary}\"\r\n"
        )
        .as_bytes(),
    );
    let mut body = Vec::with_capacity(entity.len() + signature.len() * 2);
    body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
    body.extend_from_slice(entity);
    body.extend_from_slice(
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n\
             Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\n"
        )
        .as_bytes(),
    );
    sevenbit::base64_lines(signature, &mut body);
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (head, body)
}

/// Signed or encrypted by its author, with S/MIME or PGP: such mail is not signed again (issue: "not touched").
pub fn is_sealed_by_author(tree: &Tree<'_>) -> bool {
    let Some(root) = tree.parts.first() else { return false };
    match root.content_type.as_str() {
        "multipart/signed"
        | "multipart/encrypted"
        | "application/pkcs7-mime"
        | "application/x-pkcs7-mime"
        | "application/pgp-encrypted"
        | "application/pgp" => true,
        "application/octet-stream" => root.name.to_ascii_lowercase().ends_with(".p7m"),
        _ => tree.parts.iter().filter(|p| p.content_type.starts_with("text/")).any(|p| {
            let text = p.decoded.trim_ascii_start();
            text.starts_with(b"-----BEGIN PGP SIGNED MESSAGE") || text.starts_with(b"-----BEGIN PGP MESSAGE")
        }),
    }
}
