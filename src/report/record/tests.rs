//! The log: whole, changed, cut, torn, over restarts.

use std::path::{Path, PathBuf};

use super::chain::{self, GENESIS, Head, Verified, Verifier};
use super::run::Lines;
use super::search::{Found, Query, search};
use super::*;
use crate::mail::{Span, Timestamp};
use crate::verdict::Action;
use crate::verdict::receipt::GroupReceipt;

const T0: Timestamp = Timestamp::from_seconds(1_795_302_082);

fn id(n: u128) -> MailId {
    MailId::new(T0, n)
}

fn receipt(n: u128, sender: &str, action: Action) -> Entry {
    let group = GroupReceipt {
        agency: "so-a".into(),
        direction: "in".into(),
        recipients: vec!["an@a.vn".into()],
        action,
        copy: None,
        would: None,
        score: 1.0,
        because: vec![],
        findings: vec![],
    };
    Entry::Receipt(Box::new(Receipt {
        id: id(n),
        time: T0.rfc3339(),
        client: "203.0.113.1:4000".into(),
        helo: "h".into(),
        tls: None,
        account: None,
        reached: Vec::new(),
        sender: sender.into(),
        recipients: vec!["an@a.vn".into()],
        message_id: format!("<{n}@x>"),
        subject_digest: String::new(),
        size_bytes: 1,
        auth: crate::inspect::AuthFacts::default(),
        smime: crate::inspect::SmimeFact::default(),
        parts: vec![],
        engines: Vec::new(),
        groups: vec![group],
        action,
        policy: "p".into(),
        timings: vec![],
        outcome: vec![],
    }))
}

fn delivered(n: u128) -> Entry {
    Entry::Outcome(Update { id: id(n), outcome: Outcome::new(T0, "delivered", vec![], "250 2.0.0 ok") })
}

fn log_of(entries: &[Entry]) -> String {
    let mut head = Head::default();
    entries.iter().map(|e| chain::seal(&mut head, T0, e).unwrap()).collect()
}

fn verify(text: &str) -> Verified {
    let mut verifier = Verifier::default();
    text.split_inclusive('\n').enumerate().for_each(|(i, line)| verifier.line(&format!("f:{}", i + 1), line));
    verifier.end()
}

fn faults(text: &str) -> Vec<String> {
    verify(text).faults
}

/// A folder of the test's own, and what its log proves.
fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("luytre-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn prove(folder: &Path) -> Verified {
    let mut verifier = Verifier::default();
    for line in Lines::open(folder, "").unwrap() {
        let line = line.unwrap();
        verifier.line(&line.place, &line.text);
    }
    verifier.end()
}

fn texts(folder: &Path, from: &str) -> Vec<String> {
    Lines::open(folder, from).unwrap().map(|line| line.unwrap().text).collect()
}

#[test]
fn a_whole_log_verifies_and_reads_back() {
    let entries =
        [receipt(1, "a@x.vn", Action::Tag), delivered(1), Entry::Note(Note { text: "\"hash\":\"x\"".into() })];
    let text = log_of(&entries);
    let result = verify(&text);
    assert_eq!((result.lines, result.faults.len(), result.torn), (3, 0, 0));
    let back: Vec<Entry> = text.lines().map(|l| chain::open(l).unwrap().entry).collect();
    assert_eq!(back, entries);
    assert!(text.starts_with(&format!("{{\"n\":1,\"prev\":\"{GENESIS}\"")));
}

#[test]
fn r37_a_changed_removed_or_swapped_line_is_found() {
    let text =
        log_of(&[receipt(1, "a@x.vn", Action::Tag), delivered(1), receipt(2, "b@x.vn", Action::Reject), delivered(2)]);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    assert_eq!(faults(&text.replace("a@x.vn", "c@x.vn")).len(), 1, "changed");
    assert_eq!(faults(&[lines[0], lines[2], lines[3]].concat()).len(), 1, "removed");
    assert!(!faults(&[lines[0], lines[2], lines[1], lines[3]].concat()).is_empty(), "swapped");
    assert!(!faults(&[lines[0], lines[0], lines[1]].concat()).is_empty(), "doubled");
    assert_eq!(faults(&[lines[2], lines[3]].concat()), Vec::<String>::new(), "old days may be gone");
    assert_eq!(faults(&lines[0].replace("\"n\":1", "\"n\":2")).len(), 1, "renumbered");
}

#[test]
fn a_torn_last_line_is_no_fault_but_a_torn_one_inside_is() {
    let text = log_of(&[receipt(1, "a@x.vn", Action::Tag), delivered(1)]);
    let cut = &text[..text.len() - 20];
    let result = verify(cut);
    assert_eq!((result.lines, result.torn, result.is_whole()), (1, 1, true));
    let inside = format!("{}\n{}", &text[..40], text);
    assert!(!faults(&inside).is_empty());
}

#[test]
fn the_chain_goes_on_over_restarts_and_after_a_crash() {
    let folder = scratch("log");
    let write = |entries: Vec<Entry>| {
        let log = Log::open(&folder, T0).unwrap();
        for entry in entries {
            log.write(T0, entry);
        }
        log.flush();
        assert_eq!((log.lost(), log.is_failing()), (0, false));
    };
    write(vec![receipt(1, "a@x.vn", Action::Deliver)]);
    write(vec![delivered(1)]);
    let file = run::files(&folder).unwrap().remove(0);
    // A crash in the middle of a line.
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("{\"n\":3,\"prev\":\"ab");
    std::fs::write(&file, &text).unwrap();
    write(vec![receipt(2, "b@x.vn", Action::Reject)]);
    let result = prove(&folder);
    assert_eq!((result.faults.clone(), result.lines, result.torn), (vec![], 4, 1));
    let found = search(texts(&folder, "").iter(), &Query { id: Some(id(1)), ..Query::default() });
    let [Found::Message(receipt)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(receipt.outcome.len(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_day_has_its_file_and_a_clock_that_goes_back_does_not_break_the_chain() {
    let folder = scratch("days");
    let log = Log::open(&folder, T0).unwrap();
    let day = crate::mail::Span::days(1);
    for at in [T0, T0 + day, T0, T0 + day + day] {
        log.write(at, delivered(1));
    }
    drop(log);
    assert_eq!(run::files(&folder).unwrap().len(), 3);
    let result = prove(&folder);
    assert_eq!((result.lines, result.begins, result.faults), (4, 1, vec![]));
    assert_eq!(texts(&folder, "2026-11-23").len(), 1, "days before are not read");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn messages_are_found_by_what_people_know_of_them() {
    let refusal = Refusal {
        id: id(9),
        time: T0.rfc3339(),
        client: "203.0.113.9:1".into(),
        helo: "h".into(),
        sender: "spam@y.test".into(),
        recipient: "nobody@a.vn".into(),
        reply: "550 5.1.1".into(),
    };
    let text = log_of(&[
        receipt(1, "a@x.vn", Action::Deliver),
        receipt(2, "b@y.test", Action::Quarantine),
        delivered(1),
        Entry::Refused(refusal),
    ]);
    let ask = |query: Query| search(text.lines(), &query).len();
    assert_eq!(ask(Query::default()), 3);
    assert_eq!(ask(Query { sender: Some("Y.TEST".into()), ..Query::default() }), 2);
    assert_eq!(ask(Query { recipient: Some("nobody".into()), ..Query::default() }), 1);
    assert_eq!(ask(Query { action: Some(Action::Quarantine), ..Query::default() }), 1);
    assert_eq!(ask(Query { since: Some("2026-11-22".into()), ..Query::default() }), 0);
    assert_eq!(ask(Query { until: Some("2026-11-21".into()), ..Query::default() }), 3);
    assert_eq!(ask(Query { message_id: Some("<2@x>".into()), ..Query::default() }), 1);
    assert_eq!(ask(Query { limit: Some(1), ..Query::default() }), 1);
}

#[test]
fn a_search_holds_no_more_than_is_wanted_and_keeps_the_newest() {
    let mut head = Head::default();
    let mut line = |entry: &Entry| chain::seal(&mut head, T0, entry).unwrap();
    let days = |n: u64| MailId::new(T0 + Span::days(n), u128::from(n));
    let log = (0..5000_u64).flat_map(|n| {
        let Entry::Receipt(mut one) = receipt(1, "a@x.vn", Action::Deliver) else { unreachable!() };
        (one.id, one.time) = (days(n), (T0 + Span::days(n)).rfc3339());
        let outcome = Outcome::new(T0, "delivered", vec![], "250 ok");
        [line(&Entry::Receipt(one)), line(&Entry::Outcome(Update { id: days(n), outcome }))]
    });
    let found = search(log, &Query { limit: Some(3), ..Query::default() });
    let ids: Vec<MailId> = found
        .iter()
        .map(|f| match f {
            Found::Message(r) if r.outcome.len() == 1 => r.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [days(4997), days(4998), days(4999)]);
    assert_eq!(Query { id: Some(days(3)), ..Query::default() }.from_day(), "2026-11-23");
    assert_eq!(Query { since: Some("2026-11-23T08".into()), ..Query::default() }.from_day(), "2026-11-23");
    assert_eq!(Query::default().from_day(), "");
}

#[test]
fn r37_old_days_go_and_the_log_says_so_itself() {
    let folder = scratch("expiry");
    let day = Span::days(1);
    let log = Log::open(&folder, T0).unwrap();
    for n in 0..5 {
        log.write(T0 + Span::days(n), delivered(1));
    }
    log.flush();
    let now = T0 + Span::days(4);
    log.expire(now, Span::days(2));
    log.flush();
    assert_eq!(run::files(&folder).unwrap().len(), 3, "two whole days and today");
    let result = prove(&folder);
    assert_eq!((result.begins, result.by_age, result.lines, result.faults), (3, true, 4, vec![]));
    // The same again changes nothing; and the newest file stays whatever its age.
    log.expire(now, Span::days(2));
    log.expire(now + Span::days(1000), day);
    log.flush();
    assert_eq!(run::files(&folder).unwrap().len(), 2, "and the note's own");
    drop(log);
    // Back again with a clock that went back: the chain goes on where it ended.
    let log = Log::open(&folder, now).unwrap();
    log.write(now, delivered(2));
    drop(log);
    let result = prove(&folder);
    assert!(result.is_whole() && result.by_age, "{result:?}");
    // Removed by hand, nothing explains it.
    std::fs::remove_file(run::files(&folder).unwrap().remove(0)).unwrap();
    let result = prove(&folder);
    assert!(result.is_whole() && !result.by_age && result.begins > 1, "{result:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_cannot_be_written_waits_and_is_told() {
    let folder = scratch("full");
    let log = Log::open(&folder, T0).unwrap();
    // A folder in the place of the day's file: nothing can be written there, by root neither.
    let place = folder.join("2026-11-21.jsonl");
    std::fs::create_dir(&place).unwrap();
    log.write(T0, delivered(1));
    log.flush();
    assert_eq!((log.is_failing(), log.lost()), (true, 0));
    std::fs::remove_dir(&place).unwrap();
    log.write(T0, delivered(2));
    log.flush();
    assert_eq!((log.is_failing(), log.lost()), (false, 0));
    let result = prove(&folder);
    assert_eq!((result.lines, result.faults), (2, vec![]));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_line_without_an_end_is_passed_over_in_bounded_memory_and_the_end_is_found_from_behind() {
    let folder = scratch("endless");
    std::fs::create_dir_all(&folder).unwrap();
    let good = log_of(&[delivered(1)]);
    let text = [vec![b'x'; 20 << 20], b"\n".to_vec(), good.into_bytes(), vec![b'y'; 1 << 20]].concat();
    std::fs::write(folder.join("2026-11-21.jsonl"), text).unwrap();
    let lines: Vec<String> = texts(&folder, "");
    assert_eq!((lines.len(), lines[0].len(), lines[2].len()), (3, 8 << 20, 1 << 20));
    let log = Log::open(&folder, T0).unwrap();
    log.write(T0, delivered(2));
    drop(log);
    let result = prove(&folder);
    assert_eq!((result.lines, result.head.number, result.torn), (3, 3, 1), "{:?}", result.faults);
    std::fs::remove_dir_all(&folder).unwrap();
}
