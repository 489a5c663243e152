//! R04: a line that loses three connections in ten, in every way a line can: all mail arrives, and a second copy only
//! where the server's last answer was lost.

use std::collections::HashMap;
use std::sync::Arc;

use luytre::deliver::Handover;
use luytre::deliver::settings::{Delivery, NextHop, Profile, TlsMode};
use luytre::mail::{MailId, Span};

use super::house::{House, START, hop, parcel};
use crate::kit::peer::Peer;
use crate::kit::proxy::Proxy;

/// `make campaign` sends more.
fn messages() -> u128 {
    std::env::var("LUYTRE_CAMPAIGN").ok().and_then(|n| n.parse().ok()).map_or(100, |n: u128| n / 50)
}

async fn through(extensions: &'static [&'static str], profile: Profile, delivery: Delivery, seed: u64) {
    let peer = Peer::start(extensions, |_| None).await;
    let proxy = Proxy::start(peer.address, seed, 30, "Queued as 4711").await;
    let hop = NextHop { delivery, ..hop(proxy.address, profile, TlsMode::None) };
    let house = Arc::new(House::with(vec![hop], None, |s| s.cut_through_wait = Span::millis(300)));
    let count = messages();
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    for i in 0..count {
        let size = usize::try_from(i * 977 % 50_000).unwrap();
        let mut mail = parcel(&["a@y.vn"], &format!("number {i}.\r\n{}", "0123456789\r\n".repeat(size / 12)));
        mail.meta.id = MailId::new(START, i);
        let outcome = match house.hand_over(&mail).await {
            Handover::Handed { .. } => "handed",
            Handover::Spooled { .. } => "spooled",
            Handover::InDoubt { .. } => "in doubt",
            other => panic!("the line is never the sender's trouble: {other:?}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
        if outcome != "handed" {
            proxy.release();
            house.deliver.wake();
        }
    }
    // The queue: whatever stands still is cut at once, the minutes of its timers are not ours to wait for.
    for _ in 0..2000 {
        if house.jobs().is_empty() {
            break;
        }
        let release = async {
            loop {
                proxy.stalled().await;
                proxy.release();
            }
        };
        tokio::select! {
            _ = house.run_due() => {}
            () = release => unreachable!(),
        }
        house.deliver.wake();
        house.hand.advance(Span::minutes(15));
    }
    assert!(house.jobs().is_empty(), "seed {seed}: {} left", house.jobs().len());

    let mut copies: HashMap<u128, usize> = HashMap::new();
    let taken = peer.taken();
    for mail in &taken {
        let text = String::from_utf8_lossy(&mail.data);
        let number = text.split("number ").nth(1).and_then(|t| t.split('.').next()).unwrap();
        *copies.entry(number.parse().unwrap()).or_default() += 1;
    }
    let missing: Vec<u128> = (0..count).filter(|i| !copies.contains_key(i)).collect();
    let twice = taken.len() - copies.len();
    println!(
        "{profile:?} {delivery:?} seed {seed}: {count} messages, {outcomes:?}; {} of {} connections failed; {twice} second copies, \
         {} last answers not heard",
        proxy.faults(),
        proxy.connections(),
        taken.len().saturating_sub(proxy.heard())
    );
    assert!(missing.is_empty(), "seed {seed}: lost {missing:?}");
    // No message whose answer was heard was sent again: each second copy stands for an answer that was lost.
    assert_eq!(proxy.heard() as u128, count, "seed {seed}: one answer is heard for each message");
    assert_eq!(twice, taken.len() - proxy.heard(), "seed {seed}: a second copy for each lost answer, and no other");
    assert!(house.shelf.0.lock().unwrap().is_empty(), "nothing was given up");
    assert!(proxy.faults() * 100 >= proxy.connections() * 20, "the line was bad");
}

#[tokio::test]
async fn r04_a_line_that_loses_three_in_ten_loses_no_mail() {
    const DATA: &[&str] = &["PIPELINING", "8BITMIME"];
    const BDAT: &[&str] = &["PIPELINING", "CHUNKING"];
    through(DATA, Profile::Generic, Delivery::CutThrough, 1).await;
    through(BDAT, Profile::Generic, Delivery::CutThrough, 2).await;
    through(DATA, Profile::Exchange2010, Delivery::CutThrough, 3).await;
    through(DATA, Profile::Mdaemon, Delivery::Queued, 4).await;
}
