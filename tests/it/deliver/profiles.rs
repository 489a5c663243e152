//! R01: each profile before the server it is for: clean, refused, 4xx, TLS failure, cut link; and what else the
//! servers of DOMAIN §2.8 are known for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luytre::deliver::Handover;
use luytre::deliver::settings::{Profile, TlsMode};
use luytre::mail::transaction::{BodyType, Notify, Ret};
use luytre::mail::{MailId, Parcel, ReversePath, Span};

use super::house::{House, START, hop, parcel, word};
use super::simulators::{Meets, screened_mdaemon, start};
use crate::kit::peer::{Act, At, Peer, say};

const ALL: [Profile; 6] =
    [Profile::Exchange2007, Profile::Exchange2010, Profile::Mdaemon, Profile::Qmail, Profile::Domino, Profile::Generic];

/// A message that uses everything a sender may say.
fn rich() -> Parcel {
    let mut mail = parcel(&["a@y.vn"], "K\u{ed}nh g\u{1eed}i\r\n.\r\n..end\r\n");
    // Nobody vouched for the sender: no report is made, so nothing but the message itself is in the queue.
    mail.meta.sender_authenticated = false;
    mail.meta.params.body = BodyType::EightBitMime;
    mail.meta.params.ret = Some(Ret::Headers);
    mail.meta.params.envid = Some("QQ1".to_owned());
    let recipient = &mut mail.meta.recipients[0];
    recipient.notify = Notify { success: true, failure: true, delay: true, explicit: true };
    recipient.original = Some("rfc822;a@y.vn".to_owned());
    mail
}

async fn run_until_empty(house: &House) {
    for _ in 0..100 {
        // Reports of success to a sender whose server nobody plays here may stay.
        if house.jobs().iter().all(|job| job.meta.sender == ReversePath::Null) {
            return;
        }
        house.deliver.wake();
        house.hand.advance(Span::minutes(30));
        house.run_due().await;
    }
    panic!("still there: {:?}", house.jobs());
}

#[tokio::test]
async fn r01_every_profile_before_its_server() {
    for profile in ALL {
        for meets in [Meets::Clean, Meets::Refused, Meets::NotNow, Meets::TlsFailure, Meets::CutLink] {
            let peer = start(profile, meets).await;
            let house = House::new(vec![hop(peer.address, profile, TlsMode::Opportunistic)]);
            let outcome = word(&house.hand_over(&rich()).await);
            let pressed = matches!(profile, Profile::Exchange2007 | Profile::Exchange2010 | Profile::Domino);
            let expected = match meets {
                Meets::Clean | Meets::TlsFailure => "handed",
                Meets::Refused => "refused 5",
                // About the host: not the sender's trouble.
                Meets::NotNow if pressed => "spooled",
                Meets::NotNow => "refused 4",
                Meets::CutLink => "spooled",
            };
            assert_eq!(outcome, expected, "{profile:?} {meets:?}: {:?}", peer.commands());
            let downgrades = house.metric("luytre_delivery_downgrades_total", &[("peer", "agency")]);
            let fell = meets == Meets::TlsFailure && profile != Profile::Qmail;
            assert_eq!(downgrades, f64::from(u8::from(fell)), "{profile:?} {meets:?}: a downgrade is counted");
            if matches!(meets, Meets::Clean | Meets::TlsFailure) {
                let taken = &peer.taken()[0];
                assert_eq!(taken.tls, meets == Meets::Clean && profile != Profile::Qmail, "{profile:?} {meets:?}");
                assert!(taken.data.ends_with("K\u{ed}nh g\u{1eed}i\r\n.\r\n..end\r\n".as_bytes()), "{profile:?}");
            }
            if meets == Meets::CutLink {
                run_until_empty(&house).await;
                assert_eq!(peer.taken().len(), 1, "{profile:?}: arrived when the line was back");
            }
        }
    }
}

#[tokio::test]
async fn r02_required_tls_waits_with_a_plain_reason_before_every_server() {
    for profile in ALL {
        let peer = start(profile, Meets::TlsFailure).await;
        let house = House::new(vec![hop(peer.address, profile, TlsMode::Required)]);
        assert_eq!(word(&house.hand_over(&rich()).await), "spooled");
        house.deliver.wake();
        house.hand.advance(Span::minutes(2));
        house.run_due().await;
        let why = house.jobs()[0].pending[0].last.clone();
        let expected = if profile == Profile::Qmail { "TLS is required here" } else { "TLS failed" };
        assert!(why.contains(expected), "{profile:?}: {why}");
        assert!(peer.taken().is_empty() && !peer.commands().iter().any(|c| c.starts_with("MAIL")), "{profile:?}");
        assert_eq!(house.metric("luytre_delivery_downgrades_total", &[]), 0.0);
    }
}

#[tokio::test]
async fn domain_2_1_to_2_4_each_server_sees_only_what_it_understands() {
    let expected = [
        (
            Profile::Exchange2010,
            " SIZE=",
            " BODY=8BITMIME RET=HDRS ENVID=QQ1",
            " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a@y.vn",
        ),
        (
            Profile::Mdaemon,
            "",
            " BODY=8BITMIME RET=HDRS ENVID=QQ1",
            " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a@y.vn",
        ),
        (Profile::Qmail, "", " BODY=8BITMIME", ""),
        (Profile::Domino, " SIZE=", " RET=HDRS ENVID=QQ1", " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a@y.vn"),
    ];
    for (profile, size, parameters, recipient) in expected {
        let peer = start(profile, Meets::Clean).await;
        let house = House::new(vec![hop(peer.address, profile, TlsMode::None)]);
        let mail = rich();
        assert_eq!(word(&house.hand_over(&mail).await), "handed");
        let size = if size.is_empty() { String::new() } else { format!("{size}{}", mail.size_bytes()) };
        let taken = &peer.taken()[0];
        assert_eq!(taken.mail, format!("MAIL FROM:<from@x.vn>{size}{parameters}"), "{profile:?}");
        assert_eq!(taken.to, [format!("RCPT TO:<a@y.vn>{recipient}")], "{profile:?}");
        assert!(!peer.commands().iter().any(|c| c.starts_with("BDAT") || c.starts_with("AUTH") || c.starts_with("X")));
    }
    let peer = start(Profile::Generic, Meets::Clean).await;
    let house = House::new(vec![hop(peer.address, Profile::Generic, TlsMode::None)]);
    assert_eq!(word(&house.hand_over(&rich()).await), "handed");
    assert!(peer.commands().iter().any(|c| c.starts_with("BDAT")), "where the profile trusts it");
}

/// Simulator 1: back pressure for a while, then again mail; one message asks for all.
#[tokio::test]
async fn simulator_exchange_under_pressure_is_left_alone_and_comes_back() {
    let calm = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&calm);
    let peer = Peer::start(&["SIZE", "DSN", "8BITMIME"], move |m| {
        (m.at == At::Mail && !switch.load(Ordering::SeqCst))
            .then(|| Act::Say("452 4.3.1 Insufficient system resources".to_owned()))
    })
    .await;
    let house = House::new(vec![hop(peer.address, Profile::Exchange2010, TlsMode::None)]);
    for i in 0..20 {
        let mut mail = parcel(&["a@y.vn"], "x\r\n");
        mail.meta.id = MailId::new(START, i);
        house.deliver.queue(&mail).await.unwrap();
    }
    house.run_due().await;
    house.run_due().await;
    assert_eq!(peer.commands().iter().filter(|c| c.starts_with("MAIL")).count(), 1, "one asks, the others wait");
    calm.store(true, Ordering::SeqCst);
    run_until_empty(&house).await;
    assert_eq!(peer.taken().len(), 20);
}

/// Simulator 1: a tarpit holds each 5xx back for seconds; that is no reason to give up.
#[tokio::test]
async fn simulator_exchange_with_a_tarpit_is_waited_for() {
    let peer =
        Peer::start(&["SIZE"], |m| (m.at == At::Rcpt).then(|| Act::StallThen("550 5.1.1 User unknown".to_owned())))
            .await;
    let house = House::new(vec![hop(peer.address, Profile::Exchange2010, TlsMode::None)]);
    let release = async {
        peer.stalled().await;
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        tokio::time::resume();
        peer.release();
        std::future::pending::<()>().await;
    };
    let mail = parcel(&["no@y.vn"], "x\r\n");
    let outcome = tokio::select! { outcome = house.hand_over(&mail) => outcome, () = release => unreachable!() };
    assert_eq!(word(&outcome), "refused 5");
}

/// Simulator 3: refused recipients never reach three on a connection.
#[tokio::test]
async fn simulator_mdaemon_never_sees_three_unknown_recipients_in_a_session() {
    let peer = screened_mdaemon().await;
    let house = House::new(vec![hop(peer.address, Profile::Mdaemon, TlsMode::None)]);
    for i in 0..20 {
        let to = if i % 5 == 4 { "a@y.vn" } else { "no@y.vn" };
        let expected = if i % 5 == 4 { "handed" } else { "refused 5" };
        assert_eq!(word(&house.hand_over(&parcel(&[to], "x\r\n")).await), expected, "message {i}");
    }
    assert_eq!(peer.taken().len(), 4);
    assert!(peer.connections() <= 9, "{} connections: still pooled between", peer.connections());
    assert_eq!(house.metric("luytre_delivery_hosts_down", &[]), 0.0, "it never hung up on us");
}

/// Simulator 3: one message with more unknown recipients than a session may have: what was said stays said.
#[tokio::test]
async fn simulator_mdaemon_hangs_up_in_the_middle_and_nobody_is_asked_for_days() {
    let peer = screened_mdaemon().await;
    let house = House::new(vec![hop(peer.address, Profile::Mdaemon, TlsMode::None)]);
    let mut mail = parcel(&["no1@y.vn", "no2@y.vn", "no3@y.vn", "no4@y.vn", "a@y.vn"], "x\r\n");
    mail.meta.sender_authenticated = false;
    assert_eq!(word(&house.hand_over(&mail).await), "spooled");
    run_until_empty(&house).await;
    assert_eq!(peer.taken().iter().map(|t| t.to.len()).sum::<usize>(), 1, "the one who exists, once");
    let held: usize = house.shelf.0.lock().unwrap().iter().map(|(p, _)| p.meta.recipients.len()).sum();
    assert_eq!(held, 4, "the others are accounted for");
    assert!(peer.connections() <= 4, "{} connections", peer.connections());
}

/// Simulator 3: "Refuse messages which violate RFC standards", told after DATA.
#[tokio::test]
async fn simulator_mdaemon_refuses_after_data_and_the_sender_hears_it() {
    let peer = Peer::start(&["8BITMIME"], |m| {
        if m.at == At::Dot { say("554 Message does not conform to standards") } else { None }
    })
    .await;
    let house = House::new(vec![hop(peer.address, Profile::Mdaemon, TlsMode::None)]);
    let Handover::Refused { reply, .. } = house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await else { panic!() };
    assert_eq!((reply.code(), reply.enhanced()), (554, "5.0.0"));
}

/// Simulator 4: qmail measures after DATA; the refusal is about the message and the sender's to hear.
#[tokio::test]
async fn simulator_qmail_refuses_a_large_message_after_data() {
    let large = "552 sorry, that message size exceeds my databytes limit (#5.3.4)";
    let peer = Peer::start(&["PIPELINING", "8BITMIME"], move |m| if m.at == At::Dot { say(large) } else { None }).await;
    let house = House::new(vec![hop(peer.address, Profile::Qmail, TlsMode::None)]);
    let Handover::Refused { reply, .. } = house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await else { panic!() };
    assert_eq!((reply.code(), reply.text()), (552, large[4..].to_owned()));
}

/// Simulator 7: dead for six hours; everything arrives afterwards, once, and nobody hammered it meanwhile.
#[tokio::test]
async fn simulator_dead_for_six_hours_then_back() {
    let open = Arc::new(AtomicBool::new(false));
    let door = Arc::clone(&open);
    let peer =
        Peer::start(&["PIPELINING"], move |m| (m.at == At::Banner && !door.load(Ordering::SeqCst)).then_some(Act::Cut))
            .await;
    let house = House::before(&peer);
    for i in 0..10 {
        let mut mail = parcel(&["a@y.vn"], "x\r\n");
        mail.meta.id = MailId::new(START, i);
        // Nobody is told of the delay, so that nothing but these ten is in the queue.
        mail.meta.sender_authenticated = false;
        assert_eq!(word(&house.hand_over(&mail).await), "spooled");
    }
    for _ in 0..72 {
        house.deliver.wake();
        house.run_due().await;
        house.hand.advance(Span::minutes(5));
    }
    assert!(peer.connections() <= 73, "{} connections in six hours", peer.connections());
    open.store(true, Ordering::SeqCst);
    run_until_empty(&house).await;
    assert_eq!(peer.taken().len(), 10);
}

/// Simulator 8: greylisting is answered by the sender in the session, and by us from the queue.
#[tokio::test]
async fn simulator_greylisting_is_tried_again() {
    let grey = |m: &crate::kit::peer::Moment| match m.at {
        At::Rcpt if m.connection == 1 => say("451 4.7.1 Greylisting in action, please come back later"),
        _ => None,
    };
    let peer = Peer::start(&["PIPELINING"], grey).await;
    let house = House::before(&peer);
    let Handover::Refused { reply, .. } = house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await else { panic!() };
    assert_eq!((reply.code(), reply.enhanced()), (451, "4.7.1"));
    let peer = Peer::start(&["PIPELINING"], move |m| {
        (m.at == At::Rcpt && m.taken == 0 && m.connection == 1)
            .then(|| Act::SayAndCut("451 4.7.1 Greylisted".to_owned()))
    })
    .await;
    let house = House::before(&peer);
    house.deliver.queue(&parcel(&["a@y.vn"], "x\r\n")).await.unwrap();
    run_until_empty(&house).await;
    assert_eq!(peer.taken().len(), 1);
}

/// Simulator 9: STARTTLS taken out of the answer by somebody on the line.
#[tokio::test]
async fn simulator_starttls_stripped_is_noticed() {
    let (acceptor, _) = crate::kit::peer::certificate("127.0.0.1");
    let peer = Peer::with(
        &["PIPELINING", "STARTTLS"],
        |m| match m.at {
            At::Ehlo if m.connection > 1 => say("250-peer.local\r\n250 PIPELINING"),
            At::Mail if m.connection == 1 && m.taken == 1 => Some(Act::SayAndCut("421 4.4.2 idle".to_owned())),
            _ => None,
        },
        false,
        Some(acceptor),
    )
    .await;
    let house = House::new(vec![hop(peer.address, Profile::Generic, TlsMode::Opportunistic)]);
    for _ in 0..2 {
        assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
    }
    assert_eq!(peer.taken().iter().map(|t| t.tls).collect::<Vec<_>>(), [true, false]);
    assert_eq!(house.metric("luytre_delivery_downgrades_total", &[("reason", "missing")]), 1.0);
}

/// Simulator 10: replies in one-octet packets, a line of 64 KiB, lines that disagree, and no end.
#[tokio::test]
async fn simulator_split_replies_are_read_or_distrusted() {
    let long = format!("250 2.0.0 {}", "x".repeat((64 << 10) - 12));
    let good: [(At, String); 4] = [
        (At::Mail, "250-2.1.0 one\r\n250-2.1.0 two\r\n250 2.1.0 three".to_owned()),
        (At::Rcpt, "250-2.1.5 one\r\n251 2.1.5 will forward".to_owned()),
        (At::Data, "354-go\r\n354 on".to_owned()),
        (At::Dot, long),
    ];
    for (at, text) in good {
        for one_octet in [true, false] {
            let text = text.clone();
            let plot = move |m: &crate::kit::peer::Moment| (m.at == at).then(|| Act::Say(text.clone()));
            let peer = Peer::with(&["PIPELINING"], plot, one_octet, None).await;
            let house = House::before(&peer);
            for _ in 0..2 {
                assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed", "{at:?}");
            }
            assert_eq!((peer.taken().len(), peer.connections()), (2, 1));
        }
    }
    let bad = [
        "250-2.1.5 yes\r\n550 5.1.1 no",
        "550-5.1.1 no\r\n250 2.1.5 yes",
        "250\u{0}ok",
        "2500 ok",
        &"9".repeat(70 << 10),
    ];
    for text in bad {
        for at in [At::Mail, At::Rcpt, At::Data, At::Dot] {
            let said = text.to_owned();
            let peer = Peer::start(&["PIPELINING"], move |m| (m.at == at).then(|| Act::Say(said.clone()))).await;
            let house = House::before(&peer);
            let outcome = word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await);
            assert_eq!((outcome.as_str(), house.jobs().len()), ("spooled", 1), "{text:.40} at {at:?}");
        }
    }
}

/// What a hop said of its size is remembered: the next sender hears it before it sends.
#[tokio::test]
async fn rfc1870_6_1_a_message_too_large_for_the_hop_is_refused_ahead() {
    use luytre::deliver::client::Needs;
    let peer = Peer::start(&["SIZE 1000"], |_| None).await;
    let house = House::before(&peer);
    let small = parcel(&["a@y.vn"], "x\r\n");
    let announced = |size| Needs { size_bytes: Some(size), ..Needs::default() };
    let foreseen = |size| house.deliver.foreseen(&small.meta.destination, announced(size), &house.policy);
    assert_eq!(foreseen(5000), None, "nobody has asked it yet");
    assert_eq!(word(&house.hand_over(&small).await), "handed");
    assert_eq!(foreseen(5000).map(|r| r.code()), Some(552));
    assert_eq!(foreseen(1000), None);
    let asked = peer.commands().len();
    let large = parcel(&["a@y.vn"], &"x\r\n".repeat(2000));
    assert_eq!(word(&house.hand_over(&large).await), "refused 5");
    assert_eq!(peer.commands().len(), asked, "without a word to the server");
}
