//! One page fetched by HTTPS: bounded in time and size, no redirects, the server proven by a trusted root and its name.
//! What MTA-STS asks of its policies (RFC 8461 §3.3).

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::net;
use super::tls::client::Link;
use super::tls::guard::{Check, Fault, Guard};

/// A response's header section is read up to this.
const HEADER: usize = 32 << 10;

/// What is fetched, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub host: &'a str,
    /// Where `host` lives.
    pub addresses: &'a [SocketAddr],
    pub port: u16,
    /// `/.well-known/…`
    pub path: &'a str,
    /// A longer body is an error.
    pub limit_bytes: usize,
    pub deadline: Instant,
}

/// A page that came with 200.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Lower case, without parameters.
    pub media_type: String,
    pub body: Vec<u8>,
}

/// Why there is no page. `Display` is for operators.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] Fault),
    #[error("HTTP: {0}")]
    Http(String),
    #[error("the server answered {0}")]
    Status(u16),
    #[error("no answer in time")]
    Slow,
}

/// Fetches a page.
pub async fn get(guard: &Guard, ask: Ask<'_>) -> Result<Page, HttpsError> {
    timeout_at(ask.deadline, fetch(guard, ask)).await.unwrap_or(Err(HttpsError::Slow))
}

async fn fetch(guard: &Guard, ask: Ask<'_>) -> Result<Page, HttpsError> {
    let stream = net::dial(ask.addresses, ask.deadline).await?;
    let secured = guard.secure(Link::Plain(stream), ask.host, Check::Verify).await?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) =
        builder.max_buf_size(HEADER).max_headers(100).handshake(TokioIo::new(secured.link)).await.map_err(http)?;
    // Moves the octets; ends with this function.
    let mut mover = JoinSet::new();
    mover.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTPS connection ended");
        }
    });
    let authority = if ask.port == 443 { ask.host.to_owned() } else { format!("{}:{}", ask.host, ask.port) };
    let request = Request::builder()
        .method(Method::GET)
        .uri(ask.path)
        .header(HOST, authority)
        .header(USER_AGENT, "luytre")
        .body(Empty::<hyper::body::Bytes>::new())
        .map_err(|e| HttpsError::Http(e.to_string()))?;
    let response = sender.send_request(request).await.map_err(http)?;
    // RFC 8461 §3.3: redirects are not followed; nothing but 200 is a policy.
    if response.status() != StatusCode::OK {
        return Err(HttpsError::Status(response.status().as_u16()));
    }
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = Limited::new(response.into_body(), ask.limit_bytes).collect().await;
    let body = body.map_err(|e| HttpsError::Http(e.to_string()))?.to_bytes().to_vec();
    Ok(Page { media_type, body })
}

fn http(error: hyper::Error) -> HttpsError {
    HttpsError::Http(error.to_string())
}

#[cfg(test)]
mod tests;
