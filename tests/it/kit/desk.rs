//! A desk that keeps what it is handed in memory: the session and the relay decision without the rest of the gateway.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use luytre::envelope::relay::{Policy, Standing};
use luytre::intake::run::{Basin, Store};
use luytre::listen::ClientFacts;
use luytre::mail::{Recipient, Reply};
use luytre::session::desk::{Desk, Letter, Opening, Refusal, Request};

use super::script::Delivered;

pub struct MemoryDesk {
    pub policy: Policy,
    pub store: Store,
    pub taken: Mutex<Vec<(Letter, Bytes)>>,
    arrived: Condvar,
    /// Ids and reasons of what the session refused.
    pub refused: Mutex<Vec<(String, &'static str)>>,
    /// While this is held, `take` does not answer.
    pub hold: tokio::sync::Semaphore,
}

impl MemoryDesk {
    pub fn new(policy: Policy, store: Store) -> Arc<Self> {
        Arc::new(Self {
            policy,
            store,
            taken: Mutex::default(),
            arrived: Condvar::new(),
            refused: Mutex::default(),
            hold: tokio::sync::Semaphore::new(1000),
        })
    }

    /// Whether `count` messages have come, within two minutes.
    pub fn wait_for(&self, count: usize) -> bool {
        let taken = self.taken.lock().unwrap();
        let waited = self.arrived.wait_timeout_while(taken, Duration::from_secs(120), |taken| taken.len() < count);
        !waited.unwrap().1.timed_out()
    }

    pub fn sink(&self) -> Vec<Delivered> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .map(|(letter, raw)| Delivered {
                sender: letter.opening.sender.to_string(),
                recipients: letter.recipients.iter().map(|r| r.mailbox.to_string()).collect(),
                raw: raw.to_vec(),
            })
            .collect()
    }
}

impl Desk for MemoryDesk {
    type Transaction = Standing;
    type Basin = Basin;

    async fn open(&self, opening: &Opening) -> Result<Standing, Reply> {
        self.policy.check_client(&opening.client, &opening.sender)
    }

    async fn recipient(&self, standing: &mut Standing, _: &Opening, request: Request) -> Result<Recipient, Reply> {
        let (mailbox, destination) = self.policy.check_recipient(standing, &request.target)?;
        Ok(Recipient { mailbox, destination, original: request.original, notify: request.notify })
    }

    fn basin(&self, _: &Standing) -> Basin {
        self.store.basin()
    }

    async fn take(&self, _: Standing, letter: Letter, raw: Bytes) -> Reply {
        let _permit = self.hold.acquire().await.unwrap();
        let id = letter.opening.id;
        self.taken.lock().unwrap().push((letter, raw));
        self.arrived.notify_all();
        Reply::new(250, "2.0.0", format!("Taken, id {id}"))
    }

    async fn turn(&self, client: &ClientFacts, node: &str) -> Reply {
        match self.policy.check_turn(client.address.ip(), node) {
            Ok(agency) => Reply::new(250, "2.0.0", format!("Queuing for {agency} started")),
            Err(reply) => reply,
        }
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        self.refused.lock().unwrap().push((refusal.id.to_string(), refusal.reason.as_str()));
    }
}
