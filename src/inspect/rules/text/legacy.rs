//! The Vietnamese encodings from before Unicode that still arrive from old offices: TCVN3 (ABC), VNI, VIQR, VISCII.
//! TCVN3 and VNI are fonts over Latin-1, so only a font or a charset name tells them apart from other Latin text:
//! nothing here guesses. Messages are never rewritten; this is a reading for rules.

use unicode_normalization::UnicodeNormalization;

/// An encoding that a font name or a charset label names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Legacy {
    Tcvn3,
    /// Fonts that end in `H` draw small letters as capitals.
    Tcvn3Capitals,
    Vni,
    Viqr,
    Viscii,
}

impl Legacy {
    /// From a MIME charset label, which the caller has trimmed.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        let label = label.to_ascii_lowercase();
        Some(match label.as_str() {
            "viqr" | "csviqr" | "x-viqr" => Self::Viqr,
            "viscii" | "csviscii" | "viscii1.1" | "viscii1.1-1" | "x-viscii" => Self::Viscii,
            "tcvn" | "tcvn3" | "tcvn-5712" | "tcvn5712" | "tcvn5712-1" | "x-viet-tcvn" | "x-viet-tcvn5712" => {
                Self::Tcvn3
            }
            "vni" | "x-viet-vni" | "vni-win" => Self::Vni,
            _ => return None,
        })
    }

    /// From a font family list as CSS or `<font face>` gives it.
    #[must_use]
    pub fn from_font(family: &str) -> Option<Self> {
        let first = family.split(',').next()?.trim().trim_matches(['"', '\'', ' ']);
        let lower = first.to_ascii_lowercase();
        if lower.starts_with(".vn") {
            return Some(if first.ends_with('H') { Self::Tcvn3Capitals } else { Self::Tcvn3 });
        }
        lower.starts_with("vni-").then_some(Self::Vni)
    }

    /// `text` is what the octets give as windows-1252.
    #[must_use]
    pub fn read(self, text: &str) -> String {
        match self {
            Self::Tcvn3 => text.chars().map(tcvn3).collect(),
            Self::Tcvn3Capitals => text.chars().map(tcvn3).flat_map(char::to_uppercase).collect(),
            Self::Vni => vni(text),
            Self::Viqr => viqr(text),
            Self::Viscii => text.to_owned(),
        }
    }
}

/// TCVN 5712:1993 as the `.Vn*` fonts have it.
const TCVN3: [(u8, char); 74] = [
    (0xb5, 'à'),
    (0xb6, 'ả'),
    (0xb7, 'ã'),
    (0xb8, 'á'),
    (0xb9, 'ạ'),
    (0xa8, 'ă'),
    (0xbb, 'ằ'),
    (0xbc, 'ẳ'),
    (0xbd, 'ẵ'),
    (0xbe, 'ắ'),
    (0xc6, 'ặ'),
    (0xa9, 'â'),
    (0xc7, 'ầ'),
    (0xc8, 'ẩ'),
    (0xc9, 'ẫ'),
    (0xca, 'ấ'),
    (0xcb, 'ậ'),
    (0xae, 'đ'),
    (0xcc, 'è'),
    (0xce, 'ẻ'),
    (0xcf, 'ẽ'),
    (0xd0, 'é'),
    (0xd1, 'ẹ'),
    (0xaa, 'ê'),
    (0xd2, 'ề'),
    (0xd3, 'ể'),
    (0xd4, 'ễ'),
    (0xd5, 'ế'),
    (0xd6, 'ệ'),
    (0xd7, 'ì'),
    (0xd8, 'ỉ'),
    (0xdc, 'ĩ'),
    (0xdd, 'í'),
    (0xde, 'ị'),
    (0xdf, 'ò'),
    (0xe1, 'ỏ'),
    (0xe2, 'õ'),
    (0xe3, 'ó'),
    (0xe4, 'ọ'),
    (0xab, 'ô'),
    (0xe5, 'ồ'),
    (0xe6, 'ổ'),
    (0xe7, 'ỗ'),
    (0xe8, 'ố'),
    (0xe9, 'ộ'),
    (0xac, 'ơ'),
    (0xea, 'ờ'),
    (0xeb, 'ở'),
    (0xec, 'ỡ'),
    (0xed, 'ớ'),
    (0xee, 'ợ'),
    (0xef, 'ù'),
    (0xf1, 'ủ'),
    (0xf2, 'ũ'),
    (0xf3, 'ú'),
    (0xf4, 'ụ'),
    (0xad, 'ư'),
    (0xf5, 'ừ'),
    (0xf6, 'ử'),
    (0xf7, 'ữ'),
    (0xf8, 'ứ'),
    (0xf9, 'ự'),
    (0xfa, 'ỳ'),
    (0xfb, 'ỷ'),
    (0xfc, 'ỹ'),
    (0xfd, 'ý'),
    (0xfe, 'ỵ'),
    (0xa1, 'Ă'),
    (0xa2, 'Â'),
    (0xa3, 'Ê'),
    (0xa4, 'Ô'),
    (0xa5, 'Ơ'),
    (0xa6, 'Ư'),
    (0xa7, 'Đ'),
];

fn tcvn3(c: char) -> char {
    let Ok(byte) = u8::try_from(u32::from(c)) else { return c };
    TCVN3.iter().find(|(b, _)| *b == byte).map_or(c, |(_, letter)| *letter)
}

const GRAVE: char = '\u{300}';
const ACUTE: char = '\u{301}';
const CIRCUMFLEX: char = '\u{302}';
const TILDE: char = '\u{303}';
const BREVE: char = '\u{306}';
const HOOK: char = '\u{309}';
const DOT: char = '\u{323}';
const HORN: char = '\u{31b}';

/// VNI Windows: a base letter, then one character that stands for its marks.
fn vni(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut last = '\0';
    for c in text.chars() {
        let small = c.to_lowercase().next().unwrap_or(c);
        let vowel = matches!(last.to_ascii_lowercase(), 'a' | 'e' | 'o' | 'u' | 'y' | 'i')
            || matches!(last, 'ô' | 'ö' | 'Ô' | 'Ö');
        let marks: &[char] = match small {
            _ if !vowel => &[],
            'ù' => &[ACUTE],
            'ø' => &[GRAVE],
            'û' => &[HOOK],
            'õ' => &[TILDE],
            'ï' => &[DOT],
            'â' => &[CIRCUMFLEX],
            'á' => &[CIRCUMFLEX, ACUTE],
            'à' => &[CIRCUMFLEX, GRAVE],
            'å' => &[CIRCUMFLEX, HOOK],
            'ã' => &[CIRCUMFLEX, TILDE],
            'ä' => &[CIRCUMFLEX, DOT],
            'ê' => &[BREVE],
            'é' => &[BREVE, ACUTE],
            'è' => &[BREVE, GRAVE],
            'ú' => &[BREVE, HOOK],
            'ü' => &[BREVE, TILDE],
            'ë' => &[BREVE, DOT],
            _ => &[],
        };
        if marks.is_empty() {
            out.push_str(match c {
                'ô' => "ơ",
                'ö' => "ư",
                'ñ' => "đ",
                'ò' => "ị",
                'æ' => "ỉ",
                'ó' => "ĩ",
                'î' => "ỵ",
                'Ô' => "Ơ",
                'Ö' => "Ư",
                'Ñ' => "Đ",
                'Ò' => "Ị",
                'Æ' => "Ỉ",
                'Ó' => "Ĩ",
                'Î' => "Ỵ",
                _ => "",
            });
            if !matches!(c, 'ô' | 'ö' | 'ñ' | 'ò' | 'æ' | 'ó' | 'î' | 'Ô' | 'Ö' | 'Ñ' | 'Ò' | 'Æ' | 'Ó' | 'Î')
            {
                out.push(c);
            }
            last = c;
        } else {
            out.extend(marks);
            last = '\0';
        }
    }
    out.nfc().collect()
}

/// RFC 1456 §2.2: marks follow their letter in ASCII; `\` keeps the next character as it is.
fn viqr(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // What the letter before may still take: a shape (circumflex, breve, horn) or only a tone.
    let (mut shape, mut tone) = (false, false);
    while let Some(c) = chars.next() {
        let last = out.chars().next_back().unwrap_or(' ').to_ascii_lowercase();
        let mark = match c {
            '^' if shape && matches!(last, 'a' | 'e' | 'o') => Some(CIRCUMFLEX),
            '(' if shape && last == 'a' => Some(BREVE),
            '+' if shape && matches!(last, 'o' | 'u') => Some(HORN),
            '\'' if tone => Some(ACUTE),
            '`' if tone => Some(GRAVE),
            '?' if tone => Some(HOOK),
            '~' if tone => Some(TILDE),
            '.' if tone => Some(DOT),
            _ => None,
        };
        if let Some(mark) = mark {
            out.push(mark);
            tone = matches!(c, '^' | '(' | '+');
            shape = false;
            continue;
        }
        (shape, tone) = (false, false);
        match c {
            '\\' => out.extend(chars.next()),
            'd' | 'D' if chars.peek().is_some_and(|n| n.eq_ignore_ascii_case(&'d')) => {
                chars.next();
                out.push(if c == 'd' { 'đ' } else { 'Đ' });
            }
            _ => {
                out.push(c);
                let vowel = matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
                (shape, tone) = (vowel, vowel);
            }
        }
    }
    out.nfc().collect()
}

/// Whether ASCII text without a label is VIQR beyond doubt: a fifth of its words carry a shape mark inside.
#[must_use]
pub fn looks_viqr(text: &str) -> bool {
    let bytes = text.as_bytes();
    let marked = |at: usize| {
        let pair = at.checked_sub(1).and_then(|before| bytes.get(before..=at));
        matches!(
            pair,
            Some(
                [b'a' | b'e' | b'o' | b'A' | b'E' | b'O', b'^']
                    | [b'a' | b'A', b'(']
                    | [b'o' | b'u' | b'O' | b'U', b'+']
            )
        )
    };
    // One quick look: hardly any text has even one mark.
    if !memchr::memchr3_iter(b'^', b'(', b'+', bytes).any(marked) {
        return false;
    }
    let (mut words, mut marked) = (0_usize, 0_usize);
    for word in text.split_ascii_whitespace().take(2000) {
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) || word.len() > 14 {
            continue;
        }
        words += 1;
        let shaped = word.as_bytes().windows(3).any(|w| match w {
            [b'a' | b'e' | b'o' | b'A' | b'E' | b'O', b'^', next]
            | [b'a' | b'A', b'(', next]
            | [b'o' | b'u' | b'O' | b'U', b'+', next] => {
                next.is_ascii_alphabetic() || matches!(next, b'\'' | b'`' | b'?' | b'~' | b'.')
            }
            _ => false,
        });
        marked += usize::from(shaped || word.ends_with("e^") || word.ends_with("o^") || word.ends_with("u+"));
    }
    // One escaped full stop beside one mark says it too: nobody else writes a backslash there.
    let escaped = ["\\. ", "\\.\n", "\\.\r", "\\? ", "\\?\n", "\\?\r"].iter().any(|e| text.contains(e));
    marked >= 1 && escaped || marked >= 5 && marked * 5 >= words
}

/// RFC 1456 §2.1, the upper half; the six capitals among the controls follow in [`viscii`].
const VISCII: &str = "ẠẮẰẶẤẦẨẬẼẸẾỀỂỄỆỐỒỔỖỘỢỚỜỞỊỎỌỈỦŨỤỲÕắằặấầẩậẽẹếềểễệốồổỗỠƠộờởịỰỨỪỬơớƯÀÁÂÃẢĂẳẵÈÉÊẺÌÍĨỳĐứÒÓÔạỷừửÙÚỹỵÝỡưàáâãảăữẫèéêẻìíĩỉđựòóôõỏọụùúũủýợỮ";

/// VISCII octets to text.
#[must_use]
pub fn viscii(bytes: &[u8]) -> String {
    let upper: Vec<char> = VISCII.chars().collect();
    let letter = |b: &u8| match b {
        0x02 => 'Ẳ',
        0x05 => 'Ẵ',
        0x06 => 'Ẫ',
        0x14 => 'Ỷ',
        0x19 => 'Ỹ',
        0x1e => 'Ỵ',
        0x80.. => upper.get(usize::from(b & 0x7f)).copied().unwrap_or('\u{fffd}'),
        _ => char::from(*b),
    };
    bytes.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets as windows-1252 reads them.
    fn latin(bytes: &[u8]) -> String {
        bytes.iter().map(|b| char::from(*b)).collect()
    }

    #[test]
    fn tcvn3_reads_its_67_small_letters() {
        let bytes: Vec<u8> = vec![b'T', b'i', 0xd5, b'n', b'g', b' ', b'V', b'i', 0xd6, b't'];
        assert_eq!(Legacy::Tcvn3.read(&latin(&bytes)), "Tiếng Việt");
        let mut letters: Vec<char> = TCVN3.iter().map(|(_, c)| *c).collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), 74, "67 small letters and 7 capitals, none twice");
        assert_eq!(Legacy::Tcvn3Capitals.read(&latin(&[0xae, b'i', 0xd6, b'n'])), "ĐIỆN");
    }

    #[test]
    fn vni_puts_marks_on_the_letter_before() {
        for (vni_text, expected) in [
            ("Tieáng Vieät", "Tiếng Việt"),
            ("ñöôøng phoá", "đường phố"),
            ("nhöõng ngöôøi", "những người"),
            ("chò ñi nghæ", "chị đi nghỉ"),
            ("baûng thoâng baùo", "bảng thông báo"),
            ("naêm, ñaët", "năm, đặt"),
        ] {
            assert_eq!(Legacy::Vni.read(vni_text), expected);
        }
    }

    #[test]
    fn rfc1456_viqr_and_its_escape() {
        assert_eq!(Legacy::Viqr.read("Tie^'ng Vie^.t dda~ ddu+o+.c"), "Tiếng Việt đã được");
        assert_eq!(Legacy::Viqr.read("xong ro^`i\\. The^' a\\?"), "xong rồi. Thế a?");
        assert_eq!(Legacy::Viqr.read("na(m nay, co^.ng"), "năm nay, cộng");
    }

    #[test]
    fn rfc1456_viscii_covers_the_upper_half() {
        assert_eq!(VISCII.chars().count(), 128);
        assert_eq!(viscii(&[b'T', b'i', 0xaa, b'n', b'g']), "Tiếng");
    }

    #[test]
    fn only_a_font_or_a_label_names_an_encoding() {
        assert_eq!(Legacy::from_font("'.VnTimeH', serif"), Some(Legacy::Tcvn3Capitals));
        assert_eq!(Legacy::from_font(".VnTime"), Some(Legacy::Tcvn3));
        assert_eq!(Legacy::from_font("VNI-Times"), Some(Legacy::Vni));
        assert_eq!(Legacy::from_font("Times New Roman"), None);
        assert_eq!(Legacy::from_label("utf-8"), None);
    }
}
