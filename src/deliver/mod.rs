//! 8b. Sending on: cut-through while the sender waits, the durable queue, and what each next hop needs.
//!
//! A message has one of two ways (DESIGN §5a): [`Deliver::hand_over`] tries the agency's server while the sender
//! waits and falls back to the spool for every trouble of host or link; [`Deliver::queue`] keeps it first.
//! [`Deliver::run_queue`] works the spool off.

pub mod bounce;
pub mod callout;
pub mod client;
pub mod correspondents;
pub mod metrics;
pub mod profile;
pub mod route;
pub mod run;
pub mod schedule;
pub mod seal;
pub mod settings;
pub mod tlspolicy;

use std::future::Future;
use std::pin::Pin;

use crate::mail::{Parcel, Reply};
use crate::spool::{JobKey, Spooled};

pub use metrics::Metrics;
pub use route::{Agency, Hop, Policy};
pub use run::internet::{Internet, InternetParts};
pub use run::live::{Live, Question};
pub use run::{Deliver, Parts, Standing, Turned};

/// What became of a message for which a sender waited.
#[derive(Debug)]
pub enum Handover {
    /// The next hop took it. 250.
    Handed {
        /// The hop's answer, fit to pass on: bland and ASCII.
        reply: Reply,
        /// The hop as configured, for the receipt.
        hop: String,
        /// Recipients (indices) that the hop refused for ever; a report was queued or their copy is held already.
        refused: Vec<(usize, Reply)>,
        /// Recipients that the hop refused for now; their copy is in the spool already.
        later: Vec<(usize, Reply)>,
    },
    /// It is synced in our spool. 250.
    Spooled {
        proof: Spooled,
        /// Why it did not go through at once, for the receipt; empty when it was to be queued.
        why: String,
    },
    /// The next hop has all of it and has not answered: synced in our spool, the answer is awaited. 250.
    InDoubt { key: JobKey, hop: String },
    /// The next hop's answer about this message or mailbox, 4xx or 5xx: the sender still has it.
    Refused { reply: Reply, hop: String },
    /// On the quarantine's shelf: nobody whom it may reach is among its recipients. 250.
    Held { why: String },
    /// Our own trouble: 451 or 452, the sender still has it.
    Deferred { reply: Reply, why: String },
}

/// A future of a trait's method.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes mail that can neither be delivered nor be reported to its sender: the quarantine, seen from here.
pub trait Undeliverable: Send + Sync {
    /// Returns when the copy is synced; `because` says why in one sentence. The error is for operators.
    fn hold<'a>(&'a self, parcel: &'a Parcel, because: &'a str) -> Pending<'a, Result<(), String>>;
}
