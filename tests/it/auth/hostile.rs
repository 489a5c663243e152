//! Damaged mail, thousands of ways: every reader of the sender's bytes stays on its feet. Seeded; the seed is printed.

use luytre::env::Dice;
use luytre::env::dns::zone::Zone;
use luytre::inspect::checks::auth::read;
use luytre::mail::ReversePath;

use super::{Envelope, serve};

const SEED: u64 = 20_261_122;
const ROUNDS: usize = 4_000;

/// Pieces that readers of headers trip over.
const PIECES: [&str; 24] = [
    "From:",
    "From : ",
    "\r\n ",
    "\r\n",
    "\n",
    "\r",
    "DKIM-Signature: v=1; a=rsa-sha256; ",
    "d=",
    "s=",
    "h=from:",
    "b=AAAA",
    "bh=",
    ";",
    "=",
    "ARC-Seal: i=1; cv=none; ",
    "ARC-Message-Signature: i=1; ",
    "ARC-Authentication-Results: i=1;",
    "<a@b.example>",
    "\"",
    "(",
    "=?utf-8?B?4bs=?=",
    "\u{202e}",
    "\0",
    "c=relaxed/simple; ",
];

#[tokio::test]
async fn damaged_messages_are_read_without_a_panic() {
    println!("seed {SEED}");
    let dice = Dice::seeded(SEED);
    let envelope = Envelope::default();
    let (_server, dns) = serve(Zone::default()).await;
    for round in 0..ROUNDS {
        let mut raw = Vec::new();
        for _ in 0..dice.below(40) {
            let piece = PIECES[usize::try_from(dice.below(PIECES.len() as u64)).unwrap()];
            raw.extend_from_slice(piece.as_bytes());
            if dice.below(4) == 0 {
                let mut octets = [0; 3];
                dice.fill(&mut octets);
                raw.extend_from_slice(&octets);
            }
        }
        let sender = ReversePath::Null;
        let letter = read(envelope.subject(&sender, &[], &raw), &envelope.settings);
        assert!(!format!("{letter:?}").contains("auth.failed"), "round {round}: {}", String::from_utf8_lossy(&raw));
        if round % 40 == 0 {
            envelope.examine(&dns, &raw).await;
        }
    }
}
