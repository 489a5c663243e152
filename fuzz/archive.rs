//! What must hold when any octets are opened as an archive or an image: it ends, nothing panics, what comes out stays
//! within the budget, and octets that were left out are said to be left out.

use luytre::inspect::checks::content::archive::{Budget, Passwords};
use luytre::inspect::checks::content::{Limits, objects};
use luytre::mail::ByteSize;

/// One file, with two words to try where it is encrypted.
pub fn archive(input: &[u8]) {
    let all = luytre::session::settings::Limits {
        archive_bytes: ByteSize::mib(4),
        archive_files: 200,
        archive_depth: 4,
        ..Default::default()
    };
    let limits = Limits::from(&all);
    let words = ["hoso2026".to_owned(), "x".to_owned()];
    let budget = Budget::new(&limits).with_passwords(Passwords::listed(&words));
    let (found, findings) = objects::unpack(input, "a.bin", &limits, budget);
    let members = found.get(1..).unwrap_or_default();
    let octets: usize = members.iter().map(|object| object.data.len()).sum();
    assert!(octets <= 4 << 20 && members.len() <= 200 * 2, "{octets} octets in {} members", members.len());
    assert!(members.iter().all(|object| object.depth <= 5));
    assert!(findings.iter().all(|finding| finding.detail.chars().count() <= 500));
}
