//! The inspector's own main loop and the messages it exchanges with the main process.
//! Everything here runs after the cage has closed: no files, no sockets, one message at a time.

use serde::{Deserialize, Serialize};

use crate::mail::{ReversePath, Timestamp};

/// What the inspector is told about a message beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    pub now: Timestamp,
    pub sender: ReversePath,
    pub recipients: Vec<String>,
    pub client_ip: String,
    pub helo: String,
    /// What is left of the message's deadline.
    pub budget_ms: u64,
}
