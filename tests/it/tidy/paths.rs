//! Rust source to the paths it names: enough of a lexer to know code from text, and `use` trees from their leaves.
//! Test modules are left out: a test may open files and sockets.

/// A path as it stands in the code, `use` groups written out: `["crate", "mail", "Domain"]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    /// Whether a dot stands before it and a parenthesis behind: `.is_dir(`.
    pub is_method: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    Sign(char),
    /// `::`
    Colons,
}

/// All paths of the code outside tests.
pub fn paths(source: &str) -> Vec<Path> {
    let tokens = without_tests(tokens(source));
    let mut out = Vec::new();
    let mut at = 0;
    while let Some((token, line)) = tokens.get(at) {
        match token {
            Token::Word(word) if word == "use" => {
                at = tree(&tokens, at + 1, &mut Vec::new(), &mut out);
            }
            Token::Word(word) => {
                let mut segments = vec![word.clone()];
                let start = at;
                while let (Some((Token::Colons, _)), Some((Token::Word(next), _))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    segments.push(next.clone());
                    at += 2;
                }
                let dot = start > 0 && tokens.get(start - 1).is_some_and(|t| t.0 == Token::Sign('.'));
                let called = tokens.get(at + 1).is_some_and(|t| t.0 == Token::Sign('('));
                out.push(Path { segments, line: *line, is_method: dot && called });
                at += 1;
            }
            _ => at += 1,
        }
    }
    out
}

/// One branch of a `use` tree; answers where it ends.
fn tree(tokens: &[(Token, usize)], mut at: usize, prefix: &mut Vec<String>, out: &mut Vec<Path>) -> usize {
    let depth = prefix.len();
    let mut line = tokens.get(at).map_or(0, |t| t.1);
    loop {
        match tokens.get(at).map(|t| &t.0) {
            Some(Token::Word(word)) if word == "as" => at += 2,
            Some(Token::Word(word)) => {
                line = tokens.get(at).map_or(line, |t| t.1);
                prefix.push(word.clone());
                at += 1;
            }
            Some(Token::Sign('{')) => {
                at += 1;
                while !matches!(tokens.get(at).map(|t| &t.0), None | Some(Token::Sign('}'))) {
                    at = tree(tokens, at, prefix, out);
                    if tokens.get(at).is_some_and(|t| t.0 == Token::Sign(',')) {
                        at += 1;
                    }
                }
                prefix.truncate(depth);
                return at + 1;
            }
            Some(Token::Colons) => at += 1,
            Some(Token::Sign('*')) => {
                prefix.push("*".to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    out.push(Path { segments: prefix.clone(), line, is_method: false });
    prefix.truncate(depth);
    at
}

/// Cuts out `#[cfg(test)]` and the item behind it.
fn without_tests(tokens: Vec<(Token, usize)>) -> Vec<(Token, usize)> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let is = |token: &Token, text: &str| match token {
        Token::Word(word) => word == text,
        Token::Sign(sign) => text.chars().eq([*sign]),
        Token::Colons => false,
    };
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = marker.iter().enumerate().all(|(i, text)| tokens.get(at + i).is_some_and(|t| is(&t.0, text)));
        if !marked {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at = behind_item(&tokens, at + marker.len());
    }
    out
}

/// Where the item, field or statement that begins at `start` ends.
fn behind_item(tokens: &[(Token, usize)], start: usize) -> usize {
    let first = tokens.get(start).map(|t| &t.0);
    // A field ends with its comma; the comma of an item is one between its generics.
    let is_item = matches!(first, Some(Token::Word(w)) if ["pub", "fn", "mod", "impl", "struct", "enum", "const", "unsafe", "async"].contains(&w.as_str()));
    let (mut depth, mut at) = (0_usize, start);
    while let Some((token, _)) = tokens.get(at) {
        let Token::Sign(sign) = token else {
            at += 1;
            continue;
        };
        match sign {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' if depth == 0 => return at,
            '}' if depth == 1 => return at + 1,
            '}' | ')' | ']' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            ',' if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn tokens(source: &str) -> Vec<(Token, usize)> {
    let code = blank(source);
    let mut out = Vec::new();
    let mut line = 1;
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        } else if c.is_alphanumeric() || c == '_' {
            let mut word = String::from(c);
            while let Some(next) = chars.next_if(|n| n.is_alphanumeric() || *n == '_') {
                word.push(next);
            }
            out.push((Token::Word(word), line));
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            out.push((Token::Colons, line));
        } else if !c.is_whitespace() {
            out.push((Token::Sign(c), line));
        }
    }
    out
}

/// The source with comments, strings and characters blanked out, lines kept.
pub fn blank(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    while at < chars.len() {
        let end = match (get(at), get(at + 1)) {
            ('/', '/') => (at..chars.len()).find(|i| get(*i) == '\n').unwrap_or(chars.len()),
            ('/', '*') => block_comment(&chars, at),
            ('r', '"' | '#') if !word_before(&chars, at) && raw_string(&chars, at).is_some() => {
                raw_string(&chars, at).unwrap_or(at + 1)
            }
            ('"', _) => quoted(&chars, at),
            // A lifetime has no closing quote two places on; a character literal has.
            ('\'', '\\') => quoted(&chars, at),
            ('\'', _) if get(at + 2) == '\'' => at + 3,
            _ => at,
        };
        if end == at {
            out.push(get(at));
            at += 1;
        } else {
            out.extend((at..end).map(|i| if get(i) == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn word_before(chars: &[char], at: usize) -> bool {
    // `br"…"` is a raw string too; any other letter before the r makes it a word.
    at > 0 && chars[at - 1] != 'b' && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes =
        |i: usize| chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (open + 1..chars.len()).find(|i| closes(*i)).map(|i| i + 1 + hashes)
}

fn quoted(chars: &[char], start: usize) -> usize {
    let quote = chars[start];
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

#[test]
fn paths_are_read_out_of_groups_and_never_out_of_text() {
    let source = r##"
//! crate::comment
use crate::{mail::{Domain, units::Span as S}, verdict};
/* use crate::block; */
fn f<'a>(x: &'a str) -> char { let _ = ("crate::text", r#"crate::"raw""#, 'c', '\''); crate::spool::run(x.is_dir()) }
#[cfg(test)]
mod tests { use crate::gateway; fn g() { std::fs::read("x"); } }
struct S { a: u8, #[cfg(test)] b: std::fs::File }
impl S { #[cfg(test)] fn h<A, B>(a: A, b: B) { std::fs::write("x"); } }
pub use tokio::sync;
"##;
    let found: Vec<String> = paths(source).iter().map(|p| p.segments.join("::")).collect();
    for path in
        ["crate::mail::Domain", "crate::mail::units::Span", "crate::verdict", "crate::spool::run", "tokio::sync"]
    {
        assert!(found.iter().any(|f| f == path), "{path} in {found:?}");
    }
    for word in ["comment", "block", "text", "raw", "gateway", "fs"] {
        assert!(!found.iter().any(|f| f.contains(word)), "{word} in {found:?}");
    }
    assert!(paths(source).iter().any(|p| p.is_method && p.segments == ["is_dir"]));
}
