//! Names in macro source that start by themselves, or that run, fetch, write or hide something.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::super::super::bytes::holds;
use super::super::super::report::Report;

/// Procedures that Office calls itself (Word, Excel, PowerPoint, Access, Publisher, Visio and ActiveX events).
const STARTS: &[&str] = &[
    "autoexec",
    "autoopen",
    "autoexit",
    "autoclose",
    "autonew",
    "auto_open",
    "auto_close",
    "auto_exec",
    "auto_new",
    "document_open",
    "document_close",
    "document_new",
    "document_beforeclose",
    "documentopen",
    "documentbeforeclose",
    "documentchange",
    "newdocument",
    "workbook_open",
    "workbook_close",
    "workbook_activate",
    "workbook_beforeclose",
    "worksheet_activate",
    "worksheet_calculate",
    "worksheet_change",
    "presentation_open",
    "presentationopen",
    "auto_slideshowbegin",
    "onslideshowterminate",
    "slideshowbegin",
    "app_documentopen",
    "_layout",
    "_painted",
    "_painting",
    "_gotfocus",
    "_lostfocus",
    "_mousehover",
    "_mouseenter",
    "_mouseleave",
    "_onconnecting",
    "_beforenavigate2",
    "_navigatecomplete2",
    "_documentcomplete",
    "_downloadbegin",
    "_downloadcomplete",
    "_progresschange",
    "_titlechange",
    "_statustextchange",
    "inkpicture1_painted",
    "multipage1_layout",
    "frame1_layout",
    "userform_initialize",
    "userform_activate",
    "workbook_sheetactivate",
    "document_contentcontrolonenter",
    "document_documentopened",
];

/// What harmless macros seldom need: code, network, other programs, other processes' memory.
const RUNS: &[&str] = &[
    "shell",
    "shellexecute",
    "shellexecutea",
    "wscript.shell",
    "shell.application",
    "createprocess",
    "createprocessa",
    "createprocessw",
    "winexec",
    "powershell",
    "pwsh",
    "cmd.exe",
    "cmd /c",
    "mshta",
    "rundll32",
    "regsvr32",
    "certutil",
    "bitsadmin",
    "wmic",
    "winmgmts",
    "win32_process",
    "schtasks",
    "schedule.service",
    "msxml2.xmlhttp",
    "msxml2.serverxmlhttp",
    "winhttp.winhttprequest",
    "microsoft.xmlhttp",
    "internetexplorer.application",
    "urldownloadtofile",
    "urldownloadtofilea",
    "adodb.stream",
    "savetofile",
    "virtualalloc",
    "virtualallocex",
    "virtualprotect",
    "rtlmovememory",
    "ntallocatevirtualmemory",
    "writeprocessmemory",
    "createremotethread",
    "createthread",
    "queueuserapc",
    "enumsystemlocalesa",
    "callbyname",
    "executeexcel4macro",
    "loadlibrary",
    "loadlibrarya",
    "getprocaddress",
    "settimer",
    "heapcreate",
    "wow64",
    "msscriptcontrol.scriptcontrol",
    "regwrite",
    "accessvbom",
    "vbawarnings",
    "appactivate",
    "sendkeys",
    "macscript",
    "applescripttask",
    "popen",
    "libc.dylib",
    "cscript",
    "wscript",
    "frombase64string",
    "downloadstring",
    "downloadfile",
    "invoke-expression",
    "activexobject",
    "vbproject.vbcomponents",
    "codemodule.addfromstring",
    "insertlines",
    "addfromfile",
    "dynamicwrapperx",
    "new:13709620-c279-11ce-a49e-444553540000",
    "new:72c24dd5-d70a-438b-8a42-98424b88afb8",
];

/// Worth a look beside one of the others; ordinary macros use them too.
const ODD: &[&str] = &[
    "createobject",
    "getobject",
    "environ",
    "chr",
    "chrw",
    "chrb",
    "strreverse",
    "xor",
    "open",
    "put",
    "kill",
    "filecopy",
    "filesystemobject",
    "scripting.filesystemobject",
    "createtextfile",
    "saveas",
    "lib",
    "vbhide",
    "windowstyle",
    "appdata",
    "\\temp",
    "run",
    "exec",
    "sandbox",
    "virtualbox",
    "vmware",
    "debugger",
];

struct Words {
    list: Vec<(&'static str, Class)>,
    finder: AhoCorasick,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Start,
    Run,
    Odd,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let of = |class: Class| move |word: &&'static str| (*word, class);
    let list: Vec<_> = (STARTS.iter().map(of(Class::Start)))
        .chain(RUNS.iter().map(of(Class::Run)))
        .chain(ODD.iter().map(of(Class::Odd)))
        .collect();
    let finder = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .build(list.iter().map(|(word, _)| *word))
        .expect("the words are constants");
    Words { list, finder }
});

/// The words of each class that stand in `code` as words of their own.
fn find(code: &str) -> Vec<(&'static str, Class)> {
    let words = &*WORDS;
    let mut seen = std::collections::BTreeSet::new();
    let bytes = code.as_bytes();
    let is_word =
        |at: Option<usize>| at.and_then(|i| bytes.get(i)).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    for hit in words.finder.find_overlapping_iter(code) {
        let Some((word, _)) = words.list.get(hit.pattern().as_usize()) else { continue };
        let open_start = word.starts_with('_') || word.starts_with('\\') || !is_word(hit.start().checked_sub(1));
        if open_start && !is_word(Some(hit.end())) {
            seen.insert(hit.pattern().as_usize());
        }
    }
    seen.into_iter().filter_map(|i| words.list.get(i).copied()).collect()
}

/// Findings of source text, comments left out.
pub fn judge(source: &str, report: &mut Report<'_>) {
    let code = without_comments(source);
    let found = find(&code);
    let of = |class: Class| found.iter().filter(|(_, c)| *c == class).map(|(w, _)| *w).collect::<Vec<_>>();
    let (starts, runs, odd) = (of(Class::Start), of(Class::Run), of(Class::Odd));
    if !starts.is_empty() {
        report.say("macro.autoexec", format!("starts by itself: {}", starts.join(", ")));
    }
    let hidden = obfuscated(&code);
    if !runs.is_empty() || hidden.is_some() || (!starts.is_empty() && odd.len() >= 3) {
        let mut words = runs;
        words.extend(odd.iter().take(6));
        let hidden = hidden.map(|h| format!("; {h}")).unwrap_or_default();
        report.say("macro.suspicious", format!("uses {}{hidden}", words.join(", ")));
    }
}

/// Findings of a script in a file of its own.
pub fn judge_script(source: &str, report: &mut Report<'_>) {
    let runs: Vec<&str> = find(source).iter().filter(|(_, c)| *c == Class::Run).map(|(w, _)| *w).collect();
    let hidden = obfuscated(source);
    if !runs.is_empty() || hidden.is_some() {
        let hidden = hidden.map(|h| format!("; {h}")).unwrap_or_default();
        report.say("script.suspicious", format!("uses {}{hidden}", runs.join(", ")));
    }
}

/// Strings put together from character codes, or written as long runs of digits.
fn obfuscated(code: &str) -> Option<String> {
    let lower = code.to_ascii_lowercase();
    let count = |word: &str| memchr::memmem::find_iter(lower.as_bytes(), word.as_bytes()).take(1000).count();
    let codes = count("chr(") + count("chr$(") + count("chrw(") + count("chrw$(") + count("chrb(");
    if codes >= 20 {
        return Some(format!("{codes} characters written as codes"));
    }
    let numbers = lower.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() >= 400).count();
    if numbers > 0 {
        return Some("long runs of hexadecimal digits".to_owned());
    }
    None
}

/// Source without `Attribute` lines, options and blank lines: what a person wrote.
pub fn without_attributes(source: &str) -> String {
    let lines = source.lines().filter(|l| {
        let line = l.trim();
        !(line.is_empty() || line.starts_with("Attribute ") || line.starts_with("Option ") || line.starts_with('\''))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn without_comments(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for line in source.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with('\'') || trimmed.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("rem ")) {
            continue;
        }
        let (mut quoted, mut end) = (false, line.len());
        for (i, c) in line.char_indices() {
            match c {
                '"' => quoted = !quoted,
                '\'' if !quoted => {
                    end = i;
                    break;
                }
                _ => {}
            }
        }
        out.push_str(line.get(..end).unwrap_or(line));
        out.push('\n');
    }
    out
}

/// Names that the compiled project knows and no source has. An editor keeps names of deleted code for a while, so only
/// those count that start by themselves or run something.
pub fn only_compiled(compiled: &[u8], code: &str) -> Vec<&'static str> {
    let lower = code.to_ascii_lowercase();
    let quiet = ["shell", "wow64", "settimer", "popen", "_layout"];
    let names = STARTS.iter().chain(RUNS).filter(|w| w.len() > 5 && !w.contains(['.', ' ', ':', '/', '\\', '-']));
    let lower_compiled: Vec<u8> = compiled.to_ascii_lowercase();
    let names = names.filter(|w| !quiet.contains(w) && !w.starts_with('_'));
    names.filter(|w| holds(&lower_compiled, w) && !lower.contains(**w)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_only_as_words() {
        let classes = |code: &str| find(code).into_iter().map(|(w, _)| w).collect::<Vec<_>>();
        assert_eq!(classes("Sub AutoOpen()\nShell \"x\""), ["autoopen", "shell"]);
        assert_eq!(classes("Sub MyAutoOpened(): Seashell = 1"), [""; 0]);
        assert_eq!(classes("Sub CommandButton1_Painted()"), ["_painted"]);
    }

    #[test]
    fn comments_say_nothing() {
        assert_eq!(without_comments("a = \"it's\" ' Shell\nRem Shell\n"), "a = \"it's\" \n");
    }

    #[test]
    fn names_without_source_are_seen() {
        let wide: Vec<u8> = "AutoOpen".bytes().flat_map(|b| [b, 0]).collect();
        assert_eq!(only_compiled(&wide, "Sub Hello()\nEnd Sub"), ["autoopen"]);
        assert_eq!(only_compiled(b"xx AutoOpen xx", "Sub AutoOpen()\nEnd Sub"), [""; 0]);
    }
}
