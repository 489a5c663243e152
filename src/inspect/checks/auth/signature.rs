//! A DKIM-Signature or ARC-Message-Signature field: its tags checked, and what it signs made ready for the key.
//! Parsing is ours and strict (THREATS T3, T4, T6); canonical form and hashing are mail-auth's (RFC 6376 §3.4, §3.7).

use mail_auth::AuthenticatedMessage;
use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::dkim::Canonicalization;

use super::tags::{Tags, is_host_name};
use crate::mail::header::Headers;

/// A header list longer than this signs nothing that a mail client shows.
const MOST_HEADERS: usize = 200;

/// What a signature field says, checked.
#[derive(Clone, Debug)]
pub struct Signature {
    pub algorithm: Algorithm,
    pub header_form: Canonicalization,
    pub body_form: Canonicalization,
    pub domain: String,
    pub selector: String,
    pub signed: Vec<String>,
    pub signature: Vec<u8>,
    pub body_hash: Vec<u8>,
    /// The domain of `i=` where given.
    pub identity: Option<String>,
    pub made: Option<i64>,
    pub expires: Option<i64>,
    /// `l=` stands there: only a part of the body is signed.
    pub partial: bool,
}

/// The tags that DKIM and ARC message signatures share (RFC 6376 §3.5, RFC 8617 §4.1.2).
pub fn read(tags: &Tags<'_>) -> Result<Signature, String> {
    let (header_form, body_form) = canonicalization(tags.get("c"))?;
    let signed: Vec<String> = required(tags, "h")?.split(':').map(|name| name.trim().to_ascii_lowercase()).collect();
    if signed.len() > MOST_HEADERS || signed.iter().any(String::is_empty) {
        return Err("h= is no list of header names, or too long a one".to_owned());
    }
    let (domain, selector) = domain_and_selector(tags)?;
    let made = tags.number("t").map(|t| t.ok_or("t= is no number")).transpose()?;
    let expires = tags.number("x").map(|x| x.ok_or("x= is no number")).transpose()?;
    if let (Some(made), Some(expires)) = (made, expires)
        && expires < made
    {
        return Err("x= is before t=".to_owned());
    }
    Ok(Signature {
        algorithm: algorithm(tags)?,
        header_form,
        body_form,
        identity: tags.compact("i").map(|i| i.rsplit_once('@').map_or("", |(_, d)| d).to_ascii_lowercase()),
        domain,
        selector,
        signed,
        signature: octets(tags, "b")?,
        body_hash: octets(tags, "bh")?,
        made,
        expires,
        partial: tags.get("l").is_some(),
    })
}

pub fn algorithm(tags: &Tags<'_>) -> Result<Algorithm, String> {
    match required(tags, "a")? {
        "rsa-sha256" => Ok(Algorithm::RsaSha256),
        "ed25519-sha256" => Ok(Algorithm::Ed25519Sha256),
        // RFC 8301 §3.1: verifiers must not consider it valid.
        "rsa-sha1" => Err("a=rsa-sha1 is refused (RFC 8301)".to_owned()),
        other => Err(format!("a={other} is not known")),
    }
}

/// `d=` and `s=`: host names, the domain with two labels or more (THREATS A-17).
pub fn domain_and_selector(tags: &Tags<'_>) -> Result<(String, String), String> {
    let domain = required(tags, "d")?;
    // RFC 8616 §4: a domain of U-labels means its A-labels.
    let domain = crate::mail::Domain::parse(domain).map_or_else(|_| domain.to_owned(), |d| d.as_str().to_owned());
    let selector = required(tags, "s")?.to_ascii_lowercase();
    if !is_host_name(&domain) || !domain.contains('.') {
        return Err("d= is no domain name of two labels or more".to_owned());
    }
    if !is_host_name(&selector) {
        return Err("s= is no selector".to_owned());
    }
    Ok((domain, selector))
}

pub fn octets(tags: &Tags<'_>, name: &str) -> Result<Vec<u8>, String> {
    match tags.base64(name) {
        None => Err(format!("{name}= is missing")),
        Some(Ok(octets)) if !octets.is_empty() => Ok(octets),
        Some(_) => Err(format!("{name}= is not base64")),
    }
}

fn required<'a>(tags: &Tags<'a>, name: &str) -> Result<&'a str, String> {
    tags.get(name).filter(|value| !value.is_empty()).ok_or_else(|| format!("{name}= is missing"))
}

fn canonicalization(value: Option<&str>) -> Result<(Canonicalization, Canonicalization), String> {
    let one = |text: &str| match text {
        "simple" => Ok(Canonicalization::Simple),
        "relaxed" => Ok(Canonicalization::Relaxed),
        _ => Err("c= is not known".to_owned()),
    };
    let (header, body) = value.map_or(("simple", "simple"), |value| value.split_once('/').unwrap_or((value, "simple")));
    Ok((one(header)?, one(body)?))
}

/// A message as signatures see it; body hashes are made once a form.
pub struct Material<'a> {
    message: AuthenticatedMessage<'a>,
    body: &'a [u8],
    hashes: Vec<(Canonicalization, Vec<u8>)>,
}

impl<'a> Material<'a> {
    pub fn new(raw: &'a [u8], headers: &Headers<'a>) -> Self {
        let fields = headers.fields().iter().filter_map(|field| split(raw.get(field.range.clone())?)).collect();
        let message = AuthenticatedMessage { raw_message: raw, headers: fields, ..AuthenticatedMessage::default() };
        Self { message, body: headers.body(), hashes: Vec::new() }
    }

    /// Whether the body is the one that was signed.
    pub fn body_matches(&mut self, signature: &Signature) -> bool {
        let form = signature.body_form;
        if let Some((_, hash)) = self.hashes.iter().find(|(known, _)| *known == form) {
            return *hash == signature.body_hash;
        }
        let hash = HashAlgorithm::Sha256.hash(form.canonical_body(self.body, 0)).as_ref().to_vec();
        let same = hash == signature.body_hash;
        self.hashes.push((form, hash));
        same
    }

    /// The octets the signature was made over: the listed fields, then the signature field itself with an empty `b=`.
    pub fn signed_octets(&self, signature: &Signature, field: &[u8]) -> Option<Vec<u8>> {
        let (name, value) = split(field)?;
        let emptied = without_signature(value);
        let mut out = Vec::with_capacity(1024);
        signature
            .header_form
            .canonicalize_headers(self.message.signed_headers(&signature.signed, name, &emptied), &mut out);
        Some(out)
    }
}

/// The seal of an ARC set is made over fields in their relaxed form, the last one with an empty `b=` (RFC 8617 §5.1.1).
pub fn sealed_octets(fields: &[&[u8]]) -> Option<Vec<u8>> {
    let (last, before) = fields.split_last()?;
    let mut parts = before.iter().map(|field| split(field)).collect::<Option<Vec<_>>>()?;
    let (name, value) = split(last)?;
    let emptied = without_signature(value);
    parts.push((name, &emptied));
    let mut out = Vec::with_capacity(1024);
    Canonicalization::Relaxed.canonicalize_headers(parts.into_iter(), &mut out);
    Some(out)
}

/// Name and value of a whole field; the value keeps its line end.
fn split(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', field)?;
    Some((field.get(..colon)?, field.get(colon + 1..)?))
}

/// RFC 6376 §3.7: the signature field goes into the hash with the value of `b=` gone and without its line end.
fn without_signature(value: &[u8]) -> Vec<u8> {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    let mut out = Vec::with_capacity(value.len());
    for (i, tag) in value.split(|b| *b == b';').enumerate() {
        if i > 0 {
            out.push(b';');
        }
        match memchr::memchr(b'=', tag).and_then(|at| tag.split_at_checked(at + 1)) {
            Some((name, _)) if name.strip_suffix(b"=").is_some_and(|n| n.trim_ascii() == b"b") => {
                out.extend_from_slice(name);
            }
            _ => out.extend_from_slice(tag),
        }
    }
    out
}
