//! DESIGN §5a "Cut-through": what the sender hears, what arrives, what is kept. The faults at each state of the
//! conversation stand in `faults.rs`.

use luytre::deliver::Handover;
use luytre::deliver::settings::{Profile, TlsMode};
use luytre::mail::Span;

use super::house::{House, START, hop, parcel, word};
use crate::kit::peer::{Act, At, Peer, say};

const DATA: &[&str] = &["PIPELINING", "8BITMIME", "SIZE 50000000"];
const BDAT: &[&str] = &["PIPELINING", "8BITMIME", "SIZE", "CHUNKING"];

#[tokio::test]
async fn a_clean_message_arrives_as_it_was_over_one_connection() {
    for (extensions, profile) in
        [(DATA, Profile::Generic), (BDAT, Profile::Generic), (DATA, Profile::Domino), (&[], Profile::Qmail)]
    {
        for one_octet in [false, true] {
            let peer = Peer::with(extensions, |_| None, one_octet, None).await;
            let house = House::new(vec![hop(peer.address, profile, TlsMode::None)]);
            let mail = parcel(&["a@y.vn", "b@y.vn"], ".dot\r\n..\r\nlast");
            for _ in 0..5 {
                let Handover::Handed { reply, refused, .. } = house.hand_over(&mail).await else {
                    panic!("{profile:?}")
                };
                assert_eq!((reply.to_string().as_str(), refused.len()), ("250 2.0.0 Queued as 4711", 0));
            }
            let taken = peer.taken();
            assert_eq!((taken.len(), peer.connections()), (5, 1));
            for mail in taken {
                let text = String::from_utf8(mail.data).unwrap();
                assert_eq!(text, "From: from@x.vn\r\nSubject: hello\r\n\r\n.dot\r\n..\r\nlast\r\n");
                assert_eq!(mail.to, ["RCPT TO:<a@y.vn>", "RCPT TO:<b@y.vn>"]);
                assert!(mail.mail.starts_with("MAIL FROM:<from@x.vn>"));
            }
            assert_eq!(house.metric("luytre_delivery_attempts_total", &[("outcome", "delivered")]), 5.0);
            assert_eq!(house.metric("luytre_cut_through_total", &[("outcome", "handed")]), 5.0);
            assert!(house.jobs().is_empty(), "no disk for the healthy case");
        }
    }
}

#[tokio::test]
async fn a_link_cut_or_stalled_in_the_middle_of_a_large_message_spools_it() {
    for (extensions, act) in [(DATA, Act::Cut), (DATA, Act::StallAndCut), (BDAT, Act::Cut), (BDAT, Act::StallAndCut)] {
        let stalls = matches!(act, Act::StallAndCut);
        let peer = Peer::start(extensions, move |m| (m.at == At::Body).then(|| act.clone())).await;
        let house = House::before(&peer);
        let mail = parcel(&["a@y.vn"], &"0123456789\r\n".repeat(1 << 20));
        let outcome = if stalls { house.hand_over_stalled(&mail, &peer).await } else { house.hand_over(&mail).await };
        assert_eq!(word(&outcome), "spooled");
        assert_eq!(house.jobs().len(), 1);
    }
}

#[tokio::test]
async fn trouble_of_the_host_is_never_the_senders() {
    for text in
        ["421 4.3.2 shutting down", "452 4.3.1 Insufficient system resources", "412 4.3.2 Service not active", "what?"]
    {
        for at in [At::Mail, At::Rcpt, At::Data, At::Dot] {
            let peer = Peer::start(DATA, move |m| (m.at == at).then(|| Act::Say(text.to_owned()))).await;
            let house = House::before(&peer);
            assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "spooled", "{text} at {at:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_passed_on_blandly() {
    let hostile = "550 5.1.1 \u{1b}[31mno\u{7} such user \u{1ebf} on exchange1.inner.local";
    let peer = Peer::start(DATA, move |m| (m.at == At::Rcpt).then(|| Act::Say(hostile.to_owned()))).await;
    let Handover::Refused { reply, .. } = House::before(&peer).hand_over(&parcel(&["a@y.vn"], "x\r\n")).await else {
        panic!()
    };
    assert_eq!((reply.code(), reply.enhanced()), (550, "5.1.1"));
    assert!(reply.text().bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{reply}");
    let peer = Peer::start(DATA, |m| if m.at == At::Dot { say("597 odd") } else { None }).await;
    let Handover::Refused { reply, .. } = House::before(&peer).hand_over(&parcel(&["a@y.vn"], "x\r\n")).await else {
        panic!()
    };
    assert_eq!((reply.code(), reply.enhanced()), (550, "5.0.0"));
}

#[tokio::test]
async fn mixed_recipients_get_250_and_the_refused_are_made_safe_first() {
    for (authenticated, extensions) in [(true, DATA), (false, DATA), (true, BDAT), (false, BDAT)] {
        let peer = Peer::start(extensions, |m| match m.at {
            At::Rcpt if m.line.contains("<no@") => say("550 5.1.1 User unknown"),
            At::Rcpt if m.line.contains("<full@") => say("452 4.2.2 mailbox full"),
            _ => None,
        })
        .await;
        let house = House::before(&peer);
        let mut mail = parcel(&["no@y.vn", "a@y.vn", "full@y.vn"], "x\r\n");
        mail.meta.sender_authenticated = authenticated;
        let Handover::Handed { refused, later, .. } = house.hand_over(&mail).await else { panic!() };
        assert_eq!((refused[0].0, refused[0].1.code()), (0, 550));
        assert_eq!((later[0].0, later[0].1.code()), (2, 452));
        assert_eq!(peer.taken()[0].to, ["RCPT TO:<a@y.vn>"]);
        let mut waiting: Vec<(String, String)> =
            house.jobs().iter().map(|j| (j.meta.sender.to_string(), j.pending[0].mailbox.to_string())).collect();
        waiting.sort();
        let held = house.shelf.0.lock().unwrap();
        if authenticated {
            // The report waits for MX delivery to x.vn; the temporarily refused copy for another try.
            assert_eq!(waiting.len(), 2);
            assert_eq!(waiting.iter().filter(|w| w.1 == "from@x.vn").count(), 1);
            assert!(held.is_empty());
        } else {
            assert_eq!(waiting.len(), 1, "no backscatter");
            assert_eq!(held[0].0.meta.recipients.len(), 1);
            assert_eq!(held[0].0.meta.recipients[0].mailbox.to_string(), "no@y.vn");
        }
        assert!(waiting.iter().any(|w| w.1 == "full@y.vn"));
    }
}

#[tokio::test]
async fn a_late_250_closes_the_job_in_doubt() {
    for extensions in [DATA, BDAT] {
        let peer = Peer::start(extensions, |m| (m.at == At::Dot).then_some(Act::Stall)).await;
        let house = House::before(&peer);
        let outcome = house.hand_over_stalled(&parcel(&["a@y.vn"], "x\r\n"), &peer).await;
        assert_eq!(word(&outcome), "in doubt");
        assert_eq!(house.jobs().len(), 1);
        assert_eq!(house.run_due().await, 0, "in doubt is not due");
        peer.release();
        peer.arrived().await;
        house.watched.rung().await;
        assert!(house.jobs().is_empty());
        assert_eq!(peer.taken().len(), 1, "once, and no second time");
    }
}

#[tokio::test]
async fn a_late_refusal_of_a_doubt_is_reported_to_the_sender() {
    let peer = Peer::start(DATA, |m| (m.at == At::Dot).then(|| Act::StallThen("554 5.6.0 no".to_owned()))).await;
    let house = House::before(&peer);
    let mail = parcel(&["a@y.vn"], "x\r\n");
    assert_eq!(word(&house.hand_over_stalled(&mail, &peer).await), "in doubt");
    peer.release();
    house.watched.rung().await;
    let left = house.jobs();
    assert_eq!((left.len(), left[0].pending[0].mailbox.to_string().as_str()), (1, "from@x.vn"), "the report");
}

#[tokio::test]
async fn a_doubt_whose_line_drops_is_due_at_once() {
    let peer = Peer::start(DATA, |m| (m.at == At::Dot).then_some(Act::StallAndCut)).await;
    let house = House::before(&peer);
    let outcome = house.hand_over_stalled(&parcel(&["a@y.vn"], "x\r\n"), &peer).await;
    assert_eq!(word(&outcome), "in doubt");
    assert!(house.spool.next_due().is_none_or(|due| due > START), "not while the line stands");
    peer.release();
    house.watched.rung().await;
    assert!(house.spool.next_due().is_some_and(|due| due <= START));
    assert_eq!(house.jobs().len(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_rested_costs_nothing() {
    for extensions in [DATA, BDAT] {
        let peer = Peer::start(extensions, |m| {
            let second = m.connection == 1 && m.taken == 1 && m.at == At::Mail;
            second.then(|| Act::SayAndCut("421 4.4.2 idle too long".to_owned()))
        })
        .await;
        let house = House::before(&peer);
        for _ in 0..2 {
            assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
        }
        assert_eq!((peer.taken().len(), peer.connections()), (2, 2));
    }
}

#[tokio::test]
async fn several_next_hops_are_tried_in_order() {
    let dead = Peer::start(DATA, |m| if m.at == At::Banner { say("554 5.3.2 closed") } else { None }).await;
    let good = Peer::start(DATA, |_| None).await;
    let hops = [&dead, &good].map(|p| hop(p.address, Profile::Generic, TlsMode::None)).to_vec();
    let house = House::new(hops);
    for _ in 0..3 {
        assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
    }
    assert_eq!(good.taken().len(), 3);
    assert_eq!(dead.connections(), 1, "a host that does not answer is left alone");
    assert_eq!(house.metric("luytre_delivery_hosts_down", &[]), 1.0);
}

#[tokio::test]
async fn after_a_refusal_the_connection_serves_again() {
    for profile in [Profile::Generic, Profile::Exchange2010] {
        let peer = Peer::start(DATA, |m| match m.at {
            At::Rcpt if m.line.contains("<no@") => say("550 5.1.1 User unknown"),
            _ => None,
        })
        .await;
        let house = House::new(vec![hop(peer.address, profile, TlsMode::None)]);
        assert_eq!(word(&house.hand_over(&parcel(&["no@y.vn"], "x\r\n")).await), "refused 5");
        assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
        assert_eq!((peer.connections(), peer.taken().len()), (1, 1));
    }
}

#[tokio::test]
async fn what_a_hop_cannot_take_is_refused_in_the_session() {
    let peer = Peer::start(&["SIZE 1000"], |_| None).await;
    let house = House::before(&peer);
    let Handover::Refused { reply, .. } = house.hand_over(&parcel(&["a@y.vn"], &"x\r\n".repeat(1000))).await else {
        panic!()
    };
    assert_eq!((reply.code(), reply.enhanced()), (552, "5.3.4"));
    let Handover::Refused { reply, .. } = house.hand_over(&parcel(&["\u{111}\u{1ed7}@y.vn"], "x\r\n")).await else {
        panic!()
    };
    assert_eq!(reply.enhanced(), "5.6.7");
    assert!(!peer.commands().iter().any(|c| c.starts_with("MAIL")), "nothing was begun");
}

#[tokio::test]
async fn many_sessions_share_few_connections() {
    let peer = Peer::start(BDAT, |_| None).await;
    let hops = vec![hop(peer.address, Profile::Generic, TlsMode::None)];
    let house = std::sync::Arc::new(House::with(hops, None, |s| s.concurrency = 4));
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let house = std::sync::Arc::clone(&house);
        sessions.spawn(async move { word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await) });
    }
    assert!(sessions.join_all().await.iter().all(|w| w == "handed"));
    assert!(peer.connections() <= 4);
    house.deliver.drain().await;
    assert_eq!(house.metric("luytre_delivery_connections", &[]), 0.0);
    assert!(peer.commands().iter().any(|c| c == "QUIT"));
}

#[tokio::test]
async fn a_message_that_must_not_leave_stays_with_its_sender() {
    let peer = Peer::start(DATA, |_| None).await;
    let house = House::with(vec![hop(peer.address, Profile::Generic, TlsMode::None)], None, |s| {
        s.cut_through_wait = Span::seconds(5);
    });
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "bare\nline\r\n")).await), "deferred 451");
    assert_eq!(peer.connections(), 0);
}
