//! What an agency's server means by its answer to RCPT TO when only asked, without a message.
//!
//! Only a plain "no such mailbox" counts as one. A server that refuses the null sender, wants a login, is full or
//! busy has said nothing about the mailbox.

use crate::envelope::known::Answer;
use crate::mail::Reply;

/// The meaning of the answer to RCPT TO.
#[must_use]
pub fn meaning(reply: &Reply) -> Answer {
    match (reply.code(), reply.enhanced()) {
        _ if reply.is_positive() => Answer::Exists,
        // RFC 3463 §3.2: bad destination mailbox address, moved, not valid. Exchange, MDaemon and Postfix say these.
        (550 | 551 | 553 | 554, "5.1.0" | "5.1.1" | "5.1.2" | "5.1.3" | "5.1.6" | "5.1.10" | "5.4.1") => {
            Answer::Unknown
        }
        // RFC 5321 §4.2.3: 550 and 551 without enhanced code (qmail, Domino) are about the mailbox.
        (550 | 551, "") => Answer::Unknown,
        _ => Answer::Unsure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3463_3_2_only_a_mailbox_that_is_not_there_is_unknown() {
        let check = |code, enhanced: &'static str, expected| {
            assert_eq!(meaning(&Reply::new(code, enhanced, "x")), expected, "{code} {enhanced}");
        };
        check(250, "2.1.5", Answer::Exists);
        check(251, "", Answer::Exists);
        check(550, "5.1.1", Answer::Unknown);
        check(550, "5.1.10", Answer::Unknown);
        check(550, "", Answer::Unknown);
        check(550, "5.7.1", Answer::Unsure);
        check(550, "5.2.1", Answer::Unsure);
        check(552, "5.2.2", Answer::Unsure);
        check(530, "5.7.0", Answer::Unsure);
        check(450, "4.1.1", Answer::Unsure);
        check(451, "4.7.1", Answer::Unsure);
    }
}
