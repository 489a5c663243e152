//! 2. The SMTP conversation, as bytes to commands to actions.

pub mod accounts;
pub mod command;
pub mod desk;
pub mod dialogue;
pub mod house;
pub mod line;
pub mod lockout;
pub mod metrics;
pub mod pace;
pub mod run;
pub mod sasl;
pub mod settings;
