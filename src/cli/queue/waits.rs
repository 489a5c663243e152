//! What a message waits for, in one sentence.

use crate::mail::{Span, Timestamp};
use crate::spool::Job;

/// For operators: what happens next with this message and why it has not happened yet.
#[must_use]
pub fn waits_for(job: &Job, now: Timestamp) -> String {
    let age = about(now.since(job.meta.received_at));
    if job.held {
        return format!("Held by an operator; it goes nowhere until `luytre queue hold --release` (taken {age} ago).");
    }
    let left = match job.pending.len() {
        1 => "its recipient".to_owned(),
        n => format!("{n} recipients"),
    };
    let last = job.pending.iter().map(|pending| pending.last.trim()).find(|last| !last.is_empty());
    let why = match last {
        Some(last) => format!("; the last answer was: {}", last.trim_end_matches('.')),
        None => String::new(),
    };
    let attempt = job.tries.saturating_add(1);
    if job.next_attempt <= now {
        return format!("Due now: attempt {attempt} for {left} is next in line or under way{why} (taken {age} ago).");
    }
    let wait = about(job.next_attempt.since(now));
    format!("Waits {wait} for attempt {attempt} to reach {left}{why} (taken {age} ago).")
}

/// A span as people say it: "5 s", "12 min", "3 h", "2 days".
fn about(span: Span) -> String {
    let seconds = span.as_seconds();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Destination, MailId, MailParams, ParcelMeta, ReversePath};
    use crate::spool::{JobKey, Pending};

    fn job(last: &str) -> Job {
        let meta = ParcelMeta {
            id: MailId::from_u128(1),
            received_at: Timestamp::from_seconds(0),
            sender: ReversePath::Null,
            recipients: vec![],
            destination: Destination::Agency("so-tttt".parse().unwrap()),
            params: MailParams::default(),
            sender_authenticated: true,
            subject: String::new(),
        };
        let pending = vec![Pending { recipient: 0, mailbox: "a@b.vn".parse().unwrap(), last: last.to_owned() }];
        Job {
            key: JobKey(1),
            meta,
            pending,
            size_bytes: 1,
            tries: 2,
            next_attempt: Timestamp::from_seconds(8000),
            held: false,
            warned: false,
        }
    }

    #[test]
    fn a_sentence_says_when_what_and_why() {
        let now = Timestamp::from_seconds(7700);
        let said = waits_for(&job("451 4.3.2 try later."), now);
        assert_eq!(
            said,
            "Waits 5 min for attempt 3 to reach its recipient; the last answer was: 451 4.3.2 try later (taken 2 h ago)."
        );
        let due = waits_for(&job(""), Timestamp::from_seconds(8000));
        assert_eq!(due, "Due now: attempt 3 for its recipient is next in line or under way (taken 2 h ago).");
        assert!(waits_for(&Job { held: true, ..job("x") }, now).starts_with("Held by an operator"));
    }
}
