//! TLS as a server: certificates, protocol floor, what was negotiated.
//!
//! TLS 1.2 and later with forward secrecy only (Mozilla's intermediate set), stateless resumption, no compression,
//! no renegotiation, three curves. The Internet side never goes lower; old agency servers are met on their own link (DESIGN decision 6).
//! Several certificates are told apart by the name the client asks for (SNI, RFC 6066 §3). A client's certificate is
//! asked for where a listener says so, and never demanded: who it speaks for is decided where mail is allowed.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    NameType, Ssl, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslMode, SslOptions, SslRef,
    SslSessionCacheMode, SslVerifyMode,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::handshake::HandshakeError;
use super::pair;
use crate::mail::{KeyPin, Problem, Timestamp};

/// Names taken from one client certificate; those beyond belong to nobody who is configured by hand.
const CLIENT_NAMES: usize = 32;

/// What a listener offers to its clients: OpenSSL contexts, one a certificate. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    acceptor: SslAcceptor,
    certificates: Arc<[Held]>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

/// A certificate in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub file: PathBuf,
    pub not_after: Timestamp,
    /// DNS names it is for, in lower case.
    pub names: Vec<String>,
}

/// The files of a listener.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// PEM chains (own certificate first) and their keys. The first is shown to whoever asks for no name or an unknown one.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// `None`: clients are not asked for a certificate. Else PEM files of authorities whose names are believed.
    pub clients: Option<Vec<PathBuf>>,
}

/// What a handshake settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// `TLSv1.3`
    pub version: String,
    pub cipher: String,
    pub bits: u32,
    pub client: Option<ClientCertificate>,
}

/// A client that proved to hold the key of this certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: String,
    /// Of its public key; it stays when a certificate is renewed with the same key.
    pub key: KeyPin,
    /// DNS and mail names of the subject alternative name and the common name, in lower case; empty unless a configured
    /// authority vouches for them today.
    pub names: Vec<String>,
}

impl Acceptor {
    /// From a PEM chain (own certificate first) and its key. Every problem found is in the list.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, Vec<Problem>> {
        Self::open(&Files { pairs: vec![(certificate.to_owned(), key.to_owned())], clients: None })
    }

    /// From everything a listener names. Every problem found is in the list.
    pub fn open(files: &Files) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut authorities = files.clients.as_ref().map(|_| Vec::new());
        for path in files.clients.iter().flatten() {
            match read(path).and_then(|pem| chain_of(path, &pem)) {
                Ok(found) => authorities.get_or_insert_default().extend(found),
                Err(problem) => problems.push(problem),
            }
        }
        let (mut contexts, mut certificates) = (Vec::new(), Vec::new());
        for (certificate, key) in &files.pairs {
            match load(certificate, key, authorities.as_deref()) {
                Ok((builder, held)) => {
                    contexts.push(builder);
                    certificates.push(held);
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut contexts = contexts.into_iter();
        let Some(mut first) = contexts.next() else { return Err(problems) };
        let others: Vec<SslContext> = contexts.map(|builder| builder.build().into_context()).collect();
        let certificates: Arc<[Held]> = certificates.into();
        if !others.is_empty() {
            let held = Arc::clone(&certificates);
            first.set_servername_callback(move |ssl, _| {
                switch(ssl, &held, &others);
                Ok(())
            });
        }
        Ok(Self { acceptor: first.build(), certificates })
    }

    /// The certificates it shows, the first for whoever asks for no name.
    #[must_use]
    pub fn certificates(&self) -> &[Held] {
        &self.certificates
    }

    /// The handshake as server. The caller bounds its time.
    pub async fn accept(&self, tcp: TcpStream) -> Result<(TlsStream, Negotiated), HandshakeError> {
        let ssl = Ssl::new(self.acceptor.context()).map_err(HandshakeError::ours)?;
        let mut stream = SslStream::new(ssl, tcp).map_err(HandshakeError::ours)?;
        Pin::new(&mut stream).accept().await?;
        let ssl = stream.ssl();
        let cipher = ssl.current_cipher();
        let negotiated = Negotiated {
            version: ssl.version_str().to_owned(),
            cipher: cipher.map_or("", |c| c.name()).to_owned(),
            bits: cipher.map_or(0, |c| u32::try_from(c.bits().secret).unwrap_or(0)),
            client: ssl.peer_certificate().and_then(|own| client(&own, ssl.verify_result())),
        };
        Ok((TlsStream(stream), negotiated))
    }
}

impl Held {
    /// RFC 6125 §6.4.3: a wildcard stands for one label, the leftmost.
    fn serves(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            let parent = || name.split_once('.').map(|(_, parent)| parent);
            own == name || own.strip_prefix("*.").is_some_and(|suffix| parent() == Some(suffix))
        })
    }
}

/// Takes the context whose certificate is for the name that was asked for; the first stays where there is none.
fn switch(ssl: &mut SslRef, certificates: &[Held], others: &[SslContext]) {
    let Some(name) = ssl.servername(NameType::HOST_NAME).map(str::to_ascii_lowercase) else { return };
    let Some(index) = certificates.iter().position(|held| held.serves(&name)) else { return };
    if let Some(context) = index.checked_sub(1).and_then(|index| others.get(index))
        && let Err(error) = ssl.set_ssl_context(context)
    {
        tracing::error!(%error, "a certificate cannot be shown");
    }
}

/// What a client's certificate proves; nothing outside its days, be it pinned or not.
fn client(certificate: &X509Ref, verified: X509VerifyResult) -> Option<ClientCertificate> {
    let now = Asn1Time::days_from_now(0).ok()?;
    if *certificate.not_before() > *now || *certificate.not_after() < *now {
        return None;
    }
    let digest = certificate.digest(MessageDigest::sha256()).ok()?;
    let key = KeyPin::new(openssl::sha::sha256(&certificate.public_key().ok()?.public_key_to_der().ok()?));
    let mut names = Vec::new();
    if verified == X509VerifyResult::OK {
        for name in certificate.subject_alt_names().iter().flatten() {
            names.extend(name.dnsname().or_else(|| name.email()).map(str::to_ascii_lowercase));
        }
        for entry in certificate.subject_name().entries_by_nid(Nid::COMMONNAME) {
            names.extend(entry.data().to_string().ok().map(|text| text.to_string().to_ascii_lowercase()));
        }
        names.truncate(CLIENT_NAMES);
    }
    Some(ClientCertificate { fingerprint: hex(&digest), key, names })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// One pair as a context of its own, and what it is.
fn load(
    certificate: &Path,
    key: &Path,
    authorities: Option<&[X509]>,
) -> Result<(SslAcceptorBuilder, Held), Vec<Problem>> {
    let pem = read(certificate);
    let chain = pem.as_ref().map_err(Clone::clone).and_then(|pem| chain_of(certificate, pem));
    let private = read(key).and_then(|pem| key_of(key, &pem));
    let (chain, private) = match (chain, private) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => return Err([chain.err(), private.err()].into_iter().flatten().collect()),
    };
    let refuse = |what: String| vec![Problem::new(certificate, what)];
    let Some((own, rest)) = chain.split_first() else {
        return Err(refuse("there is no certificate in this file".to_owned()));
    };
    if !own.public_key().is_ok_and(|public| public.public_eq(&private)) {
        let message = format!("this key does not belong to the certificate in {}", certificate.display());
        return Err(vec![Problem::new(key, message).help("the own certificate stands first in the chain")]);
    }
    let facts = pair::certificate(pem.as_deref().unwrap_or_default()).map_err(|error| refuse(error.to_string()))?;
    let names = facts.names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let held = Held { file: certificate.to_owned(), not_after: facts.not_after, names };
    context(own, rest, &private, authorities)
        .map(|builder| (builder, held))
        .map_err(|error| refuse(format!("OpenSSL does not take this certificate: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(path).map_err(|error| Problem::new(path, format!("cannot be read: {error}")))
}

fn chain_of(path: &Path, pem: &[u8]) -> Result<Vec<X509>, Problem> {
    X509::stack_from_pem(pem).ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
        Problem::new(path, "this is not a certificate chain in PEM form")
            .help("it begins with -----BEGIN CERTIFICATE-----")
    })
}

fn key_of(path: &Path, pem: &[u8]) -> Result<PKey<Private>, Problem> {
    // An empty pass phrase: a server that starts unattended cannot be asked for one.
    PKey::private_key_from_pem_passphrase(pem, b"").map_err(|_| {
        Problem::new(path, "this is not an unencrypted private key in PEM form")
            .help("it begins with -----BEGIN PRIVATE KEY-----")
    })
}

fn context(
    own: &X509,
    rest: &[X509],
    key: &PKey<Private>,
    authorities: Option<&[X509]>,
) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    // What is strong and quick; no curve that few have looked at.
    builder.set_groups_list("X25519:P-256:P-384")?;
    // Idle sessions keep no 32 KiB of record buffers.
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    builder.set_certificate(own)?;
    for intermediate in rest {
        builder.add_extra_chain_cert(intermediate.clone())?;
    }
    builder.set_private_key(key)?;
    // Resumption by tickets: nothing is kept here.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_session_id_context(b"luytre")?;
    if let Some(authorities) = authorities {
        // On every context: after a switch OpenSSL looks for the authorities in the new one.
        let mut store = X509StoreBuilder::new()?;
        for authority in authorities {
            store.add_cert(authority.clone())?;
            builder.add_client_ca(authority)?;
        }
        builder.set_verify_cert_store(store.build())?;
        // Any certificate may be shown: its fingerprint may be known where its issuer is not.
        builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    }
    Ok(builder)
}

/// A TLS connection of a client. Reads and writes like the socket below it.
#[derive(Debug)]
pub struct TlsStream(SslStream<TcpStream>);

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
