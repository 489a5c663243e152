//! Deflate and zlib streams inside documents, within the budget of the message.

use flate2::bufread::{DeflateDecoder, ZlibDecoder};

use super::super::archive::{Budget, Stop};
use super::report::Report;

/// RFC 1950; what could be read before an error is kept, because viewers show it.
pub fn zlib(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Option<Vec<u8>> {
    let (out, stop) = budget.read(ZlibDecoder::new(data), data.len());
    if out.is_empty() && stop == Stop::Broken {
        // Without its two octets of header, or with wrong ones.
        return raw(data.get(2..)?, budget, report);
    }
    finish(out, stop, report)
}

/// RFC 1951.
pub fn raw(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Option<Vec<u8>> {
    let (out, stop) = budget.read(DeflateDecoder::new(data), data.len());
    finish(out, stop, report)
}

fn finish(out: Vec<u8>, stop: Stop, report: &mut Report<'_>) -> Option<Vec<u8>> {
    match stop {
        Stop::Bomb => report.say("archive.bomb", "unpacks to far more than it holds"),
        Stop::Full => report.say("unpack.limit", "the budget of unpacked octets or files is spent"),
        Stop::End | Stop::Broken => {}
    }
    (!out.is_empty()).then_some(out)
}
