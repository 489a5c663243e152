//! Fields of Word documents (ECMA-376 part 1 §17.16): those that start or fetch something. One instruction as plain
//! text, from wherever it stood: XML runs, RTF groups, the old binary format.

use super::super::report::Report;

/// Fields of one document, characters of one.
const FIELDS: usize = 5000;
const LENGTH: usize = 4000;
/// Characters of one document that are read behind marks: fields lie in each other, but not for ever.
const READ: usize = 4 << 20;

/// Judges one instruction.
pub fn judge(instruction: &str, report: &mut Report<'_>) {
    let text: String = instruction.chars().take(LENGTH).collect();
    let text = with_codes(&text);
    let upper = text.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(|c: char| c.is_whitespace() || c == '"').filter(|w| !w.is_empty()).collect();
    let first = words.first().copied().unwrap_or_default();
    if words.iter().any(|w| matches!(*w, "DDE" | "DDEAUTO")) || first.starts_with("DDE") {
        report.say("office.dde", format!("has a field that starts a program: {}", text.trim()));
    }
    report.links_in(&text);
    let target = target(&text);
    match first {
        "HYPERLINK" => report.link(target),
        "INCLUDETEXT" | "LINK" | "IMPORT" | "RD" | "INCLUDE" if is_remote(target) => {
            report.link(target);
            report.say("office.external-object", format!("fetches {target} when it is opened"));
        }
        "INCLUDEPICTURE" => {
            report.link(target);
            if target.starts_with("\\\\") || target.to_ascii_lowercase().starts_with("file:") {
                report.say("office.external-object", format!("fetches {target} when it is opened"));
            }
        }
        _ => {}
    }
}

/// Another machine.
pub fn is_remote(target: &str) -> bool {
    let lower = target.trim().trim_matches('"').to_ascii_lowercase();
    // RFC 8089: no host or `localhost` is the reader's own disk; four strokes are a Windows share.
    let own = lower.strip_prefix("file:///").is_some_and(|path| !path.starts_with(['/', '\\']));
    if own || lower.starts_with("file://localhost/") {
        return false;
    }
    ["http:", "https:", "ftp:", "mhtml:", "smb:", "\\\\", "//", "file://", "file:\\\\", "ms-", "script:", "search-ms"]
        .iter()
        .any(|p| lower.starts_with(p))
        || lower.contains("!x-usc:")
}

/// The first quoted word, else the second word.
fn target(text: &str) -> &str {
    let mut quoted = text.splitn(3, '"');
    quoted.next();
    let word = quoted.next().or_else(|| text.split_whitespace().nth(1));
    word.unwrap_or_default().trim()
}

/// `QUOTE 99 109 100` is `cmd` (a way to hide a DDE command).
fn with_codes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_quote = false;
    for word in text.split_whitespace() {
        match word.trim_matches('"').parse::<u32>().ok().and_then(char::from_u32) {
            Some(c) if after_quote && !c.is_control() => out.push(c),
            _ => {
                after_quote = word.eq_ignore_ascii_case("QUOTE");
                if !after_quote {
                    out.push(' ');
                    out.push_str(word);
                }
            }
        }
    }
    out
}

/// Fields in the text of a binary document (MS-DOC §2.8.25): between the marks 0x13 and 0x14 or 0x15, in one octet or
/// two a letter. The table of pieces is not asked: what it leaves out, another program may show.
pub fn in_word(data: &[u8], report: &mut Report<'_>) {
    let (mut seen, mut left) = (0, READ);
    for at in memchr::memchr_iter(0x13, data) {
        if left == 0 {
            report.say("unpack.limit", "has more marks of fields than are read");
            break;
        }
        let wide = data.get(at + 1) == Some(&0);
        let step = if wide { 2 } else { 1 };
        let rest = data.get(at + step..).unwrap_or_default();
        let units = rest.chunks_exact(step).take(LENGTH.min(left));
        let mut text = String::new();
        let mut closed = false;
        for unit in units {
            left -= 1;
            let low = unit.first().copied().unwrap_or_default();
            let letter = if unit.get(1).is_some_and(|high| *high != 0) { '?' } else { char::from(low) };
            match letter {
                '\u{14}' | '\u{15}' => {
                    closed = true;
                    break;
                }
                '\u{13}' | '\u{1}' => text.push(' '),
                c if c.is_control() && !c.is_whitespace() => break,
                c => text.push(c),
            }
        }
        if closed && text.chars().any(|c| c.is_ascii_alphabetic()) {
            judge(text.trim(), report);
            seen += 1;
            if seen >= FIELDS {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_letters() {
        assert_eq!(with_codes("DDEAUTO QUOTE 99 109 100 x"), " DDEAUTOcmd x");
        assert_eq!(target(" HYPERLINK \"http://a.test/\" \\o x"), "http://a.test/");
        assert!(is_remote("\\\\host\\x") && is_remote("file://h/x") && !is_remote("media/image1.png"));
    }
}
