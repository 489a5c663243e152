//! The receipt log on disk: `receipts/2026-11-21.jsonl` and so on in the data folder. [`crate::report::record`] says
//! what a line is.

pub mod run;

pub use run::{Journal, Recorder};
