//! The durable queue: days pass in a moment, a dead host is asked by one message, reports go where they may.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luytre::deliver::settings::{Profile, TlsMode};
use luytre::env::dns::zone::Server;
use luytre::env::dns::zone::{Data, Trouble, Zone};
use luytre::mail::{Destination, MailId, ReversePath, Span};

use super::house::{House, START, hop, parcel, word};
use crate::kit::peer::{Act, At, Peer, say};

const CAN: &[&str] = &["PIPELINING", "8BITMIME", "SIZE 50000000"];

/// A peer that is closed for mail until the switch is turned.
async fn sleeper() -> (Peer, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let door = Arc::clone(&open);
    let plot = move |m: &crate::kit::peer::Moment| {
        let shut = m.at == At::Banner && !door.load(Ordering::SeqCst);
        shut.then(|| Act::SayAndCut("421 4.3.2 closed".to_owned()))
    };
    (Peer::start(CAN, plot).await, open)
}

#[tokio::test]
async fn queued_mail_goes_out_and_leaves_the_spool() {
    let peer = Peer::start(CAN, |_| None).await;
    let house = House::before(&peer);
    for i in 0..30 {
        let mut mail = parcel(&["a@y.vn"], "x\r\n");
        mail.meta.id = MailId::new(START, i);
        house.deliver.queue(&mail).await.unwrap();
    }
    house.run_due().await;
    assert_eq!(peer.taken().len(), 30);
    assert!(house.jobs().is_empty());
    assert!(peer.connections() <= 20);
}

#[tokio::test]
async fn threats_r_06_a_dead_host_is_asked_by_one_message_and_flushed_when_it_answers() {
    let (peer, open) = sleeper().await;
    let house = House::before(&peer);
    for i in 0..20 {
        let mut mail = parcel(&["a@y.vn"], "x\r\n");
        mail.meta.id = MailId::new(START, i);
        house.deliver.queue(&mail).await.unwrap();
    }
    house.run_due().await;
    assert_eq!(peer.connections(), 1, "one message asks for all");
    assert_eq!(house.jobs().len(), 20);
    house.run_due().await;
    assert_eq!(peer.connections(), 1, "and not again before its time");
    open.store(true, Ordering::SeqCst);
    house.deliver.wake();
    house.hand.advance(Span::minutes(2));
    house.run_due().await;
    // The first success calls the others; they are due at once, whatever time they were given.
    while !house.jobs().is_empty() {
        assert!(house.run_due().await > 0, "{} jobs are left and none is due", house.jobs().len());
    }
    assert_eq!(peer.taken().len(), 20);
}

#[tokio::test]
async fn rfc5321_4_5_4_1_five_days_then_a_report_with_a_warning_before() {
    let (peer, _) = sleeper().await;
    let house = House::before(&peer);
    // The sender lives here too, so the reports wait behind the same dead host.
    let mut mail = parcel(&["a@y.vn"], "x\r\n");
    mail.meta.sender = ReversePath::Mailbox("boss@y.vn".parse().unwrap());
    house.deliver.queue(&mail).await.unwrap();
    let mut subjects = Vec::new();
    for hours in 0..=121 {
        house.run_due().await;
        house.deliver.wake();
        let now: Vec<String> = house
            .jobs()
            .iter()
            .filter(|j| j.meta.sender == ReversePath::Null)
            .map(|j| j.meta.subject.clone())
            .collect();
        if now.len() > subjects.len() {
            subjects = now;
            match subjects.len() {
                1 => assert!((4..=6).contains(&hours), "the warning came after {hours} hours"),
                _ => assert!((119..=121).contains(&hours), "the report came after {hours} hours"),
            }
        }
        house.hand.advance(Span::hours(1));
    }
    assert_eq!(subjects.len(), 2, "one warning, one report: {subjects:?}");
    assert!(subjects[0].contains("Delayed") && subjects[1].contains("Undelivered"));
    assert!(!house.jobs().iter().any(|j| j.meta.id == mail.meta.id), "given up");
    // The reports cannot be delivered either: they are held, and nobody is told about a report.
    for _ in 0..130 {
        house.run_due().await;
        house.deliver.wake();
        house.hand.advance(Span::hours(1));
    }
    assert!(house.jobs().is_empty());
    assert_eq!(house.shelf.0.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn threats_s_30_no_report_to_a_sender_that_nobody_vouched_for() {
    let refuse = |m: &crate::kit::peer::Moment| if m.at == At::Rcpt { say("550 5.1.1 User unknown") } else { None };
    for (authenticated, reports) in [(true, 1), (false, 0)] {
        let peer = Peer::start(CAN, refuse).await;
        let house = House::before(&peer);
        let mut mail = parcel(&["no@y.vn"], "x\r\n");
        mail.meta.sender_authenticated = authenticated;
        house.deliver.queue(&mail).await.unwrap();
        house.run_due().await;
        assert_eq!(house.jobs().iter().filter(|j| j.meta.sender == ReversePath::Null).count(), reports);
        assert_eq!(house.shelf.0.lock().unwrap().len(), 1 - reports);
    }
}

#[tokio::test]
async fn rfc3461_4_1_who_wants_no_report_gets_none_and_the_copy_is_held() {
    let peer = Peer::start(CAN, |m| if m.at == At::Dot { say("554 5.6.0 no") } else { None }).await;
    let house = House::before(&peer);
    let mut mail = parcel(&["a@y.vn"], "x\r\n");
    let notify = &mut mail.meta.recipients[0].notify;
    (notify.failure, notify.delay, notify.explicit) = (false, false, true);
    house.deliver.queue(&mail).await.unwrap();
    house.run_due().await;
    assert!(house.jobs().is_empty());
    assert_eq!(house.shelf.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn some_recipients_later_means_only_those_again() {
    let peer = Peer::start(CAN, |m| match m.at {
        At::Rcpt if m.line.contains("<full@") && m.taken == 0 => say("452 4.2.2 mailbox full"),
        _ => None,
    })
    .await;
    let house = House::before(&peer);
    house.deliver.queue(&parcel(&["a@y.vn", "full@y.vn"], "x\r\n")).await.unwrap();
    house.run_due().await;
    let left = house.jobs();
    assert_eq!((left.len(), left[0].pending.len(), left[0].pending[0].recipient), (1, 1, 1));
    assert!(left[0].pending[0].last.contains("mailbox full"), "{:?}", left[0].pending[0].last);
    house.hand.advance(Span::minutes(1));
    house.run_due().await;
    assert!(house.jobs().is_empty());
    let taken = peer.taken();
    assert_eq!(taken[1].to, ["RCPT TO:<full@y.vn>"]);
}

#[tokio::test]
async fn domain_2_1_back_pressure_pauses_the_host_not_the_message() {
    let calm = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&calm);
    let peer = Peer::start(CAN, move |m| {
        let pressed = m.at == At::Mail && !switch.load(Ordering::SeqCst);
        if pressed { say("452 4.3.1 Insufficient system resources") } else { None }
    })
    .await;
    let house = House::new(vec![hop(peer.address, Profile::Exchange2010, TlsMode::None)]);
    let mut mail = parcel(&["a@y.vn"], "x\r\n");
    assert_eq!(word(&house.hand_over(&mail).await), "spooled");
    for i in 1..10 {
        mail.meta.id = MailId::new(START, i);
        assert_eq!(word(&house.hand_over(&mail).await), "spooled");
    }
    let asked = peer.commands().iter().filter(|c| c.starts_with("MAIL")).count();
    assert_eq!(asked, 1, "nobody else bothers it");
    calm.store(true, Ordering::SeqCst);
    house.deliver.wake();
    house.hand.advance(Span::minutes(10));
    while !house.jobs().is_empty() {
        assert!(house.run_due().await > 0);
    }
    assert_eq!(peer.taken().len(), 10);
}

#[tokio::test]
async fn the_loop_delivers_what_comes_and_stops_when_told() {
    let peer = Peer::start(CAN, |_| None).await;
    let house = House::before(&peer);
    let (_policy, watching) = tokio::sync::watch::channel(Arc::clone(&house.policy));
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let deliver = Arc::clone(&house.deliver);
    let running = tokio::spawn(async move { deliver.run_queue(watching, stopping).await });
    for i in 0..3 {
        let mut mail = parcel(&["a@y.vn"], "x\r\n");
        mail.meta.id = MailId::new(START, i);
        house.deliver.queue(&mail).await.unwrap();
        peer.arrived().await;
    }
    stop.send(true).unwrap();
    running.await.unwrap();
    assert!(house.jobs().is_empty(), "what was under way was recorded");
    assert_eq!(peer.taken().len(), 3);
}

#[tokio::test]
async fn an_agency_without_next_hop_keeps_its_mail() {
    let house = House::new(vec![]);
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "spooled");
    house.run_due().await;
    assert!(house.jobs()[0].pending[0].last.contains("no next hop"));
}

#[tokio::test]
async fn r24_a_tenant_whose_server_stands_still_delays_no_other() {
    let stuck = Peer::start(CAN, |m| (m.at == At::Mail).then_some(Act::Stall)).await;
    let good = Peer::start(CAN, |_| None).await;
    let hops = |peer: &Peer| vec![hop(peer.address, Profile::Generic, TlsMode::None)];
    let house = House::of(vec![("a", "y.vn", hops(&stuck)), ("b", "z.vn", hops(&good))], good.address, None, |_| {});
    for i in 0..600 {
        let mut mail = parcel(&["a@y.vn"], "x\r\n");
        mail.meta.id = MailId::new(START, i);
        house.deliver.queue(&mail).await.unwrap();
    }
    let mut other = parcel(&["b@z.vn"], "x\r\n");
    other.meta.destination = Destination::Agency("b".parse().unwrap());
    house.deliver.queue(&other).await.unwrap();
    let (_policy, watching) = tokio::sync::watch::channel(Arc::clone(&house.policy));
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let deliver = Arc::clone(&house.deliver);
    let running = tokio::spawn(async move { deliver.run_queue(watching, stopping).await });
    good.arrived().await;
    assert_eq!(stuck.connections(), 1);
    assert_eq!(house.jobs().iter().filter(|j| j.meta.destination.agency().as_str() == "a").count(), 600);
    running.abort();
}

#[tokio::test]
async fn domain_2_2_a_server_that_says_not_now_for_ever_means_no() {
    let peer = Peer::start(CAN, |m| if m.at == At::Rcpt { say("451 4.2.1 account disabled") } else { None }).await;
    let house = House::new(vec![hop(peer.address, Profile::Mdaemon, TlsMode::None)]);
    let mut mail = parcel(&["a@y.vn"], "x\r\n");
    mail.meta.sender_authenticated = false;
    house.deliver.queue(&mail).await.unwrap();
    let mut hours = 0;
    while !house.jobs().is_empty() {
        house.run_due().await;
        house.hand.advance(Span::minutes(30));
        hours += 1;
        assert!(hours < 2 * 24 * 5, "not five days");
    }
    assert!((90..150).contains(&hours), "given up after {hours} half hours");
    assert!(house.shelf.0.lock().unwrap()[0].1.contains("account disabled"));
    assert_eq!(house.metric("luytre_delivery_late_refusals_total", &[("profile", "mdaemon")]), 1.0);
}

/// Outgoing mail to several domains, with a zone of our own.
#[tokio::test]
async fn rfc5321_5_1_outgoing_mail_finds_its_exchangers() {
    let peer = Peer::start(CAN, |_| None).await;
    let mut zone = Zone::default();
    // Nobody listens at 127.0.0.9: the next preference is tried.
    zone.add("out.vn", Data::Mx(10, "dead.out.vn".to_owned()));
    zone.add("out.vn", Data::Mx(20, "mx.out.vn".to_owned()));
    zone.add("dead.out.vn", Data::A(Ipv4Addr::new(127, 0, 0, 9)));
    zone.add("mx.out.vn", Data::A(Ipv4Addr::LOCALHOST));
    zone.add("plain.vn", Data::A(Ipv4Addr::LOCALHOST));
    zone.add("null.vn", Data::Mx(0, String::new()));
    zone.add("circle.vn", Data::Mx(5, "mx1.tinh.gov.vn".to_owned()));
    zone.trouble("ill.vn", Trouble::ServFail);
    let server = Server::start(zone, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let home = Peer::start(CAN, |_| None).await;
    let hops = vec![hop(home.address, Profile::Generic, TlsMode::None)];
    let house = House::of(vec![("a", "y.vn", hops)], server.address(), None, |s| s.mx_port = peer.address.port());
    let mut mail = parcel(&["a@out.vn", "b@plain.vn", "c@null.vn", "d@circle.vn", "e@ill.vn", "f@gone.vn"], "x\r\n");
    mail.meta.destination = Destination::Outward("a".parse().unwrap());
    mail.meta.sender = ReversePath::Mailbox("boss@y.vn".parse().unwrap());
    assert_eq!(word(&house.hand_over(&mail).await), "spooled");
    house.run_due().await;
    let mut to: Vec<String> = peer.taken().into_iter().flat_map(|t| t.to).collect();
    to.sort();
    assert_eq!(to, ["RCPT TO:<a@out.vn>", "RCPT TO:<b@plain.vn>"]);
    let left = house.jobs();
    assert_eq!((left.len(), left[0].pending.len(), left[0].pending[0].recipient), (1, 1, 4), "only the unknown waits");
    // The report goes home, by the agency's own hop, and names the three that failed.
    let report = String::from_utf8(home.taken()[0].data.clone()).unwrap();
    for expected in [
        "Final-Recipient: rfc822; c@null.vn\r\nAction: failed\r\nStatus: 5.1.10\r\n",
        "Final-Recipient: rfc822; d@circle.vn\r\nAction: failed\r\nStatus: 5.4.6\r\n",
        "Final-Recipient: rfc822; f@gone.vn\r\nAction: failed\r\nStatus: 5.1.2\r\n",
    ] {
        assert!(report.contains(expected), "{expected} in\n{report}");
    }
    assert!(home.taken()[0].mail.starts_with("MAIL FROM:<>"));
}

#[tokio::test]
async fn outgoing_mail_takes_the_smart_host_where_there_is_one() {
    let smart = Peer::start(CAN, |_| None).await;
    let house = House::with(vec![], None, |s| s.smart_host = smart.address.to_string());
    let mut mail = parcel(&["a@out.vn", "b@else.vn"], "x\r\n");
    mail.meta.destination = Destination::Outward("a".parse().unwrap());
    house.deliver.queue(&mail).await.unwrap();
    house.run_due().await;
    assert_eq!(smart.taken()[0].to.len(), 2);
    assert!(house.jobs().is_empty());
}
