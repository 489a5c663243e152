//! Serves MTA-STS policies over HTTPS (RFC 8461 §3.3): one page for each agency domain, and nothing else. Bounded in
//! connections and in time: strangers ask.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::report::metrics::{Asked, Metrics};
use crate::report::sts::{PATH, Site};

/// Senders keep a policy for days; a handful ask at a time.
const CONNECTIONS: usize = 64;
/// For one connection, handshake included (RFC 8461 §3.3: senders wait a minute at most).
const LIFETIME: Duration = Duration::from_secs(20);
/// A request's head is read up to this.
const HEAD: usize = 16 << 10;

/// What is served now; `None` where a reload took it away.
pub type Now = Arc<dyn Fn() -> Option<Arc<Site>> + Send + Sync>;

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, now: Now, metrics: Metrics) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (site, metrics) = (now(), metrics.clone());
                tokio::spawn(async move {
                    let ended = timeout(LIFETIME, connection(stream, site, &metrics)).await;
                    if !matches!(ended, Ok(Ok(()))) {
                        metrics.sts(Asked::Failed);
                    }
                    drop(permit);
                });
            }
            // Out of descriptors or a client already gone: the next try may work; never spin.
            Err(error) => {
                tracing::debug!(%error, "a connection for MTA-STS was not accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, site: Option<Arc<Site>>, metrics: &Metrics) -> std::io::Result<()> {
    let Some(site) = site else { return Ok(()) };
    let (tls, _) = site.acceptor().accept(stream).await?;
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&site, &request);
        metrics.sts(if response.status() == StatusCode::OK { Asked::Served } else { Asked::Strange });
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    // One page is all that anybody wants.
    server.keep_alive(false).max_buf_size(HEAD);
    server.serve_connection(TokioIo::new(tls), service).await.map_err(std::io::Error::other)
}

fn answer(site: &Site, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let field = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().host().or(field).unwrap_or_default();
    match site.text_for(host).filter(|_| request.uri().path() == PATH) {
        Some(text) => page(StatusCode::OK, text),
        None => page(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

/// RFC 8461 §3.3: `text/plain`, and no cache but the sender's own (§3.2, `max_age`).
fn page(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=us-ascii"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
