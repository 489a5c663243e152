//! Mailboxes in one file (mbox, RFC 4155): each message opened as a mail program would.

use memchr::memmem;

use super::super::report::{Found, Report, Role};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

const MESSAGES: usize = 500;

/// A line `From ` with an address and a year, then a header field.
pub fn is_mailbox(object: &Object<'_>) -> bool {
    let head = object.data.get(..object.data.len().min(2048)).unwrap_or_default();
    let mut lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.next().unwrap_or_default();
    let field = lines.next().and_then(|line| line.split(|b| *b == b':').next().filter(|name| name.len() < line.len()));
    first.starts_with(b"From ")
        && first.iter().any(u8::is_ascii_digit)
        && field.is_some_and(|name| !name.is_empty() && name.iter().all(|b| b.is_ascii_graphic()))
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data = &*object.data;
    // A message ends where another such line stands behind an empty one.
    let mut starts: Vec<usize> = memmem::find_iter(data, b"\n\nFrom ").map(|at| at + 2).collect();
    starts.extend(memmem::find_iter(data, b"\r\n\r\nFrom ").map(|at| at + 4));
    starts.push(0);
    starts.sort_unstable();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([data.len()]).collect();
    let mut found = Vec::new();
    for (start, end) in starts.into_iter().zip(ends) {
        let message = data.get(start..end).unwrap_or_default();
        let line = memchr::memchr(b'\n', message).map_or(message.len(), |at| at + 1);
        let message = message.get(line..).unwrap_or_default();
        if found.len() >= MESSAGES || !budget.take(message.len()) {
            report.say("unpack.limit", "not every message of the mailbox was opened");
            break;
        }
        found.push(Found { name: format!("message {}", found.len() + 1), data: message.to_vec(), role: Role::Entity });
    }
    found
}
