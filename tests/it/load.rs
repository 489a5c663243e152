//! Many clients at once on the production binary: idle ones, and ones that send an octet at a time. Places and memory stay
//! bounded, and whoever sends mail is served as ever. The full form is `benches/crowd/`.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::kit::client::Client;
use crate::kit::gateway::Gateway;
use crate::kit::site::{Site, letter};

const IDLE: usize = 400;
const SLOW: usize = 200;

fn wait_open(gateway: &Gateway, count: usize) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let open = gateway.metric("luytre_sessions_open{role=\"mx\"}") as usize;
        if open == count {
            return;
        }
        assert!(Instant::now() < end, "{open} sessions are open, not {count}");
        std::thread::yield_now();
    }
}

#[test]
fn threats_s_31_a_crowd_of_idle_and_slow_clients_keeps_nobody_out() {
    let site = Site::new("crowd").inspect("workers = 1\nchecks = []\n").limits("connections = 1000\n");
    let gateway = site.start();
    let mx = gateway.address("mx");
    let name = |n: usize| format!("198.18.{}.{}", n / 200, n % 200 + 1);
    let connect = |n: usize| {
        let mut client = Client::connect_as(mx, &name(n)).unwrap();
        assert_eq!(client.say("EHLO crowd.example.org").unwrap().code, 250);
        client
    };
    // The first pays for what all use.
    drop(connect(0));
    wait_open(&gateway, 0);
    let before = gateway.metric("process_resident_memory_bytes");
    let idle: Vec<Client> = (0..IDLE).map(connect).collect();
    let mut slow: Vec<Client> = (IDLE..IDLE + SLOW).map(connect).collect();
    for client in slow.iter_mut().skip(SLOW / 2) {
        for line in ["MAIL FROM:<a@crowd.example.org>", "RCPT TO:<an@agency.test>", "DATA"] {
            assert!(client.say(line).unwrap().code < 400, "{line}");
        }
    }
    wait_open(&gateway, IDLE + SLOW);
    let mut sender = Client::connect_as(mx, "198.51.100.10").unwrap();
    assert_eq!(sender.say("EHLO mail.partner.example").unwrap().code, 250);
    for n in 0..20 {
        for client in &mut slow {
            client.send(b"x").unwrap();
        }
        let answer = sender.deliver("ketoan@partner.example", &["an@agency.test"], &letter("Bao cao", "Kính gửi"));
        assert_eq!(answer.unwrap().code, 250, "message {n}");
    }
    let each = (gateway.metric("process_resident_memory_bytes") - before) / (IDLE + SLOW) as f64;
    println!("a session costs {each:.0} octets of resident memory");
    assert!(each < 65_536.0, "{each} octets a session");
    assert_eq!(gateway.metric("luytre_sessions_open{role=\"mx\"}") as usize, IDLE + SLOW + 1);
    drop((idle, slow, sender));
    wait_open(&gateway, 0);
    assert_eq!(site.sink.taken().len(), 20);
}

#[test]
fn places_are_bounded_and_come_back() {
    let site =
        Site::new("places").limits("connections = 30\nconnections_per_network = 0\n[limits.stress]\nenter = 0\n");
    let gateway = site.start();
    let mx = gateway.address("mx");
    // They say nothing, not even the PROXY header that is wanted of them.
    let mut mute: Vec<TcpStream> = (0..29).map(|_| TcpStream::connect(mx).unwrap()).collect();
    let mut last = Client::connect_as(mx, "192.0.2.1").unwrap();
    assert_eq!(last.say("NOOP").unwrap().code, 250);
    let mut more = TcpStream::connect(mx).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut more, &mut said).unwrap();
    assert!(said.starts_with("421 4.3.2 "), "{said}");
    for tcp in &mut mute {
        // The gateway may have shut the door on it already.
        let _ = tcp.write_all(b"rubbish\r\n");
    }
    drop(mute);
    let end = Instant::now() + Duration::from_secs(60);
    while Client::connect_as(mx, "192.0.2.2").and_then(|mut c| c.say("NOOP")).is_err() {
        assert!(Instant::now() < end, "no place came back");
        std::thread::yield_now();
    }
}
