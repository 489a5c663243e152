//! Tokens of PDF (ISO 32000-1 §7.2, §7.3), read as leniently as viewers read them. Flat: brackets are tokens like any
//! other, so depth costs nothing.

/// Longest string and name kept.
const STRING: usize = 1 << 20;
const NAME: usize = 256;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    /// Without its slash, `#xx` resolved; whether letters were written so.
    Name(String, Hidden),
    String(Vec<u8>),
    /// Whole part only.
    Number(i64),
    Word(String),
    /// `<<` `>>` `[` `]`
    Open,
    Close,
    Start,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hidden {
    No,
    Yes,
}

pub struct Lexer<'d> {
    data: &'d [u8],
    pub at: usize,
}

const fn is_space(b: u8) -> bool {
    matches!(b, 0 | 9 | 10 | 12 | 13 | 32)
}

const fn is_delimiter(b: u8) -> bool {
    matches!(b, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

impl<'d> Lexer<'d> {
    pub const fn new(data: &'d [u8], at: usize) -> Self {
        Self { data, at }
    }

    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    fn name(&mut self) -> Token {
        let (mut name, mut hidden) = (String::new(), Hidden::No);
        while let Some(b) = self.peek().filter(|b| !is_space(*b) && !is_delimiter(*b)) {
            self.at += 1;
            let code = self.data.get(self.at..self.at + 2).and_then(|h| std::str::from_utf8(h).ok());
            let byte = match code.filter(|_| b == b'#').and_then(|h| u8::from_str_radix(h, 16).ok()) {
                Some(byte) => {
                    self.at += 2;
                    if byte.is_ascii_alphanumeric() {
                        hidden = Hidden::Yes;
                    }
                    byte
                }
                None => b,
            };
            if name.len() < NAME {
                name.push(char::from(byte));
            }
        }
        Token::Name(name, hidden)
    }

    /// §7.3.4.2: brackets inside balance, backslash escapes.
    fn literal(&mut self) -> Token {
        let (mut out, mut depth) = (Vec::new(), 1_usize);
        while let Some(b) = self.peek() {
            self.at += 1;
            match b {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    if let Some(byte) = self.escape()
                        && out.len() < STRING
                    {
                        out.push(byte);
                    }
                    continue;
                }
                _ => {}
            }
            if out.len() < STRING {
                out.push(b);
            }
        }
        Token::String(out)
    }

    fn escape(&mut self) -> Option<u8> {
        let b = self.peek()?;
        self.at += 1;
        Some(match b {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'\r' => {
                if self.peek() == Some(b'\n') {
                    self.at += 1;
                }
                return None;
            }
            b'\n' => return None,
            b'0'..=b'7' => {
                let mut code = u32::from(b - b'0');
                for _ in 0..2 {
                    let Some(digit) = self.peek().filter(|d| (b'0'..=b'7').contains(d)) else { break };
                    code = code * 8 + u32::from(digit - b'0');
                    self.at += 1;
                }
                u8::try_from(code & 0xFF).unwrap_or(b'?')
            }
            other => other,
        })
    }

    fn hex(&mut self) -> Token {
        let (mut out, mut half) = (Vec::new(), None);
        while let Some(b) = self.peek() {
            self.at += 1;
            if b == b'>' {
                break;
            }
            let Some(digit) = char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()) else { continue };
            match half.take() {
                None => half = Some(digit),
                Some(high) if out.len() < STRING => out.push(high << 4 | digit),
                Some(_) => {}
            }
        }
        out.extend(half.map(|high| high << 4));
        Token::String(out)
    }

    fn word(&mut self) -> Token {
        let start = self.at;
        while self.peek().is_some_and(|b| !is_space(b) && !is_delimiter(b)) {
            self.at += 1;
        }
        let text = self.data.get(start..self.at).unwrap_or_default();
        let shown: String = text.iter().take(64).map(|b| char::from(*b)).collect();
        let whole = shown.split('.').next().unwrap_or_default();
        match whole.trim_start_matches('+').parse::<i64>() {
            Ok(number) => Token::Number(number),
            Err(_) => Token::Word(shown),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let b = self.peek()?;
            if is_space(b) {
                self.at += 1;
                continue;
            }
            if b == b'%' {
                let rest = self.data.get(self.at..).unwrap_or_default();
                self.at += memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                continue;
            }
            let double = self.data.get(self.at + 1) == Some(&b);
            self.at += usize::from(is_delimiter(b)) + usize::from(matches!(b, b'<' | b'>') && double);
            return Some(match b {
                b'/' => self.name(),
                b'(' => self.literal(),
                b'<' if double => Token::Open,
                b'>' if double => Token::Close,
                b'<' => self.hex(),
                b'[' => Token::Start,
                b']' => Token::End,
                b'>' | b')' | b'{' | b'}' => continue,
                _ => self.word(),
            });
        }
    }
}

/// A text string (§7.9.2.2): UTF-16BE by its mark, UTF-8 by its mark, else one octet a letter.
pub fn text(bytes: &[u8]) -> String {
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return encoding_rs::UTF_16BE.decode(rest).0.into_owned();
    }
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return encoding_rs::UTF_16LE.decode(rest).0.into_owned();
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|b| char::from(*b)).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso32000_7_3_tokens_are_read_in_every_spelling() {
        let all: Vec<Token> = Lexer::new(b"<</J#53(a\\(b\\)\\101)%c\n/X<4 1 4>[-3.5 R]>>", 0).collect();
        assert_eq!(
            all,
            [
                Token::Open,
                Token::Name("JS".into(), Hidden::Yes),
                Token::String(b"a(b)A".to_vec()),
                Token::Name("X".into(), Hidden::No),
                Token::String(b"A@".to_vec()),
                Token::Start,
                Token::Number(-3),
                Token::Word("R".into()),
                Token::End,
                Token::Close,
            ]
        );
        assert_eq!(text(b"\xfe\xff\0a\0b"), "ab");
        assert_eq!(Lexer::new(b"((((", 0).count(), 1);
    }
}
