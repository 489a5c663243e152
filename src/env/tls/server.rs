//! TLS as a server: certificates, protocol floor, what was negotiated.
//!
//! TLS 1.2 and later with forward secrecy only (Mozilla's intermediate set), stateless resumption, no compression,
//! no renegotiation. The Internet side never goes lower; old agency servers are met on their own link (DESIGN decision 6).

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslMode, SslOptions, SslSessionCacheMode};
use openssl::x509::X509;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::mail::Problem;

/// What a listener offers to its clients: one OpenSSL context. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor(SslAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

/// What a handshake settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// `TLSv1.3`
    pub version: String,
    pub cipher: String,
    pub bits: u32,
}

impl Acceptor {
    /// From a PEM chain (own certificate first) and its key. Every problem found is in the list.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, Vec<Problem>> {
        let chain = read(certificate).and_then(|pem| chain_of(certificate, &pem));
        let private = read(key).and_then(|pem| key_of(key, &pem));
        let (chain, private) = match (chain, private) {
            (Ok(chain), Ok(private)) => (chain, private),
            (chain, private) => return Err([chain.err(), private.err()].into_iter().flatten().collect()),
        };
        let Some((own, rest)) = chain.split_first() else {
            return Err(vec![Problem::new(certificate, "there is no certificate in this file")]);
        };
        if !own.public_key().is_ok_and(|public| public.public_eq(&private)) {
            let message = format!("this key does not belong to the certificate in {}", certificate.display());
            return Err(vec![Problem::new(key, message).help("the own certificate stands first in the chain")]);
        }
        context(own, rest, &private).map(Self).map_err(|error| {
            vec![Problem::new(certificate, format!("OpenSSL does not take this certificate: {error}"))]
        })
    }

    /// The handshake as server. The caller bounds its time.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<(TlsStream, Negotiated)> {
        let ssl = Ssl::new(self.0.context()).map_err(io::Error::other)?;
        let mut stream = SslStream::new(ssl, tcp).map_err(io::Error::other)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        let cipher = stream.ssl().current_cipher();
        let negotiated = Negotiated {
            version: stream.ssl().version_str().to_owned(),
            cipher: cipher.map_or("", |c| c.name()).to_owned(),
            bits: cipher.map_or(0, |c| u32::try_from(c.bits().secret).unwrap_or(0)),
        };
        Ok((TlsStream(stream), negotiated))
    }
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

fn key_of(path: &Path, pem: &[u8]) -> Result<PKey<openssl::pkey::Private>, Problem> {
    // An empty pass phrase: a server that starts unattended cannot be asked for one.
    PKey::private_key_from_pem_passphrase(pem, b"").map_err(|_| {
        Problem::new(path, "this is not an unencrypted private key in PEM form")
            .help("it begins with -----BEGIN PRIVATE KEY-----")
    })
}

fn context(
    own: &X509,
    rest: &[X509],
    key: &PKey<openssl::pkey::Private>,
) -> Result<SslAcceptor, openssl::error::ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
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
    Ok(builder.build())
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
