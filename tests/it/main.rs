//! The one integration binary: whole-program tests, and the tests that read the source.

mod config;
mod inspect;
mod inspect_corpus;
mod tidy;
