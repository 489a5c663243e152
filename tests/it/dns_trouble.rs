//! A DNS that is dead, slow, lying, or says yes to everything, on the production binary with lists, a tarpit and the whole
//! of authentication: sessions stay bounded and nothing is refused for good. (A DNS full of huge answers is in `guard`.)

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::guard::events;
use crate::kit::client::Client;
use crate::kit::site::{Site, letter};

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers, but ten seconds late.
    Slow,
    /// There is no such name, whatever it is.
    Nothing,
    /// Every name has the address 127.0.0.2; other types have nothing.
    Everything,
    /// SERVFAIL.
    Broken,
}

/// A name server by UDP that answers every question in one manner.
struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Server {
    fn start(manner: Manner) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut late: VecDeque<(Instant, Vec<u8>, SocketAddr)> = VecDeque::new();
            let mut buffer = [0; 1500];
            while !stopped.load(Ordering::Relaxed) {
                while let Some((due, ..)) = late.front()
                    && *due <= Instant::now()
                {
                    let (_, reply, to) = late.pop_front().unwrap();
                    let _ = socket.send_to(&reply, to);
                }
                let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
                let Some(reply) = answer(&buffer[..count], manner) else { continue };
                if manner == Manner::Slow {
                    late.push_back((Instant::now() + Duration::from_secs(10), reply, from));
                } else {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Self { address, stop }
    }
}

/// RFC 1035 §4.1: the question, and what the manner says to it.
fn answer(query: &[u8], manner: Manner) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = query.get(12..end + 5)?;
    let is_a = question[question.len() - 4..] == [0, 1, 0, 1];
    let gives = is_a && matches!(manner, Manner::Everything | Manner::Slow);
    let code = match manner {
        Manner::Nothing => 3,
        Manner::Broken => 2,
        _ => 0,
    };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(gives), 0, 0, 0, 0]);
    reply.extend(question);
    if gives {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 2]);
    }
    Some(reply)
}

const LISTS: &str = "[guard]\ntrusted = []\ndns_deadline = \"1 s\"\ntarpit = \"10 ms\"\n\
    [[guard.list]]\nzone = \"bl.test\"\npoints = 6.0\n[[guard.list]]\nzone = \"worse.test\"\npoints = 6.0\n\
    [[guard.list]]\nzone = \"dbl.test\"\npoints = 12.0\nasks = \"domain\"\n\n";

fn site(name: &str, dns: SocketAddr) -> Site {
    Site::new(name).dns(dns).top("\n[dmarc]\nreject = \"reject\"\n").section(LISTS)
}

/// Three senders; none may be refused for good by what DNS did not say.
fn nobody_is_refused_for_good(name: &str, dns: SocketAddr) -> Site {
    let site = site(name, dns);
    let gateway = site.start();
    for (client, from) in
        [("192.0.2.7", "a@stranger.example"), ("198.51.100.10", "ketoan@partner.example"), ("2001:db8::7", "")]
    {
        let mut talk = Client::connect_as(gateway.address("mx"), client).unwrap();
        assert_eq!(talk.say("EHLO mail.partner.example").unwrap().code, 250);
        // The client's own patience bounds it: an answer that does not come fails the test.
        let answer = talk.deliver(from, &["an@agency.test"], &letter("Bao cao", "Kính gửi")).unwrap();
        println!("{name}: {client} {from}: {}", answer.text.trim_end());
        assert!(answer.code < 500, "{name}: {client} {from}: {answer:?}");
    }
    site
}

#[test]
fn threats_dns_that_is_dead_refuses_nobody_for_good() {
    // Bound, so that nobody else answers; it never reads.
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
    nobody_is_refused_for_good("dns-dead", dead.local_addr().unwrap());
}

#[test]
fn threats_dns_that_is_ten_seconds_late_refuses_nobody_for_good() {
    let server = Server::start(Manner::Slow);
    nobody_is_refused_for_good("dns-slow", server.address);
}

#[test]
fn threats_dns_that_knows_no_name_or_fails_refuses_nobody_for_good() {
    let server = Server::start(Manner::Nothing);
    nobody_is_refused_for_good("dns-nothing", server.address);
    let server = Server::start(Manner::Broken);
    nobody_is_refused_for_good("dns-broken", server.address);
}

#[test]
fn rfc5782_5_dns_that_says_yes_to_everything_makes_lists_of_no_use_and_refuses_nobody_for_good() {
    let server = Server::start(Manner::Everything);
    let site = nobody_is_refused_for_good("dns-everything", server.address);
    let broken = |zone: &str, e: &serde_json::Value| {
        e["event"] == "list" && e["reason"] == "lists_everything" && e["rule"] == zone
    };
    events(&site, "three lists of no use", |found| {
        ["bl.test", "worse.test", "dbl.test"].iter().all(|zone| found.iter().any(|e| broken(zone, e)))
    });
}
