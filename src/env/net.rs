//! Dialling out: several addresses raced with a head start (RFC 8305), timeouts, TCP_NODELAY.
//!
//! The families take turns, so that a dead IPv6 costs one head start and a missing one costs nothing: what fails at once
//! gives way at once. Losers are closed when the winner is known.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How long one address may be silent before the next one is tried beside it (RFC 8305 §8: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses tried of one name: a zone with hundreds must not make work without end.
const MOST: usize = 10;

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
    while out.len() < addresses.len().min(MOST) {
        out.extend(six.next());
        out.extend(four.next());
    }
    out.truncate(MOST);
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
        // Many addresses of one family do not crowd the other one out.
        let mut many: Vec<SocketAddr> =
            (0..500).map(|n| SocketAddr::from(([1, 1, (n / 250) as u8, (n % 250) as u8], 25))).collect();
        many.extend(parse(&["[::1]:25", "[::2]:25"]));
        let tried = interleaved(&many);
        assert_eq!((tried.len(), tried.iter().filter(|a| a.is_ipv6()).count()), (MOST, 2));
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

    /// A port whose queue is full: the kernel drops what comes, as a dead route does.
    async fn silent() -> (socket2::Socket, Vec<tokio::task::JoinHandle<io::Result<TcpStream>>>, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = vec![tokio::spawn(std::future::ready(TcpStream::connect(address).await))];
        waiting.extend((0..8).map(|_| tokio::spawn(TcpStream::connect(address))));
        tokio::task::yield_now().await;
        (socket, waiting, address)
    }

    #[tokio::test]
    async fn rfc8305_5_a_silent_ipv6_does_not_hold_up_ipv4() {
        let (_socket, _waiting, dead) = silent().await;
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = open.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let stream = dial(&[good, dead], deadline).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }
}
