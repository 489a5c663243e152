//! The one integration binary: whole-program tests, and the tests that read the source.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod ambiguous;
mod archives;
mod attacks;
mod auth;
mod board;
mod clients;
mod config;
mod crash;
mod crypto;
mod deliver;
mod demo;
mod directory;
mod dns_trouble;
mod docs;
mod engines;
mod flow;
mod front;
mod fuzz;
mod guard;
mod infected;
mod inspect;
mod inspect_corpus;
mod kit;
mod load;
mod mime_oracles;
mod neighbours;
mod opened;
mod outgoing;
mod peers;
mod pinned;
mod renewal;
mod rules;
mod scan;
mod shelf;
mod spf_path;
mod stress;
mod submission;
mod supply;
mod survive;
mod talk;
mod tidy;
mod tls_settings;
mod units;
