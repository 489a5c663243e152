//! A bad line: a proxy on loopback that passes octets on until a connection meets its fate: refused, cut or stalled in
//! either direction. Fates are drawn from a seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use luytre::env::Dice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What happens to one connection.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Good,
    Refused,
    /// After so many octets of ours; `true`: it stands still first.
    Up(u64, bool),
    /// Instead of this answer of the server, counted from its banner on.
    Down(u64, bool),
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    faults: AtomicUsize,
    heard: AtomicUsize,
}

/// The proxy. Ends with its runtime.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    stalled: Arc<Notify>,
    release: Arc<Notify>,
}

impl Proxy {
    /// `percent` of the connections to `server` meet a fault. An answer with `last` in it is the one after which the
    /// server has the message: those that arrive are counted.
    pub async fn start(server: SocketAddr, seed: u64, percent: u64, last: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = Self { address, seen: Arc::default(), stalled: Arc::default(), release: Arc::default() };
        let proxy = this.clone();
        tokio::spawn(async move {
            let dice = Dice::seeded(seed);
            while let Ok((client, _)) = listener.accept().await {
                proxy.seen.connections.fetch_add(1, Ordering::SeqCst);
                let (fate, messages) = (draw(&dice, percent), 1 + dice.below(3));
                if !matches!(fate, Fate::Good) {
                    proxy.seen.faults.fetch_add(1, Ordering::SeqCst);
                }
                let proxy = proxy.clone();
                tokio::spawn(async move { proxy.carry(client, server, fate, messages, last).await });
            }
        });
        this
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
    pub fn faults(&self) -> usize {
        self.seen.faults.load(Ordering::SeqCst)
    }
    /// Final answers of the server that went through.
    pub fn heard(&self) -> usize {
        self.seen.heard.load(Ordering::SeqCst)
    }
    /// Returns when a connection stands still.
    pub async fn stalled(&self) {
        self.stalled.notified().await;
    }
    /// Cuts what stands still.
    pub fn release(&self) {
        self.release.notify_waiters();
    }

    /// Even a good connection is closed after some `messages`, so that there are many.
    async fn carry(&self, client: TcpStream, server: SocketAddr, fate: Fate, messages: u64, last: &str) {
        if matches!(fate, Fate::Refused) {
            return;
        }
        let server = TcpStream::connect(server).await.unwrap();
        let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
        // Whichever direction ends first takes the other with it.
        tokio::select! {
            () = self.up(client_in, server_out, fate) => {}
            () = self.down(server_in, client_out, fate, messages, last) => {}
        }
    }

    async fn up(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fate: Fate) {
        let (mut left, stalls) = match fate {
            Fate::Up(octets, stalls) => (octets, stalls),
            _ => (u64::MAX, false),
        };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            let passed = count.min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 || to.write_all(&buffer[..passed]).await.is_err() {
                return;
            }
            left -= passed as u64;
            if passed < count {
                return self.end(stalls).await;
            }
        }
    }

    async fn down(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fate: Fate, mut messages: u64, last: &str) {
        let (mut left, stalls) = match fate {
            Fate::Down(answers, stalls) => (answers, stalls),
            _ => (u64::MAX, false),
        };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            let said = &buffer[..count];
            let done = String::from_utf8_lossy(said).contains(last);
            if count == 0 {
                return;
            }
            if left == 0 {
                return self.end(stalls).await;
            }
            left -= 1;
            messages -= u64::from(done);
            if to.write_all(said).await.is_err() {
                return;
            }
            self.seen.heard.fetch_add(usize::from(done), Ordering::SeqCst);
            if messages == 0 {
                return;
            }
        }
    }

    async fn end(&self, stalls: bool) {
        if stalls {
            let released = self.release.notified();
            self.stalled.notify_one();
            released.await;
        }
    }
}

fn draw(dice: &Dice, percent: u64) -> Fate {
    if dice.below(100) >= percent {
        return Fate::Good;
    }
    let stalls = dice.below(3) == 0;
    match dice.below(5) {
        0 => Fate::Refused,
        1 | 2 => Fate::Up(dice.below(60_000), stalls),
        _ => Fate::Down(dice.below(6), stalls),
    }
}
