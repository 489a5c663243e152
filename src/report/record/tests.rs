//! The log: whole, changed, cut, torn, over restarts.

use super::chain::{self, GENESIS, Head, verify};
use super::search::{Found, Query, search};
use super::*;
use crate::mail::Timestamp;
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
        sender: sender.into(),
        recipients: vec!["an@a.vn".into()],
        message_id: format!("<{n}@x>"),
        subject_digest: String::new(),
        size_bytes: 1,
        auth: crate::inspect::AuthFacts::default(),
        smime: crate::inspect::SmimeFact::default(),
        parts: vec![],
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

fn faults(text: &str) -> Vec<String> {
    verify([("f", text)].into_iter()).faults
}

#[test]
fn a_whole_log_verifies_and_reads_back() {
    let entries =
        [receipt(1, "a@x.vn", Action::Tag), delivered(1), Entry::Note(Note { text: "\"hash\":\"x\"".into() })];
    let text = log_of(&entries);
    let result = verify([("f", text.as_str())].into_iter());
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
    let result = verify([("f", cut)].into_iter());
    assert_eq!((result.lines, result.torn, result.is_whole()), (1, 1, true));
    let inside = format!("{}\n{}", &text[..40], text);
    assert!(!faults(&inside).is_empty());
}

#[test]
fn the_chain_goes_on_over_restarts_and_after_a_crash() {
    let folder =
        std::env::temp_dir().join(format!("luytre-log-{}-{:?}", std::process::id(), std::thread::current().id()));
    let _ = std::fs::remove_dir_all(&folder);
    let write = |entries: Vec<Entry>| {
        let log = Log::open(&folder, T0).unwrap();
        for entry in entries {
            log.write(T0, entry);
        }
        log.flush();
        assert_eq!((log.lost(), log.failing()), (0, 0));
    };
    write(vec![receipt(1, "a@x.vn", Action::Deliver)]);
    write(vec![delivered(1)]);
    let file = run::files(&folder).unwrap().remove(0);
    // A crash in the middle of a line.
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("{\"n\":3,\"prev\":\"ab");
    std::fs::write(&file, &text).unwrap();
    write(vec![receipt(2, "b@x.vn", Action::Reject)]);
    let texts = run::texts(&folder).unwrap();
    let result = verify(texts.iter().map(|(n, t)| (n.as_str(), t.as_str())));
    assert_eq!((result.faults.clone(), result.lines, result.torn), (vec![], 4, 1));
    let found = search(texts.iter().map(|(_, t)| t.as_str()), &Query { id: Some(id(1)), ..Query::default() });
    let [Found::Message(receipt)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(receipt.outcome.len(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_day_has_its_file_and_a_clock_that_goes_back_does_not_break_the_chain() {
    let folder =
        std::env::temp_dir().join(format!("luytre-days-{}-{:?}", std::process::id(), std::thread::current().id()));
    let _ = std::fs::remove_dir_all(&folder);
    let log = Log::open(&folder, T0).unwrap();
    let day = crate::mail::Span::days(1);
    for at in [T0, T0 + day, T0, T0 + day + day] {
        log.write(at, delivered(1));
    }
    drop(log);
    let texts = run::texts(&folder).unwrap();
    assert_eq!(texts.len(), 3);
    let result = verify(texts.iter().map(|(n, t)| (n.as_str(), t.as_str())));
    assert_eq!((result.lines, result.faults), (4, vec![]));
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
    let ask = |query: Query| search([text.as_str()].into_iter(), &query).len();
    assert_eq!(ask(Query::default()), 3);
    assert_eq!(ask(Query { sender: Some("Y.TEST".into()), ..Query::default() }), 2);
    assert_eq!(ask(Query { recipient: Some("nobody".into()), ..Query::default() }), 1);
    assert_eq!(ask(Query { action: Some(Action::Quarantine), ..Query::default() }), 1);
    assert_eq!(ask(Query { since: Some("2026-11-22".into()), ..Query::default() }), 0);
    assert_eq!(ask(Query { until: Some("2026-11-21".into()), ..Query::default() }), 3);
    assert_eq!(ask(Query { message_id: Some("<2@x>".into()), ..Query::default() }), 1);
    assert_eq!(ask(Query { limit: Some(1), ..Query::default() }), 1);
}
