//! Asking an agency's server about a mailbox stands under what is known of the host: how many connections it may have,
//! and whether it answers at all.

use std::sync::Arc;

use luytre::deliver::settings::{Profile, TlsMode};
use luytre::envelope::known::Answer;
use luytre::mail::Span;

use super::house::{House, hop, parcel, word};
use crate::kit::peer::{Act, At, Peer, loopback_acceptor, say};

async fn ask(house: &House) -> Answer {
    let mail = parcel(&["a@y.vn"], "x\r\n");
    let mailbox = &mail.meta.recipients[0].mailbox;
    house.deliver.call_out(&mail.meta.destination, mailbox, &house.policy).await
}

#[tokio::test]
async fn a_question_is_one_of_the_connections_that_a_host_may_have() {
    let peer = Peer::start(&[], |m| (m.at == At::Dot).then_some(Act::Stall)).await;
    let hops = vec![hop(peer.address, Profile::Generic, TlsMode::None)];
    let house = House::with(hops, None, |s| (s.concurrency, s.cut_through_wait) = (1, Span::minutes(10)));
    let (deliver, policy) = (Arc::clone(&house.deliver), Arc::clone(&house.policy));
    let busy = tokio::spawn(async move { deliver.hand_over(&parcel(&["a@y.vn"], "x\r\n"), &policy).await });
    peer.stalled().await;
    tokio::time::pause();
    assert_eq!(ask(&house).await, Answer::Unsure, "no place came free in time");
    tokio::time::resume();
    assert_eq!(peer.connections(), 1);
    peer.release();
    assert_eq!(word(&busy.await.unwrap()), "handed");
    assert_eq!(ask(&house).await, Answer::Exists);
}

#[tokio::test]
async fn threats_r_06_a_host_that_does_not_answer_is_not_asked() {
    let peer = Peer::start(&[], |m| (m.at == At::Banner && m.connection == 1).then_some(Act::Cut)).await;
    let house = House::before(&peer);
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "spooled");
    assert_eq!((ask(&house).await, peer.connections()), (Answer::Unsure, 1));
    house.hand.advance(Span::minutes(1));
    house.run_due().await;
    assert_eq!((ask(&house).await, house.jobs().len()), (Answer::Exists, 0), "it answers again");
}

#[tokio::test]
async fn the_question_goes_over_tls_as_the_mail_does() {
    let peer = Peer::with(&["STARTTLS"], |_| None, false, Some(loopback_acceptor())).await;
    let house = House::new(vec![hop(peer.address, Profile::Generic, TlsMode::Required)]);
    assert_eq!(ask(&house).await, Answer::Exists);
    let commands = peer.commands();
    let at = |verb: &str| commands.iter().position(|line| line.starts_with(verb)).unwrap();
    assert!(at("STARTTLS") < at("MAIL FROM:<>") && at("MAIL FROM:<>") < at("RCPT TO:<a@y.vn>"), "{commands:?}");
    assert!(!commands.iter().any(|line| line.starts_with("DATA")), "{commands:?}");
}

#[tokio::test]
async fn threats_r_06_without_the_tls_that_is_demanded_nothing_is_asked() {
    let peer = Peer::start(&[], |_| None).await;
    let house = House::new(vec![hop(peer.address, Profile::Generic, TlsMode::Required)]);
    assert_eq!(ask(&house).await, Answer::Unsure);
    assert!(!peer.commands().iter().any(|line| line.starts_with("RCPT")), "{:?}", peer.commands());
}

#[tokio::test]
async fn a_server_in_a_tarpit_is_waited_for_and_one_that_never_answers_is_left_alone() {
    // As qmail and Exchange do: nothing for a while, then the answer.
    let slow =
        Peer::start(&[], |m| m.line.starts_with("RCPT").then(|| Act::StallThen("550 5.1.1 no such user".to_owned())))
            .await;
    let house = House::before(&slow);
    let (deliver, policy) = (Arc::clone(&house.deliver), Arc::clone(&house.policy));
    let mail = parcel(&["a@y.vn"], "x\r\n");
    let asked = tokio::spawn(async move {
        deliver.call_out(&mail.meta.destination, &mail.meta.recipients[0].mailbox, &policy).await
    });
    slow.stalled().await;
    slow.release();
    assert_eq!(asked.await.unwrap(), Answer::Unknown);

    let mute = Peer::start(&[], |m| m.line.starts_with("RCPT").then_some(Act::Stall)).await;
    let house = House::before(&mute);
    let (deliver, policy) = (Arc::clone(&house.deliver), Arc::clone(&house.policy));
    let mail = parcel(&["a@y.vn"], "x\r\n");
    let asked = tokio::spawn(async move {
        deliver.call_out(&mail.meta.destination, &mail.meta.recipients[0].mailbox, &policy).await
    });
    mute.stalled().await;
    tokio::time::pause();
    assert_eq!(asked.await.unwrap(), Answer::Unsure, "its time is over");
    tokio::time::resume();
    assert_eq!((ask(&house).await, mute.connections()), (Answer::Unsure, 1), "and it is left alone for a while");
}

#[tokio::test]
async fn a_server_that_wants_no_null_sender_or_a_login_has_said_nothing() {
    for (verb, reply) in
        [("MAIL", "550 5.7.1 no null sender"), ("RCPT", "530 5.7.0 log in first"), ("RCPT", "421 4.3.2 busy")]
    {
        let peer = Peer::start(&[], move |m| if m.line.starts_with(verb) { say(reply) } else { None }).await;
        assert_eq!(ask(&House::before(&peer)).await, Answer::Unsure, "{reply}");
    }
}
