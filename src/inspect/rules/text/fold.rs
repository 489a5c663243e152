//! One text in the forms in which patterns are compared (DOMAIN of Vietnamese: accents are often left out, letters
//! are swapped for look-alikes, words are spelt out with blanks or dots between their letters).
//!
//! * exact: NFC, as written;
//! * accented: small letters, white space runs are one blank, invisible characters are gone;
//! * plain: also without diacritics, `đ` is `d`;
//! * skeleton: look-alikes and digits that stand for letters are folded, everything but letters and digits is gone.
//!
//! Patterns and texts go through the same function, so a fold that loses something loses it on both sides.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// NFC.
#[must_use]
pub fn exact(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { text.nfc().collect() }
}

/// Small letters, one blank for white space (line ends stay when `lines`), invisible characters removed, NFC.
#[must_use]
pub fn accented(text: &str, lines: Lines) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        if is_invisible(c) {
            continue;
        }
        if c == '\n' && lines == Lines::Kept {
            out.push('\n');
            gap = false;
        } else if c.is_whitespace() {
            gap = true;
        } else {
            if std::mem::take(&mut gap) && !out.is_empty() && !out.ends_with('\n') {
                out.push(' ');
            }
            // Case-insensitive patterns take the long s for an s.
            out.extend(if c == 'ſ' { 's' } else { c }.to_lowercase());
        }
    }
    if out.is_ascii() { out } else { out.nfc().collect() }
}

/// Whether line ends mean something: they part the items of a list of hosts, not the lines of a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    Kept,
    Joined,
}

/// The accented form without diacritics; `đ` becomes `d`; full-width letters become plain ones.
#[must_use]
pub fn plain(accented: &str) -> String {
    if accented.is_ascii() {
        return accented.to_owned();
    }
    let bare = accented.nfkd().filter(|c| !is_combining_mark(*c));
    bare.map(|c| if matches!(c, 'đ' | 'ð' | 'ɖ') { 'd' } else { c }).collect()
}

/// The plain form with look-alikes folded and everything but letters and digits removed. `l`, `1` and `i` are one.
#[must_use]
pub fn skeleton(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        if c == '\n' {
            continue;
        }
        match look_alike(c) {
            Some(letter) => out.push(letter),
            None if c.is_alphanumeric() => out.push(c),
            None => {}
        }
    }
    out
}

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

    #[test]
    fn disguised_words_have_the_skeleton_of_plain_ones() {
        skeletons("v a y  v ố n nhanh", "vay vốn nhanh");
        skeletons("t.à.i xỉu", "tài xỉu");
        skeletons("s1êu rẻ, the0 dõi", "siêu rẻ theo dõi");
        skeletons("mớі nhận ɖồng сá nhà сáі", "mới nhận đồng cá nhà cái");
        skeletons("ｐａｙｐａｌ", "PAYPA1");
    }
}
