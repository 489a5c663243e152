//! The one integration binary: whole-program tests, and the tests that read the source.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod config;
mod crypto;
mod deliver;
mod kit;
mod talk;
mod tidy;
