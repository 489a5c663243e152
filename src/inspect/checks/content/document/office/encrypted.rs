//! Whether a compound file is encrypted, and how: nobody here has seen its content then.

use super::super::bytes::{u16_at, u32_at};
use super::super::report::Report;
use super::compound::Compound;

pub fn judge(file: &Compound<'_>, report: &mut Report<'_>) {
    if let Some(how) = method(file) {
        report.unknown("office.encrypted", format!("is encrypted ({how}): its content was not seen"));
    }
}

fn method(file: &Compound<'_>) -> Option<&'static str> {
    let head = |name: &str, most: usize| file.find(name).map(|e| file.read(e, most)).unwrap_or_default();
    // MS-OFFCRYPTO §1.4.2, §2.3.4: OOXML inside a compound file.
    if file.find("EncryptedPackage").is_some() {
        return Some("an encrypted package");
    }
    // MS-DOC §2.5.2: fEncrypted and fObfuscated.
    let word = head("WordDocument", 64);
    if let Some(flags) = u16_at(&word, 10)
        && flags & 0x0100 != 0
    {
        return Some(if flags & 0x8000 != 0 { "XOR" } else { "RC4" });
    }
    // MS-PPT §2.3.2: headerToken of the current user's atom.
    if u32_at(&head("Current User", 32), 12) == Some(0xF3D1_C4DF) || file.find("EncryptedSummary").is_some() {
        return Some("RC4 CryptoAPI");
    }
    // MS-XLS §2.4.117: FilePass among the first records.
    let book = ["Workbook", "Book"].iter().map(|n| head(n, 4096)).find(|b| !b.is_empty()).unwrap_or_default();
    let mut at = 0;
    for _ in 0..40 {
        match (u16_at(&book, at)?, u16_at(&book, at + 2)?) {
            (0x002F, _) => {
                return Some(match u16_at(&book, at + 4) {
                    Some(0) => "XOR",
                    _ => "RC4",
                });
            }
            (_, length) => at += 4 + length,
        }
    }
    None
}
