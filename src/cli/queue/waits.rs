//! What a message waits for, in one sentence, in the operator's language.

use crate::cli::say;
use crate::deliver::Standing;
use crate::mail::{Language, Span, Timestamp};
use crate::spool::Job;

/// For operators: what happens next with this message and why it has not happened yet. `standing` is what the running
/// gateway says; `None` when it is down and only the files speak.
#[must_use]
pub fn waits_for(job: &Job, standing: Option<&Standing>, now: Timestamp, language: Language) -> String {
    let about = |span| about(span, language);
    let said = match standing {
        _ if job.held => say(
            language,
            "Người vận hành đang giữ; thư chưa đi đâu cho đến khi chạy `luytre queue hold --release`",
            "Held by an operator; it goes nowhere until `luytre queue hold --release`",
        )
        .to_owned(),
        Some(Standing::NoRoute) => say(
            language,
            "Cơ quan của thư này không có máy chủ nhận (next_hops) trong cấu hình",
            "Its agency has no next hop in the configuration (next_hops)",
        )
        .to_owned(),
        Some(Standing::Host { reason, down, again }) => {
            let (reason, down, again) = (sentence(reason), about(*down), about(*again));
            match language {
                Language::Vi => format!(
                    "Chờ máy chủ của cơ quan, đã không trả lời {down} ({reason}); sẽ hỏi lại sau {again}, được thì thư đi"
                ),
                Language::En => format!(
                    "Waits for its agency's server, which has not answered for {down} ({reason}); it is asked again in \
                     {again}, and then the message goes"
                ),
            }
        }
        Some(Standing::Turn { ahead: 0 }) => {
            say(language, "Đến lượt kế tiếp của máy chủ đích", "Is next in line for its destination").to_owned()
        }
        Some(Standing::Turn { ahead }) => match language {
            Language::Vi => format!("Chờ đến lượt, sau {ahead} thư cũ hơn cùng nơi đến"),
            Language::En => format!("Waits for its turn, behind {ahead} older messages for the same destination"),
        },
        Some(Standing::Time) | None => by_time(job, now, language),
    };
    let age = about(now.since(job.meta.received_at));
    match language {
        Language::Vi => format!("{said} (nhận cách đây {age})."),
        Language::En => format!("{said} (taken {age} ago)."),
    }
}

/// It waits for its own next attempt.
fn by_time(job: &Job, now: Timestamp, language: Language) -> String {
    let (attempt, count) = (job.tries.saturating_add(1), job.pending.len());
    let left = match (language, count) {
        (Language::Vi, n) => format!("{n} người nhận"),
        (Language::En, 1) => "its recipient".to_owned(),
        (Language::En, n) => format!("{n} recipients"),
    };
    let last = job.pending.iter().map(|pending| pending.last.trim()).find(|last| !last.is_empty()).map(sentence);
    let why = match (language, last) {
        (_, None) => String::new(),
        (Language::Vi, Some(last)) => format!("; trả lời gần nhất: {last}"),
        (Language::En, Some(last)) => format!("; the last answer was: {last}"),
    };
    let wait = about(job.next_attempt.since(now), language);
    match (language, job.next_attempt <= now) {
        (Language::Vi, true) => format!("Đến hạn: lần thử {attempt} cho {left} sắp hoặc đang chạy{why}"),
        (Language::En, true) => format!("Due now: attempt {attempt} for {left} is next in line or under way{why}"),
        (Language::Vi, false) => format!("Chờ {wait} đến lần thử {attempt} cho {left}{why}"),
        (Language::En, false) => format!("Waits {wait} for attempt {attempt} to reach {left}{why}"),
    }
}

fn sentence(text: &str) -> &str {
    text.trim().trim_end_matches('.')
}

/// A span as people say it: "5 s", "12 min", "3 h", "2 days".
fn about(span: Span, language: Language) -> String {
    let seconds = span.as_seconds();
    let (count, vi, en) = match seconds {
        0..120 => (seconds, "giây", "s"),
        120..7200 => (seconds / 60, "phút", "min"),
        7200..172_800 => (seconds / 3600, "giờ", "h"),
        _ => (seconds / 86_400, "ngày", "days"),
    };
    format!("{count} {}", say(language, vi, en))
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
        let said = |job: &Job, standing: Option<&Standing>, language| {
            waits_for(job, standing, Timestamp::from_seconds(7700), language)
        };
        assert_eq!(
            said(&job("451 4.3.2 try later."), None, Language::En),
            "Waits 5 min for attempt 3 to reach its recipient; the last answer was: 451 4.3.2 try later (taken 2 h ago)."
        );
        assert_eq!(
            said(&job(""), Some(&Standing::Time), Language::Vi),
            "Chờ 5 phút đến lần thử 3 cho 1 người nhận (nhận cách đây 2 giờ)."
        );
        let due = waits_for(&job(""), None, Timestamp::from_seconds(8000), Language::En);
        assert_eq!(due, "Due now: attempt 3 for its recipient is next in line or under way (taken 2 h ago).");
        let held = Job { held: true, ..job("x") };
        assert!(said(&held, Some(&Standing::NoRoute), Language::En).starts_with("Held by an operator"));
        let down = Standing::Host {
            reason: "cannot connect: refused.".to_owned(),
            down: Span::hours(3),
            again: Span::minutes(4),
        };
        assert_eq!(
            said(&job(""), Some(&down), Language::En),
            "Waits for its agency's server, which has not answered for 3 h (cannot connect: refused); it is asked again \
             in 4 min, and then the message goes (taken 2 h ago)."
        );
        assert!(said(&job(""), Some(&down), Language::Vi).contains("đã không trả lời 3 giờ"));
        assert!(said(&job(""), Some(&Standing::Turn { ahead: 7 }), Language::En).contains("behind 7 older messages"));
        assert!(said(&job(""), Some(&Standing::Turn { ahead: 0 }), Language::Vi).contains("lượt kế tiếp"));
    }
}
