//! The command line: one file a command.

pub mod check;
pub mod demo;
pub mod dkim;
pub mod doctor;
pub mod init;
pub mod inspector;
pub mod log;
pub mod quarantine;
pub mod queue;
pub mod receipt;
pub mod rules;
pub mod scan;
pub mod serve;
pub mod smime;
