//! What the operator decided: the file as written, and the checked, compiled, immutable snapshot of it.

pub mod build;
pub mod file;
pub mod run;
