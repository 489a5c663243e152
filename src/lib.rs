//! Lũy Tre: a mail-gateway security appliance.
//!
//! The story of one message, in the order of the modules:
//! a client connects ([`listen`]) and speaks SMTP ([`session`]); sender and recipients are allowed or not
//! ([`guard`], [`envelope`]); the bytes arrive ([`intake`]) and are looked at by every check ([`inspect`]), the hostile ones in
//! sandboxed processes; findings become one decision a recipient group ([`verdict`]). Then the message is handed to
//! the agency's server while the sender waits ([`deliver`]), kept durably ([`spool`]), held ([`quarantine`]) or
//! refused, and a receipt says why ([`report`]). [`pipeline`] is that list as one function: read it first.
//!
//! Imports point up: a module uses those listed before it, never after. `tests/it/tidy.rs` checks it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic))]

pub mod mail;
pub mod env;
pub mod listen;
pub mod session;
pub mod guard;
pub mod envelope;
pub mod intake;
pub mod inspect;
pub mod verdict;
pub mod spool;
pub mod quarantine;
pub mod deliver;
pub mod report;
pub mod policy;
pub mod pipeline;
pub mod gateway;
pub mod cli;
