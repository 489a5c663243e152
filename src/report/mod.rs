//! 9. What happened: one record a message, and what operators watch.

pub mod aggregate;
pub mod metrics;
pub mod record;
pub mod run;
pub mod settings;
pub mod sts;
