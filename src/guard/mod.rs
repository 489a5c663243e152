//! 2b. Who is worth listening to: what is known of a client before its message comes.
//!
//! Most hostile mail can be refused before its content costs anything. The guard knows lists (the operator's own and
//! those in DNS), how fast somebody goes, how somebody behaved, and lets the suspicious come back later. What it says
//! about a client is an [`Assessment`](weigh::Assessment); it is carried out at RCPT TO, so that postmaster@ and abuse@
//! can be reached by everybody and the record names the recipient. A trouble of ours (DNS, the database) never refuses.
//!
//! Everything but `run` is arithmetic over arguments; all tables are bounded.

pub mod ban;
pub mod dnslist;
pub mod entry;
pub mod event;
pub mod fame;
pub mod grey;
pub mod health;
pub mod helo;
pub mod metrics;
pub mod pace;
pub mod record;
pub mod run;
pub mod settings;
pub mod weigh;

pub use crate::listen::admit::network_of;
pub use entry::Rules;
pub use run::Guard;

#[cfg(test)]
mod tests;
