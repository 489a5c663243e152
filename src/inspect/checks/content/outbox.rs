//! Octets on their way out of the cage: parts for the virus engines, a rewritten message. A check puts them into the
//! [`Outbox`] of its view; they lie in memory that the main process handed in and seals before it reads
//! (DESIGN §5a). The same octets leave once, however often a message carries them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::io::Write;

use sha2::{Digest as _, Sha256};

use super::{Object, Origin, View};
use crate::inspect::case::{Outgoing, OutgoingKind, WantsParts};
use crate::inspect::{ContentFacts, Finding};
use crate::mail::mime::Tree;

/// Where a check leaves octets for the main process. Closed where nobody wants any: then nothing is ever in it.
pub struct Outbox(RefCell<State>);

struct State {
    sink: Option<Box<dyn Write>>,
    room: u64,
    items_left: usize,
    offset: u64,
    items: Vec<Outgoing>,
    seen: HashSet<String>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.borrow();
        write!(f, "Outbox({} items, {} octets)", state.items.len(), state.offset)
    }
}

impl Outbox {
    /// Takes at most `room` octets in at most `items` pieces, written one behind the other to `sink`.
    #[must_use]
    pub fn open(sink: Box<dyn Write>, room: u64, items: usize) -> Self {
        Self::of(Some(sink), room, items)
    }

    #[must_use]
    pub fn closed() -> Self {
        Self::of(None, 0, 0)
    }

    fn of(sink: Option<Box<dyn Write>>, room: u64, items_left: usize) -> Self {
        Self(RefCell::new(State { sink, room, items_left, offset: 0, items: Vec::new(), seen: HashSet::new() }))
    }

    /// Whether anything put in here gets out. False: do not even make it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.borrow().sink.is_some()
    }

    /// Hands a message written anew out; false when it does not fit, and then nothing of it leaves.
    pub fn put(&self, kind: OutgoingKind, path: &str, data: &[u8]) -> bool {
        self.put_at(WantsParts::None, kind, path, data)
    }

    /// As [`Self::put`], for the engines that want `level`. `path` as in the list of parts. Octets that were put before
    /// keep the level of then: put lower levels first.
    fn put_at(&self, level: WantsParts, kind: OutgoingKind, path: &str, data: &[u8]) -> bool {
        let sha256: String = Sha256::digest(data).iter().map(|b| format!("{b:02x}")).collect();
        let mut state = self.0.borrow_mut();
        if kind != OutgoingKind::Message && state.seen.contains(&sha256) {
            return true;
        }
        let length = data.len() as u64;
        let Some(room) = state.room.checked_sub(length).filter(|_| state.items_left > 0) else { return false };
        let Some(sink) = state.sink.as_mut() else { return false };
        if sink.write_all(data).is_err() {
            // Where it broke off is not known: nothing more leaves.
            state.sink = None;
            return false;
        }
        let offset = state.offset;
        (state.room, state.items_left, state.offset) = (room, state.items_left - 1, offset + length);
        state.seen.insert(sha256.clone());
        state.items.push(Outgoing { kind, level, offset, length, sha256, path: path.to_owned() });
        true
    }

    /// What left, in order.
    #[must_use]
    pub fn into_items(self) -> Vec<Outgoing> {
        self.0.into_inner().items
    }
}

/// So many containers down, engines may have met limits of their own before they saw everything.
const DEEP: usize = 3;

/// Hands the objects of a message to the engines, as far as they want them. What does not fit is a finding: an engine
/// that did not see everything has not said "clean".
pub fn put_parts(view: &View<'_>, wants: WantsParts, facts: &mut ContentFacts) {
    if wants == WantsParts::None {
        return;
    }
    let mut wanted: Vec<(WantsParts, &Object<'_>)> =
        view.objects.iter().filter(|o| !o.data.is_empty()).map(|o| (level(o, view), o)).collect();
    wanted.retain(|(level, _)| *level <= wants);
    // Those that most engines want come first, each level in the order of the message.
    wanted.sort_by_key(|(level, _)| *level);
    let mut left_out = 0_usize;
    for (level, object) in wanted {
        let kind = if object.origin == Origin::Member { OutgoingKind::Member } else { OutgoingKind::Part };
        if !view.outbox.put_at(level, kind, &object.path, &object.data) {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let detail = format!("{left_out} parts did not fit into what the engines are shown");
        facts.findings.push(Finding::unknown("engine.limit", "").with(detail));
    }
}

/// Whether a container around `object` was opened with a word of the message: the finding names it first.
fn is_behind_a_password(object: &Object<'_>, unpacked: &[Finding]) -> bool {
    object.origin == Origin::Member
        && unpacked.iter().filter(|f| f.code == "archive.password_in_text").any(|f| {
            let inside = |(at, _): (usize, &str)| {
                let container = object.path.get(..at).unwrap_or_default();
                f.detail.strip_prefix(container).is_some_and(|rest| rest.starts_with(": "))
            };
            object.path.match_indices('/').any(inside)
        })
}

/// From which level on engines are shown an object.
fn level(object: &Object<'_>, view: &View<'_>) -> WantsParts {
    if object.origin == Origin::Reading || object.depth >= DEEP || is_behind_a_password(object, view.unpacked) {
        WantsParts::Hidden
    } else if object.origin == Origin::Member {
        WantsParts::Opened
    } else if is_letter(object, view.tree) {
        WantsParts::All
    } else {
        WantsParts::Attached
    }
}

/// The text of the letter itself, shown by every client without a click: plain text or HTML by name and by content, not
/// attached, not in a message that is attached.
fn is_letter(object: &Object<'_>, tree: &Tree<'_>) -> bool {
    let is_text = object.origin == Origin::Part
        && object.depth == 0
        && object.names.is_empty()
        && matches!(object.declared.as_str(), "" | "text/plain" | "text/html")
        && object.kind.starts_with("text/");
    let mut part = tree.parts.iter().find(|part| is_text && part.path == object.path);
    if part.is_none_or(|part| part.disposition == "attachment") {
        return false;
    }
    // The message itself may stand at the top; one below it is attached.
    for _ in 0..tree.parts.len() {
        let Some(above) = part.and_then(|part| part.parent).and_then(|at| tree.parts.get(at)) else { return true };
        if above.is_message() {
            return false;
        }
        part = Some(above);
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, seen from outside.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_same_octets_leave_once_and_lie_where_it_says() {
        let paper = Paper::default();
        let outbox = Outbox::open(Box::new(paper.clone()), 100, 10);
        assert!(outbox.is_open());
        assert!(outbox.put(OutgoingKind::Part, "1", b"first"));
        assert!(outbox.put(OutgoingKind::Member, "2/a", b"first"), "it is out already");
        assert!(outbox.put(OutgoingKind::Member, "2/b", b"second"));
        assert!(outbox.put(OutgoingKind::Message, "", b"second"), "a message is a message");
        let items = outbox.into_items();
        let spans: Vec<(u64, u64)> = items.iter().map(|i| (i.offset, i.length)).collect();
        assert_eq!(spans, [(0, 5), (5, 6), (11, 6)]);
        assert_eq!(*paper.0.lock().unwrap(), b"firstsecondsecond");
    }

    #[test]
    fn what_does_not_fit_stays_in_whole() {
        let paper = Paper::default();
        let outbox = Outbox::open(Box::new(paper.clone()), 6, 2);
        assert!(outbox.put(OutgoingKind::Part, "1", b"four"));
        assert!(!outbox.put(OutgoingKind::Part, "2", b"three"));
        assert!(outbox.put(OutgoingKind::Part, "3", b"up"));
        assert!(!outbox.put(OutgoingKind::Part, "4", b""), "two pieces are all");
        assert_eq!(outbox.into_items().len(), 2);
        assert_eq!(*paper.0.lock().unwrap(), b"fourup");
        let closed = Outbox::closed();
        assert!(!closed.is_open() && !closed.put(OutgoingKind::Part, "1", b"x"));
    }
}
