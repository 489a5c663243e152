//! Macro sheets of binary workbooks (MS-XLSB §2.1.7.14): a stream of records, of which the cells with formulas and texts
//! are read.

use super::super::bytes::{slice, u32_at, utf16};
use super::super::report::{Found, Report};
use super::xlm::{self, Form};
use super::{spreadsheet, vba::words};
use crate::inspect::checks::content::archive::Budget;

const RECORDS: usize = 2_000_000;
/// Text of all formulas together.
const TEXT: usize = 1 << 20;

pub fn open(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let (mut text, mut at) = (String::new(), 0);
    for _ in 0..RECORDS {
        let (Some(kind), Some(length)) = (number(data, &mut at, 2), number(data, &mut at, 4)) else { break };
        let line = cell(kind, slice(data, at, length));
        if !line.is_empty() && text.len() + line.len() < TEXT {
            text.push_str(&line);
            text.push('\n');
        }
        at = at.saturating_add(length);
    }
    spreadsheet::judge(&text, report);
    words::judge(&text, report);
    report.links_in(&text);
    if text.is_empty() || !budget.take(text.len()) { Vec::new() } else { vec![Found::text("xlm", text)] }
}

/// Kind and length of a record: seven bits an octet, the lowest first (§2.1.4).
fn number(data: &[u8], at: &mut usize, most: usize) -> Option<usize> {
    let mut value = 0;
    for place in 0..most {
        let octet = usize::from(*data.get(*at)?);
        *at += 1;
        value |= (octet & 0x7F) << (7 * place);
        if octet & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

/// The formula or text of a cell: column and style, value, flags, length of the formula, formula (§2.4.8 and further).
fn cell(kind: usize, body: &[u8]) -> String {
    const CELL: usize = 8;
    let wide = |at: usize| u32_at(body, at).unwrap_or(0).saturating_mul(2);
    let value = match kind {
        // BrtCellSt
        6 => return utf16(slice(body, CELL + 4, wide(CELL).min(16_384))),
        // BrtFmlaString, BrtFmlaNum, BrtFmlaBool, BrtFmlaError
        8 => wide(CELL).saturating_add(4),
        9 => 8,
        10 | 11 => 1,
        _ => return String::new(),
    };
    let at = value.saturating_add(CELL + 2);
    let length = u32_at(body, at).unwrap_or(0);
    xlm::text(slice(body, at.saturating_add(4), length), Form::Wide)
}
