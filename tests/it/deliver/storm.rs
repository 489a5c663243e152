//! Long outages by a clock turned by hand: links that come and go, a tenant with a mountain of mail, a clock that jumps,
//! forged senders by the thousand (THREATS §6, R06, R24, S-30).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luytre::deliver::settings::{Profile, TlsMode};
use luytre::deliver::{Standing, Turned};
use luytre::mail::{Destination, MailId, Parcel, ReversePath, Span};
use tokio::task::JoinSet;

use super::house::{House, START, agency, hop, parcel, word};
use crate::kit::peer::{Act, At, Moment, Peer, say};

const CAN: &[&str] = &["PIPELINING", "8BITMIME", "SIZE 50000000"];

/// A peer whose link is cut until the switch is turned.
async fn behind_a_link() -> (Peer, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(false));
    let link = Arc::clone(&up);
    let plot = move |m: &Moment| (m.at == At::Banner && !link.load(Ordering::SeqCst)).then_some(Act::Cut);
    (Peer::start(CAN, plot).await, up)
}

/// A message that says its number.
fn numbered(number: u128) -> Parcel {
    let mut mail = parcel(&["a@y.vn"], &format!("{number}\r\n"));
    mail.meta.id = MailId::new(START, number);
    mail
}

/// The numbers of what a peer took, in the order in which it did.
fn numbers(peer: &Peer) -> Vec<usize> {
    let number = |data: Vec<u8>| {
        let text = String::from_utf8(data).unwrap();
        text.trim_end().rsplit("\r\n").next().unwrap().parse().unwrap()
    };
    peer.taken().into_iter().map(|taken| number(taken.data)).collect()
}

/// Six hours of a link that is up for the first `up` minutes of each hour, and three messages a minute.
async fn six_hours(up: u64) {
    let (peer, link) = behind_a_link().await;
    let house = House::before(&peer);
    let (mut sent, mut probes) = (0, 0);
    for minute in 0..360_u64 {
        let is_up = minute % 60 < up;
        link.store(is_up, Ordering::SeqCst);
        for _ in 0..3 {
            let mut mail = numbered(sent);
            mail.meta.received_at = START + Span::minutes(minute);
            house.deliver.queue(&mail).await.unwrap();
            sent += 1;
        }
        let before = peer.connections();
        house.run_due().await;
        if !is_up {
            probes += peer.connections() - before;
        }
        house.hand.advance(Span::minutes(1));
    }
    link.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        house.run_due().await;
        house.hand.advance(Span::minutes(1));
    }
    assert!(house.jobs().is_empty(), "{} are left", house.jobs().len());
    let arrived = numbers(&peer);
    let mut sorted = arrived.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1080).collect::<Vec<_>>(), "all, and each once");
    // In order, but for those that travel side by side on the lane's connections.
    let overtaken = arrived.iter().enumerate().map(|(place, number)| place.abs_diff(*number)).max().unwrap();
    assert!(overtaken <= 20, "a message was {overtaken} places from its own");
    // No storm: seldom asked while down, and few connections when it is back.
    let hours_down = (60 - up) * 6 / 60 + 6;
    assert!(probes as u64 <= hours_down * 14, "asked {probes} times while the link was down");
    assert!(peer.connections() - probes <= 6 * 20 + 60, "{} connections", peer.connections());
    assert!(house.shelf.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn r06_a_link_that_is_up_fifty_minutes_of_sixty() {
    six_hours(50).await;
}

#[tokio::test]
async fn r06_a_link_that_is_up_ten_minutes_of_sixty() {
    six_hours(10).await;
}

#[tokio::test]
async fn threats_r_06_waits_grow_and_a_dead_host_is_asked_at_growing_intervals() {
    let (peer, link) = behind_a_link().await;
    let house = House::before(&peer);
    for i in 0..50 {
        house.deliver.queue(&numbered(i)).await.unwrap();
    }
    // Second by second for an hour: when was it asked?
    let (mut asked, mut seen) = (Vec::new(), 0);
    for second in 0..3600_u64 {
        house.run_due().await;
        if peer.connections() > seen {
            assert_eq!(peer.connections(), seen + 1, "by one message at a time");
            seen = peer.connections();
            asked.push(second);
        }
        house.hand.advance(Span::seconds(1));
    }
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let most = (5_u64 << n.min(10)).min(300);
        // Up to a quarter is taken off, and a second may pass until somebody looks.
        assert!((most * 3 / 4..=most + 2).contains(gap), "gap {n} is {gap} s, not up to {most}: {gaps:?}");
    }
    assert!(gaps.len() > 10 && gaps.last().unwrap() <= &302, "{gaps:?}");
    let standing = house.deliver.standing(&house.jobs()[7], &house.policy);
    assert!(
        matches!(&standing, Standing::Host { reason, down, .. } if reason.contains("banner") && *down > Span::minutes(59)),
        "{standing:?}"
    );
    link.store(true, Ordering::SeqCst);
    house.hand.advance(Span::minutes(5));
    house.run_due().await;
    assert_eq!(peer.taken().len(), 50, "flushed as soon as it answers");
    assert!(peer.connections() - seen <= 20, "side by side as far as allowed");
    assert_eq!(house.metric("luytre_delivery_hosts_down", &[("peer", "agency")]), 0.0);
}

/// R24 with the number of the requirement: the mountain is real, the clock is turned by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r24_a_tenant_with_a_hundred_thousand_deferred_messages_delays_no_other() {
    let (dead, _link) = behind_a_link().await;
    let good = Peer::start(CAN, |_| None).await;
    let hops = |peer: &Peer| vec![hop(peer.address, Profile::Generic, TlsMode::None)];
    let house = House::of(vec![("a", "y.vn", hops(&dead)), ("b", "z.vn", hops(&good))], good.address, None, |_| {});
    let mut accepting = JoinSet::new();
    for part in 0..100_u128 {
        let spool = house.spool.clone();
        accepting.spawn(async move {
            for i in 0..1000 {
                spool.accept(&numbered(part * 1000 + i), START).await.unwrap();
            }
        });
    }
    accepting.join_all().await;
    assert_eq!(house.spool.count(), 100_000);
    house.run_due().await;
    assert_eq!(dead.connections(), 1, "one message asks for all");
    // All of the mountain is due again, and the other tenant's message comes last.
    house.hand.advance(Span::minutes(31));
    let mut other = parcel(&["b@z.vn"], "x\r\n");
    other.meta.destination = Destination::Agency("b".parse().unwrap());
    other.meta.id = MailId::new(START, 1_000_000);
    house.deliver.queue(&other).await.unwrap();
    let before = dead.connections();
    house.run_due().await;
    assert_eq!(good.taken().len(), 1, "delivered at the moment it came");
    // Meanwhile the mountain cost one question to its dead host.
    assert!(dead.connections() - before <= 1, "{} questions", dead.connections() - before);
    assert_eq!(house.spool.count(), 100_000, "and the mountain is still there");
    let oldest = house.spool.jobs_after(None, 1).remove(0);
    assert!(oldest.tries <= 1, "waiting costs no attempts: {}", oldest.tries);
}

#[tokio::test]
async fn threats_r_10_a_clock_set_ahead_expires_nothing() {
    let (peer, link) = behind_a_link().await;
    let house = House::before(&peer);
    house.hand.advance(Span::hours(2));
    let mut mail = numbered(1);
    mail.meta.received_at = START + Span::hours(2);
    house.deliver.queue(&mail).await.unwrap();
    house.run_due().await;
    house.hand.set(START + Span::days(400));
    for _ in 0..90 {
        house.run_due().await;
        house.hand.advance(Span::minutes(1));
    }
    assert_eq!(house.jobs().len(), 1, "no report, no warning: it is ninety minutes old on the monotonic clock");
    assert_eq!(house.metric("luytre_clock_jumps_total", &[]), 1.0);
    for _ in 0..5 * 24 {
        house.run_due().await;
        house.hand.advance(Span::hours(1));
    }
    house.run_due().await;
    assert!(house.jobs().iter().all(|job| job.meta.sender == ReversePath::Null), "five days are five days");
    assert_eq!(house.jobs().len(), 2, "warned, and told");
    link.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn threats_r_10_a_clock_set_back_holds_nothing_up() {
    let (peer, link) = behind_a_link().await;
    let house = House::before(&peer);
    house.deliver.queue(&numbered(1)).await.unwrap();
    house.run_due().await;
    link.store(true, Ordering::SeqCst);
    house.hand.advance(Span::minutes(1));
    house.hand.set(START - Span::days(1000));
    house.run_due().await;
    assert_eq!(peer.taken().len(), 1, "its time lies three years ahead, but nobody waits for that");
    assert!(house.jobs().is_empty());
}

#[tokio::test]
async fn threats_r_10_a_start_with_a_wrong_clock_expires_nothing_for_an_hour() {
    let (peer, _link) = behind_a_link().await;
    let house = House::before(&peer);
    let mut mail = numbered(1);
    mail.meta.received_at = START - Span::days(30);
    house.deliver.queue(&mail).await.unwrap();
    for _ in 0..59 {
        house.run_due().await;
        house.hand.advance(Span::minutes(1));
    }
    assert!(house.jobs().iter().any(|job| job.meta.id == mail.meta.id), "perhaps it is the clock that is wrong");
    house.hand.advance(Span::minutes(31));
    house.run_due().await;
    assert!(!house.jobs().iter().any(|job| job.meta.id == mail.meta.id), "it is not");
}

#[tokio::test]
async fn threats_s_30_thousands_of_forged_senders_get_no_report() {
    let refuse = |m: &Moment| match m.at {
        At::Rcpt if m.line.contains("<no") => say("550 5.1.1 User unknown"),
        _ => None,
    };
    let peer = Peer::start(CAN, refuse).await;
    let house = House::before(&peer);
    let forged = |i: u128, to: &[&str]| {
        let mut mail = parcel(to, "x\r\n");
        // Some claim to be strangers, some to be of the agency itself.
        let domain = if i.is_multiple_of(2) { "victim.example" } else { "y.vn" };
        mail.meta.sender = ReversePath::Mailbox(format!("forged{i}@{domain}").parse().unwrap());
        mail.meta.sender_authenticated = false;
        mail.meta.recipients.iter_mut().for_each(|r| r.notify.success = true);
        mail.meta.id = MailId::new(START, i);
        mail
    };
    for i in 0..2500 {
        house.deliver.queue(&forged(i, &["no@y.vn"])).await.unwrap();
    }
    house.run_due().await;
    // And while the sender waits: one recipient of two is refused after the message was taken.
    for i in 2500..3000 {
        assert_eq!(word(&house.hand_over(&forged(i, &["no@y.vn", "yes@y.vn"])).await), "handed");
    }
    while !house.jobs().is_empty() {
        assert!(house.run_due().await > 0);
    }
    assert!(peer.taken().iter().all(|taken| !taken.mail.contains("<>")), "not one report");
    assert_eq!(peer.taken().len(), 500);
    assert_eq!(house.shelf.0.lock().unwrap().len(), 3000, "and every copy is kept");
    for kind in ["bounced", "delayed", "relayed"] {
        assert_eq!(house.metric("luytre_delivery_reports_total", &[("kind", kind)]), 0.0);
    }
}

#[tokio::test]
async fn rfc1985_an_agency_that_asks_gets_its_mail_at_once() {
    let (peer, link) = behind_a_link().await;
    let house = House::before(&peer);
    assert_eq!(house.deliver.turn_to(&agency(), &house.policy).await, Turned::Nothing);
    for i in 0..30 {
        house.deliver.queue(&numbered(i)).await.unwrap();
    }
    house.run_due().await;
    house.hand.advance(Span::hours(1));
    house.run_due().await;
    link.store(true, Ordering::SeqCst);
    assert_eq!(house.run_due().await, 0, "not its time yet");
    assert_eq!(house.deliver.turn_to(&"other".parse().unwrap(), &house.policy).await, Turned::Unable);
    assert_eq!(house.deliver.turn_to(&agency(), &house.policy).await, Turned::Started);
    while !house.jobs().is_empty() {
        assert!(house.run_due().await > 0);
    }
    assert_eq!(numbers(&peer).len(), 30);
}

/// A report cannot be delivered, and what it reports cannot either: no report about a report, however often it is tried.
#[tokio::test]
async fn rfc5321_6_1_a_report_that_bounces_is_held_and_goes_in_no_circle() {
    let peer = Peer::start(CAN, |m| if m.at == At::Rcpt { say("550 5.1.1 User unknown") } else { None }).await;
    let house = House::before(&peer);
    let mut mail = numbered(1);
    mail.meta.sender = ReversePath::Mailbox("gone@y.vn".parse().unwrap());
    house.deliver.queue(&mail).await.unwrap();
    for _ in 0..50 {
        house.run_due().await;
        house.hand.advance(Span::hours(1));
    }
    assert!(house.jobs().is_empty());
    let held = house.shelf.0.lock().unwrap();
    assert_eq!(held.len(), 1, "the report");
    let head = String::from_utf8(held[0].0.head.to_vec()).unwrap();
    assert_eq!(held[0].0.meta.sender, ReversePath::Null);
    // Our own name in the trace: a report that comes back is counted by it (THREATS S-29).
    assert!(head.starts_with("Received: by mx1.tinh.gov.vn (Luytre) id "), "{head}");
    assert_eq!(peer.commands().iter().filter(|c| c.starts_with("MAIL")).count(), 2);
}

#[tokio::test]
async fn threats_r_06_a_probe_that_breaks_in_the_middle_of_its_message_is_not_repeated_at_once() {
    // It was down; now it answers and cuts the line after the message.
    let peer = Peer::start(CAN, |m| match m.at {
        At::Banner if m.connection == 1 => Some(Act::Cut),
        At::Dot if m.connection < 9 => Some(Act::Cut),
        _ => None,
    })
    .await;
    let house = House::before(&peer);
    house.deliver.queue(&numbered(1)).await.unwrap();
    house.run_due().await;
    house.hand.advance(Span::seconds(10));
    assert_eq!(house.run_due().await, 1, "once, and not again and again");
    assert_eq!((peer.connections(), house.jobs()[0].tries), (2, 2), "an attempt like any other, with its own pause");
}
