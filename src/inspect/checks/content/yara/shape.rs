//! Whether a rule file has a shape that the compiler bears. It reads conditions by recursion and checks their depth late:
//! a file of nested brackets, or of one operator behind the other, would end the whole process with its stack. So what
//! lies within what is counted first, by a scanner that only tells words, strings, expressions and comments apart.

/// Brackets and operators within each other. Nobody writes twenty; three hundred loops take 2 MiB of stack.
const DEEPEST: usize = 100;
/// `and`, `or` and commas of one rule: the compiler's time grows with their square.
const WIDEST: usize = 20_000;

/// Where a file is too deep or too wide, in octets, and what to say of it.
pub type Fault = (usize, &'static str);

const DEEP: &str = "more than 100 brackets and operators within each other";
const WIDE: &str = "a rule of more than 20000 terms";

/// What is open at one place of a file.
#[derive(Default)]
struct Shape {
    /// Operators before each open bracket, since the last `and`, `or` or comma.
    outer: Vec<usize>,
    /// Since then, in the innermost bracket.
    run: usize,
    /// Brackets and operators that are open, outside the innermost bracket.
    depth: usize,
    /// Terms since the last brace.
    terms: usize,
}

impl Shape {
    fn open(&mut self) {
        self.depth = self.depth.saturating_add(self.run).saturating_add(1);
        self.outer.push(std::mem::take(&mut self.run));
    }
    fn close(&mut self) {
        if let Some(run) = self.outer.pop() {
            self.depth = self.depth.saturating_sub(run.saturating_add(1));
            self.run = run;
        }
    }
    fn next_term(&mut self) {
        self.run = 0;
        self.terms = self.terms.saturating_add(1);
    }
}

/// Looks at a whole file; it need not be a good one.
pub fn check(text: &str) -> Result<(), Fault> {
    let octets = text.as_bytes();
    // Sought once: a file of nothing but beginnings of comments is not read to its end for each.
    let last_close = text.rfind("*/").unwrap_or(0);
    let (mut at, mut shape) = (0, Shape::default());
    // Inside a hexadecimal string operators are none, and `~` and `|` stand between octets.
    let (mut hex, mut assigned) = (false, false);
    while let Some(octet) = octets.get(at).copied() {
        let start = at;
        at = end(octets, at, hex, last_close);
        let word = octets.get(start..at).unwrap_or_default();
        let was_assigned = std::mem::take(&mut assigned);
        match octet {
            b'(' | b'[' => shape.open(),
            b')' | b']' => shape.close(),
            b'{' => {
                shape.open();
                shape.terms = 0;
                hex = was_assigned;
            }
            b'}' => {
                shape.close();
                hex = false;
            }
            b',' | b':' => shape.next_term(),
            b'=' if word == b"=" => (shape.run, assigned) = (0, true),
            b' ' | b'\t' | b'\r' | b'\n' => assigned = was_assigned,
            b'/' if word.starts_with(b"//") || word.starts_with(b"/*") => assigned = was_assigned,
            _ if hex => {}
            _ if matches!(word, b"and" | b"or") => shape.next_term(),
            b'$' | b'#' | b'@' | b'!' if word.len() > 1 && word != b"!=" => {}
            _ if is_operator(word) => shape.run = shape.run.saturating_add(1),
            _ => {}
        }
        if shape.depth.saturating_add(shape.run) > DEEPEST {
            return Err((start, DEEP));
        }
        if shape.terms > WIDEST {
            return Err((start, WIDE));
        }
    }
    Ok(())
}

/// What makes a condition deeper: whatever is no name, number, string or expression.
fn is_operator(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 11] = [
        b"not",
        b"defined",
        b"contains",
        b"icontains",
        b"startswith",
        b"istartswith",
        b"endswith",
        b"iendswith",
        b"iequals",
        b"matches",
        b"of",
    ];
    WORDS.contains(&word) || word.first().is_some_and(|octet| b"+-*\\%&|^~<>=!".contains(octet))
}

/// Where the word that begins at `start` ends. What has no end is one octet, as for the compiler: what follows counts.
fn end(octets: &[u8], start: usize, hex: bool, last_close: usize) -> usize {
    let rest = octets.get(start..).unwrap_or_default();
    let length = match rest {
        [b'/', b'/', ..] => rest.iter().position(|o| *o == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] if start >= last_close => 1,
        [b'/', b'*', inner @ ..] => inner.windows(2).position(|pair| pair == b"*/").map_or(1, |to| to + 4),
        [first, ..] if hex && !is_name(*first) => 1,
        [b'"', b'"', b'"', inner @ ..] => match quoted(inner, b'"', true) {
            Some(to) if inner.get(to..to + 2) == Some(b"\"\"") => to + 5,
            _ => 2,
        },
        [quote @ (b'"' | b'/'), inner @ ..] => quoted(inner, *quote, false).map_or(1, |to| to + 1),
        [b'=', b'=', ..] | [b'!' | b'<' | b'>', b'=', ..] | [b'<', b'<', ..] | [b'>', b'>', ..] => 2,
        [first, inner @ ..] if is_name(*first) || matches!(first, b'$' | b'#' | b'@' | b'!') => {
            1 + inner.iter().take_while(|octet| is_name(**octet)).count()
        }
        _ => 1,
    };
    start.saturating_add(length)
}

/// The length of what stands behind a quote, its other quote included; `None` where a line ends first that may not.
fn quoted(inner: &[u8], quote: u8, lines: bool) -> Option<usize> {
    let mut escaped = false;
    for (at, octet) in inner.iter().enumerate() {
        match octet {
            b'\n' if !lines => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            octet if *octet == quote => return Some(at.saturating_add(1)),
            _ => {}
        }
    }
    None
}

const fn is_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_' || octet >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!("rule a {{ condition: {condition} }}")
    }

    #[test]
    fn what_people_write_is_taken() {
        let long = vec!["hash.md5(0, filesize) == \"d41d8cd98f00b204e9800998ecf8427e\""; 5000].join(" or\n");
        let sum = vec!["uint8(1) + 1 == 2"; 3000].join(" and ");
        for text in [
            rule(&long),
            rule(&sum),
            rule("for any i in (1..#a) : ( @a[i] + 4 < filesize and not ( $b in (0..@a[i] - 1) ) )"),
            "rule a { strings: $a = /(((((((\\/\\(/ $b = \"((((\\\"((\" // ((((\n /* (((( */ $c = { 01 ( 02 | 03 | ~04 ) [2-4] } condition: any of them }"
                .repeat(2000),
            "rule a { meta: n = -1 condition: true }\n".repeat(5000),
            format!("rule a {{ strings: $a = {{ {}}} condition: #a == 1 }}", "( 01 | 02 ) ".repeat(2000)),
            String::new(),
        ] {
            assert_eq!(check(&text), Ok(()), "{:.120}", text);
        }
    }

    #[test]
    fn what_ends_the_stack_is_not() {
        let many = |piece: &str, count| vec![piece; count].concat();
        for count in [200, 1000, 100_000] {
            for text in [
                rule(&format!("{}true{}", many("(", count), many(")", count))),
                rule(&format!("{}true", many("not ", count))),
                rule(&format!("{}1 == 1", many("-", count))),
                rule(&format!("{}1 == 1", many("~ /* x */ ", count))),
                rule(&format!("filesize{} == 2", many(" << 1", count))),
                rule(&format!("filesize{} == 2", many(" + filesize - 1", count))),
                rule(&format!("filesize{} == 2", many(" & 7 | 3", count))),
                rule(&format!("filesize{} == 2", many("%7", count))),
                rule(&format!("filesize{}", many(" == 1", count))),
                rule(&format!("{}true{}", many("for all i in (1, 2) : (", count), many(")", count))),
                rule(&format!("{}true{}", many("(not not 1 + ", count), many(")", count))),
                format!(
                    "rule a {{ strings: $a = {{ 01 {}02{} }} condition: $a }}",
                    many("( 01 | ", count),
                    many(")", count)
                ),
            ] {
                let (place, what) = check(&text).unwrap_err();
                assert!(what == DEEP && place > 9 && place < 3000, "{place} {:.100}", text);
            }
        }
        // Behind quotes and comments that have no end, the compiler goes on.
        for open in ["\"", "\"\"\"a\" ", "/", "/* ", "= { \"\"\" }", "= { / "] {
            let text = format!("{open}\n{} rule b {{ condition: true }} \"\"\"", rule(&many("not ", 300)));
            assert!(check(&text).is_err(), "{open}");
        }
        let beginnings = "/* , ".repeat(200_000);
        let _ = check(&beginnings);
        let (_, what) = check(&rule(&vec!["true"; 30_000].join(" and "))).unwrap_err();
        assert_eq!(what, WIDE);
    }

    #[test]
    fn no_text_makes_it_panic_or_stand_still() {
        for text in ["\"", "/", "/*", "\"\"\"", "//", "}}}}))))]", "\\", "$", "= {", "\u{0}é\"\\"] {
            let _ = check(text);
        }
    }
}
