//! 2. The SMTP conversation, as bytes to commands to actions.

pub mod command;
pub mod desk;
pub mod dialogue;
pub mod house;
pub mod line;
pub mod metrics;
pub mod run;
pub mod settings;
