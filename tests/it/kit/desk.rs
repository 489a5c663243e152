//! A desk that keeps what it is handed in memory: the session and the relay decision without the rest of the gateway, with
//! a guard before them where a script asks for one.

use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use luytre::env::dns::zone::{Server, Zone};
use luytre::env::tls::handshake::HandshakeError;
use luytre::env::{Clock, Dice, Dns, dns};
use luytre::envelope::relay::{Policy, Standing};
use luytre::guard::weigh::Assessment;
use luytre::guard::{self, Guard, Rules};
use luytre::intake::run::{Basin, Store};
use luytre::listen::ClientFacts;
use luytre::mail::{Recipient, Reply, Timestamp};
use luytre::session::desk::{Desk, Letter, Opening, Refusal, Request, Sudden, Target};

use super::script::Delivered;

pub struct MemoryDesk {
    pub policy: Policy,
    pub store: Store,
    pub taken: Mutex<Vec<(Letter, Bytes)>>,
    arrived: Condvar,
    /// Ids and reasons of what the session refused.
    pub refused: Mutex<Vec<(String, &'static str)>>,
    /// Everything that was noticed: reason and reply.
    pub noticed: Mutex<Vec<(&'static str, String)>>,
    /// While this is held, `take` does not answer.
    pub hold: tokio::sync::Semaphore,
    guard: OnceLock<Armed>,
}

struct Armed {
    guard: Guard,
    rules: Rules,
    _dns: Server,
}

/// What a transaction remembers.
pub struct Pinned {
    standing: Standing,
    assessment: Option<Assessment>,
}

impl MemoryDesk {
    pub fn new(policy: Policy, store: Store) -> Arc<Self> {
        Arc::new(Self {
            policy,
            store,
            taken: Mutex::default(),
            arrived: Condvar::new(),
            refused: Mutex::default(),
            noticed: Mutex::default(),
            hold: tokio::sync::Semaphore::new(1000),
            guard: OnceLock::new(),
        })
    }

    /// Puts a guard before it: `[guard]` as in a configuration, and the zone that it asks.
    pub async fn arm(&self, folder: &std::path::Path, settings: &str, zone: &str) {
        let settings: guard::settings::Guard = toml::from_str(settings).unwrap();
        let zone = Zone::from_json(&format!("{{\"default\": \"NXDOMAIN\", \"names\": {zone}}}")).unwrap();
        let server = Server::start(zone, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let dns = Dns::new(&dns::Options { servers: vec![server.address()], ..dns::Options::default() }).unwrap();
        let metrics = guard::metrics::Metrics::new(&prometheus::Registry::new()).unwrap();
        let rules = Rules::build(settings);
        let guard = Guard::open(Some(dns), Clock::system(), &Dice::seeded(1), metrics, folder, &rules).await;
        assert!(self.guard.set(Armed { guard, rules, _dns: server }).is_ok(), "armed once");
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
    type Transaction = Pinned;
    type Basin = Basin;

    fn welcome(&self, client: &ClientFacts) -> Result<(), Reply> {
        self.guard.get().map_or(Ok(()), |a| a.guard.welcome(&a.rules, client))
    }

    async fn hold_back(&self, client: &ClientFacts) {
        if let Some(a) = self.guard.get() {
            a.guard.hold_back(&a.rules, client).await;
        }
    }

    async fn open(&self, opening: &Opening) -> Result<Pinned, Reply> {
        let standing = self.policy.check_client(&opening.client, &opening.sender)?;
        let assessment = match self.guard.get() {
            Some(a) => Some(a.guard.sender(&a.rules, opening, false, false).await?),
            None => None,
        };
        Ok(Pinned { standing, assessment })
    }

    async fn recipient(&self, pinned: &mut Pinned, opening: &Opening, request: Request) -> Result<Recipient, Reply> {
        if let (Some(a), Some(assessment), Target::Mailbox(to)) =
            (self.guard.get(), &pinned.assessment, &request.target)
        {
            a.guard.approach(&a.rules, assessment, to).await?;
        }
        let (mailbox, destination) = self.policy.check_recipient(&pinned.standing, &request.target)?;
        if let (Some(a), Some(assessment)) = (self.guard.get(), &pinned.assessment) {
            a.guard.recipient(&a.rules, assessment, opening, &mailbox, destination.agency())?;
        }
        Ok(Recipient { mailbox, destination, original: request.original, notify: request.notify })
    }

    fn basin(&self, _: &Pinned) -> Basin {
        self.store.basin()
    }

    async fn take(&self, _: Pinned, letter: Letter, raw: Bytes) -> Reply {
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

    fn noticed(&self, refusal: &Refusal<'_>) {
        self.noticed.lock().unwrap().push((refusal.reason.as_str(), refusal.reply.to_string()));
        if let Some(a) = self.guard.get() {
            a.guard.noticed(&a.rules, refusal);
        }
    }

    fn handshake_failed(&self, _: &ClientFacts, error: &HandshakeError, _: Timestamp) {
        self.noticed.lock().unwrap().push(("tls", error.to_string()));
    }

    fn sudden(&self, sudden: &Sudden<'_>) {
        self.noticed.lock().unwrap().push(("sudden", format!("{} {}", sudden.account, sudden.agency)));
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        self.refused.lock().unwrap().push((refusal.id.to_string(), refusal.reason.as_str()));
    }
}
