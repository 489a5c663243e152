//! RTF (version 1.9.1) as Word reads it: objects as hexadecimal digits with whatever stands between them, fields,
//! templates. One flat pass; groups are a counter and a stack of flags, never a call.

use super::super::bytes::{slice, u32_at};
use super::super::report::{Found, Report};
use super::{embedded, fields};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

/// Depth of groups that are told apart; deeper ones count as their parents.
const DEPTH: usize = 1000;
const OBJECTS: usize = 200;
const TEXT: usize = 64 << 10;

pub fn is_rtf(object: &Object<'_>) -> bool {
    object.kind == "application/rtf"
}

/// What the text of a group is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Body,
    /// Hexadecimal digits of an object.
    Data,
    Instruction,
    Template,
    Class,
    /// Ignorable, nobody's.
    Aside,
}

struct Reader<'d, 'r, 'f> {
    data: &'d [u8],
    at: usize,
    stack: Vec<Place>,
    /// Groups opened beyond [`DEPTH`].
    beyond: usize,
    place: Place,
    /// `\*` stood before this word.
    starred: bool,
    digits: Vec<u8>,
    text: String,
    objects: Vec<Vec<u8>>,
    report: &'r mut Report<'f>,
    updates: bool,
    linked: bool,
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let mut reader = Reader {
        data: &object.data,
        at: 0,
        stack: Vec::new(),
        beyond: 0,
        place: Place::Body,
        starred: false,
        digits: Vec::new(),
        text: String::new(),
        objects: Vec::new(),
        report,
        updates: false,
        linked: false,
    };
    reader.walk();
    let (objects, updates, linked) = (std::mem::take(&mut reader.objects), reader.updates, reader.linked);
    if !objects.is_empty() && (updates || linked) {
        report.say("office.auto-update", "has an object that is fetched or run when the file opens");
    }
    let mut found = Vec::new();
    for (i, data) in objects.iter().enumerate() {
        found.extend(self::object(i, data, budget, report));
    }
    found
}

/// The octets of one object: an OLE 1 header, or whatever file begins in them.
fn object(number: usize, data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let name = format!("object {}", number + 1);
    if let Some(found) = embedded::ole1(data, budget, report)
        && !found.is_empty()
    {
        return found;
    }
    embedded::monikers(data, report);
    for magic in [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), b"PK\x03\x04", b"{\\rt", b"MZ\x90"] {
        if let Some(at) = memchr::memmem::find(data, magic) {
            let body = data.get(at..).unwrap_or_default();
            return if budget.take(body.len()) { vec![Found::member(name, body)] } else { Vec::new() };
        }
    }
    if data.len() > 16 && budget.take(data.len()) { vec![Found::stream(name, data)] } else { Vec::new() }
}

impl Reader<'_, '_, '_> {
    fn walk(&mut self) {
        while let Some(byte) = self.data.get(self.at).copied() {
            self.at += 1;
            match byte {
                b'{' => {
                    if self.stack.len() < DEPTH {
                        self.stack.push(self.place);
                    } else {
                        self.beyond += 1;
                    }
                    self.starred = false;
                }
                b'}' => self.close(),
                b'\\' => self.control(),
                b'\r' | b'\n' => {}
                _ => self.character(byte),
            }
        }
        while !self.stack.is_empty() {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.beyond > 0 {
            self.beyond -= 1;
            return;
        }
        let Some(outer) = self.stack.pop() else { return };
        if self.place != outer {
            self.finish();
            self.place = outer;
        }
    }

    /// A group of its own ends: what it collected is judged.
    fn finish(&mut self) {
        match self.place {
            Place::Data => {
                let bytes = hex(&std::mem::take(&mut self.digits));
                if bytes.len() > 8 && self.objects.len() < OBJECTS {
                    self.objects.push(bytes);
                }
            }
            Place::Instruction => {
                let text = std::mem::take(&mut self.text);
                fields::judge(text.trim(), self.report);
            }
            Place::Template => {
                let target = std::mem::take(&mut self.text);
                if fields::is_remote(target.trim()) {
                    self.report.link(&target);
                    self.report.say("office.external-template", format!("fetches its template from {target}"));
                }
            }
            Place::Class => {
                let class = std::mem::take(&mut self.text);
                embedded::judge_class(class.trim(), self.report);
            }
            Place::Body | Place::Aside => {}
        }
    }

    fn character(&mut self, byte: u8) {
        match self.place {
            Place::Data if byte.is_ascii_hexdigit() => self.digits.push(byte),
            Place::Instruction | Place::Template | Place::Class if self.text.len() < TEXT => {
                self.text.push(char::from(byte));
            }
            _ => {}
        }
    }

    fn control(&mut self) {
        let Some(first) = self.data.get(self.at).copied() else { return };
        if !first.is_ascii_alphabetic() {
            self.at += 1;
            match first {
                b'*' => self.starred = true,
                b'\'' => {
                    let pair = slice(self.data, self.at, 2);
                    let byte = hex(pair).first().copied().unwrap_or(b'?');
                    self.at += pair.len();
                    if self.place != Place::Data {
                        self.character(byte);
                    }
                }
                b'\\' | b'{' | b'}' if self.place != Place::Data => self.character(first),
                _ => {}
            }
            return;
        }
        let rest = self.data.get(self.at..).unwrap_or_default();
        let length = rest.iter().take(64).take_while(|b| b.is_ascii_alphabetic()).count();
        let word = rest.get(..length).unwrap_or_default().to_ascii_lowercase();
        self.at += length;
        let number = self.number();
        if self.data.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        let starred = std::mem::take(&mut self.starred);
        self.word(&word, number, starred);
    }

    fn number(&mut self) -> Option<i64> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest.iter().skip(sign).take(32).take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let text = std::str::from_utf8(rest.get(..sign + digits)?).ok()?;
        self.at += sign + digits;
        text.parse().ok()
    }

    fn word(&mut self, word: &[u8], number: Option<i64>, starred: bool) {
        match word {
            b"objdata" => self.place = Place::Data,
            b"fldinst" => self.place = Place::Instruction,
            b"template" => self.place = Place::Template,
            b"objclass" => self.place = Place::Class,
            b"objupdate" => self.updates = true,
            b"objautlink" => self.linked = true,
            b"bin" => {
                // §"Pictures": so many octets, not to be read as RTF.
                let length = number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                let raw = slice(self.data, self.at, length);
                if self.place == Place::Data {
                    self.digits.extend(raw.iter().flat_map(|b| format!("{b:02x}").into_bytes()));
                }
                self.at += raw.len();
            }
            b"u" => {
                if let Some(c) =
                    number.and_then(|n| u32::try_from(if n < 0 { n + 65_536 } else { n }).ok()).and_then(char::from_u32)
                    && self.text.len() < TEXT
                    && !matches!(self.place, Place::Data | Place::Body | Place::Aside)
                {
                    self.text.push(c);
                    // The fallback character behind it is not read twice.
                    if self.data.get(self.at).is_some_and(|b| *b == b'?') {
                        self.at += 1;
                    }
                }
            }
            // Word skips such groups inside an object's digits as well.
            _ if starred && self.place != Place::Instruction => self.place = Place::Aside,
            _ => {}
        }
    }
}

/// Pairs of digits; an odd one at the end is dropped.
fn hex(digits: &[u8]) -> Vec<u8> {
    let value = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits.chunks_exact(2).filter_map(|pair| Some(value(*pair.first()?)? << 4 | value(*pair.get(1)?)?)).collect()
}

/// Compressed RTF of Outlook (MS-OXRTFCP §2.2): a window of 4,096 octets that begins with common words.
pub fn decompress(data: &[u8]) -> Option<Vec<u8>> {
    const START: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
    let (raw, kind) = (u32_at(data, 4)?, slice(data, 8, 4));
    let body = data.get(16..)?;
    if kind == b"MELA" {
        return Some(slice(body, 0, raw).to_vec());
    }
    if kind != b"LZFu" {
        return None;
    }
    let (mut window, mut at, mut out) = (vec![0_u8; 4096], 0, Vec::new());
    window.get_mut(..START.len())?.copy_from_slice(START);
    let mut write = START.len();
    let most = raw.min(data.len().saturating_mul(20));
    let mut put = |byte: u8, window: &mut Vec<u8>, out: &mut Vec<u8>| {
        if let Some(slot) = window.get_mut(write) {
            *slot = byte;
        }
        write = (write + 1) % 4096;
        out.push(byte);
        write
    };
    while let Some(flags) = body.get(at) {
        at += 1;
        for bit in 0..8 {
            if out.len() >= most {
                return Some(out);
            }
            if flags >> bit & 1 == 0 {
                let Some(byte) = body.get(at) else { return Some(out) };
                put(*byte, &mut window, &mut out);
                at += 1;
                continue;
            }
            let (Some(high), Some(low)) = (body.get(at), body.get(at + 1)) else { return Some(out) };
            at += 2;
            let token = usize::from(*high) << 8 | usize::from(*low);
            let (offset, length) = (token >> 4, (token & 0x0F) + 2);
            for i in 0..length {
                let byte = window.get((offset + i) % 4096).copied().unwrap_or(0);
                let next = put(byte, &mut window, &mut out);
                // A reference to the place of writing ends the text (§2.2.2.2).
                if i == 0 && offset == (next + 4095) % 4096 {
                    out.pop();
                    return Some(out);
                }
            }
        }
    }
    Some(out)
}
