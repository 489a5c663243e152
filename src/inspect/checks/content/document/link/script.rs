//! Scripts as files: JavaScript, VBScript, HTA, script components, batch and PowerShell; and macro source in a file.

use super::super::markup;
use super::super::office::{clear, judge_script};
use super::super::report::{Found, Report};
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
        name.is_script() || matches!(name.extension.as_str(), "bas" | "vba" | "cls" | "frm" | "php" | "py" | "sh")
    }) || has(b"attribute vb_name")
        || has(b"<hta:application")
        || has(b"<job") && has(b"<script")
        || has(b"<scriptlet")
        || has(b"<component") && has(b"<script")
        || has(b"new activexobject(")
        || has(b"wscript.createobject")
        || has(b"createobject(\"wscript.shell\")")
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let text = markup::decode(object.data.get(..object.data.len().min(MOST)).unwrap_or_default());
    judge_script(&text, report);
    report.links_in(&text);
    let clear = clear(&text.replace('\'', "\""));
    report.links_in(&clear);
    if clear.is_empty() || !budget.take(clear.len()) { Vec::new() } else { vec![Found::text("strings", clear)] }
}
