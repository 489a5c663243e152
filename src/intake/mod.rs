//! 4. The bytes, not ours yet.

pub mod mail;
mod map;
pub mod run;

pub use mail::Mail;
