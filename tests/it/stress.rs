//! Near the limits of connections: strangers get less patience and fewer places, trusted machines go on as ever, and it
//! ends by itself. On the production binary.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::guard::events;
use crate::kit::client::Client;
use crate::kit::gateway::Gateway;
use crate::kit::site::Site;

const STRESS: &str = "connections = 10\nconnections_per_address = 10\n[limits.stress]\nenter = 50\nleave = 40\n\
    calm = \"10 ms\"\nidle = \"300 ms\"\nerrors = 2\nconnections_per_address = 2\nconnections_per_network = 3\n";

fn wait_for(gateway: &Gateway, value: f64) {
    let end = Instant::now() + Duration::from_secs(60);
    while gateway.metric("luytre_stress") != value {
        assert!(Instant::now() < end, "luytre_stress is not {value}");
        std::thread::yield_now();
    }
}

#[test]
fn threats_s_31_near_the_limit_strangers_are_hurried_and_it_ends_by_itself() {
    let site = Site::new("stress").limits(STRESS);
    let gateway = site.start();
    let mx = gateway.address("mx");
    let connect = |who: &str| Client::connect_as(mx, who);
    let mut own: Vec<Client> = (0..3).map(|_| connect("127.0.0.9").unwrap()).collect();
    let mut idle = connect("198.51.100.1").unwrap();
    assert_eq!(idle.say("EHLO mail.partner.example").unwrap().code, 250);
    assert_eq!(gateway.metric("luytre_stress"), 0.0, "four of ten");
    let mut clumsy = connect("192.0.2.1").unwrap();
    wait_for(&gateway, 1.0);

    // Fewer errors are forgiven.
    assert_eq!(clumsy.say("XYZZY").unwrap().code, 500);
    assert!(clumsy.say("XYZZY").unwrap().text.starts_with("421 4.7.0 Too many errors"));
    // Whoever was silent before it began has the shorter time from there on.
    let told = idle.read().unwrap();
    assert!(told.text.starts_with("421 4.4.2"), "{told:?}");
    // Five are left of a stranger's network if the address is another each time: three.
    let mut others: Vec<Client> = Vec::new();
    let mut refused = None;
    for last in 10..20 {
        let mut client = connect(&format!("203.0.113.{last}")).unwrap();
        match client.say("EHLO mail.partner.example") {
            Ok(answer) if answer.code == 250 => others.push(client),
            _ => {
                refused = Some(last);
                break;
            }
        }
    }
    assert!(refused.is_some() && others.len() <= 3, "{} of one network were let in", others.len());
    // A machine that is trusted has its whole share and all the time it wants.
    for client in &mut own {
        assert_eq!(client.say("NOOP").unwrap().code, 250);
    }
    let found = events(&site, "its beginning, a limit, an end", |e| {
        e.iter().any(|e| e["event"] == "stress")
            && e.iter().any(|e| e["rule"] == "connections_per_network (stress)")
            && e.iter().any(|e| e["reason"] == "timeout")
    });
    let begun: Vec<&Value> = found.iter().filter(|e| e["event"] == "stress").collect();
    assert_eq!((&begun[0]["reason"], &begun[0]["rule"]), (&json!("sessions"), &json!("begins")));
    assert_eq!(begun[0]["address"], "");

    drop((own, others));
    wait_for(&gateway, 0.0);
    events(&site, "its end", |e| e.iter().any(|e| e["rule"].as_str().is_some_and(|r| r.starts_with("ends after "))));
    let mut calm = connect("198.51.100.1").unwrap();
    assert_eq!(calm.say("XYZZY").unwrap().code, 500);
    assert_eq!(calm.say("XYZZY").unwrap().code, 500, "as many errors as ever");
    assert!(gateway.metric("luytre_stress_total{cause=\"sessions\"}") >= 1.0);
}

#[test]
fn threats_s_31_one_network_cannot_take_all_places() {
    let site =
        Site::new("network").limits("connections = 50\nconnections_per_address = 2\nconnections_per_network = 5\n");
    let gateway = site.start();
    let connect = |who: &str| Client::connect_as(gateway.address("mx"), who).and_then(|mut c| c.say("NOOP").map(|_| c));
    let inside: Vec<_> = (0..20).filter_map(|n| connect(&format!("192.0.2.{n}")).ok()).collect();
    assert_eq!(inside.len(), 5);
    let one: Vec<_> = (0..5).filter_map(|_| connect("2001:db8::1").ok()).collect();
    assert_eq!(one.len(), 2);
    let site48: Vec<_> = (1..9).filter_map(|n| connect(&format!("2001:db8:0:{n}::1")).ok()).collect();
    assert_eq!(site48.len(), 3, "an IPv6 site is its /48");
    assert!(connect("192.0.3.1").is_ok());
    events(&site, "both limits", |e| {
        ["connections_per_network", "connections_per_address"].iter().all(|r| e.iter().any(|e| e["rule"] == *r))
    });
}
