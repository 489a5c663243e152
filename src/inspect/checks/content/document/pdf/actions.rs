//! What objects of a PDF do (ISO 32000-1 §12.6): actions, and whether they start by themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::super::report::Report;
use super::lex::text;
use super::scan::{Object, Value};
use super::{Roles, target};
use crate::inspect::checks::content::name::Name;

/// Names whose letters nobody writes as numbers without a reason.
const TELLING: &[&str] = &[
    "JavaScript",
    "JS",
    "Launch",
    "OpenAction",
    "AA",
    "EmbeddedFile",
    "URI",
    "SubmitForm",
    "ObjStm",
    "RichMedia",
    "Encrypt",
    "GoToR",
    "GoToE",
];

/// Script that does more than check a form.
const SCRIPT: &[&str] = &[
    "exportdataobject",
    "launchurl",
    "submitform",
    "unescape(",
    "eval(",
    "util.printf",
    "collab.",
    "getannots",
    "media.newplayer",
    "geticon",
    "spawnpagefromtemplate",
    "importdataobject",
    "app.execmenuitem",
    "addscript",
    "fromcharcode",
    "createdataobject",
    "app.settimeout",
    "xfa.host",
    "getURL",
    "soap.",
    "net.http",
    "%u9090",
    "mailmsg",
    "mailform",
    "saveas(",
    "importtextdata",
    "importanfdf",
    "openDoc",
];

/// Judges all objects; what their streams are for.
pub fn judge(objects: &[&Object], report: &mut Report<'_>) -> Roles {
    let mut roles = Roles::default();
    let mut acts: BTreeMap<u32, BTreeSet<&'static str>> = BTreeMap::new();
    let mut opened: BTreeSet<u32> = BTreeSet::new();
    let mut auto = false;
    let strings: BTreeMap<u32, &Vec<u8>> = objects.iter().filter_map(|o| Some((o.number, o.lone.first()?))).collect();
    for object in objects {
        if object.hidden.iter().any(|n| TELLING.contains(&n.as_str())) {
            report.say("pdf.hidden-name", format!("writes {} with codes", object.hidden.join(", ")));
        }
        let found = action(object, report, &strings);
        let starts = start(object, &mut opened);
        auto |= starts && !found.is_empty();
        if starts {
            acts.entry(object.number).or_default().extend(&found);
            // An action inside the catalogue or a page is its own.
            if !found.is_empty() {
                opened.insert(object.number);
            }
        } else {
            acts.entry(object.number).or_default().extend(found);
        }
        collect(object, &mut roles, &strings, report);
    }
    let names: BTreeSet<&str> = opened.iter().filter_map(|n| acts.get(n)).flatten().copied().collect();
    if !names.is_empty() || auto {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        report.say("pdf.open-action", format!("does something when it is opened or shown: {names}"));
    }
    for source in &roles.sources {
        script(source, report);
        report.links_in(source);
    }
    roles
}

/// What the object does, as the kind of its action.
fn action(object: &Object, report: &mut Report<'_>, strings: &BTreeMap<u32, &Vec<u8>>) -> Vec<&'static str> {
    let mut found = Vec::new();
    let file = || file(object, strings);
    let kinds = object
        .pairs
        .iter()
        .filter(|(k, _)| k == "S")
        .filter_map(|(_, v)| if let Value::Name(n) = v { Some(n.as_str()) } else { None });
    for kind in kinds {
        match kind {
            "JavaScript" => {
                found.push("JavaScript");
                report.say("pdf.javascript", "has JavaScript");
            }
            "Launch" => {
                found.push("Launch");
                report.say("pdf.launch", format!("starts a program or opens a file: {}", file()));
            }
            "SubmitForm" | "ImportData" => {
                found.push(if kind == "SubmitForm" { "SubmitForm" } else { "ImportData" });
                report.say("pdf.submit-form", format!("sends or fetches form data: {}", file()));
                report.link(&file());
            }
            "GoToR" | "GoToE" | "Thread" if object.pairs.iter().any(|(k, _)| matches!(k.as_str(), "F" | "UF")) => {
                found.push("GoToR");
                let file = file();
                report.link(&file);
                // Files beside it are ordinary; places elsewhere give away who reads.
                if is_away(&file) {
                    report.say("pdf.remote-file", format!("opens another file: {file}"));
                }
            }
            "URI" => found.push("URI"),
            "Rendition" | "Movie" | "Sound" | "RichMediaExecute" => {
                found.push("media");
                if is_away(&file()) {
                    report.say("pdf.remote-file", format!("plays {}", file()));
                }
            }
            _ => {}
        }
    }
    for (key, value) in &object.pairs {
        match (key.as_str(), value) {
            ("JS", _) => {
                found.push("JavaScript");
                report.say("pdf.javascript", "has JavaScript");
            }
            ("URI", Value::String(link)) => report.link(&text(link)),
            ("URI", Value::Reference(number)) => {
                if let Some(link) = strings.get(number) {
                    report.link(&text(link));
                }
            }
            ("RichMedia" | "RichMediaContent" | "RichMediaSettings", _) => {
                report.say("pdf.rich-media", "holds Flash or 3D content")
            }
            ("XFA", _) => report.say("pdf.xfa", "holds a form in XML"),
            ("F" | "UF" | "Unix" | "DOS" | "Mac", Value::String(name)) if is_away(&text(name)) => {
                let name = text(name);
                report.link(&name);
                report.say("pdf.remote-file", format!("refers to a file elsewhere: {name}"));
            }
            _ => {}
        }
    }
    if object.stream.is_some()
        && object.pairs.iter().any(|(k, v)| k == "FFilter" || (k == "F" && matches!(v, Value::String(_))))
    {
        report.say("pdf.remote-file", format!("takes the content of a stream from another file: {}", file()));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether something in the object starts by itself; references go to `opened`.
fn start(object: &Object, opened: &mut BTreeSet<u32>) -> bool {
    let mut inline = false;
    for (key, value) in &object.pairs {
        match key.as_str() {
            "OpenAction" | "AA" => match value {
                Value::Reference(number) => {
                    opened.insert(*number);
                }
                Value::Inline => inline = true,
                _ => {}
            },
            // Events inside an inline /AA, by reference (§12.6.3).
            "O" | "C" | "WC" | "WS" | "DS" | "WP" | "DP" | "E" | "X" | "D" | "U" | "Fo" | "Bl" | "PO" | "PC" | "PV"
            | "PI"
                if inline =>
            {
                opened.extend(target(value));
            }
            _ => {}
        }
    }
    // The name tree of scripts runs when the file opens (§12.6.4.16).
    let tree = object.pairs.iter().any(|(k, v)| k == "JavaScript" && matches!(v, Value::Reference(_) | Value::Inline));
    inline || tree
}

/// Where scripts, files and forms lie.
fn collect(object: &Object, roles: &mut Roles, strings: &BTreeMap<u32, &Vec<u8>>, report: &mut Report<'_>) {
    let mut embedded = false;
    for (key, value) in &object.pairs {
        match (key.as_str(), value) {
            ("JS", Value::String(source)) => roles.sources.push(text(source)),
            ("JS", Value::Reference(number)) => {
                roles.scripts.insert(*number);
                roles.sources.extend(strings.get(number).map(|s| text(s)));
            }
            ("XFA", Value::Reference(number)) => {
                roles.forms.insert(*number);
            }
            ("XFA", Value::List(list)) => roles.forms.extend(list.iter().filter_map(target)),
            ("EF", _) => embedded = true,
            ("F" | "UF" | "DOS" | "Unix" | "Mac", Value::Reference(number)) if embedded => {
                let name = file(object, strings);
                if Name::read(&name).is_active() {
                    report.say("pdf.embedded-program", format!("carries {name:?}"));
                }
                report.say("pdf.embedded-file", format!("carries {name:?}"));
                roles.files.insert(*number, name);
            }
            _ => {}
        }
    }
}

/// The file or address that an object names.
fn file(object: &Object, strings: &BTreeMap<u32, &Vec<u8>>) -> String {
    let names = ["UF", "F", "Unix", "DOS", "Mac", "Win", "P", "URL"];
    let named = names.iter().find_map(|key| {
        object.pairs.iter().filter(|(k, _)| k == key).find_map(|(_, v)| match v {
            Value::String(name) => Some(text(name)),
            Value::Reference(number) => strings.get(number).map(|s| text(s)),
            _ => None,
        })
    });
    named.unwrap_or_default()
}

/// Another machine, or a path that no sender can know.
fn is_away(name: &str) -> bool {
    let lower = name.trim().to_ascii_lowercase();
    ["http:", "https:", "ftp:", "\\\\", "//", "file:", "smb:", "mailto:", "javascript:"]
        .iter()
        .any(|p| lower.starts_with(p))
}

/// JavaScript in clear.
pub fn script(source: &str, report: &mut Report<'_>) {
    let lower = source.to_ascii_lowercase();
    let words: Vec<&str> = SCRIPT.iter().filter(|w| lower.contains(&w.to_ascii_lowercase())).copied().collect();
    if !words.is_empty() {
        report.say("pdf.script-suspicious", format!("its JavaScript uses {}", words.join(", ")));
    }
}

/// A form in XML: scripts and places it sends to.
pub fn form(source: &str, report: &mut Report<'_>) {
    let lower = source.to_ascii_lowercase();
    if lower.contains("<script")
        && (lower.contains("initialize") || lower.contains("docready") || lower.contains("application/x-javascript"))
    {
        report.say("pdf.javascript", "its form in XML has scripts");
        script(source, report);
    }
}
