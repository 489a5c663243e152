//! Constant expressions of macro source worked out: `"po" & Chr(119) & "ershell"` is `powershell`. One flat pass over
//! the tokens of each line; what depends on a variable stays closed.

/// Octets of source read and of strings given back.
const MOST: usize = 256 << 10;

/// Every string of at least four characters that two or more pieces of `source` make, one a line.
pub fn clear(source: &str) -> String {
    let mut out = String::new();
    let joined = source.replace(" _\r\n", " ").replace(" _\n", " ");
    for line in joined.lines().take(20_000) {
        let mut reader = Reader { rest: line, text: String::new(), pieces: 0, out: &mut out };
        reader.line();
        if out.len() > MOST {
            break;
        }
    }
    out
}

struct Reader<'s, 'o> {
    rest: &'s str,
    text: String,
    pieces: usize,
    out: &'o mut String,
}

impl Reader<'_, '_> {
    fn line(&mut self) {
        while !self.rest.is_empty() {
            let before = self.rest.len();
            match self.piece() {
                Some(text) => {
                    self.text.push_str(&text);
                    self.pieces += 1;
                    if !self.joins() {
                        self.flush();
                    }
                }
                None => {
                    self.flush();
                    let mut chars = self.rest.chars();
                    let first = chars.next();
                    self.rest = chars.as_str();
                    // A name is left whole, so that `MyChr(1)` is no `Chr(1)`.
                    if first.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                        self.rest = self.rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
                    }
                }
            }
            if self.rest.len() >= before {
                break;
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if self.pieces > 1 && self.text.len() >= 4 {
            self.out.push_str(&self.text);
            self.out.push('\n');
        }
        self.text.clear();
        self.pieces = 0;
    }

    /// `&` or `+` between two pieces.
    fn joins(&mut self) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(['&', '+']) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// A string, a character by its code, or a reversed string.
    fn piece(&mut self) -> Option<String> {
        if let Some(rest) = self.rest.strip_prefix('"') {
            return Some(self.quoted(rest));
        }
        let open = self.rest.find('(')?;
        let name = self.rest.get(..open)?.trim_end().to_ascii_lowercase();
        let inner = self.rest.get(open + 1..)?;
        match name.as_str() {
            "chr" | "chr$" | "chrw" | "chrw$" | "chrb" | "chrb$" | "vba.chr" | "vba.chrw" => {
                let (inside, behind) = inner.split_once(')')?;
                let code = sum(inside)?;
                self.rest = behind;
                Some(char::from_u32(code)?.to_string())
            }
            "strreverse" | "vba.strreverse" => {
                let start = inner.trim_start().strip_prefix('"')?;
                let text = self.quoted(start);
                self.rest = self.rest.trim_start().strip_prefix(')').unwrap_or(self.rest);
                // Counts as two: it was hidden.
                self.pieces += 1;
                Some(text.chars().rev().collect())
            }
            _ => None,
        }
    }

    /// A string literal behind its first quote; two quotes are one.
    fn quoted(&mut self, rest: &str) -> String {
        let mut text = String::new();
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((i, c)) = chars.next() {
            if c != '"' {
                text.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == '"') {
                chars.next();
                text.push('"');
            } else {
                end = i + 1;
                break;
            }
        }
        // The literal is part of `self.rest`: cut by length from its end.
        let left = rest.len() - end;
        let total = self.rest.len();
        self.rest = self.rest.get(total - left..).unwrap_or_default();
        text
    }
}

/// `&H41`, `65`, `60 + 5`, `70 - 5`, `130 / 2`, `13 * 5`, `61 Xor 4` from left to right.
fn sum(text: &str) -> Option<u32> {
    let spaced = text.to_ascii_lowercase().replace("xor", " ^ ").replace('+', " + ").replace('-', " - ");
    let spaced = spaced.replace('*', " * ").replace('/', " / ");
    let (mut total, mut sign) = (0_i64, '+');
    for token in spaced.split_whitespace() {
        if let Some(hex) = token.strip_prefix("&h") {
            total = apply(total, sign, i64::from_str_radix(hex.trim_end_matches('&'), 16).ok()?)?;
        } else if let Ok(number) = token.trim_end_matches(['&', '%', '#']).parse::<i64>() {
            total = apply(total, sign, number)?;
        } else {
            sign = token.chars().next()?;
            if token.len() != 1 || !"+-*/^".contains(sign) {
                return None;
            }
        }
    }
    u32::try_from(total).ok().filter(|c| *c > 0)
}

fn apply(total: i64, sign: char, number: i64) -> Option<i64> {
    match sign {
        '+' => total.checked_add(number),
        '-' => total.checked_sub(number),
        '*' => total.checked_mul(number),
        '/' => total.checked_div(number),
        '^' => Some(total ^ number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_string() {
        for (source, wanted) in [
            ("x = \"po\" & \"wer\" + \"shell\"", "powershell\n"),
            ("x = Chr(119) & Chr(&H73) & ChrW(90+9) & \"ript\"", "wscript\n"),
            ("x = StrReverse(\"llehsrewop\")", "powershell\n"),
            ("x = \"a\" & y & \"b\"", ""),
            ("x = \"say \"\"hi\"\"\" & \" now\"", "say \"hi\" now\n"),
            ("x = \"ht\" & _\r\n \"tp://a.test/x\"", "http://a.test/x\n"),
            ("x = MyChr(65) & \"lone\"", ""),
            ("x = Chr(70 Xor 7) & \"BCD\"", "ABCD\n"),
        ] {
            assert_eq!(clear(source), wanted, "{source}");
        }
    }
}
