//! The checks. `auth` and `net` run in the main process; `content` runs in inspectors.

pub mod auth;
pub mod content;
pub mod net;
