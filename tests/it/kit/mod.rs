//! What tests are made of.

pub mod peer;
pub mod client;
pub mod desk;
pub mod dns;
pub mod gateway;
pub mod https;
pub mod mta;
pub mod pack;
pub mod proxy;
pub mod script;
pub mod signed;
pub mod sink;
pub mod site;
pub mod watch;
