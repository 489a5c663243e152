//! The shelf for mail that can neither be delivered nor be returned.

use std::sync::Arc;

use tokio::sync::watch;

use crate::deliver::{self, Undeliverable};
use crate::env::Clock;
use crate::policy::Policy;
use crate::quarantine::{self, Shelf};

/// Puts mail that can neither be delivered nor be returned on the quarantine's shelf.
pub(super) struct Holder {
    pub shelf: Shelf,
    pub clock: Clock,
    pub policy: watch::Receiver<Arc<Policy>>,
}

impl Undeliverable for Holder {
    fn hold<'a>(
        &'a self,
        parcel: &'a crate::mail::Parcel,
        because: &'a str,
    ) -> deliver::Pending<'a, Result<(), String>> {
        Box::pin(async move {
            let now = self.clock.now();
            let keep = self.policy.borrow().quarantine.keep;
            let held = quarantine::Held {
                meta: parcel.meta.clone(),
                kind: quarantine::Kind::Undeliverable,
                because: vec![because.to_owned()],
                score: 0.0,
                held_at: now,
                expires_at: now + keep,
                size_bytes: parcel.size_bytes(),
                from: parcel.meta.sender.to_string(),
                client_ip: String::new(),
                helo: String::new(),
                auth: crate::inspect::AuthFacts::default(),
                codes: Vec::new(),
                sha256: String::new(),
            };
            self.shelf.hold(parcel, held).await.map(drop).map_err(|e| e.to_string())
        })
    }
}
