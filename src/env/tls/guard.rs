//! TLS towards the Internet's servers, where a published policy says how a server proves itself: by a trusted root and
//! its name (MTA-STS, and HTTPS for its policies), by TLSA records (DANE), or not at all. The agencies' own servers,
//! which need old versions and pins, have `client.rs`.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509VerifyResult;
use openssl::x509::verify::X509CheckFlags;
use tokio_openssl::SslStream;

use super::client::{Link, TlsError};
use super::dane::{self, Tlsa};

/// What is asked of a server's certificate.
#[derive(Clone, Copy, Debug)]
pub enum Check<'a> {
    /// Nothing: the link is hidden from listeners, nobody is proven.
    Nothing,
    /// As `Verify`, but a fault is only told.
    Observe,
    /// It leads to a trusted root and names the host.
    Verify,
    /// It matches one of the TLSA records. `names`: the base domain first, it goes into SNI (RFC 7672 §3.2.2).
    Dane { names: &'a [String], records: &'a [Tlsa] },
}

/// What was wrong with a certificate, as coarse as reports tell it (RFC 8460 §4.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    HostMismatch,
    Expired,
    NotTrusted,
    /// The handshake itself.
    Handshake,
}

/// Why a server is not believed. `Display` is for operators.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    pub kind: FaultKind,
    pub text: String,
}

/// A link under TLS.
#[derive(Debug)]
pub struct Secured {
    pub link: Link,
    /// The server proved who it is.
    pub proven: bool,
    /// What [`Check::Observe`] saw.
    pub fault: Option<Fault>,
}

/// The contexts. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Contexts>);

struct Contexts {
    roots: Option<PathBuf>,
    plain: SslContext,
    dane: SslContext,
    /// Made when first asked for: reading all the system's roots takes a while.
    public: OnceLock<SslContext>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Guard {
    /// Trusts the system's roots, and those in the PEM file `roots` besides.
    pub fn new(roots: Option<&Path>) -> Result<Self, TlsError> {
        let mut dane = modern().map_err(setup)?;
        dane::enable(&mut dane).map_err(setup)?;
        dane.set_verify(SslVerifyMode::PEER);
        let contexts = Contexts {
            roots: roots.map(Path::to_owned),
            plain: modern().map_err(setup)?.build(),
            dane: dane.build(),
            public: OnceLock::new(),
        };
        let guard = Self(Arc::new(contexts));
        if roots.is_some() {
            // A file that cannot be read is said now, not with the first message.
            guard.public()?;
        }
        Ok(guard)
    }

    fn public(&self) -> Result<&SslContext, TlsError> {
        if let Some(context) = self.0.public.get() {
            return Ok(context);
        }
        let made = public(self.0.roots.as_deref()).map_err(|e| match &self.0.roots {
            Some(roots) => TlsError::Setup(format!("{}: {e}", roots.display())),
            None => setup(e),
        })?;
        Ok(self.0.public.get_or_init(|| made))
    }

    /// The handshake over a plain link; `host` is a name (for SNI and the certificate) or an address.
    pub async fn secure(&self, link: Link, host: &str, check: Check<'_>) -> Result<Secured, Fault> {
        let Link::Plain(stream) = link else {
            return Err(handshake("the connection is under TLS already".to_owned()));
        };
        let (ssl, believed) = self.ssl(host, check).map_err(|e| handshake(e.to_string()))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|e| handshake(e.to_string()))?;
        let outcome = Pin::new(&mut stream).connect().await;
        let seen = stream.ssl().verify_result();
        if let Err(error) = outcome {
            return Err(match fault(seen) {
                Some(fault) if believed != Believed::Anyone => fault,
                _ => handshake(reason(&error)),
            });
        }
        let fault = if believed == Believed::Anyone { None } else { fault(seen) };
        let proven = believed != Believed::Anyone && fault.is_none() && stream.ssl().peer_certificate().is_some();
        Ok(Secured { link: Link::Tls(Box::new(stream)), proven, fault })
    }

    fn ssl(&self, host: &str, check: Check<'_>) -> Result<(Ssl, Believed), TlsError> {
        match check {
            Check::Nothing => self.unproven(host),
            Check::Observe | Check::Verify => {
                let mut ssl = Ssl::new(self.public()?).map_err(setup)?;
                let strict = matches!(check, Check::Verify);
                ssl.set_verify(if strict { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
                let param = ssl.param_mut();
                param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                match host.parse::<std::net::IpAddr>() {
                    Ok(address) => param.set_ip(address).map_err(setup)?,
                    Err(_) => {
                        param.set_host(host).map_err(setup)?;
                        ssl.set_hostname(host).map_err(setup)?;
                    }
                }
                Ok((ssl, Believed::Roots))
            }
            Check::Dane { names, records } => {
                let mut ssl = Ssl::new(&self.0.dane).map_err(setup)?;
                if dane::arm(&mut ssl, names, records).map_err(setup)? == 0 {
                    // RFC 7672 §2.2: records, but none that can be used: TLS all the same, of anyone.
                    return self.unproven(host);
                }
                ssl.param_mut().set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                Ok((ssl, Believed::Records))
            }
        }
    }

    fn unproven(&self, host: &str) -> Result<(Ssl, Believed), TlsError> {
        let mut ssl = Ssl::new(&self.0.plain).map_err(setup)?;
        if host.parse::<std::net::IpAddr>().is_err() {
            ssl.set_hostname(host).map_err(setup)?;
        }
        Ok((ssl, Believed::Anyone))
    }
}

/// Who is believed on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Believed {
    Anyone,
    Roots,
    Records,
}

fn modern() -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_verify(SslVerifyMode::NONE);
    Ok(builder)
}

fn public(roots: Option<&Path>) -> Result<SslContext, ErrorStack> {
    let mut builder = modern()?;
    builder.set_default_verify_paths()?;
    if let Some(roots) = roots {
        builder.load_verify_locations(Some(roots), None)?;
    }
    Ok(builder.build())
}

fn setup(error: ErrorStack) -> TlsError {
    TlsError::Setup(error.to_string())
}

const fn handshake(text: String) -> Fault {
    Fault { kind: FaultKind::Handshake, text }
}

/// `X509_V_ERR_*` of <openssl/x509_vfy.h>.
fn fault(result: X509VerifyResult) -> Option<Fault> {
    let kind = match result.as_raw() {
        0 => return None,
        9 | 10 => FaultKind::Expired,
        62 | 64 => FaultKind::HostMismatch,
        _ => FaultKind::NotTrusted,
    };
    Some(Fault { kind, text: format!("the certificate is not believed: {}", result.error_string()) })
}

fn reason(error: &openssl::ssl::Error) -> String {
    match error.ssl_error().and_then(|stack| stack.errors().first()).and_then(openssl::error::Error::reason) {
        Some(reason) => reason.to_owned(),
        None => error.io_error().map_or_else(|| "the connection ended".to_owned(), std::io::Error::to_string),
    }
}

#[cfg(test)]
mod tests;
