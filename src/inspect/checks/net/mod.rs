//! Checks that ask the network: block lists, engines, URL lists.

pub mod engines;
