//! `live_recipients`: the server's answer at RCPT is the sender's answer at RCPT, and a server that gives none makes
//! nobody wait.

use luytre::deliver::settings::{NextHop, Profile, TlsMode};
use luytre::deliver::{Handover, Live, Question};
use luytre::mail::{Parcel, Reply, Span};

use super::house::{House, hop, parcel, word};
use crate::kit::client::Client;
use crate::kit::peer::{Act, At, Moment, Peer, say};
use crate::kit::site::{Site, letter};

const DATA: &[&str] = &["PIPELINING", "8BITMIME", "SIZE 50000"];
const BDAT: &[&str] = &["PIPELINING", "8BITMIME", "CHUNKING"];

fn before(peer: &Peer, concurrency: usize) -> House {
    let hop = NextHop { live_recipients: true, ..hop(peer.address, Profile::Generic, TlsMode::None) };
    House::with(vec![hop], None, |s| s.concurrency = concurrency)
}

/// Asks about each recipient of `mail`, as a session does.
async fn ask(house: &House, live: &mut Live, mail: &Parcel) -> Vec<Result<(), Reply>> {
    let mut answers = Vec::new();
    for recipient in &mail.meta.recipients {
        let question = Question { sender: &mail.meta.sender, params: &mail.meta.params, recipient };
        answers.push(house.deliver.ask(live, question, &house.policy).await);
    }
    answers
}

fn verbs(peer: &Peer) -> Vec<String> {
    let commands = peer.commands();
    commands.iter().map(|c| c.split([' ', ':']).next().unwrap().to_owned()).filter(|v| v != "EHLO").collect()
}

#[tokio::test]
async fn design_5a_the_transaction_opens_at_rcpt_and_carries_the_message() {
    for extensions in [DATA, BDAT] {
        let peer = Peer::start(extensions, |_| None).await;
        let house = before(&peer, 20);
        let mail = parcel(&["a@y.vn", "b@y.vn"], "x\r\n.\r\n");
        for round in 1..=3 {
            let mut live = Live::default();
            assert_eq!(ask(&house, &mut live, &mail).await, [Ok(()), Ok(())]);
            assert_eq!(peer.taken().len(), round - 1, "nothing is sent before the message is judged");
            let outcome = house.deliver.hand_over_live(&mail, live, &house.policy).await;
            assert_eq!(word(&outcome), "handed");
        }
        let last = if extensions == BDAT { "BDAT" } else { "DATA" };
        let once = ["MAIL", "RCPT", "RCPT", last];
        assert_eq!(verbs(&peer), [once, once, once].concat());
        assert_eq!(peer.connections(), 1);
        assert_eq!(peer.taken()[0].data, b"From: from@x.vn\r\nSubject: hello\r\n\r\nx\r\n.\r\n");
        assert_eq!(house.metric("luytre_live_recipients_total", &[("answer", "accepted")]), 6.0);
    }
}

#[tokio::test]
async fn design_5a_each_answer_is_passed_on() {
    let peer = Peer::start(DATA, |m| match m.at {
        At::Rcpt if m.line.contains("<no@") => say("550 5.1.1 User unknown on ex1.inner.local \u{7}"),
        At::Rcpt if m.line.contains("<full@") => say("452 4.2.2 mailbox full"),
        _ => None,
    })
    .await;
    let house = before(&peer, 20);
    let asked = parcel(&["no@y.vn", "a@y.vn", "full@y.vn", "postmaster@y.vn"], "x\r\n");
    let mut live = Live::default();
    let answers = ask(&house, &mut live, &asked).await;
    let codes: Vec<u16> = answers.iter().map(|a| a.as_ref().map_or_else(Reply::code, |()| 250)).collect();
    assert_eq!(codes, [550, 250, 452, 250]);
    assert!(answers[0].as_ref().unwrap_err().text().bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
    assert!(!peer.commands().iter().any(|c| c.contains("postmaster")), "RFC 5321 §4.5.1: always taken");
    // Postmaster was taken without asking, so the open transaction does not fit: the message goes the usual way.
    let mail = parcel(&["a@y.vn", "postmaster@y.vn"], "x\r\n");
    assert_eq!(word(&house.deliver.hand_over_live(&mail, live, &house.policy).await), "handed");
    assert_eq!(peer.taken()[0].to.len(), 2);
    assert_eq!((peer.connections(), verbs(&peer).iter().filter(|v| *v == "RSET").count()), (1, 1));
}

#[tokio::test]
async fn a_refused_sender_is_heard_at_the_first_recipient() {
    let peer =
        Peer::start(DATA, |m| if m.at == At::Mail { say("553 5.1.8 sender domain does not exist") } else { None })
            .await;
    let house = before(&peer, 20);
    let answers = ask(&house, &mut Live::default(), &parcel(&["a@y.vn"], "x\r\n")).await;
    assert_eq!(answers[0].as_ref().unwrap_err().code(), 553);
    let mut large = parcel(&["a@y.vn"], "x\r\n");
    large.meta.params.size = Some(60_000);
    let answers = ask(&house, &mut Live::default(), &large).await;
    assert_eq!(answers[0].as_ref().unwrap_err().code(), 552, "size known ahead");
}

#[tokio::test]
async fn a_host_in_trouble_refuses_nobody_and_the_message_is_kept() {
    let troubles: [fn() -> Act; 4] = [
        || Act::Say("421 4.3.2 shutting down".to_owned()),
        || Act::Say("452 4.3.1 Insufficient system resources".to_owned()),
        || Act::Say("what?".to_owned()),
        || Act::Cut,
    ];
    for at in [At::Banner, At::Mail, At::Rcpt] {
        for trouble in troubles {
            let peer = Peer::start(DATA, move |m: &Moment| (m.at == at).then(trouble)).await;
            let house = before(&peer, 20);
            let mail = parcel(&["a@y.vn", "b@y.vn"], "x\r\n");
            let mut live = Live::default();
            assert_eq!(ask(&house, &mut live, &mail).await, [Ok(()), Ok(())], "{at:?} {:?}", trouble());
            assert!(peer.connections() <= 1, "asked once, not for each recipient");
            let outcome = house.deliver.hand_over_live(&mail, live, &house.policy).await;
            assert_eq!((word(&outcome).as_str(), house.jobs().len()), ("spooled", 1), "{at:?} {:?}", trouble());
        }
    }
}

#[tokio::test]
async fn a_server_that_stands_still_at_rcpt_is_not_waited_for_long() {
    let peer = Peer::start(DATA, |m| (m.at == At::Rcpt).then_some(Act::StallAndCut)).await;
    let house = before(&peer, 20);
    let mail = parcel(&["a@y.vn"], "x\r\n");
    let mut live = Live::default();
    let skip = async {
        peer.stalled().await;
        tokio::time::pause();
        tokio::time::advance(Span::seconds(21).as_std()).await;
        std::future::pending::<()>().await;
    };
    let answers = tokio::select! { answers = ask(&house, &mut live, &mail) => answers, () = skip => unreachable!() };
    tokio::time::resume();
    assert_eq!(answers, [Ok(())]);
}

#[tokio::test]
async fn faults_behind_rcpt_end_as_they_do_without_it() {
    type Make = fn() -> Act;
    let acts: [(Make, &str); 3] = [
        (|| Act::Say("451 4.7.1 not now".to_owned()), "refused 4"),
        (|| Act::Say("550 5.7.1 never".to_owned()), "refused 5"),
        (|| Act::Cut, "spooled"),
    ];
    for (act, expected) in acts {
        for at in [At::Data, At::Body, At::Dot] {
            let said = matches!(act(), Act::Say(_));
            let peer = Peer::start(DATA, move |m| match (m.at == at, act()) {
                (true, Act::Say(text)) if at == At::Body => Some(Act::SayAndCut(text)),
                (true, act) => Some(act),
                _ => None,
            })
            .await;
            let house = before(&peer, 20);
            let mail = parcel(&["a@y.vn"], "x\r\n");
            let mut live = Live::default();
            ask(&house, &mut live, &mail).await;
            let outcome = house.deliver.hand_over_live(&mail, live, &house.policy).await;
            assert_eq!(word(&outcome), expected, "{at:?}");
            assert_eq!(house.jobs().len(), usize::from(!said), "{at:?}");
        }
    }
}

#[tokio::test]
async fn a_transaction_that_the_server_ended_meanwhile_costs_nothing() {
    let peer = Peer::start(DATA, |m| {
        (m.at == At::Rcpt && m.connection == 1).then(|| Act::SayAndCut("250 2.1.5 ok".to_owned()))
    })
    .await;
    let house = before(&peer, 20);
    let mail = parcel(&["a@y.vn"], "x\r\n");
    let mut live = Live::default();
    assert_eq!(ask(&house, &mut live, &mail).await, [Ok(())]);
    assert_eq!(word(&house.deliver.hand_over_live(&mail, live, &house.policy).await), "handed");
    assert_eq!((peer.taken().len(), peer.connections()), (1, 2));
}

#[tokio::test]
async fn what_is_not_sent_is_reset_and_the_connection_serves_again() {
    let peer = Peer::start(DATA, |_| None).await;
    let house = before(&peer, 20);
    let mut live = Live::default();
    ask(&house, &mut live, &parcel(&["spam@y.vn"], "x\r\n")).await;
    drop(live);
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
    assert_eq!(verbs(&peer), ["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]);
    assert_eq!((peer.connections(), peer.taken()[0].to.clone()), (1, vec!["RCPT TO:<a@y.vn>".to_owned()]));
}

#[tokio::test]
async fn dawdling_senders_hold_up_no_mail() {
    let peer = Peer::start(DATA, |_| None).await;
    let house = before(&peer, 4);
    let mail = parcel(&["a@y.vn"], "x\r\n");
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut live = Live::default();
        assert_eq!(ask(&house, &mut live, &mail).await, [Ok(())]);
        held.push(live);
    }
    assert_eq!(house.metric("luytre_live_recipients_total", &[("answer", "accepted")]), 2.0, "half of the places");
    assert_eq!(house.metric("luytre_live_recipients_total", &[("answer", "unasked")]), 8.0);
    assert!(matches!(house.hand_over(&mail).await, Handover::Handed { .. }));
}

#[tokio::test]
async fn the_only_place_of_a_host_is_for_mail() {
    let peer = Peer::start(DATA, |_| None).await;
    let house = before(&peer, 1);
    let mail = parcel(&["a@y.vn"], "x\r\n");
    let mut live = Live::default();
    assert_eq!(ask(&house, &mut live, &mail).await, [Ok(())]);
    assert_eq!(house.metric("luytre_live_recipients_total", &[("answer", "unasked")]), 1.0);
    assert_eq!(word(&house.hand_over(&mail).await), "handed");
}

/// The whole gateway: the sender hears the server's answer at RCPT, and the message travels in the same transaction.
#[test]
fn the_sender_hears_the_server_at_rcpt() {
    let site = Site::new("live");
    let hop = format!("{{ address = \"{}\", tls = \"none\", live_recipients = true }}", site.sink.address());
    let site = site.next_hop(&hop);
    site.sink.refuse("binh@agency.test", "550 5.1.1 gone to another agency");
    let gateway = site.start();
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.say("MAIL FROM:<ketoan@partner.example>").unwrap();
    let refused = client.say("RCPT TO:<binh@agency.test>").unwrap();
    assert!(refused.text.starts_with("550 5.1.1 gone to another agency (id "), "{}", refused.text);
    assert_eq!(client.say("RCPT TO:<an@agency.test>").unwrap().code, 250);
    client.say("RSET").unwrap();
    for i in 0..3 {
        let message = letter(&format!("live {i}"), "x");
        assert_eq!(client.deliver("ketoan@partner.example", &["an@agency.test"], &message).unwrap().code, 250);
    }
    assert_eq!(site.sink.wait_for_count(3).len(), 3);
    assert_eq!(gateway.metric("luytre_live_recipients_total{answer=\"accepted\"}"), 4.0);
    assert_eq!(gateway.metric("luytre_live_recipients_total{answer=\"refused\"}"), 1.0);
    assert_eq!(gateway.metric("luytre_cut_through_total{outcome=\"handed\"}"), 3.0);
}
