//! A web server for MTA-STS policies: one certificate, one page, on a loopback port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use openssl::ssl::{Ssl, SslAcceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The server. Ends with its runtime.
#[derive(Clone)]
pub struct Https {
    pub address: SocketAddr,
    /// Status line and body of every answer.
    page: Arc<Mutex<(String, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Https {
    pub async fn start(acceptor: SslAcceptor, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let page = Arc::new(Mutex::new(("200 OK".to_owned(), body.to_owned())));
        let server = Self { address: listener.local_addr().unwrap(), page, asked: Arc::default() };
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut tls = tokio_openssl::SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
                if Pin::new(&mut tls).accept().await.is_err() {
                    continue;
                }
                let mut request = vec![0; 4096];
                let length = tls.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                this.asked.fetch_add(1, Ordering::SeqCst);
                let (status, body) = this.page.lock().unwrap().clone();
                let found = request.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n");
                let status = if found { status } else { "404 Not Found".to_owned() };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = tls.write_all(answer.as_bytes()).await;
                let _ = tls.shutdown().await;
            }
        });
        server
    }

    pub fn answer(&self, status: &str, body: &str) {
        *self.page.lock().unwrap() = (status.to_owned(), body.to_owned());
    }
    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
