//! 4. The bytes, not ours yet.

pub mod mail;
pub mod run;

pub use mail::Mail;
