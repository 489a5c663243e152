//! Scripts as files: JavaScript, VBScript, HTA, script components, batch and PowerShell; and macro source in a file.

use super::super::markup;
use super::super::office::{clear, judge_script, without_attributes};
use super::super::report::{Found, Report};
use super::encoded;
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::name::Name;

const MOST: usize = 4 << 20;

/// By name, or by how such files begin when the name lies.
pub fn is_script(object: &Object<'_>) -> bool {
    let text = object.kind.starts_with("text/") || object.kind == "application/octet-stream";
    if !text || object.names.is_empty() {
        return false;
    }
    let head = object.data.get(..object.data.len().min(2048)).unwrap_or_default().to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&head, word).is_some();
    object.names.iter().any(|n| {
        let name = Name::read(n);
        name.is_script()
            || is_module(n)
            || matches!(name.extension.as_str(), "php" | "py" | "sh" | "msc" | "xsl" | "xslt")
    }) || has(b"attribute vb_name")
        || has(b"<hta:application")
        || has(b"<job") && has(b"<script")
        || has(b"<scriptlet")
        || has(b"<component") && has(b"<script")
        || has(b"new activexobject(")
        || has(b"wscript.createobject")
        || has(b"createobject(\"wscript.shell\")")
        || has(b"<mmc_consolefile")
        || has(b"urn:schemas-microsoft-com:xslt")
        || encoded::is_encoded(&object.data)
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data = object.data.get(..object.data.len().min(MOST)).unwrap_or_default();
    let mut text = markup::decode(data);
    let mut found = Vec::new();
    if encoded::is_encoded(data) {
        report.say("script.encoded", "holds a script in Microsoft's encoding, which hides it from people and scanners");
        let plain = encoded::clear(data);
        text = String::from_utf8_lossy(&plain).into_owned();
        found.extend(budget.take(plain.len()).then(|| Found::text("decoded", plain)));
    }
    if object.names.iter().any(|n| is_module(n)) && !without_attributes(&text).trim().is_empty() {
        report.say("macro.present", "is the source of a macro");
    }
    // Management consoles and style sheets that run script (`msxsl:script`, redirects of the console's own pages).
    let lower = text.get(..text.floor_char_boundary(1 << 20)).unwrap_or(&text).to_ascii_lowercase();
    let console = lower.contains("<mmc_consolefile") && (lower.contains("javascript:") || lower.contains("apds.dll"));
    let sheet = lower.contains("urn:schemas-microsoft-com:xslt") && lower.contains(":script");
    if console || sheet {
        let what = if console { "console file" } else { "style sheet" };
        report.say("script.suspicious", format!("is a {what} that runs script"));
    }
    judge_script(&text, report);
    report.links_in(&text);
    let clear = clear(&text.replace('\'', "\""));
    report.links_in(&clear);
    if !clear.is_empty() && budget.take(clear.len()) {
        found.push(Found::text("strings", clear));
    }
    found
}

/// What the editor of macros exports.
fn is_module(name: &str) -> bool {
    matches!(Name::read(name).extension.as_str(), "bas" | "vba" | "cls" | "frm")
}
