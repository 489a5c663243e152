//! TLS as a client: opportunistic, required, and old versions only for the destination that needs them
//! (DESIGN decision 6). One context for each way of trusting; a [`Link`] is a connection with or without TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslConnector, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::X509VerifyResult;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// How far the server's certificate is believed, and how old its TLS may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Any certificate: the link is hidden from listeners, nobody is proven (RFC 7435).
    Any,
    /// Any certificate, TLS 1.0 and old ciphers too: Exchange 2007 and 2010 (DOMAIN §2.1).
    AnyLegacy,
    /// The certificate must lead to a trusted root and name the host.
    Verified,
    /// As `Verified`, TLS 1.0 and old ciphers too.
    VerifiedLegacy,
}

impl Trust {
    const fn verifies(self) -> bool {
        matches!(self, Self::Verified | Self::VerifiedLegacy)
    }
    const fn is_legacy(self) -> bool {
        matches!(self, Self::AnyLegacy | Self::VerifiedLegacy)
    }
}

/// Why there is no TLS. `Display` is for operators.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}")]
    Setup(String),
    #[error("{0}")]
    Handshake(String),
}

/// The contexts of outgoing TLS. Cheap to clone.
#[derive(Clone)]
pub struct Connector(Arc<Contexts>);

struct Contexts {
    roots: Option<PathBuf>,
    any: SslContext,
    any_legacy: SslContext,
    /// Made when first asked for: reading all the system's roots takes a while, and most sites verify nobody.
    verified: OnceLock<SslConnector>,
    verified_legacy: OnceLock<SslConnector>,
}

impl Connector {
    /// Trusts the system's roots, and those in the PEM file `roots` besides.
    pub fn new(roots: Option<&Path>) -> Result<Self, TlsError> {
        if let Some(roots) = roots {
            std::fs::metadata(roots).map_err(|e| TlsError::Setup(format!("{}: {e}", roots.display())))?;
        }
        Ok(Self(Arc::new(Contexts {
            roots: roots.map(Path::to_owned),
            any: unverified(false).map_err(setup)?,
            any_legacy: unverified(true).map_err(setup)?,
            verified: OnceLock::new(),
            verified_legacy: OnceLock::new(),
        })))
    }

    fn ssl(&self, host: &str, trust: Trust) -> Result<Ssl, TlsError> {
        let is_name = host.parse::<std::net::IpAddr>().is_err();
        if trust.verifies() {
            let cell = if trust.is_legacy() { &self.0.verified_legacy } else { &self.0.verified };
            let connector = match cell.get() {
                Some(connector) => connector,
                None => {
                    let made = verified(trust.is_legacy(), self.0.roots.as_deref()).map_err(setup)?;
                    cell.get_or_init(|| made)
                }
            };
            let configured = connector.configure().map_err(setup)?;
            return configured.use_server_name_indication(is_name).verify_hostname(true).into_ssl(host).map_err(setup);
        }
        let mut ssl = Ssl::new(if trust.is_legacy() { &self.0.any_legacy } else { &self.0.any }).map_err(setup)?;
        if is_name {
            ssl.set_hostname(host).map_err(setup)?;
        }
        Ok(ssl)
    }

    /// Turns a plain link into one under TLS.
    pub async fn upgrade(&self, link: Link, host: &str, trust: Trust) -> Result<Link, TlsError> {
        match link {
            Link::Plain(stream) => self.start(stream, host, trust).await,
            Link::Tls(_) => Err(TlsError::Setup("the connection is under TLS already".to_owned())),
        }
    }

    /// The handshake over `stream`. `host` is a name or an address: for SNI (RFC 6066 §3) and for the certificate.
    pub async fn start(&self, stream: TcpStream, host: &str, trust: Trust) -> Result<Link, TlsError> {
        let ssl = self.ssl(host, trust)?;
        let mut stream = SslStream::new(ssl, stream).map_err(setup)?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => Ok(Link::Tls(Box::new(stream))),
            Err(error) => {
                // Where nobody verifies, what OpenSSL thinks of the certificate is not why it failed.
                let verified = if trust.verifies() { stream.ssl().verify_result() } else { X509VerifyResult::OK };
                Err(TlsError::Handshake(reason(&error, verified)))
            }
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

fn setup(error: ErrorStack) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn verified(legacy: bool, roots: Option<&Path>) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    age(&mut builder, legacy)?;
    builder.set_verify(SslVerifyMode::PEER);
    if let Some(roots) = roots {
        builder.set_ca_file(roots)?;
    }
    Ok(builder.build())
}

fn unverified(legacy: bool) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::tls_client())?;
    age(&mut builder, legacy)?;
    builder.set_verify(SslVerifyMode::NONE);
    Ok(builder.build())
}

/// How old the TLS may be.
fn age(builder: &mut SslContextBuilder, legacy: bool) -> Result<(), ErrorStack> {
    if legacy {
        builder.set_min_proto_version(Some(SslVersion::TLS1))?;
        // Security level 0 is what lets OpenSSL 3 sign with SHA-1 in TLS 1.0; this link only.
        builder.set_cipher_list("DEFAULT:@SECLEVEL=0")?;
        // Windows Server 2003 and 2008 without their later updates know nothing of RFC 5746; OpenSSL 3 would not
        // speak with them at all. This link only.
        builder.set_options(SslOptions::from_bits_retain(openssl_sys::SSL_OP_LEGACY_SERVER_CONNECT));
        Ok(())
    } else {
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))
    }
}

fn reason(error: &openssl::ssl::Error, verified: X509VerifyResult) -> String {
    if verified != X509VerifyResult::OK {
        return format!("the certificate is not believed: {}", verified.error_string());
    }
    match error.ssl_error().and_then(|stack| stack.errors().first()).and_then(openssl::error::Error::reason) {
        Some(reason) => reason.to_owned(),
        None => error.io_error().map_or_else(|| "the connection ended".to_owned(), io::Error::to_string),
    }
}

/// A connection, with or without TLS.
#[derive(Debug)]
pub enum Link {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl Link {
    /// `TLSv1.3`; `None` in clear.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.ssl().version_str()),
        }
    }

    /// SHA-256 of the server's SubjectPublicKeyInfo; `None` in clear, or when it showed no certificate.
    #[must_use]
    pub fn key_digest(&self) -> Option<[u8; 32]> {
        let Self::Tls(stream) = self else { return None };
        let key = stream.ssl().peer_certificate()?.public_key().ok()?.public_key_to_der().ok()?;
        Some(openssl::sha::sha256(&key))
    }

    /// Whether an idle connection still is: the peer neither closed it nor said anything unasked. Asks the
    /// reactor first, so that a quiet connection costs no system call. Under TLS only a close is seen.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0_u8; 1];
        match self {
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(stream) => {
                !stream.get_ref().try_io(tokio::io::Interest::READABLE, || peek(stream.get_ref())).unwrap_or(false)
            }
        }
    }
}

/// Whether the peer closed the connection; the octets of TLS stay where they are.
fn peek(stream: &TcpStream) -> io::Result<bool> {
    let mut byte = [std::mem::MaybeUninit::<u8>::uninit(); 1];
    socket2::SockRef::from(stream).peek(&mut byte).map(|n| n == 0)
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }
    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
