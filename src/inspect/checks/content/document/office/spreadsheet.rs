//! What formulas of spreadsheets do: commands of Excel 4, and cells that start a program (`=cmd|'/c calc'!A0`).

use std::sync::LazyLock;

use regex::Regex;

use super::super::report::Report;

static COMMANDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(EXEC|CALL|REGISTER|FOPEN|FWRITE|FWRITELN|REGISTER\.ID|FORMULA\.FILL|SEND\.KEYS|VBA\.INSERT\.FILE|DDE\.EXECUTE|INITIATE|OPEN\.TEXT)\(")
        .expect("the pattern is a constant")
});

/// Program, bar, command in quotes or not, exclamation mark.
static CELL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?im)(?:^|[,;\t"'])[ \t"']*[=+@-][^\r\n,;\t|]{0,200}?\b([a-z][a-z0-9_.]{1,30})\|[ '"]*([^'"!\r\n]{1,300})['"]*!"#)
        .expect("the pattern is a constant")
});

/// Functions that fetch.
static FETCH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)[=+,(]\s*(?:_xlfn\.)?(WEBSERVICE|IMPORTXML|IMPORTDATA|RTD)\s*\("#)
        .expect("the pattern is a constant")
});

/// Formulas of a macro sheet.
pub fn judge(formulas: &str, report: &mut Report<'_>) {
    let mut commands: Vec<&str> =
        COMMANDS.captures_iter(formulas).filter_map(|c| Some(c.get(1)?.as_str())).take(50).collect();
    commands.sort_unstable();
    commands.dedup();
    if !commands.is_empty() {
        report.say("macro.suspicious", format!("an Excel 4 macro uses {}", commands.join(", ")));
    }
}

/// Text that a spreadsheet would load: CSV, SYLK, DIF.
pub fn cells(text: &str, report: &mut Report<'_>) {
    for found in CELL.captures_iter(text).take(3) {
        let part = |i: usize| found.get(i).map_or("", |m| m.as_str());
        report.say("office.dde", format!("has a cell that starts a program: {} | {}", part(1), part(2)));
    }
    if let Some(found) = FETCH.captures(text).and_then(|c| c.get(1)) {
        report.say("office.external-object", format!("has a cell that fetches something: {}", found.as_str()));
    }
    if text.starts_with("ID;") {
        // A field of kind E is an expression; `O;E` makes the sheet one of macros.
        let formulas = text.replace(";E", ";E ");
        judge(&formulas, report);
        if COMMANDS.is_match(&formulas) || text.contains("\nO;E") {
            report.say("macro.present", "is a symbolic link file with macros");
            report.say("macro.xlm", "is a symbolic link file with macro commands");
        }
        if text.to_ascii_lowercase().contains(";nauto_") {
            report.say("macro.autoexec", "names a macro that starts by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_starts_a_program_is_told_from_text() {
        for cell in [
            "=cmd|'/c calc'!A0",
            "a;b;+cmd|'/c calc'!A1",
            "\"=DDE(\"\"cmd\"\")\"\n@SUM(1+9)*cmd|' /C calc'!A0",
            "=MSEXCEL|'\\..\\x'!''",
        ] {
            assert!(CELL.is_match(cell), "{cell}");
        }
        for cell in ["=A1+B1", "a|b!c", "- item | note!", "=IF(A1|B1,1)", "-5;6|7"] {
            assert!(!CELL.is_match(cell), "{cell}");
        }
    }
}
