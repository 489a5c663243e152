//! What may still be unpacked from one message: octets, files, density and time, for all its containers together.
//! Whoever opens a container draws on it; what does not fit is left out and said to be left out (`unpack.limit`).

use std::io::Read;

use super::super::Limits;
use super::passwords::Passwords;
use crate::env::Clock;
use crate::mail::Span;

/// What unpacks to less may be as dense as it likes: logs and tables of honest people are 300 times smaller when packed,
/// and this much harms nobody, for all of a message is bounded by octets and time too.
const DENSE_FREE: usize = 32 << 20;
/// Pixels of one message that are searched for codes.
const PIXELS: usize = 24_000_000;
/// How much is unpacked between two looks at the clock, and by how much a member that grows is given more room at most:
/// twice as much as it has would be half of the cage for the last octets of a large one.
const CHUNK: usize = 32 << 10;
const GROWTH: usize = 8 << 20;
/// The most memory that a decoder may ask for its window: what 7-Zip's highest level uses.
pub const WINDOW: usize = 64 << 20;

/// What may still be unpacked from this message.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: usize,
    files: usize,
    ratio: usize,
    /// Of pictures that are searched for codes.
    pixels: usize,
    /// Memory that must be left before anything is opened: what any one reader, or check, may ask for without asking whether
    /// it is there.
    reserve: usize,
    /// When the time began, and how much there is.
    time: Option<(Clock, Span, Span)>,
    /// What encrypted members are tried with.
    pub(super) passwords: Passwords,
}

/// Why reading a member ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    End,
    Broken,
    /// Too many octets out for one in.
    Bomb,
    /// The message's budget is spent: octets, files or time.
    Full,
}

impl Budget {
    /// Without a limit of time.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            bytes: limits.archive_bytes.as_usize(),
            files: limits.archive_files,
            ratio: usize::try_from(limits.archive_ratio).unwrap_or(usize::MAX),
            pixels: PIXELS,
            reserve: limits.memory.as_usize() / 3,
            time: None,
            passwords: Passwords::default(),
        }
    }

    /// Whether so much memory can be had, and enough is left for others. Where the cage's limit is reached an allocation ends
    /// the process, so that who needs much asks first. Outside of the cage there is room.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        // Address space is what is limited; asked for and given back untouched, it costs two system calls.
        Vec::<u8>::new().try_reserve_exact(self.reserve.saturating_add(bytes)).is_ok()
    }

    /// Whether so many pixels may still be searched for codes.
    #[must_use]
    pub fn has_pixels(&self, count: usize) -> bool {
        count <= self.pixels && !self.is_late()
    }

    /// Counts them.
    pub fn take_pixels(&mut self, count: usize) -> bool {
        let fits = self.has_pixels(count);
        self.pixels = self.pixels.saturating_sub(count);
        fits
    }

    /// Nothing is unpacked any more when `clock` has gone on by `time`.
    #[must_use]
    pub fn within(mut self, clock: Clock, time: Span) -> Self {
        let now = clock.uptime();
        self.time = Some((clock, now, time));
        self
    }

    /// What encrypted members are tried with.
    #[must_use]
    pub fn with_passwords(mut self, passwords: Passwords) -> Self {
        self.passwords = passwords;
        self
    }

    /// The passwords, in the order they are to be tried.
    pub fn passwords(&self) -> impl Iterator<Item = &str> {
        self.passwords.iter()
    }

    /// Further texts of the message that may name a password: of letters and notes inside it.
    pub fn learn(&mut self, texts: &[&str]) {
        self.passwords.learn(texts);
    }

    /// The time is over.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.time.as_ref().is_some_and(|(clock, since, time)| clock.uptime() >= since.plus(*time))
    }

    /// Passwords may still be tried: they get half of the time, so that what is open is seen whatever is not.
    #[must_use]
    pub fn may_guess(&self) -> bool {
        let half = |time: &Span| Span::millis(time.as_millis() / 2);
        self.time.as_ref().is_none_or(|(clock, since, time)| clock.uptime() < since.plus(half(time)))
    }

    /// Nothing more can be taken.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.bytes == 0 || self.files == 0 || self.is_late()
    }

    /// How many octets may still be unpacked.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many files may still be unpacked.
    #[must_use]
    pub const fn files(&self) -> usize {
        self.files
    }

    /// The most octets that may come out of `packed` ones.
    #[must_use]
    pub fn dense(&self, packed: usize) -> usize {
        packed.saturating_mul(self.ratio).max(DENSE_FREE)
    }

    /// A budget of so many octets and files.
    #[cfg(test)]
    pub(super) fn small(bytes: usize, files: usize) -> Self {
        Self { bytes, files, ratio: 200, pixels: PIXELS, reserve: 0, time: None, passwords: Passwords::default() }
    }

    /// Room for one file of `length` octets.
    pub fn take(&mut self, length: usize) -> bool {
        let (Some(bytes), Some(files)) = (self.bytes.checked_sub(length), self.files.checked_sub(1)) else {
            return false;
        };
        (self.bytes, self.files) = (bytes, files);
        true
    }

    /// A member that lies in `data` as it is; empty when there is no room for it.
    pub fn copy(&mut self, data: &[u8]) -> (Vec<u8>, Stop) {
        if self.is_late() || !self.take(data.len()) {
            return (Vec::new(), Stop::Full);
        }
        (data.to_vec(), Stop::End)
    }

    /// Reads `source` as one file that came from `packed` octets. What could be read before an error or a limit is
    /// kept: a client may show it.
    pub fn read(&mut self, source: impl Read, packed: usize) -> (Vec<u8>, Stop) {
        let (out, stop) = self.peek(source, packed);
        let counted = self.take(out.len());
        (out, if counted { stop } else { Stop::Full })
    }

    /// Like [`Self::read`], for octets that are no file by themselves and are not counted as one: a header, a step
    /// between two codings. They live only as long as the caller keeps them.
    pub fn peek(&self, mut source: impl Read, packed: usize) -> (Vec<u8>, Stop) {
        let dense = self.dense(packed);
        let cap = self.bytes.min(dense);
        let (mut out, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        let stop = loop {
            if self.is_late() {
                break Stop::Full;
            }
            match source.read(&mut chunk) {
                Ok(0) => break Stop::End,
                // The cage's memory is bounded: what cannot be held is over the limit, not the end of the process.
                Ok(got) if !grow(&mut out, got) => break Stop::Full,
                Ok(got) => out.extend_from_slice(chunk.get(..got).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::OutOfMemory => break Stop::Full,
                Err(_) => break Stop::Broken,
            }
            if out.len() > cap {
                out.truncate(cap);
                break if cap == dense { Stop::Bomb } else { Stop::Full };
            }
        };
        (out, stop)
    }
}

/// Room for `more` octets; false when it cannot be had.
fn grow(out: &mut Vec<u8>, more: usize) -> bool {
    let step = out.capacity().clamp(CHUNK, GROWTH).max(more);
    out.capacity() - out.len() >= more || out.try_reserve_exact(step).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_holds_little_more_memory_than_octets() {
        let (out, stop) = Budget::small(100 << 20, 1).peek(std::io::repeat(b'a').take(35 << 20), 1 << 20);
        assert_eq!((out.len(), stop), (35 << 20, Stop::End));
        assert!(out.capacity() <= out.len() + GROWTH, "{}", out.capacity());
    }

    #[test]
    fn there_is_no_room_for_more_than_there_can_be() {
        let mut budget = Budget::small(1, 1);
        assert!(budget.has_room(1 << 20));
        assert!(!budget.has_room(usize::MAX));
        budget.reserve = usize::MAX;
        assert!(!budget.has_room(0));
    }
}
