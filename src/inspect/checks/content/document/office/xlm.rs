//! Formulas of Excel 4 macros as text (MS-XLS §2.5.198): a stack of strings over the tokens, constants joined and
//! character codes resolved on the way, so that `"cm"&CHAR(100)` reads `cmd`. Unknown tokens end a formula.

use super::super::bytes::{latin, slice, u8_at, u16_at, u32_at, utf16};

/// Tokens of one formula, characters of one text, depth of the stack.
const TOKENS: usize = 2000;
const LENGTH: usize = 8192;
const STACK: usize = 200;

/// Functions and commands that macros are judged by, by their number (§2.5.198.17, §2.5.198.11).
const FUNCTIONS: &[(usize, &str)] = &[
    (0, "COUNT"),
    (1, "IF"),
    (17, "RUN.OLD"),
    (53, "GOTO"),
    (54, "HALT"),
    (55, "RETURN"),
    (85, "DEREF"),
    (87, "ECHO"),
    (88, "SET.NAME"),
    (89, "CALLER"),
    (96, "FORMULA"),
    (103, "INPUT"),
    (104, "REGISTER.OLD"),
    (106, "SET.VALUE"),
    (107, "LINKS"),
    (108, "SET.VALUE"),
    (110, "EXEC"),
    (111, "CHAR"),
    (112, "LOWER"),
    (113, "UPPER"),
    (115, "LEFT"),
    (116, "RIGHT"),
    (121, "CODE"),
    (130, "T"),
    (132, "FOPEN"),
    (133, "FCLOSE"),
    (136, "FREAD"),
    (137, "FWRITELN"),
    (138, "FWRITE"),
    (148, "INDIRECT"),
    (149, "REGISTER"),
    (150, "CALL"),
    (163, "MDETERM"),
    (185, "GET.CELL"),
    (186, "GET.WORKSPACE"),
    (187, "GET.WINDOW"),
    (188, "GET.DOCUMENT"),
    (225, "END.IF"),
    (228, "FOR.CELL"),
    (266, "GET.OBJECT"),
    (267, "REGISTER.ID"),
    (336, "CONCATENATE"),
];
const COMMANDS: &[(usize, &str)] = &[
    (3, "FILE.DELETE"),
    (5, "SAVE.AS"),
    (6, "FILE.DELETE"),
    (12, "CLOSE.ALL"),
    (17, "RUN"),
    (42, "WORKBOOK.HIDE"),
    (49, "ALERT"),
    (53, "OPEN"),
    (75, "ERROR"),
    (87, "APP.MAXIMIZE"),
    (118, "ALERT"),
    (283, "WORKBOOK.HIDE"),
];

/// Whose tokens these are: Excel 5's, those of the binary format after it, those of binary workbooks (MS-XLSB §2.5.97).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Old,
    Binary,
    Wide,
}

impl Form {
    /// One of three lengths.
    const fn pick(self, old: usize, binary: usize, wide: usize) -> usize {
        match self {
            Self::Old => old,
            Self::Binary => binary,
            Self::Wide => wide,
        }
    }
}

#[derive(Clone)]
struct Item {
    text: String,
    /// A string whose characters `text` is.
    constant: bool,
}

/// The formula; empty when it is none.
pub fn text(tokens: &[u8], form: Form) -> String {
    let (mut stack, mut at): (Vec<Item>, usize) = (Vec::new(), 0);
    for _ in 0..TOKENS {
        let Some(token) = tokens.get(at).copied() else { break };
        at += 1;
        let Some(used) = step(token, tokens.get(at..).unwrap_or_default(), form, &mut stack) else { break };
        at += used;
        stack.truncate(STACK);
    }
    let lines: Vec<String> =
        stack.into_iter().map(|i| if i.constant { format!("\"{}\"", i.text) } else { i.text }).collect();
    lines.join(" ").chars().take(LENGTH).collect()
}

/// One token; how many octets behind it belong to it.
fn step(token: u8, rest: &[u8], form: Form, stack: &mut Vec<Item>) -> Option<usize> {
    let plain = |text: String| Item { text: text.chars().take(LENGTH).collect(), constant: false };
    // Classes of operands differ in two bits only.
    let base = if token >= 0x20 { (token & 0x1F) | 0x20 } else { token };
    Some(match base {
        0x01 | 0x02 => 4,
        0x03..=0x14 => {
            binary(base, stack);
            0
        }
        0x15 | 0x16 => {
            if base == 0x16 {
                stack.push(plain(String::new()));
            }
            0
        }
        0x17 => {
            let count = u8_at(rest, 0)?;
            let (text, used) = if form == Form::Old {
                (latin(slice(rest, 1, count)), 1 + count)
            } else if form == Form::Wide {
                let count = u16_at(rest, 0)?;
                (utf16(slice(rest, 2, count * 2)), 2 + count * 2)
            } else if u8_at(rest, 1)? & 1 == 1 {
                (utf16(slice(rest, 2, count * 2)), 2 + count * 2)
            } else {
                (latin(slice(rest, 2, count)), 2 + count)
            };
            stack.push(Item { text, constant: true });
            used
        }
        // Attributes: a choice has a table behind it.
        0x19 => {
            let (flags, count) = (u8_at(rest, 0)?, u16_at(rest, 1)?);
            if flags & 0x04 != 0 { 3 + 2 * (count + 1) } else { 3 }
        }
        0x1C | 0x1D => {
            stack.push(plain(u8_at(rest, 0)?.to_string()));
            1
        }
        0x1E => {
            stack.push(plain(u16_at(rest, 0)?.to_string()));
            2
        }
        0x1F => {
            let bytes: [u8; 8] = rest.get(..8)?.try_into().ok()?;
            stack.push(plain(f64::from_le_bytes(bytes).to_string()));
            8
        }
        0x20 => form.pick(7, 7, 14),
        0x21 => {
            let number = u16_at(rest, 0)?;
            call(number & 0x7FFF, 1, FUNCTIONS, stack);
            2
        }
        0x22 => {
            let (count, number) = (u8_at(rest, 0)? & 0x7F, u16_at(rest, 1)?);
            let table = if number & 0x8000 != 0 { COMMANDS } else { FUNCTIONS };
            call(number & 0x7FFF, count, table, stack);
            3
        }
        0x23 => {
            stack.push(plain(format!("name{}", u16_at(rest, 0)?)));
            form.pick(14, 4, 4)
        }
        0x24 | 0x2A | 0x2C => {
            let (row, column) = match form {
                Form::Old => (u16_at(rest, 0)? & 0x3FFF, u8_at(rest, 2)?),
                Form::Binary => (u16_at(rest, 0)?, u16_at(rest, 2)? & 0xFF),
                Form::Wide => (u32_at(rest, 0)?, u16_at(rest, 4)? & 0x3FFF),
            };
            stack.push(plain(format!("R{}C{}", row + 1, column + 1)));
            form.pick(3, 4, 6)
        }
        0x25 | 0x2B | 0x2D => {
            stack.push(plain("area".to_owned()));
            form.pick(6, 8, 12)
        }
        0x26..=0x28 => 6,
        0x29 => 2,
        0x39 => {
            stack.push(plain("external".to_owned()));
            form.pick(24, 6, 6)
        }
        0x3A | 0x3C => {
            stack.push(plain("cell".to_owned()));
            form.pick(17, 6, 8)
        }
        0x3B | 0x3D => {
            stack.push(plain("area".to_owned()));
            form.pick(20, 10, 14)
        }
        _ => return None,
    })
}

fn binary(token: u8, stack: &mut Vec<Item>) {
    // Unary plus, minus and percent.
    if matches!(token, 0x12..=0x14) {
        return;
    }
    let sign = match token {
        0x03 => "+",
        0x04 => "-",
        0x05 => "*",
        0x06 => "/",
        0x07 => "^",
        0x08 => "&",
        0x09 => "<",
        0x0A => "<=",
        0x0B => "=",
        0x0C => ">=",
        0x0D => ">",
        0x0E => "<>",
        _ => ",",
    };
    let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { return };
    let joined = sign == "&" && left.constant && right.constant;
    let show = |item: &Item| if item.constant { format!("\"{}\"", item.text) } else { item.text.clone() };
    let text = if joined { left.text.clone() + &right.text } else { show(&left) + sign + &show(&right) };
    stack.push(Item { text: text.chars().take(LENGTH).collect(), constant: joined });
}

fn call(number: usize, count: usize, table: &[(usize, &str)], stack: &mut Vec<Item>) {
    let start = stack.len().saturating_sub(count);
    let arguments = stack.split_off(start);
    let letter = match arguments.as_slice() {
        [only] if number == 111 && table.len() == FUNCTIONS.len() => {
            only.text.parse::<u32>().ok().and_then(char::from_u32)
        }
        _ => None,
    };
    if let Some(letter) = letter {
        stack.push(Item { text: letter.to_string(), constant: true });
        return;
    }
    let show = |item: &Item| if item.constant { format!("\"{}\"", item.text) } else { item.text.clone() };
    let inside = arguments.iter().map(show).collect::<Vec<_>>().join(",");
    // 255: the function is the first argument, by name.
    let name =
        table.iter().find(|(n, _)| *n == number).map_or_else(|| format!("F{number}"), |(_, name)| (*name).to_owned());
    let text = format!("{name}({inside})").chars().take(LENGTH).collect();
    stack.push(Item { text, constant: false });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_joined() {
        // "cm" CHAR(100) & EXEC
        let tokens = b"\x17\x02\0cm\x1e\x64\0\x41\x6f\0\x08\x42\x01\x6e\0";
        assert_eq!(text(tokens, Form::Binary), "EXEC(\"cmd\")");
        assert_eq!(text(b"\x17\xff\0ab", Form::Binary), "\"ab\"");
        assert_eq!(text(b"\xff\xff\xff", Form::Binary), "");
        assert_eq!(text(b"\x17\x02\0c\0m\0\x24\x01\0\0\0\x02\0\x08", Form::Wide), "\"cm\"&R2C3");
    }
}
