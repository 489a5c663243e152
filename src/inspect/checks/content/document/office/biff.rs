//! Excel's record stream (MS-XLS, and BIFF5 before it): sheets of the macro kind, names that start them, links of the
//! DDE kind, and the formulas of macro sheets as text.

use super::super::bytes::{latin, slice, u8_at, u16_at, utf16};
use super::super::report::{Found, Report};
use super::fields::is_remote;
use super::xlm::{self, Form};
use super::{spreadsheet, vba::words};
use crate::inspect::checks::content::archive::Budget;

const RECORDS: usize = 2_000_000;
/// Text of all macro formulas together.
const TEXT: usize = 1 << 20;

/// What the records tell.
#[derive(Default)]
struct Book {
    macro_sheets: Vec<String>,
    hidden: usize,
    starts: Vec<String>,
    /// Formulas of macro sheets, one a line.
    formulas: String,
    in_macro_sheet: bool,
    is_old: bool,
}

pub fn open(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let (mut book, mut at) = (Book::default(), 0);
    for _ in 0..RECORDS {
        let (Some(kind), Some(length)) = (u16_at(data, at), u16_at(data, at + 2)) else { break };
        book.record(kind, slice(data, at + 4, length), report);
        at += 4 + length;
    }
    book.judge(budget, report)
}

impl Book {
    fn record(&mut self, kind: usize, body: &[u8], report: &mut Report<'_>) {
        match kind {
            // BOF: version, and what follows: 0x0040 is a macro sheet (§2.4.21).
            0x0809 | 0x0409 | 0x0209 => {
                self.is_old = u16_at(body, 0).is_some_and(|v| v < 0x0600);
                self.in_macro_sheet = u16_at(body, 2) == Some(0x0040);
                if self.in_macro_sheet && self.macro_sheets.is_empty() {
                    self.macro_sheets.push("a macro sheet".to_owned());
                }
            }
            0x0085 => self.sheet(body),
            0x0018 | 0x0218 => self.name(body),
            0x0006 | 0x0206 | 0x0406 if self.in_macro_sheet && self.formulas.len() < TEXT => {
                // Cell, format, value, flags, chain, length of the formula, formula (§2.4.127).
                let start = if self.is_old { 20 } else { 22 };
                let length = u16_at(body, start - 2).unwrap_or(0);
                let form = if self.is_old { Form::Old } else { Form::Binary };
                let text = xlm::text(slice(body, start, length), form);
                if !text.is_empty() {
                    self.formulas.push_str(&text);
                    self.formulas.push('\n');
                }
            }
            // The text that a formula gave last.
            0x0207 | 0x0204 | 0x00FC if self.in_macro_sheet && self.formulas.len() < TEXT => {
                self.formulas.push_str(&super::super::bytes::strings(body, 4, 8192));
            }
            // SupBook: a path of which a part 0x03 parts program and topic (§2.5.282).
            0x01AE => {
                let (count, flags) = (u16_at(body, 2).unwrap_or(0), u8_at(body, 4).unwrap_or(0));
                let path = if flags & 1 == 1 { utf16(slice(body, 5, count * 2)) } else { latin(slice(body, 5, count)) };
                external(&path, report);
            }
            // ExternSheet of BIFF5: the same path behind its mark, one octet a letter; other marks are own sheets.
            0x0017 if self.is_old && body.get(1) == Some(&1) => {
                external(&latin(slice(body, 1, u8_at(body, 0).unwrap_or(0))), report);
            }
            0x01B8 => {
                // HLink: a URL moniker inside (§2.4.140).
                report.links_in(&super::super::bytes::strings(body, 8, 4096));
            }
            _ => {}
        }
    }

    fn sheet(&mut self, body: &[u8]) {
        let (state, kind) = (u8_at(body, 4).unwrap_or(0) & 3, u8_at(body, 5).unwrap_or(0));
        if kind != 1 {
            return;
        }
        let count = u8_at(body, 6).unwrap_or(0);
        let wide = !self.is_old && u8_at(body, 7).unwrap_or(0) & 1 == 1;
        let start = if self.is_old { 7 } else { 8 };
        let name = if wide { utf16(slice(body, start, count * 2)) } else { latin(slice(body, start, count)) };
        self.hidden += usize::from(state > 0);
        if self.macro_sheets.first().is_some_and(|n| n == "a macro sheet") {
            self.macro_sheets.clear();
        }
        self.macro_sheets.push(name);
    }

    /// A defined name (§2.4.150): built-in 1 and 2 are Auto_Open and Auto_Close.
    fn name(&mut self, body: &[u8]) {
        let flags = u16_at(body, 0).unwrap_or(0);
        let count = u8_at(body, 3).unwrap_or(0);
        let (wide, start) = if self.is_old { (false, 14) } else { (u8_at(body, 14).unwrap_or(0) & 1 == 1, 15) };
        if flags & 0x20 != 0 {
            match u8_at(body, start) {
                Some(1) => self.starts.push("Auto_Open".to_owned()),
                Some(2) => self.starts.push("Auto_Close".to_owned()),
                Some(0x0A) => self.starts.push("Auto_Activate".to_owned()),
                _ => {}
            }
            return;
        }
        let name = if wide { utf16(slice(body, start, count * 2)) } else { latin(slice(body, start, count)) };
        // Zero-width and odd letters inside do not keep Excel from starting it.
        let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if plain.to_ascii_lowercase().contains("auto_open") || plain.to_ascii_lowercase().contains("auto_close") {
            self.starts.push(plain);
        }
    }

    fn judge(self, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
        if self.macro_sheets.is_empty() {
            return Vec::new();
        }
        let hidden = if self.hidden > 0 { " (hidden)" } else { "" };
        report.say("macro.present", "has Excel 4 macro sheets");
        report.say("macro.xlm", format!("has Excel 4 macro sheets{hidden}: {}", self.macro_sheets.join(", ")));
        if !self.starts.is_empty() {
            report.say("macro.autoexec", format!("starts by itself: {}", self.starts.join(", ")));
        }
        spreadsheet::judge(&self.formulas, report);
        words::judge(&self.formulas, report);
        report.links_in(&self.formulas);
        if self.formulas.is_empty() || !budget.take(self.formulas.len()) {
            return Vec::new();
        }
        vec![Found::text("xlm", self.formulas)]
    }
}

/// `program \3 topic`: DDE when the first is a program, OLE when it is a class with a file behind.
fn external(path: &str, report: &mut Report<'_>) {
    if let Some((program, topic)) = path.split_once('\u{3}') {
        let program: String = program.chars().filter(|c| !c.is_control()).collect();
        if program.contains('.') && !program.to_ascii_lowercase().ends_with(".exe") {
            if is_remote(topic) {
                report.link(topic);
                report.say("office.external-object", format!("links to {topic} ({program})"));
            }
        } else {
            report.say("office.dde", format!("has a link that starts a program: {program} | {topic}"));
        }
    } else if let Some(target) = path.strip_prefix('\u{1}').map(|p| p.trim_matches(|c: char| c.is_control()))
        && is_remote(target)
    {
        report.link(target);
    }
}
