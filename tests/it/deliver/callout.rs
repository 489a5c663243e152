//! Asking an agency's server about a mailbox stands under what is known of the host: how many connections it may have,
//! and whether it answers at all.

use std::sync::Arc;

use luytre::deliver::settings::{Profile, TlsMode};
use luytre::envelope::known::Answer;
use luytre::mail::Span;

use super::house::{House, hop, parcel, word};
use crate::kit::peer::{Act, At, Peer};

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
