//! The server for a [`Zone`]: UDP and TCP on one loopback port. It counts what it is asked, so that tests can hold
//! the gateway to its budgets.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hickory_resolver::proto::op::{Edns, Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, NULL, PTR, SOA, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Data, Said, Trouble, Zone};

const TTL: u32 = 300;
/// TCP connections served at once; more wait in the kernel.
const CONNECTIONS: usize = 64;
/// Without EDNS a UDP answer has 512 octets (RFC 1035 §2.3.4); with it never more than this (RFC 9715 §3.1).
const PLAIN_UDP: u16 = 512;
const LARGEST_UDP: u16 = 1232;

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    zone: RwLock<Zone>,
    queries: AtomicU64,
}

impl Server {
    /// Serves `zone` on UDP and TCP at `address`; port 0 finds a port free for both.
    pub async fn start(zone: Zone, address: SocketAddr) -> io::Result<Self> {
        let (udp, tcp) = bind(address).await?;
        let address = udp.local_addr()?;
        let shared = Arc::new(Shared { zone: RwLock::new(zone), queries: AtomicU64::new(0) });
        let tasks =
            [tokio::spawn(serve_udp(udp, Arc::clone(&shared))), tokio::spawn(serve_tcp(tcp, Arc::clone(&shared)))];
        Ok(Self { address, shared, tasks })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the zone; the next question sees it.
    pub fn set(&self, zone: Zone) {
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
    }

    /// Questions so far, repeated ones included.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    // A port free for UDP may be taken for TCP: try a few.
    for _ in 0..if address.port() == 0 { 20 } else { 1 } {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let mut buffer = vec![0; 4096];
    loop {
        // An error here is about one datagram (ICMP of an earlier answer), not about the socket.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(reply) = buffer.get(..length).and_then(|request| shared.reply(request, Transport::Udp)) else {
            continue;
        };
        if let Err(error) = socket.send_to(&reply, peer).await {
            tracing::debug!(%error, "DNS answer not sent");
        }
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = talk(stream, &shared).await {
                tracing::debug!(%error, "DNS connection ended");
            }
            drop(permit);
        });
    }
}

/// RFC 1035 §4.2.2: messages with two octets of length before each.
async fn talk(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let mut request = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut request).await?;
        let Some(reply) = shared.reply(&request, Transport::Tcp) else { continue };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &reply].concat()).await?;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

impl Shared {
    /// The answer as octets; `None` for silence.
    fn reply(&self, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let request = Message::from_vec(request).ok()?;
        let query = request.queries.first()?.clone();
        self.queries.fetch_add(1, Ordering::Relaxed);
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata.authoritative = true;
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        response.add_query(query.clone());
        {
            let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
            let name = text_name(query.name());
            match zone.answer(&name, |data| record_type(data) == query.query_type()) {
                Said::Trouble(Trouble::Timeout) => return None,
                Said::Trouble(Trouble::ServFail) => response.metadata.response_code = ResponseCode::ServFail,
                Said::NoSuchName => {
                    response.metadata.response_code = ResponseCode::NXDomain;
                    response.add_authority(soa(query.name())?);
                }
                Said::NoRecords => {
                    response.add_authority(soa(query.name())?);
                }
                Said::Records(records) => {
                    for (owner, data) in records {
                        // The first owner is spelled as it was asked for.
                        let owner = if owner == name { query.name().clone() } else { Name::from_ascii(owner).ok()? };
                        response.add_answer(Record::from_rdata(owner, TTL, rdata(data)?));
                    }
                }
            }
        }
        let room = match &request.edns {
            Some(edns) => {
                let mut ours = Edns::new();
                ours.set_max_payload(LARGEST_UDP);
                response.set_edns(ours);
                edns.max_payload().clamp(PLAIN_UDP, LARGEST_UDP)
            }
            None => PLAIN_UDP,
        };
        let octets = response.to_vec().ok()?;
        if transport == Transport::Udp && octets.len() > usize::from(room) {
            return response.truncate().to_vec().ok();
        }
        Some(octets)
    }
}

/// Labels joined by dots, octets as they are: the zone's own spelling of a name.
fn text_name(name: &Name) -> String {
    let labels: Vec<_> = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    labels.join(".")
}

const fn record_type(data: &Data) -> RecordType {
    match data {
        Data::A(_) => RecordType::A,
        Data::Aaaa(_) => RecordType::AAAA,
        Data::Mx(..) => RecordType::MX,
        Data::Txt(_) => RecordType::TXT,
        Data::Ptr(_) => RecordType::PTR,
        Data::Cname(_) => RecordType::CNAME,
        Data::Tlsa(..) => RecordType::TLSA,
        Data::Spf(_) => RecordType::Unknown(99),
    }
}

fn rdata(data: &Data) -> Option<RData> {
    let name = |text: &str| if text.is_empty() { Some(Name::root()) } else { labels(text) };
    Some(match data {
        Data::A(address) => RData::A(A(*address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Data::Mx(preference, host) => RData::MX(MX::new(*preference, name(host)?)),
        Data::Txt(parts) => {
            let mut chunks: Vec<&[u8]> = parts.iter().flat_map(|part| part.as_bytes().chunks(255)).collect();
            // RFC 1035 §3.3.14: one or more character-strings, be it an empty one.
            if chunks.is_empty() {
                chunks.push(b"");
            }
            RData::TXT(TXT::from_bytes(chunks))
        }
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Cname(target) => RData::CNAME(CNAME(name(target)?)),
        Data::Tlsa(usage, selector, matching, association) => {
            RData::TLSA(TLSA::new((*usage).into(), (*selector).into(), (*matching).into(), association.clone()))
        }
        Data::Spf(text) => {
            let parts = text.as_bytes().chunks(255);
            let octets = parts.flat_map(|part| std::iter::once(part.len() as u8).chain(part.iter().copied()));
            RData::Unknown { code: RecordType::Unknown(99), rdata: NULL::with(octets.collect()) }
        }
    })
}

fn labels(text: &str) -> Option<Name> {
    Name::from_labels(text.split('.').map(str::as_bytes)).ok()
}

/// RFC 2308 §3: a negative answer carries the SOA that says how long it is good for.
fn soa(name: &Name) -> Option<Record> {
    let zone = name.base_name();
    let (host, person) = (labels("ns.invalid")?, labels("hostmaster.invalid")?);
    Some(Record::from_rdata(zone, 60, RData::SOA(SOA::new(host, person, 1, 3600, 600, 86400, 60))))
}
