//! Macro projects (MS-OVBA): the source of every module, in clear, and what it says of itself.
//!
//! The directory of a project names its modules; modules that it hides are found by the shape of their first line.
//! A module can carry compiled code that does other things than its source ("stomping"): names that only the compiled
//! side knows are a finding.

mod clear;
mod unpack;
pub mod words;

pub use clear::clear;
pub use words::judge_script;

use super::super::bytes::{slice, u16_at, u32_at};
use super::super::report::{Found, Report};
use super::compound::{Compound, Kind};
use crate::inspect::checks::content::archive::Budget;

/// Modules read, and octets of one.
const MODULES: usize = 500;
const SOURCE: usize = 4 << 20;
/// Octets that all modules together unpack to.
const SOURCES: usize = 16 << 20;

/// What is in one compound file.
#[derive(Default)]
struct Project {
    /// Module name and source.
    modules: Vec<(String, String)>,
    /// Octets of compiled code, all modules together.
    compiled: usize,
    /// Octets that were unpacked.
    unpacked: usize,
}

/// Every macro project of a compound file.
pub fn open(file: &Compound<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let mut project = Project::default();
    for dir in file.entries.iter().filter(|e| e.kind == Kind::Stream && e.name().eq_ignore_ascii_case("dir")) {
        project.by_directory(file, dir.parent(), &unpack::unpack(&file.read(dir, SOURCE)));
    }
    let streams = file.entries.iter().filter(|e| e.kind == Kind::Stream && e.size > 20);
    for entry in streams.take(MODULES) {
        project.by_shape(entry.name(), &file.read(entry, SOURCE));
    }
    let cache = |name: &str| {
        let entry = file.entries.iter().find(|e| e.kind == Kind::Stream && e.name().eq_ignore_ascii_case(name));
        entry.map(|e| file.read(e, SOURCE)).unwrap_or_default()
    };
    let compiled = cache("_VBA_PROJECT");
    if project.modules.is_empty() && compiled.is_empty() {
        return Vec::new();
    }
    project.judge(&compiled, budget, report)
}

impl Project {
    /// The modules that the `dir` stream names (MS-OVBA §2.3.4.2.3.2).
    fn by_directory(&mut self, file: &Compound<'_>, parent: &str, dir: &[u8]) {
        let (mut at, mut stream, mut name) = (0, String::new(), String::new());
        while let (Some(id), Some(size)) = (u16_at(dir, at), u32_at(dir, at + 2)) {
            let body = slice(dir, at + 6, size);
            match id {
                // PROJECTVERSION counts its octets wrongly (§2.3.4.2.1.11).
                0x0009 => {
                    at += 12;
                    continue;
                }
                0x0019 => name = String::from_utf8_lossy(body).into_owned(),
                0x001A => stream = String::from_utf8_lossy(body).into_owned(),
                0x0032 => stream = super::super::bytes::utf16(body),
                0x0031 => {
                    let offset = u32_at(body, 0).unwrap_or(0);
                    let path = if parent.is_empty() { stream.clone() } else { format!("{parent}/{stream}") };
                    if let Some(entry) = file.find(&path) {
                        let data = file.read(entry, SOURCE);
                        self.compiled += offset.min(data.len());
                        let source = self.unpack(data.get(offset..).unwrap_or_default());
                        self.add(&name, &source);
                    }
                }
                _ => {}
            }
            let Some(next) = at.checked_add(6).and_then(|a| a.checked_add(size)) else { break };
            at = next;
            if self.modules.len() >= MODULES {
                break;
            }
        }
    }

    /// Compressed source begins with `Attribut`, of which the first flag octet stands in front (MS-OVBA §2.4.1).
    fn by_shape(&mut self, name: &str, data: &[u8]) {
        for at in memchr::memmem::find_iter(data, b"\0Attribut").take(4) {
            if let Some(start) = at.checked_sub(3) {
                let source = self.unpack(data.get(start..).unwrap_or_default());
                if source.len() > 20 {
                    self.add(name, &source);
                }
            }
        }
    }

    /// The source in a stream; nothing when all modules have unpacked to enough.
    fn unpack(&mut self, data: &[u8]) -> Vec<u8> {
        if self.unpacked > SOURCES {
            return Vec::new();
        }
        let source = unpack::unpack(data);
        self.unpacked += source.len();
        source
    }

    fn add(&mut self, name: &str, source: &[u8]) {
        let source = source.iter().map(|b| char::from(*b)).collect::<String>();
        if !source.trim().is_empty() && !self.modules.iter().any(|(_, known)| *known == source) {
            self.modules.push((name.to_owned(), source));
        }
    }

    fn judge(&self, compiled: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
        if self.unpacked > SOURCES {
            report.say("unpack.limit", "its macros are longer than what is read of them");
        }
        let all: String = self.modules.iter().map(|(_, source)| source.as_str()).collect::<Vec<_>>().join("\n");
        let code = words::without_attributes(&all);
        let hidden = words::only_compiled(compiled, &code);
        let empty = code.trim().is_empty();
        if empty && hidden.is_empty() {
            // Every document that ever saw the editor has empty modules.
            return Vec::new();
        }
        report.say("macro.present", format!("has a macro project of {} modules", self.modules.len()));
        if !hidden.is_empty() {
            let names = hidden.join(", ");
            report.say("macro.stomped", format!("has compiled code without its source: {names}"));
        }
        let clear = clear(&code);
        words::judge(&format!("{code}\n{clear}\n{}", hidden.join("\n")), report);
        report.links_in(&all);
        report.links_in(&clear);
        let mut found = Vec::new();
        for (name, source) in &self.modules {
            if budget.take(source.len()) {
                found.push(Found::text(format!("vba/{name}"), source.as_bytes()));
            }
        }
        if !clear.is_empty() && budget.take(clear.len()) {
            found.push(Found::text("vba/strings", clear));
        }
        found
    }
}

/// A form's strings often hold what its macro runs: property values are plain text in the `o` stream.
pub fn forms(file: &Compound<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for entry in file.entries.iter().filter(|e| e.kind == Kind::Stream && e.name() == "o" && e.size > 8) {
        let data = file.read(entry, SOURCE);
        let text = super::super::bytes::strings(&data, 6, 64 << 10);
        if !text.is_empty() && budget.take(text.len()) {
            report.links_in(&text);
            found.push(Found::text(format!("form/{}", entry.parent().replace('/', "-")), text));
        }
    }
    found
}
