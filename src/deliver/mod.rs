//! 8b. Sending on: cut-through while the sender waits, the durable queue, and what each next hop needs.

pub mod bounce;
pub mod client;
pub mod metrics;
pub mod route;
pub mod run;
pub mod schedule;
pub mod seal;
pub mod settings;
