//! Readings beside the main one: what a client would see that ends a header, takes a delimiter or decodes a body in
//! another way (THREATS M-04). Each is paid for from the walk's bounds.

use std::borrow::Cow;

use super::super::entity;
use super::super::split::{self, Cut};
use super::super::{Part, transfer, uu};
use super::{Item, Walk};
use crate::mail::header::Headers;

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
        self.stack.push(item);
    }

    /// Header sections that some clients end elsewhere: at a line of blanks, at a line that is no field (THREATS M-04).
    pub(super) fn header_readings(&mut self, headers: &Headers<'a>, item: &Item<'a>) {
        if item.detour.is_some() {
            return;
        }
        let head = item.octets.get(..headers.body_offset()).unwrap_or_default();
        if let Some(entity) = entity::without_controls(head, headers, item.octets) {
            self.odd("mime.ambiguous", &item.path, "control characters between header fields");
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
            let code = if why.contains("blanks") { "mime.ambiguous" } else { "mime.malformed" };
            self.odd(code, &item.path, why);
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
        for (range, why) in
            [(&cut.preamble, "parts in the preamble"), (&cut.epilogue, "parts behind the closing delimiter")]
        {
            let margin = body.get(range.clone()).unwrap_or_default();
            self.late_header(margin, item, path);
            let Some(boundary) = split::sniff(margin) else { continue };
            self.odd("mime.ambiguous", path, why);
            let cut = split::cut(margin, boundary, 64);
            self.children(margin, &cut, item, item.parent, (false, Some(why)));
        }
        if let Some(near) = &cut.near {
            self.near_delimiter(body, near.clone(), item, path);
        }
    }

    /// Content fields that stand behind the empty line: a header for clients that skip it.
    pub(super) fn late_header(&mut self, body: &'a [u8], item: &Item<'a>, path: &str) {
        let octets = body.trim_ascii_start();
        if item.detour.is_some() || !octets.get(..8).is_some_and(|h| h.eq_ignore_ascii_case(b"content-")) {
            return;
        }
        self.detour(item.inner(octets, path, "fields behind the empty line"));
    }

    /// `--boundary and more`: a delimiter for clients that compare only the beginning.
    fn near_delimiter(&mut self, body: &'a [u8], near: std::ops::Range<usize>, item: &Item<'a>, path: &str) {
        let line = body.get(near.clone()).unwrap_or_default();
        let after = body.get(near.end..).unwrap_or_default();
        let token = line.strip_prefix(b"--").unwrap_or(line).trim_ascii_end();
        let token = token.strip_suffix(b"--").unwrap_or(token);
        // An inner boundary that merely begins with the outer one is declared somewhere before it.
        let before = body.get(..near.start).unwrap_or_default();
        if memchr::memmem::find(before, token).is_some() {
            return;
        }
        self.odd("mime.ambiguous", path, "a delimiter line with other text behind the boundary");
        let end = memchr::memmem::find(after, b"\n--").map_or(after.len(), |i| i + 1);
        let octets = after.get(..end).unwrap_or_default();
        self.detour(item.inner(octets, path, "delimiter line with text behind it"));
    }

    /// What stands in a body that its header does not announce: base64 without a name, uuencoded files.
    pub(super) fn text_readings(&mut self, part: &Part<'a>) {
        if part.encoding != "base64" && transfer::looks_like_base64(part.body) {
            let data = transfer::base64(part.body);
            self.alternative(&part.path, &part.name, "base64 not announced", Cow::Owned(data), false);
        }
        if part.encoding != "binhex"
            && let Some(data) = uu::binhex(&part.decoded)
        {
            self.alternative(&part.path, &part.name, "BinHex file", Cow::Owned(data), false);
        }
        if memchr::memmem::find(&part.decoded, b"=ybegin ").is_some() {
            for file in uu::yenc_files(&part.decoded, 64) {
                self.alternative(&part.path, &file.name, "yEnc file", Cow::Owned(file.data), false);
            }
        }
        if memchr::memmem::find(&part.decoded, b"begin").is_some() {
            for file in uu::uu_files(&part.decoded, 64) {
                self.alternative(&part.path, &file.name, "uuencoded file", Cow::Owned(file.data), false);
            }
        }
    }
}
