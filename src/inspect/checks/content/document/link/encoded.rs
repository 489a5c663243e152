//! Scripts in Microsoft's encoding (`.vbe`, `.jse`, `VBScript.Encode` in pages): every letter is exchanged by one of three
//! alphabets, in an order of sixty-four that begins anew. Windows runs them as they are; here they are read.

/// What the tab and the characters from blank to DEL stand for, in each alphabet.
const ALPHABETS: [&[u8; 97]; 3] = [
    b"W.GzVBj/&IA42[vrC89pEhqO\tbD#uJ~J^@wJa]\"KoN;LPg*}tT+-,0nkf5%!dMRc?{x)(sY3\x7fmUS|:_eFX1ilZH'\\=$y7`Q 6",
    b"n-uR`q^I\\b})6 |z\x7fkc3+hQfv1dTCL:L~LE,*t'7DyY/o&rj9{?8wgSG4x]0#Z[lHUpi.L!$NP\tVs5aKX;W\"mM%(FJ2A=_OBe",
    b"{20!)[83=X:5e9\\VsfNEkbYx^}JmqA`AS@B'Hru17MR\"TjGd- \x7f.L]~loytC&v%$+(#A4\t*D?w;UiacPgQIOFh|6pnz/_KZ,W",
];
/// Which alphabet is used at which place.
const ORDER: &[u8; 64] = b"0120121221210212021200122102122100212120200120210212001220012021";

/// Octets between a mark with a checksum and its end: `#@~^`, eight characters, text, eight characters, `^#~@`.
const FRAME: usize = 8;
const SCRIPTS: usize = 100;

/// Whether anything in `data` is encoded so.
pub fn is_encoded(data: &[u8]) -> bool {
    memchr::memmem::find(data, b"#@~^").is_some()
}

/// Every encoded script in `data`, in clear, one after the other.
pub fn clear(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for at in memchr::memmem::find_iter(data, b"#@~^").take(SCRIPTS) {
        let rest = data.get(at + 4 + FRAME..).unwrap_or_default();
        let end = memchr::memmem::find(rest, b"^#~@").unwrap_or(rest.len());
        let body = rest.get(..end.saturating_sub(FRAME)).unwrap_or_default();
        decode(body, &mut out);
        out.push(b'\n');
    }
    out
}

fn decode(body: &[u8], out: &mut Vec<u8>) {
    let (mut place, mut octets) = (0_usize, body.iter().copied().peekable());
    while let Some(octet) = octets.next() {
        let escaped = |next: u8| match next {
            b'&' => Some(b'\n'),
            b'#' => Some(b'\r'),
            b'*' => Some(b'>'),
            b'!' => Some(b'<'),
            b'$' => Some(b'@'),
            _ => None,
        };
        let plain = (octet == b'@').then(|| octets.peek().copied().and_then(escaped)).flatten();
        if let Some(plain) = plain {
            octets.next();
            out.push(plain);
        } else {
            out.push(letter(octet, place).unwrap_or(octet));
        }
        place += usize::from(octet < 128);
    }
}

fn letter(octet: u8, place: usize) -> Option<u8> {
    let index = match octet {
        b'\t' => 0,
        b'<' | b'>' | b'@' => return None,
        _ => usize::from(octet.checked_sub(31)?),
    };
    let alphabet = ALPHABETS.get(usize::from(ORDER.get(place % 64)?.checked_sub(b'0')?))?;
    alphabet.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_script_is_read() {
        assert_eq!(clear(b"#@~^DgAAAA==\\ko$K6,JC\x7fV^GJqAQAAA==^#~@"), b"MsgBox \"Hello\"\n");
        assert_eq!(clear(b"no"), b"");
        assert_eq!(clear(b"#@~^"), b"\n");
    }
}
