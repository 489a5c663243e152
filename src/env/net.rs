//! Dialling out: several addresses raced with a head start (RFC 8305, simply), timeouts, TCP_NODELAY.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How long one address may be silent before the next one is tried beside it (RFC 8305 §8: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers before `deadline`. The families take turns, IPv6 first.
pub async fn dial(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let stream = match interleaved(addresses).as_slice() {
        [] => Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no address")),
        [only] => timeout_at(deadline, TcpStream::connect(*only)).await.unwrap_or_else(|_| Err(too_slow())),
        several => timeout_at(deadline, race(several)).await.unwrap_or_else(|_| Err(too_slow())),
    }?;
    // Nagle against a delayed ACK costs 40 ms a message.
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut running = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address");
    for address in addresses {
        running.spawn(TcpStream::connect(*address));
        if let Ok(Some(Ok(result))) = tokio::time::timeout(HEAD_START, running.join_next()).await {
            match result {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
    }
    while let Some(joined) = running.join_next().await {
        match joined {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// IPv6 and IPv4 in turns, each in its given order (RFC 8305 §4).
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut six = addresses.iter().filter(|a| a.is_ipv6());
    let mut four = addresses.iter().filter(|a| a.is_ipv4());
    let mut out = Vec::with_capacity(addresses.len());
    while out.len() < addresses.len() {
        out.extend(six.next());
        out.extend(four.next());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8305_4_families_take_turns() {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = parse(&["1.1.1.1:25", "2.2.2.2:25", "3.3.3.3:25", "[::1]:25"]);
        assert_eq!(interleaved(&given), parse(&["[::1]:25", "1.1.1.1:25", "2.2.2.2:25", "3.3.3.3:25"]));
        assert!(interleaved(&[]).is_empty());
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shut = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (good, bad) = (open.local_addr().unwrap(), shut.local_addr().unwrap());
        drop(shut);
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = dial(&[bad, good], deadline).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(stream.nodelay().unwrap());
        assert!(dial(&[bad], deadline).await.is_err());
        assert!(dial(&[], deadline).await.is_err());
    }
}
