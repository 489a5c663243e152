//! What tests are made of.

pub mod peer;
pub mod desk;
pub mod script;
