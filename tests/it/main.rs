//! The one integration binary: whole-program tests, and the tests that read the source.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod attacks;
mod auth;
mod board;
mod config;
mod crash;
mod crypto;
mod deliver;
mod demo;
mod directory;
mod docs;
mod engines;
mod flow;
mod front;
mod fuzz;
mod guard;
mod inspect;
mod inspect_corpus;
mod kit;
mod neighbours;
mod outgoing;
mod peers;
mod rules;
mod scan;
mod spf_path;
mod submission;
mod supply;
mod survive;
mod talk;
mod tidy;
mod units;
