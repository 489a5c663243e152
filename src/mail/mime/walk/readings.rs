//! Readings beside the main one: what a client would see that ends a header, takes a delimiter or decodes a body in
//! another way (THREATS M-04). Each is paid for from the walk's bounds.

use std::borrow::Cow;

use super::super::charset;
use super::super::entity;
use super::super::split::{self, Cut};
use super::super::{Part, Why, transfer, uu};
use super::{Item, Walk};
use crate::mail::header::Headers;

/// At most this many files are taken out of one text.
const FILES: usize = 200;
/// So many character sets of one text are believed: programs differ in which of several counts.
const CHARSETS: usize = 4;
/// At most this many entities are taken out of a place where no parts should be.
const LOOSE: usize = 64;

impl<'a> Item<'a> {
    /// Where the body, which is the end of the octets, begins in the message.
    pub(super) const fn body_at(&self, body: &[u8]) -> usize {
        self.at.saturating_add(self.octets.len().saturating_sub(body.len()))
    }
    /// Octets inside this entity that somebody may take for one of its own, a level deeper.
    fn inner(&self, octets: &'a [u8], path: &str, why: &'static str) -> Self {
        Self {
            octets,
            cut_at: None,
            depth: self.depth + 1,
            path: path.to_owned(),
            detour: Some(why),
            is_message: false,
            ..self.clone()
        }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn detour(&mut self, item: Item<'a>) {
        if self.detours == 0 || item.depth > self.limits.depth {
            self.odd("mime.limit", &item.path, "too many readings");
            return;
        }
        self.detours -= 1;
        if self.reaches(item.octets.len(), &item.path) {
            self.stack.push(item);
        }
    }

    /// Header sections that some clients end elsewhere: at a line of blanks, at a line that is no field (THREATS M-04).
    pub(super) fn header_readings(&mut self, headers: &Headers<'a>, item: &Item<'a>) {
        if item.detour.is_some() {
            return;
        }
        let head = item.octets.get(..headers.body_offset()).unwrap_or_default();
        if let Some(entity) = entity::without_controls(head, headers, item.octets) {
            self.unclear(Why::HeaderControls, &item.path, "control characters between header fields");
            self.alternative(&item.path, "", "header without control characters", Cow::Owned(entity), true);
        }
        let mut ends: Vec<(usize, usize, &'static str)> = Vec::new();
        if let Some(range) = entity::blank_fold(head) {
            ends.push((range.0, range.1, "a line of blanks in the header section"));
        }
        if let Some(field) = headers.fields().iter().find(|f| f.name.is_empty() && f.malformed) {
            ends.push((field.range.start, field.range.start, "a header line that is no field"));
        }
        for (head_end, body_start, why) in ends {
            if why.contains("blanks") {
                self.unclear(Why::HeaderEnd, &item.path, why);
            } else {
                self.odd("mime.malformed", &item.path, why);
            }
            let cut_at = Some((head_end, body_start));
            self.detour(Item { cut_at, detour: Some(why), ..item.clone() });
        }
    }

    /// Preamble, epilogue and delimiter lines that only some clients take as such.
    pub(super) fn margins(&mut self, body: &'a [u8], cut: &Cut, item: &Item<'a>, path: &str) {
        if cut.over {
            self.odd("mime.limit", path, format!("more than {} parts", self.limits.parts));
        }
        if !cut.closed && !cut.over {
            self.odd("mime.malformed", path, "the closing delimiter is missing");
        }
        if item.detour.is_some() {
            return;
        }
        for (range, reason, why) in [
            (&cut.preamble, Why::PreambleParts, "parts in the preamble"),
            (&cut.epilogue, Why::EpilogueParts, "parts behind the closing delimiter"),
        ] {
            let margin = body.get(range.clone()).unwrap_or_default();
            self.late_header(margin, item, path);
            self.loose_parts(margin, item, path, (reason, why));
            self.files_inside(margin, path);
        }
        for near in &cut.near {
            self.near_delimiter(body, near.clone(), item, path);
        }
    }

    /// Parts where the main reading has none: behind anything that looks like a delimiter.
    pub(super) fn loose_parts(&mut self, octets: &'a [u8], item: &Item<'a>, path: &str, why: (Why, &'static str)) {
        let loose = split::loose(octets, LOOSE, &mut self.looks);
        // A report of a failed delivery quotes messages whole: looked into, and nothing to complain of.
        if loose.strange {
            self.unclear(why.0, path, why.1);
        }
        if loose.over {
            self.odd("mime.limit", path, "too many readings");
        }
        for range in loose.entities {
            self.detour(item.inner(octets.get(range).unwrap_or_default(), path, why.1));
        }
    }

    /// The whole message as clients see it that end lines at a lone carriage return.
    pub(super) fn line_end_reading(&mut self, octets: &'a [u8]) {
        let lone = |at: &usize| octets.get(at + 1) != Some(&b'\n');
        if !memchr::memchr_iter(b'\r', octets).any(|at| lone(&at)) {
            return;
        }
        let mut other = Vec::with_capacity(octets.len());
        for (at, byte) in octets.iter().enumerate() {
            other.push(*byte);
            if *byte == b'\r' && lone(&at) {
                other.push(b'\n');
            }
        }
        self.unclear(Why::LineEnds, "", "lone carriage returns");
        self.alternative("", "", "lines end at a lone carriage return", Cow::Owned(other), true);
    }

    /// A header section where none should be, behind the empty line or the closing delimiter: one for clients that skip
    /// what stands before it. Told only where it begins with a Content field: reports quote whole messages.
    pub(super) fn late_header(&mut self, body: &'a [u8], item: &Item<'a>, path: &str) {
        let octets = body.trim_ascii_start();
        if item.detour.is_some() || !split::header_follows(octets, &mut self.looks) {
            return;
        }
        if octets.get(..8).is_some_and(|h| h.eq_ignore_ascii_case(b"content-")) {
            self.unclear(Why::LateHeader, path, "Content fields behind the empty line");
        }
        self.detour(item.inner(octets, path, "fields behind the empty line"));
    }

    /// `--boundary and more`, ` --boundary`: a delimiter for clients that look for it anywhere in a line, or compare
    /// only its beginning.
    fn near_delimiter(&mut self, body: &'a [u8], near: std::ops::Range<usize>, item: &Item<'a>, path: &str) {
        let line = body.get(near.clone()).unwrap_or_default();
        let after = body.get(near.end..).unwrap_or_default();
        let token = line.strip_prefix(b"--").unwrap_or(line).trim_ascii_end();
        let token = token.strip_suffix(b"--").unwrap_or(token);
        // An inner boundary that merely begins with the outer one is declared somewhere before it.
        if token.is_empty() || split::is_declared(body, near.start, token) {
            return;
        }
        self.unclear(Why::DelimiterNear, path, "a line that is only nearly a delimiter");
        let end = memchr::memmem::find(after, b"\n--").map_or(after.len(), |i| i + 1);
        let octets = after.get(..end).unwrap_or_default();
        self.detour(item.inner(octets, path, "line that is nearly a delimiter"));
    }

    /// Transfer encodings that decoders disagree on, and those that the header does not announce.
    pub(super) fn encoding_readings(&mut self, part: &Part<'a>) {
        let (path, name) = (part.path.as_str(), part.name.as_str());
        let main = &part.decoded;
        let mut differs = false;
        match part.encoding.as_str() {
            "quoted-printable" => {
                let is_text = part.content_type.starts_with("text/");
                transfer::quoted_printable_alternatives(part.body, main, is_text, |other| {
                    differs = !is_text;
                    self.alternative(path, name, "quoted-printable read another way", Cow::Owned(other), false)
                });
                if differs {
                    self.unclear(Why::QuotedUnclear, path, "quoted-printable with broken escapes");
                }
            }
            "base64" => {
                // The footer that a mailing list puts below a text in base64 is no trick.
                let is_plain = part.content_type == "text/plain";
                transfer::base64_alternatives(part.body, main, |other| {
                    differs |= !is_plain && transfer::differs_inside(main, &other);
                    self.alternative(path, name, "base64 read another way", Cow::Owned(other), false)
                });
                if differs {
                    self.unclear(Why::Base64Unclear, path, "base64 that decoders do not agree on");
                }
            }
            _ => {}
        }
        let known = matches!(part.encoding.as_str(), "" | "7bit" | "8bit" | "binary" | "base64" | "quoted-printable");
        if part.encoding != "base64" && transfer::looks_like_base64(part.body) {
            let data = transfer::base64(part.body);
            self.alternative(path, name, "base64 not announced", Cow::Owned(data), false);
        }
        if part.encoding != "quoted-printable" && transfer::looks_like_quoted_printable(part.body) {
            let data = transfer::quoted_printable(part.body);
            self.alternative(path, name, "quoted-printable not announced", data, false);
        }
        if !known && part.encoding != "x-uuencode" {
            self.alternative(path, name, "uuencoded lines not announced", Cow::Owned(uu::uu_lines(part.body)), false);
        }
    }

    /// Files inside a body: uuencoded, in yEnc or BinHex.
    pub(super) fn text_readings(&mut self, part: &Part<'a>) {
        if part.encoding != "binhex"
            && let Some(data) = uu::binhex(&part.decoded)
        {
            self.alternative(&part.path, &part.name, "BinHex file", Cow::Owned(data), false);
        }
        self.files_inside(&part.decoded, &part.path);
    }
}

impl Walk<'_> {
    /// Files in yEnc or uuencoded in some text.
    pub(super) fn files_inside(&mut self, text: &[u8], path: &str) {
        let holds = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
        let yenc = if holds(b"=ybegin ") { uu::yenc_files(text, FILES) } else { Vec::new() };
        let uu =
            if holds(b"begin") || holds(b"BEGIN") || holds(b"Begin") { uu::uu_files(text, FILES) } else { Vec::new() };
        if yenc.len() >= FILES || uu.len() >= FILES {
            self.odd("mime.limit", path, "too many files inside a text");
        }
        for (file, why) in
            yenc.into_iter().map(|f| (f, "yEnc file")).chain(uu.into_iter().map(|f| (f, "uuencoded file")))
        {
            self.alternative(path, &file.name, why, Cow::Owned(file.data), false);
        }
    }

    /// Texts that only those read as such who know their character set.
    pub(super) fn charset_readings(&mut self, part: &Part<'_>) {
        let mut named: Vec<&str> =
            part.params.iter().filter(|(n, _)| n == "charset").map(|(_, v)| v.as_str()).collect();
        named.dedup();
        named.truncate(CHARSETS);
        if named.is_empty() {
            named.push("");
        }
        for charset in named {
            let Some((text, hidden)) = charset::readable(charset, &part.decoded) else { continue };
            if hidden {
                self.unclear(Why::CharsetHidden, &part.path, "a text in UTF-7");
            }
            self.alternative(&part.path, &part.name, "text in its character set", Cow::Owned(text), false);
        }
    }
}
