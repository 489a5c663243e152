//! `compress` (.Z): LZW with codes of 9 to 16 bits that come in groups of eight.

use super::{Budget, Stop};

/// Code that empties the table, in block mode.
const CLEAR: usize = 256;
/// The longest string one code stands for, and what the table can hold.
const CODES: usize = 1 << 16;

/// Everything that the octets after the magic unpack to.
pub(super) fn unpack(data: &[u8], budget: &Budget) -> (Vec<u8>, Stop) {
    let Some(flags) = data.get(2) else { return (Vec::new(), Stop::Broken) };
    let (most, block) = (u32::from(flags & 0x1F), flags & 0x80 != 0);
    if !(9..=16).contains(&most) {
        return (Vec::new(), Stop::Broken);
    }
    let mut codes = Codes { data: data.get(3..).unwrap_or_default(), bit: 0, group: 0, width: 9 };
    let first = if block { CLEAR + 1 } else { CLEAR };
    let mut table = Table { prefix: vec![0; CODES], last: vec![0; CODES], next: first };
    let (mut out, mut before): (Vec<u8>, Option<usize>) = (Vec::new(), None);
    let (dense, mut string) = (budget.dense(data.len()), Vec::new());
    let cap = budget.bytes().min(dense);
    while let Some(code) = codes.next() {
        if block && code == CLEAR {
            table.next = first;
            codes.restart();
            before = None;
            continue;
        }
        if !table.spell(code, before, &mut string) {
            return (out, Stop::Broken);
        }
        out.extend(string.iter().rev());
        if let (Some(prefix), Some(head)) = (before, string.last()) {
            table.add(prefix, *head, 1 << most);
        }
        before = Some(code);
        if table.next >= 1 << codes.width && codes.width < most {
            codes.widen();
        }
        if out.len() > cap {
            out.truncate(cap);
            return (out, if cap == dense { Stop::Bomb } else { Stop::Full });
        }
        if out.len() & 0xFFFF < string.len() && budget.is_late() {
            return (out, Stop::Full);
        }
    }
    (out, Stop::End)
}

/// The bits, low ones first. When the width changes, what is left of a group of eight codes is padding.
struct Codes<'d> {
    data: &'d [u8],
    bit: usize,
    /// Where the group began.
    group: usize,
    width: u32,
}

impl Codes<'_> {
    fn next(&mut self) -> Option<usize> {
        let (at, shift) = (self.bit / 8, self.bit % 8);
        let octet = |n: usize| self.data.get(at + n).map(|b| usize::from(*b));
        let needed = (shift + self.width as usize).div_ceil(8);
        let mut sum = 0;
        for n in 0..needed {
            sum |= octet(n)? << (8 * n);
        }
        self.bit += self.width as usize;
        Some((sum >> shift) & ((1 << self.width) - 1))
    }
    fn align(&mut self) {
        let group = 8 * self.width as usize;
        self.bit = self.group + (self.bit - self.group).div_ceil(group) * group;
        self.group = self.bit;
    }
    fn widen(&mut self) {
        self.align();
        self.width += 1;
    }
    fn restart(&mut self) {
        self.align();
        self.width = 9;
    }
}

/// Strings as a tree: each is another one and an octet.
struct Table {
    prefix: Vec<u16>,
    last: Vec<u8>,
    next: usize,
}

impl Table {
    /// The string of `code` into `string`, last octet first; false when there is no such string.
    fn spell(&self, code: usize, before: Option<usize>, string: &mut Vec<u8>) -> bool {
        string.clear();
        let mut at = code;
        if code >= self.next {
            // The one that is about to be made: the string before and its own first octet.
            let Some(prefix) = before.filter(|_| code == self.next) else { return false };
            string.push(0);
            at = prefix;
        }
        while at > 255 {
            let (Some(prefix), Some(last)) = (self.prefix.get(at), self.last.get(at)) else { return false };
            if string.len() > CODES || usize::from(*prefix) >= at {
                return false;
            }
            string.push(*last);
            at = usize::from(*prefix);
        }
        string.push(u8::try_from(at).unwrap_or_default());
        if code >= self.next
            && let (Some(head), Some(first)) = (string.last().copied(), string.first_mut())
        {
            *first = head;
        }
        true
    }
    fn add(&mut self, prefix: usize, last: u8, most: usize) {
        if self.next >= most {
            return;
        }
        if let (Some(p), Some(l)) = (self.prefix.get_mut(self.next), self.last.get_mut(self.next)) {
            (*p, *l) = (u16::try_from(prefix).unwrap_or_default(), last);
            self.next += 1;
        }
    }
}
