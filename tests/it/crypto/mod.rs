//! Signatures end to end: ours read by others (`openssl cms`, dkimpy), theirs read by us, and the sample sets.

pub mod dkim;
mod samples;
mod smime;
pub mod support;
