//! The receipt log: JSON lines with a hash chain.
