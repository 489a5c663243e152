//! Against a server on loopback that answers what the test says.

use std::pin::Pin;
use std::time::Duration;

use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_openssl::SslStream;

use super::super::tls::pair::tests::made;
use super::*;

struct Site {
    address: SocketAddr,
    guard: Guard,
    _folder: tempfile::TempDir,
}

/// Answers every request with `response`, then closes.
async fn site(response: &str) -> Site {
    let (pem, key) = made(1_700_000_000, 4_000_000_000);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &pem).unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&openssl::x509::X509::from_pem(&pem).unwrap()).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let response = response.to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut tls = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
            if Pin::new(&mut tls).accept().await.is_err() {
                continue;
            }
            let mut request = vec![0; 4096];
            let length = tls.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(request.starts_with("GET /p HTTP/1.1\r\n") && request.contains("host: mx.test"), "{request}");
            let _ = tls.write_all(response.as_bytes()).await;
            let _ = tls.shutdown().await;
        }
    });
    Site { address, guard: Guard::new(Some(&roots)).unwrap(), _folder: folder }
}

impl Site {
    async fn get(&self, host: &str) -> Result<Page, String> {
        let addresses = [self.address];
        let ask = Ask {
            host,
            addresses: &addresses,
            port: self.address.port(),
            path: "/p",
            limit_bytes: 1000,
            deadline: Instant::now() + Duration::from_secs(60),
        };
        get(&self.guard, ask).await.map_err(|e| e.to_string())
    }
}

#[tokio::test]
async fn a_page_comes_with_its_type_however_it_is_framed() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhello",
    ] {
        let page = site(response).await.get("mx.test").await.unwrap();
        assert_eq!((page.media_type.as_str(), page.body.as_slice()), ("text/plain", &b"hello"[..]));
    }
}

#[tokio::test]
async fn rfc8461_3_3_nothing_but_200_is_a_page_and_nothing_is_followed() {
    for (status, extra) in
        [(301, "Location: https://mx.test/other\r\n"), (302, "Location: /p\r\n"), (404, ""), (503, "")]
    {
        let response = format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: 0\r\n\r\n");
        let error = site(&response).await.get("mx.test").await.unwrap_err();
        assert_eq!(error, format!("the server answered {status}"));
    }
}

#[tokio::test]
async fn what_is_too_long_or_no_http_is_an_error() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{}", "x".repeat(1001));
    let endless = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(3000));
    let header = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(64 << 10));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".to_owned();
    for response in [long, endless, header, cut, "220 mail ESMTP\r\n".to_owned(), String::new()] {
        assert!(site(&response).await.get("mx.test").await.is_err(), "{:?}", response.get(..60));
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_not_heard() {
    let site = site("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let addresses = [site.address];
    for (guard, host) in [(site.guard.clone(), "other.test"), (Guard::new(None).unwrap(), "mx.test")] {
        let deadline = Instant::now() + Duration::from_secs(60);
        let ask = Ask { host, addresses: &addresses, port: 443, path: "/p", limit_bytes: 1000, deadline };
        assert!(matches!(get(&guard, ask).await, Err(HttpsError::Tls(_))), "{host}");
    }
}
