//! What tests are made of.

pub mod desk;
pub mod script;
