//! Checks that parse the sender's bytes; each runs inside an inspector process.

pub mod smime;
