//! How the spool lays out its files. Not in the configuration file: no operator gains by turning these.

use crate::mail::ByteSize;

/// The shape of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Size of a segment file. Large enough that starting one is rare, small enough to be freed soon.
    pub segment: ByteSize,
    /// Empty segments kept ready; more than that are given back to the file system.
    pub spare: usize,
    /// The most octets that one commit writes; bounds the wait of those behind it.
    pub batch: ByteSize,
}

impl Default for Spool {
    fn default() -> Self {
        Self { segment: ByteSize::mib(64), spare: 2, batch: ByteSize::mib(32) }
    }
}
