//! One text in the forms in which patterns are compared (DOMAIN of Vietnamese: accents are often left out, letters
//! are swapped for look-alikes, words are spelt out with blanks or dots between their letters).
//!
//! * exact: NFC, as written;
//! * accented: small letters, white space runs are one blank, invisible characters are gone;
//! * plain: also without diacritics, `đ` is `d`;
//! * skeleton: look-alikes and digits that stand for letters are folded, everything but letters and digits is gone.
//!
//! Patterns and texts go through the same function, so a fold that loses something loses it on both sides.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// NFC.
#[must_use]
pub fn exact(text: &str) -> String {
    composed(text).unwrap_or_else(|| text.to_owned())
}

/// NFC of `text`, or `None` when it is in that form already, as nearly all text is: asking is much cheaper than doing.
fn composed(text: &str) -> Option<String> {
    let is_composed = text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes;
    (!is_composed).then(|| text.nfc().collect())
}

/// Small letters, one blank for white space (line ends stay when `lines`), invisible characters removed, NFC.
#[must_use]
pub fn accented(text: &str, lines: Lines) -> String {
    let mut out = String::with_capacity(text.len());
    match lines {
        Lines::Joined => words(text, &mut out),
        Lines::Kept => {
            for (i, line) in text.split('\n').enumerate() {
                if i > 0 {
                    out.push('\n');
                }
                words(line, &mut out);
            }
        }
    }
    composed(&out).unwrap_or(out)
}

/// Appends the words of `text`, one blank between them. Most mail is ASCII, which needs no tables.
fn words(text: &str, out: &mut String) {
    if text.is_ascii() {
        // Line tabulation is white space in Unicode and not in `is_ascii_whitespace`.
        let parts = text.split(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        parts.filter(|word| !word.is_empty()).for_each(|word| small_ascii(word, out));
        return;
    }
    for word in text.split(char::is_whitespace) {
        if word.is_empty() {
            continue;
        }
        if word.is_ascii() {
            small_ascii(word, out);
            continue;
        }
        let mut first = true;
        for c in word.chars().filter(|c| !is_invisible(*c)) {
            if std::mem::take(&mut first) {
                part(out);
            }
            match c {
                // Case-insensitive patterns take the long s for an s.
                'ſ' => out.push('s'),
                _ if c.is_ascii() => out.push(c.to_ascii_lowercase()),
                _ => out.extend(c.to_lowercase()),
            }
        }
    }
}

fn small_ascii(word: &str, out: &mut String) {
    part(out);
    let start = out.len();
    out.push_str(word);
    if let Some(added) = out.get_mut(start..) {
        added.make_ascii_lowercase();
    }
}

/// A blank, where a word stands before.
fn part(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push(' ');
    }
}

/// Whether line ends mean something: they part the items of a list of hosts, not the lines of a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    Kept,
    Joined,
}

/// The accented form without diacritics; `đ` becomes `d`; full-width, bold and other drawn letters become plain small ones.
#[must_use]
pub fn plain(accented: &str) -> String {
    if accented.is_ascii() {
        return accented.to_owned();
    }
    let mut out = String::with_capacity(accented.len());
    for c in accented.chars() {
        match c {
            'đ' | 'ð' | 'ɖ' => out.push('d'),
            _ if c.is_ascii() => out.push(c),
            // Only marks change their order in NFKD, and marks are left out.
            _ => decompose_compatible(c, |d| match d {
                'đ' | 'ð' | 'ɖ' => out.push('d'),
                _ if is_combining_mark(d) => {}
                // The bold, script and square capitals of Unicode have no small letter until they are plain ones.
                _ => out.extend(d.to_lowercase()),
            }),
        }
    }
    out
}

/// The plain form with look-alikes folded and everything but letters and digits removed. `l`, `1` and `i` are one.
#[must_use]
pub fn skeleton(plain: &str) -> String {
    let mut out = Vec::with_capacity(plain.len());
    let mut buffer = [0; 4];
    for c in plain.chars() {
        if let Some(&letter) = u8::try_from(c).ok().and_then(|b| ASCII_SKELETON.get(usize::from(b))) {
            if letter != 0 {
                out.push(letter);
            }
            continue;
        }
        match look_alike(c) {
            Some(letter) => out.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes()),
            None if c.is_alphanumeric() => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
            None => {}
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

/// What each ASCII character is in a skeleton; zero: nothing.
#[expect(clippy::indexing_slicing, reason = "the compiler computes it, and would stop at a wrong index")]
const ASCII_SKELETON: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0_u8;
    while byte < 128 {
        let c = byte as char;
        table[byte as usize] = match look_alike(c) {
            Some(letter) => letter as u8,
            None if c.is_ascii_alphanumeric() => byte,
            None => 0,
        };
        byte += 1;
    }
    table
};

/// The Latin letter that `c` is drawn like; for digits and signs the letter that they replace in disguised words.
const fn look_alike(c: char) -> Option<char> {
    Some(match c {
        // Cyrillic
        'а' => 'a',
        'в' | 'ь' => 'b',
        'с' => 'c',
        'ԁ' => 'd',
        'е' | 'ё' | 'э' => 'e',
        'һ' | 'н' => 'h',
        'і' | 'ї' | 'ӏ' => 'i',
        'ј' => 'j',
        'к' => 'k',
        'м' => 'm',
        'о' => 'o',
        'р' => 'p',
        'ѕ' => 's',
        'т' => 't',
        'у' | 'ү' => 'y',
        'х' => 'x',
        'ԝ' => 'w',
        'и' | 'п' => 'n',
        'г' => 'r',
        // Greek
        'α' => 'a',
        'β' => 'b',
        'ε' => 'e',
        'η' => 'n',
        'ι' => 'i',
        'κ' => 'k',
        'ν' => 'v',
        'ο' | 'σ' => 'o',
        'ρ' => 'p',
        'τ' => 't',
        'υ' => 'u',
        'χ' => 'x',
        // Latin relatives
        'ı' | 'ɩ' | 'l' | 'ł' | '1' | '!' | '|' => 'i',
        'ɑ' | '@' | '4' => 'a',
        'ɡ' => 'g',
        'ø' | '0' => 'o',
        '3' => 'e',
        '5' | '$' => 's',
        '7' => 't',
        'ß' => 'b',
        _ => return None,
    })
}

/// Characters that are not seen: zero-width spaces and joiners, soft hyphen, direction marks, byte order mark.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skeletons(a: &str, b: &str) {
        let fold = |t: &str| skeleton(&plain(&accented(t, Lines::Joined)));
        assert_eq!(fold(a), fold(b), "{a} | {b}");
    }

    #[test]
    fn forms_lose_what_they_say_and_no_more() {
        let text = "  Khuyến\r\n MÃI lớ\u{200b}n ";
        assert_eq!(accented(text, Lines::Joined), "khuyến mãi lớn");
        assert_eq!(plain("khuyến mãi đặc biệt"), "khuyen mai dac biet");
        assert_eq!(accented("A B\nC", Lines::Kept), "a b\nc");
    }

    #[test]
    fn decomposed_text_equals_composed_text() {
        let nfd: String = "Tiếng Việt ở đây".nfd().collect();
        assert_eq!(accented(&nfd, Lines::Joined), "tiếng việt ở đây");
    }

    /// The forms by their definition, one character after the other: what the fast paths must agree with.
    fn slowly(text: &str, lines: Lines) -> (String, String, String) {
        let (mut small, mut gap) = (String::new(), false);
        for c in text.chars().filter(|c| !is_invisible(*c)) {
            if c == '\n' && lines == Lines::Kept {
                small.push('\n');
                gap = false;
            } else if c.is_whitespace() {
                gap = true;
            } else {
                if std::mem::take(&mut gap) && !small.is_empty() && !small.ends_with('\n') {
                    small.push(' ');
                }
                small.extend(if c == 'ſ' { 's' } else { c }.to_lowercase());
            }
        }
        let small: String = small.nfc().collect();
        let bare = small.nfkd().filter(|c| !is_combining_mark(*c));
        let bare = bare.map(|c| if matches!(c, 'đ' | 'ð' | 'ɖ') { 'd' } else { c });
        let bare: String = bare.flat_map(char::to_lowercase).collect();
        let letters = bare.chars().filter_map(|c| look_alike(c).or_else(|| c.is_alphanumeric().then_some(c)));
        let letters = letters.collect();
        (small, bare, letters)
    }

    #[test]
    fn fast_paths_agree_with_the_definition() {
        let mut texts: Vec<String> = [
            "",
            " ",
            "\n",
            " \u{b}a\r\n\r\n b ",
            "a \u{200b} b",
            "\u{200b}",
            "x\u{a0}Y\u{2028}z",
            "ſ İ Ω K ß ŉ ﬁ ½ ㎏",
            "Cộng hòa Xã hội CHỦ NGHĨA Việt Nam",
            "e\u{301}\u{323} q\u{307}\u{323}",
            "a\u{200b}\u{301}",
            "１２３ ｐａｙ",
            "\u{301}a \u{301}",
            "ひらがな 한국어 각",
            "!|1l0o@ 5$7",
            "\u{1c}\u{1f}\u{85}x",
            "ǰ Ǆ ΐ",
        ]
        .map(str::to_owned)
        .to_vec();
        let letters = (0..0x33ff_u32).chain(0x1d400..0x1d7ff).chain(0x1f100..0x1f1ff);
        texts.extend(letters.filter_map(char::from_u32).map(|c| format!("A {c}b\n {c} {c}\u{323}")));
        for text in &texts {
            for lines in [Lines::Joined, Lines::Kept] {
                let small = accented(text, lines);
                let bare = plain(&small);
                let letters = skeleton(&bare);
                assert_eq!((small, bare, letters), slowly(text, lines), "{text:?}");
            }
        }
    }

    #[test]
    fn disguised_words_have_the_skeleton_of_plain_ones() {
        skeletons("v a y  v ố n nhanh", "vay vốn nhanh");
        skeletons("t.à.i xỉu", "tài xỉu");
        skeletons("s1êu rẻ, the0 dõi", "siêu rẻ theo dõi");
        skeletons("mớі nhận ɖồng сá nhà сáі", "mới nhận đồng cá nhà cái");
        skeletons("ｐａｙｐａｌ", "PAYPA1");
        skeletons("𝐏𝐀𝐘𝐏𝐀𝐋 𝓥𝓪𝔂", "paypal vay");
    }
}
