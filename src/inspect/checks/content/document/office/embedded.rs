//! Embedded and linked objects: packages (MS-OLEDS §2.3.6 and the packager's own form) and monikers.

use super::super::bytes::{latin, raw_u32_at, slice, u16_at, u32_at, utf16};
use super::super::report::{Found, Report};
use super::fields::is_remote;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::name::Name;

/// `\1Ole10Native`: a length, then a packaged file.
pub fn native(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    // Some writers leave the length out.
    let body = data.get(4..).unwrap_or_default();
    package(body, budget, report).or_else(|| package(data, budget, report)).into_iter().collect()
}

/// The packager's form: a mark, label, file name, two numbers, temporary path, then the file.
pub fn package(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Option<Found> {
    if u16_at(data, 0)? != 2 {
        return None;
    }
    let text = |at: usize| -> Option<(String, usize)> {
        let rest = data.get(at..)?;
        let end = memchr::memchr(0, rest.get(..rest.len().min(2000))?)?;
        Some((latin(rest), at + end + 1))
    };
    let (label, at) = text(2)?;
    let (path, at) = text(at)?;
    // Two numbers: a kind (3: the file follows), and the length of the temporary path.
    let kind = u16_at(data, at + 2)?;
    let (temporary, at) = text(at + 8)?;
    let (content, size) = match u32_at(data, at) {
        Some(size) if kind == 3 => (slice(data, at + 4, size), size),
        _ => (&[] as &[u8], 0),
    };
    let base = |path: &str| path.rsplit(['\\', '/']).next().unwrap_or_default().to_owned();
    let names = [base(&label), base(&path), base(&temporary)];
    let name = names.iter().find(|n| n.contains('.')).unwrap_or(&names[0]).clone();
    let active = names.iter().any(|n| Name::read(n).is_active());
    let what = if active { "a program or script" } else { "a file" };
    report.say(if active { "office.package-program" } else { "office.package" }, format!("embeds {what}: {name:?}"));
    if content.is_empty() && size == 0 {
        if is_remote(&path) {
            report.say("office.external-object", format!("links to {path}"));
        }
        // What is only linked to is listed by its name.
        return budget.take(0).then(|| Found::member(name, Vec::new()));
    }
    if !budget.take(content.len()) {
        report.say("unpack.limit", "an embedded file does not fit the budget");
        return None;
    }
    Some(Found::member(name, content))
}

/// OLE 1 objects as RTF carries them (MS-OLEDS §2.2.5): class, then data.
pub fn ole1(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Option<Vec<Found>> {
    let format = u32_at(data, 4)?;
    let text = |at: usize| -> Option<(String, usize)> {
        let length = u32_at(data, at)?;
        let bytes = (length <= 4096).then(|| slice(data, at + 4, length))?;
        Some((latin(bytes), at + 4 + length))
    };
    let (class, at) = text(8)?;
    if !class.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return None;
    }
    let (topic, at) = text(at)?;
    let (item, at) = text(at)?;
    judge_class(&class, report);
    if format == 1 {
        report.say("office.external-object", format!("links to {topic} {item}"));
        report.link(&topic);
        return Some(Vec::new());
    }
    let size = u32_at(data, at)?;
    let body = slice(data, at + 4, size);
    if let Some(found) = package(body, budget, report) {
        return Some(vec![found]);
    }
    budget.take(body.len()).then(|| vec![piece(class, body)])
}

/// Octets of an embedded object: opened further when they are a file.
pub fn piece(name: impl Into<String>, body: &[u8]) -> Found {
    if super::is_file(body) { Found::member(name, body) } else { Found::stream(name, body) }
}

/// Class names that attacks use.
pub fn judge_class(class: &str, report: &mut Report<'_>) {
    let lower = class.to_ascii_lowercase();
    if lower.starts_with("equation") {
        report.say("office.equation", format!("holds an object of class {class}"));
    } else if lower == "ole2link" || lower.starts_with("scriptlet") || lower == "htmlfile" {
        report.say("office.external-object", format!("holds an object of class {class}"));
    } else if lower.starts_with("otkloadr") || lower.starts_with("shockwaveflash") || lower.starts_with("mscomctl") {
        report.say("office.activex", format!("holds an object of class {class}"));
    }
}

/// URL monikers (MS-OSHARED §2.3.7.6), wherever they stand in a stream: what a linked object is fetched from.
pub fn monikers(data: &[u8], report: &mut Report<'_>) {
    const URL: &[u8] = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
    const SCRIPT: &[u8] = b"\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\x00\x60\x08\xc3\xfb\xfc";
    for at in memchr::memmem::find_iter(data, URL).take(20) {
        let length = raw_u32_at(data, at + 16).map_or(0, |l| usize::try_from(l).unwrap_or(0)).min(8192);
        let target = utf16(slice(data, at + 20, length));
        report.link(&target);
        report.say("office.external-object", format!("links to {target}"));
    }
    if memchr::memmem::find(data, SCRIPT).is_some() {
        report.say("office.external-object", "links to a script");
    }
    let text = super::super::bytes::strings(data, 8, 8192);
    for line in text.lines().filter(|l| l.starts_with("\\\\")) {
        report.link(line);
        report.say("office.external-object", format!("links to {line}"));
    }
    report.links_in(&text);
}
