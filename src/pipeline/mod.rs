//! The stages as one list: read [`Pipeline::process`] first.
//!
//! A session asks through [`crate::session::desk::Desk`] (in `run`); `examine` gathers the evidence, `carry`
//! does what was decided; `names` says whom a recipient stands for. One transaction keeps the policy snapshot it began with.

mod carry;
mod names;
pub mod run;

pub use run::examine::Examiner;
pub use run::{Parts, Pipeline};
