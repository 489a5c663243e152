//! Every engine against a daemon that speaks its protocol byte for byte (DOMAIN §2.6, §2.7), each × clean, infected,
//! error, licence, too large, slow, cut, garbage, split packets. And what many of them come to.

mod daemon;
mod sights;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::outcome::{Outcome, Row};
use super::run::Engines;
use super::settings::{self, Kind, Role, Sees, WhenDown};
use super::*;
use crate::env::Clock;
use crate::env::clock::Hand;
use crate::mail::{Span, Timestamp};
use daemon::Daemon;

const STREAMS: [Kind; 10] = [
    Kind::Clamd,
    Kind::Icap,
    Kind::KasperskyAveserver,
    Kind::KasperskyKlms,
    Kind::KasperskyScanEngine,
    Kind::Avg,
    Kind::Sssp,
    Kind::Fprot,
    Kind::Savapi,
    Kind::Avast,
];

fn engine(id: &str, kind: Kind, address: &str) -> settings::Engine {
    settings::Engine {
        id: id.to_owned(),
        kind,
        address: address.to_owned(),
        timeout: Span::seconds(30),
        role: Role::Primary,
        sees: Some(Sees::Message),
        connections: 2,
        largest: crate::mail::ByteSize::mib(100),
        service: "avscan".to_owned(),
        product: "11906".to_owned(),
        preset: String::new(),
        command: Vec::new(),
        clean: Vec::new(),
        infected: Vec::new(),
        pattern: String::new(),
        user: String::new(),
    }
}

fn engines(list: &[settings::Engine], common: &settings::Engines) -> (Engines, Hand, metrics::Metrics) {
    let metrics = metrics::Metrics::new(&prometheus::Registry::new()).unwrap();
    let (clock, hand) = Clock::by_hand(Timestamp::from_seconds(1_795_302_082));
    let engines = Engines::new(metrics.clone(), clock);
    engines.adopt(list, common).unwrap();
    (engines, hand, metrics)
}

async fn ask(engines: &Engines, message: &[u8]) -> (Vec<Row>, Outcome) {
    let inquiry = engines.open();
    let rows = inquiry.whole(&Bytes::copy_from_slice(message)).await;
    let outcome = inquiry.conclude(&rows);
    (rows, outcome)
}

fn codes(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| &*f.code).collect()
}

/// One question to one engine of a kind, and its answer.
async fn one(kind: Kind, message: &[u8], timeout: Span) -> Result<Answer, Trouble> {
    let daemon = Daemon::start(kind).await;
    let settings = settings::Engine { timeout, ..engine("e", kind, &daemon.address) };
    let (engines, _, _) = engines(&[settings], &settings::Engines::default());
    let (rows, _) = ask(&engines, message).await;
    rows.into_iter().next().unwrap().outcome
}

const LONG: Span = Span::seconds(30);

#[tokio::test]
async fn domain_2_6_clean_is_clean_and_a_find_has_its_name() {
    for kind in STREAMS {
        assert_eq!(one(kind, b"From: a@b\r\n\r\nhello", LONG).await, Ok(Answer::Clean), "{kind:?}");
        let name = Answer::Infected("Eicar-Test".to_owned());
        assert_eq!(one(kind, b"From: a@b\r\n\r\nEICAR", LONG).await, Ok(name), "{kind:?}");
    }
}

#[tokio::test]
async fn domain_2_6_errors_licences_and_sizes_are_never_clean() {
    for kind in STREAMS {
        let error = one(kind, b"an ERROR", LONG).await;
        assert!(matches!(error, Err(Trouble::Error(_))), "{kind:?}: {error:?}");
        let lapsed = one(kind, b"a LICENCE", LONG).await;
        assert!(matches!(lapsed, Err(Trouble::Licence(_))), "{kind:?}: {lapsed:?}");
        let large = one(kind, b"too LARGE", LONG).await;
        // Not every protocol has a word for it; none calls it clean.
        assert!(matches!(large, Err(Trouble::TooLarge(_) | Trouble::Error(_))), "{kind:?}: {large:?}");
    }
    for kind in [Kind::Clamd, Kind::Icap, Kind::Sssp, Kind::KasperskyScanEngine] {
        let large = one(kind, b"too LARGE", LONG).await;
        assert!(matches!(large, Err(Trouble::TooLarge(_))), "{kind:?}: {large:?}");
        let locked = one(kind, b"ENCRYPTED", LONG).await;
        assert!(matches!(locked, Ok(Answer::Objects(Objection::Encrypted, _))), "{kind:?}: {locked:?}");
    }
}

#[tokio::test]
async fn a_slow_engine_ends_at_its_time_limit() {
    for kind in STREAMS {
        let slow = one(kind, b"SLOW", Span::millis(300)).await;
        assert_eq!(slow, Err(Trouble::Timeout), "{kind:?}");
    }
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_is_none() {
    for kind in STREAMS {
        let cut = one(kind, b"CUT", LONG).await;
        assert!(matches!(cut, Err(Trouble::Cut | Trouble::Nonsense(_))), "{kind:?}: {cut:?}");
    }
}

#[tokio::test]
async fn garbage_is_no_answer() {
    for kind in STREAMS {
        let garbage = one(kind, b"GARBAGE", LONG).await;
        assert!(
            matches!(garbage, Err(Trouble::Nonsense(_) | Trouble::Cut | Trouble::Error(_))),
            "{kind:?}: {garbage:?}"
        );
    }
}

#[tokio::test]
async fn packets_may_be_split_anywhere() {
    for kind in STREAMS {
        let name = Answer::Infected("Eicar-Test".to_owned());
        assert_eq!(one(kind, b"SPLIT EICAR", LONG).await, Ok(name), "{kind:?}");
        assert_eq!(one(kind, b"SPLIT", LONG).await, Ok(Answer::Clean), "{kind:?}");
    }
}

#[tokio::test]
async fn large_octets_cross_whole() {
    let mut message = vec![b'x'; 3 << 20];
    message.extend_from_slice(b"EICAR");
    for kind in STREAMS {
        let found = one(kind, &message, LONG).await;
        assert_eq!(found, Ok(Answer::Infected("Eicar-Test".to_owned())), "{kind:?}");
    }
}

#[tokio::test]
async fn a_session_serves_many_questions_and_one_that_hung_up_is_no_failure() {
    for kind in [Kind::Clamd, Kind::Icap, Kind::Sssp, Kind::Avg, Kind::Savapi, Kind::Avast, Kind::KasperskyAveserver] {
        let daemon = Daemon::start(kind).await;
        let (engines, _, _) = engines(&[engine("e", kind, &daemon.address)], &settings::Engines::default());
        for n in 0..5 {
            let (rows, _) = ask(&engines, format!("letter {n}").as_bytes()).await;
            assert_eq!(rows[0].outcome, Ok(Answer::Clean), "{kind:?}");
        }
        assert_eq!(daemon.connections.load(Ordering::SeqCst), 1, "{kind:?}");
        daemon.hang_up();
        let (rows, _) = ask(&engines, b"after the pause").await;
        assert_eq!(rows[0].outcome, Ok(Answer::Clean), "{kind:?}");
        assert_eq!(daemon.connections.load(Ordering::SeqCst), 2, "{kind:?}");
    }
}

#[tokio::test]
async fn files_for_engines_are_gone_afterwards_and_bear_no_name_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(Kind::Avg).await;
    let common = settings::Engines { folder: folder.path().to_owned(), ..settings::Engines::default() };
    let (engines, _, _) = engines(&[engine("e", Kind::Avg, &daemon.address)], &common);
    let (rows, _) = ask(&engines, b"EICAR").await;
    assert!(matches!(rows[0].outcome, Ok(Answer::Infected(_))), "{rows:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn command(script: &str) -> settings::Engine {
    settings::Engine {
        command: ["/bin/sh", "-c", script, "scan", "{file}"].map(str::to_owned).to_vec(),
        clean: vec![0],
        infected: vec![1],
        pattern: "FOUND (.*)".to_owned(),
        ..engine("cmd", Kind::Command, "")
    }
}

#[tokio::test]
async fn a_command_is_read_by_its_codes_and_its_words() {
    for (script, message, expected) in [
        ("grep -q EICAR \"$1\" && exit 1; exit 0", "EICAR", Ok("unnamed")),
        ("echo \"FOUND Eicar-Test\"; exit 9", "x", Ok("Eicar-Test")),
        ("exit 0", "x", Ok("")),
        ("exit 2", "x", Err("error")),
        ("echo License expired; exit 3", "x", Err("licence")),
        ("kill -9 $$", "x", Err("error")),
        ("sleep 1000", "x", Err("timeout")),
    ] {
        let timeout = if script.starts_with("sleep") { Span::seconds(1) } else { LONG };
        let settings = settings::Engine { timeout, ..command(script) };
        let (engines, _, _) = engines(&[settings], &settings::Engines::default());
        let (rows, _) = ask(&engines, message.as_bytes()).await;
        let got = match &rows[0].outcome {
            Ok(Answer::Clean) => Ok(""),
            Ok(Answer::Infected(name) | Answer::Objects(_, name)) => Ok(name.as_str()),
            Err(trouble) => Err(trouble.word()),
        };
        assert_eq!(got, expected, "{script}");
    }
    let settings = settings::Engine { command: vec!["/no/such/scanner".into(), "{file}".into()], ..command("") };
    let (engines, _, _) = engines(&[settings], &settings::Engines::default());
    let (rows, _) = ask(&engines, b"x").await;
    assert!(matches!(rows[0].outcome, Err(Trouble::Unreachable(_))), "{rows:?}");
}

#[tokio::test]
async fn a_backup_is_asked_when_every_primary_failed_and_only_then() {
    let (good, backup) = (Daemon::start(Kind::Clamd).await, Daemon::start(Kind::Sssp).await);
    let second = settings::Engine { role: Role::Backup, ..engine("backup", Kind::Sssp, &backup.address) };
    let list = [engine("first", Kind::Clamd, &good.address), second.clone()];
    let (both, _, _) = engines(&list, &settings::Engines::default());
    let (rows, outcome) = ask(&both, b"hello").await;
    assert_eq!((rows.len(), codes(&outcome).len()), (1, 0));
    assert_eq!(backup.connections.load(Ordering::SeqCst), 0, "nobody asked it");
    let (rows, outcome) = ask(&both, b"an ERROR for the first: EICAR").await;
    assert_eq!(rows.len(), 2);
    assert!(codes(&outcome).contains(&"engine.down"), "the backup says error too: {outcome:?}");
    let list = [engine("first", Kind::Clamd, "127.0.0.1:1"), second];
    let (dead, _, _) = engines(&list, &settings::Engines::default());
    let (_, outcome) = ask(&dead, b"EICAR").await;
    assert_eq!(codes(&outcome), ["malware.eicar-test", "engine.degraded"]);
    let (_, outcome) = ask(&dead, b"hello").await;
    assert_eq!(codes(&outcome), ["engine.degraded"], "the backup scanned it");
}

#[tokio::test]
async fn all_down_waits_then_holds_and_an_engine_that_returns_is_used_again() {
    let daemon = Daemon::start(Kind::Clamd).await;
    let common = settings::Engines { hold_after: Span::hours(4), ..settings::Engines::default() };
    let (engines, clock, metrics) = engines(&[engine("clamav", Kind::Clamd, &daemon.address)], &common);
    engines.tend().await;
    assert_eq!(metrics.up.with_label_values(&["clamav"]).get(), 1);
    assert_eq!(metrics.signature_age.with_label_values(&["clamav"]).get(), 48_020);
    daemon.stop();
    for _ in 0..4 {
        let (_, outcome) = ask(&engines, b"hello").await;
        assert_eq!(codes(&outcome), ["engine.down"]);
    }
    engines.tend().await;
    assert_eq!((metrics.up.with_label_values(&["clamav"]).get(), metrics.all_down.get()), (0, 1));
    clock.advance(Span::hours(5));
    let (_, outcome) = ask(&engines, b"hello").await;
    assert_eq!(codes(&outcome), ["engine.unscanned"]);
    daemon.resume();
    engines.tend().await;
    assert_eq!((metrics.up.with_label_values(&["clamav"]).get(), metrics.all_down.get()), (1, 0));
    assert!(ask(&engines, b"hello").await.1.findings.is_empty());
}

#[tokio::test]
async fn what_unscanned_mail_gets_is_the_operators_choice() {
    for (when_down, code) in [
        (WhenDown::Defer, "engine.down"),
        (WhenDown::Quarantine, "engine.unscanned"),
        (WhenDown::Tag, "engine.skipped"),
    ] {
        let common = settings::Engines { when_down, ..settings::Engines::default() };
        let (engines, _, _) = engines(&[engine("e", Kind::Clamd, "127.0.0.1:1")], &common);
        assert_eq!(codes(&ask(&engines, b"x").await.1), [code]);
    }
}

#[tokio::test]
async fn a_clean_verdict_is_remembered_for_the_octets_the_version_and_a_time() {
    let daemon = Daemon::start(Kind::Clamd).await;
    let (engines, clock, metrics) =
        engines(&[engine("e", Kind::Clamd, &daemon.address)], &settings::Engines::default());
    let remembered = |rows: &[Row]| rows[0].remembered;
    assert!(!remembered(&ask(&engines, b"hello").await.0));
    assert!(!remembered(&ask(&engines, b"hello").await.0), "no version is known yet: nothing is remembered");
    engines.tend().await;
    assert!(!remembered(&ask(&engines, b"hello").await.0));
    assert!(remembered(&ask(&engines, b"hello").await.0));
    assert!(!remembered(&ask(&engines, b"other").await.0));
    for _ in 0..2 {
        let (rows, outcome) = ask(&engines, b"EICAR").await;
        assert!(!remembered(&rows) && codes(&outcome) == ["malware.eicar-test"], "a find is always asked for again");
    }
    daemon.new_signatures();
    clock.advance(Span::seconds(61));
    engines.tend().await;
    assert!(!remembered(&ask(&engines, b"hello").await.0), "new signatures may know better");
    assert!(remembered(&ask(&engines, b"hello").await.0));
    clock.advance(Span::hours(2));
    assert!(!remembered(&ask(&engines, b"hello").await.0), "too long ago");
    assert_eq!(metrics.scans.with_label_values(&["e", "remembered"]).get(), 2);
}

#[tokio::test]
async fn two_that_disagree_are_counted() {
    let (a, b) = (Daemon::start(Kind::Clamd).await, Daemon::start(Kind::Clamd).await);
    b.blind();
    let list = [engine("a", Kind::Clamd, &a.address), engine("b", Kind::Clamd, &b.address)];
    let (engines, _, metrics) = engines(&list, &settings::Engines::default());
    let (_, outcome) = ask(&engines, b"EICAR").await;
    assert_eq!(codes(&outcome), ["malware.eicar-test", "engine.disagree"]);
    assert_eq!(metrics.catches.with_label_values(&["a"]).get(), 1);
    assert_eq!(metrics.misses.with_label_values(&["b"]).get(), 1);
}

#[tokio::test]
async fn no_more_questions_than_connections_at_one_time() {
    let daemon = Daemon::start(Kind::Clamd).await;
    let (engines, _, _) = engines(&[engine("e", Kind::Clamd, &daemon.address)], &settings::Engines::default());
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..50 {
        let engines = engines.clone();
        asked.spawn(async move { ask(&engines, format!("letter {n}").as_bytes()).await.1 });
    }
    while let Some(outcome) = asked.join_next().await {
        assert!(outcome.unwrap().findings.is_empty());
    }
    assert!(daemon.most.load(Ordering::SeqCst) <= 2, "two connections at most");
}

#[tokio::test]
async fn a_unix_socket_and_settings_that_stay_keep_what_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamd.ctl");
    let daemon = Daemon::start_unix(Kind::Clamd, &path).await;
    let list = [engine("e", Kind::Clamd, &daemon.address)];
    let (engines, _, _) = engines(&list, &settings::Engines::default());
    assert_eq!(ask(&engines, b"hello").await.0[0].outcome, Ok(Answer::Clean));
    engines.adopt(&list, &settings::Engines::default()).unwrap();
    assert_eq!(ask(&engines, b"hello").await.0[0].outcome, Ok(Answer::Clean));
    assert_eq!(
        daemon.connections.load(Ordering::SeqCst),
        2,
        "one for the descriptor that it did not take; a reload that changes nothing keeps the other"
    );
    engines.adopt(&[], &settings::Engines::default()).unwrap();
    assert!(ask(&engines, b"EICAR").await.0.is_empty());
    tokio::time::timeout(Duration::from_secs(30), engines.tend()).await.unwrap();
}
