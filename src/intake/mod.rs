//! 4. The bytes, not ours yet.

pub mod mail;
pub mod run;
pub mod share;

pub use mail::Mail;
