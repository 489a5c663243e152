//! The collector of syslog messages: UDP (RFC 5426), a Unix socket, or TCP with octet counting (RFC 6587 §3.4.1).
//!
//! A thread of its own, so that a collector that is away, or takes its time, holds up neither a session nor the file of
//! events. Lines wait in a bounded buffer; what does not fit is counted as lost. Over TCP a line is sent again after a
//! break, so a collector may see one twice and misses few: syslog knows no receipt (RFC 6587 §4.1).

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::guard::metrics::Metrics;

/// Lines that wait for a collector.
const WAITING: usize = 4096;
/// For a connection, and for a write.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between tries to connect: doubled from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];
/// How long a stop waits for lines on their way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where to, as `[events] syslog` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Unix(String),
}

impl Target {
    /// `None`: none is wanted. The error is a sentence.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let address = |text: &str| {
            text.parse::<SocketAddr>()
                .map_err(|_| format!("\"{text}\" is no address with a port, such as 192.0.2.1:514"))
        };
        match text.split_once(':') {
            _ if text.is_empty() => Ok(None),
            Some(("udp", rest)) => address(rest).map(|to| Some(Self::Udp(to))),
            Some(("tcp", rest)) => address(rest).map(|to| Some(Self::Tcp(to))),
            Some(("unix", path)) if path.starts_with('/') => Ok(Some(Self::Unix(path.to_owned()))),
            _ => Err(format!("\"{text}\" is neither udp:ADDRESS:PORT, tcp:ADDRESS:PORT nor unix:/PATH")),
        }
    }
}

enum Order {
    Line(String),
    Settle(SyncSender<()>),
}

/// Handle on the thread; it ends with the handle.
#[derive(Debug)]
pub struct Collector {
    orders: SyncSender<Order>,
    stop: Arc<AtomicBool>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Collector {
    pub fn start(target: Target, metrics: Metrics) -> std::io::Result<Self> {
        let (orders, waiting) = sync_channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let sender = Sender { target, metrics, stop: Arc::clone(&stop), open: None, in_trouble: false };
        std::thread::Builder::new().name("collector".to_owned()).spawn(move || sender.run(&waiting))?;
        Ok(Self { orders, stop })
    }

    /// Whether there was room for it.
    pub fn take(&self, line: String) -> bool {
        self.orders.try_send(Order::Line(line)).is_ok()
    }

    /// Waits a moment for what is on its way.
    pub fn settle(&self) {
        let (done, is_done) = sync_channel(1);
        if self.orders.try_send(Order::Settle(done)).is_ok() {
            // Away: what waits is lost with us.
            let _ = is_done.recv_timeout(FAREWELL);
        }
    }
}

enum Open {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

struct Sender {
    target: Target,
    metrics: Metrics,
    stop: Arc<AtomicBool>,
    open: Option<Open>,
    /// A trouble is told once, until it is over.
    in_trouble: bool,
}

impl Sender {
    fn run(mut self, waiting: &Receiver<Order>) {
        while let Ok(order) = waiting.recv() {
            match order {
                Order::Line(line) => self.deliver(&line),
                Order::Settle(done) => {
                    // Whoever asked may have gone.
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn deliver(&mut self, line: &str) {
        let mut pause = PAUSES[0];
        loop {
            let Err(error) = self.send(line) else {
                self.in_trouble = false;
                return;
            };
            // A collector that was restarted has a new socket.
            self.open = None;
            if !self.in_trouble {
                tracing::error!(%error, "the collector of events does not take them");
            }
            let was_new = !std::mem::replace(&mut self.in_trouble, true);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if matches!(self.target, Target::Tcp(_)) {
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSES[1]);
            } else if !was_new {
                // A datagram has no connection that could come back: one more try for the first, then it is lost.
                self.metrics.event_lost();
                return;
            }
        }
    }

    fn send(&mut self, line: &str) -> std::io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(connect(&self.target)?),
        };
        match open {
            Open::Udp(socket) => socket.send(line.as_bytes()).map(drop),
            Open::Unix(socket) => socket.send(line.as_bytes()).map(drop),
            Open::Tcp(stream) => {
                if is_closed(stream)? {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                stream.write_all(&frame(line))
            }
        }
    }
}

/// RFC 6587 §3.4.1: how many octets follow, a blank, the message.
fn frame(line: &str) -> Vec<u8> {
    [line.len().to_string().as_bytes(), b" ", line.as_bytes()].concat()
}

/// A collector says nothing; what can be read is the end of the connection, or words to be thrown away.
fn is_closed(stream: &TcpStream) -> std::io::Result<bool> {
    stream.set_nonblocking(true)?;
    let mut some = [0_u8; 512];
    let read = std::io::Read::read(&mut &*stream, &mut some);
    stream.set_nonblocking(false)?;
    match read {
        Ok(count) => Ok(count == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn connect(target: &Target) -> std::io::Result<Open> {
    match target {
        Target::Udp(to) => {
            let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(Open::Udp(socket))
        }
        Target::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(Open::Unix(socket))
        }
        Target::Tcp(to) => {
            let stream = TcpStream::connect_timeout(to, PATIENCE)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(Open::Tcp(stream))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(&prometheus::Registry::new()).unwrap()
    }

    /// One message by its octet count.
    fn message(stream: &mut TcpStream) -> String {
        let mut digits = String::new();
        loop {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            if octet == *b" " {
                break;
            }
            digits.push(char::from(octet[0]));
        }
        let mut text = vec![0; digits.parse().unwrap()];
        stream.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn rfc6587_3_4_1_each_message_is_preceded_by_its_length_in_octets() {
        assert_eq!(frame("<21>1 x"), b"7 <21>1 x");
        assert_eq!(frame("\u{feff}é"), [b"5 ".as_slice(), "\u{feff}é".as_bytes()].concat());
    }

    #[test]
    fn a_collector_that_went_away_gets_what_waited_when_it_is_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let collector = Collector::start(Target::Tcp(address), metrics()).unwrap();
        assert!(collector.take("one\nline".to_owned()));
        let (mut first, _) = listener.accept().unwrap();
        assert_eq!(message(&mut first), "one\nline", "a line end in it does no harm");
        drop((first, listener));
        for n in 0..10 {
            assert!(collector.take(format!("waits {n}")));
        }
        let listener = TcpListener::bind(address).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        for n in 0..10 {
            assert_eq!(message(&mut second), format!("waits {n}"));
        }
    }

    #[test]
    fn what_waits_for_a_collector_is_bounded() {
        // It lets itself be connected to, and never reads.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Collector::start(Target::Tcp(listener.local_addr().unwrap()), metrics()).unwrap();
        let line = "x".repeat(64 << 10);
        let taken = (0..20_000).take_while(|_| collector.take(line.clone())).count();
        assert!((WAITING..20_000).contains(&taken), "{taken}");
    }

    #[test]
    fn targets_are_read_as_the_configuration_writes_them() {
        assert_eq!(Target::parse(""), Ok(None));
        assert_eq!(Target::parse("tcp:[::1]:6514"), Ok(Some(Target::Tcp("[::1]:6514".parse().unwrap()))));
        assert_eq!(Target::parse("unix:/dev/log"), Ok(Some(Target::Unix("/dev/log".to_owned()))));
        for bad in ["udp:somewhere", "tcp:192.0.2.1", "unix:log", "http://x", "udp"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
