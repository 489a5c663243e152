//! 5. Evidence. Checks look at a message and report findings; nothing here scores or refuses.
//!
//! What parses the sender's bytes runs in sandboxed inspector processes; what asks the network runs in the main process.

pub mod case;
pub mod check;
pub mod checks;
pub mod inspector;
pub mod lanes;
pub mod metrics;
pub mod policy;
pub mod rules;
pub mod run;
pub mod settings;

pub use case::{
    AuthFacts, AuthResult, Case, ContentFacts, Outgoing, OutgoingKind, PartFact, Released, SmimeFact, SmimeStatus,
    WantsParts,
};
pub use check::{Certainty, Finding};
pub use inspector::Wants;
pub use policy::Policy;
pub use run::{Examined, InspectError, Pool};
