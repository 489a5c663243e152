//! gzip (RFC 1952), all members, whatever trails them.

use flate2::bufread::MultiGzDecoder;

use super::{Budget, Member, Report, Stop};

pub(super) fn open(data: &[u8], name: &str, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let inner = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.eq_ignore_ascii_case("tgz") => format!("{stem}.tar"),
        Some((stem, extension)) if extension.eq_ignore_ascii_case("gz") => stem.to_owned(),
        _ => "content".to_owned(),
    };
    let (out, stop) = budget.read(MultiGzDecoder::new(data), data.len());
    report.stopped(stop, &inner);
    if stop == Stop::Broken && out.is_empty() {
        report.unknown("archive.damaged", "the gzip stream cannot be read");
    }
    if out.is_empty() { Vec::new() } else { vec![Member { name: inner, data: out }] }
}
