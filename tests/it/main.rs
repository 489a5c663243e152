//! The one integration binary: whole-program tests, and the tests that read the source.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod board;
mod config;
mod crypto;
mod docs;
mod flow;
mod front;
mod inspect;
mod kit;
mod peers;
mod survive;
mod supply;
mod talk;
mod tidy;
mod units;
