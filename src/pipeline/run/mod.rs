//! The pipeline behind the desk: what a session asks for is answered here, and a finished message is processed here.

pub mod bypass;
pub mod examine;
pub mod exists;
pub mod turns;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use super::carry::Outcome;
use super::names::{self, Names};
use crate::deliver::client::Needs;
use crate::deliver::{Deliver, Live, Question, Turned};
use crate::env::tls::handshake::HandshakeError;
use crate::env::{Clock, pool};
use crate::envelope::Envelope;
use crate::envelope::known::Answer;
use crate::envelope::relay::Standing;
use crate::guard::Guard;
use crate::guard::weigh::Assessment;
use crate::inspect::AuthResult;
use crate::inspect::checks::auth::spf;
use crate::intake::{self, Mail};
use crate::listen::stress::Turn;
use crate::listen::{ClientFacts, Role};
use crate::mail::{Destination, Domain, Recipient, Reply, Timestamp};
use crate::policy::Policy;
use crate::quarantine::Shelf;
use crate::report::metrics::{Metrics, Stage};
use crate::report::record::run::Log;
use crate::report::record::{self, Entry};
use crate::session::desk::{Desk, Letter, Opening, Reason, Refusal, Request, Sudden, Target};
use crate::spool::Spool;
use crate::verdict::receipt::{Reached, Receipt};
use crate::verdict::{Action, Judged};
use bypass::Bypass;
use examine::Examiner;
use exists::Census;

/// What the pipeline is built from.
pub struct Parts {
    pub policy: watch::Receiver<Arc<Policy>>,
    pub examiner: Examiner,
    pub bypass: Bypass,
    pub guard: Guard,
    pub census: Census,
    pub deliver: Arc<Deliver>,
    pub spool: Spool,
    pub shelf: Shelf,
    pub record: Log,
    pub store: intake::run::Store,
    /// Threads for hashing and signing.
    pub signers: pool::Pool,
    pub metrics: Metrics,
    pub clock: Clock,
    /// Octets free where mail is kept, looked at once a second by the gateway.
    pub free_disk: Arc<AtomicU64>,
}

/// The desk of all sessions.
pub struct Pipeline {
    pub(super) parts: Parts,
}

/// What a transaction remembers from MAIL FROM on.
pub struct Pinned {
    policy: Arc<Policy>,
    standing: Standing,
    /// What the recipients' own servers have opened for this message.
    live: Live,
    /// What the guard thinks of this client and sender.
    assessment: Assessment,
    /// Who gets the letter besides those who were named: the rest of an alias, copies.
    others: Vec<Recipient>,
    /// Whose share of the memory its bytes take; nobody's for a trusted machine.
    debtor: Option<IpAddr>,
    /// Which recipient brought them.
    reached: Vec<Reached>,
}

impl Pipeline {
    #[must_use]
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// One message, from its last byte to our answer.
    /// Invariant: 250 means that for every recipient the next hop has it, or bytes and decision are synced here
    /// (RFC 5321 §6.1).
    pub async fn process(&self, mail: Mail, live: Live, reached: Vec<Reached>, policy: &Arc<Policy>) -> Reply {
        let started = Instant::now();
        let bypass = self.parts.bypass.active(self.parts.clock.now());
        let evidence = match (self.parts.examiner.examine(mail.clone(), policy).await, &bypass) {
            (Ok(evidence), _) => evidence,
            // Inspectors in trouble are a reason to switch it on; the virus engines speak all the same.
            (Err(_), Some(_)) => self.parts.examiner.examine_uninspected(mail, policy).await,
            (Err(reply), None) => return self.put_off(&mail, &reply, policy),
        };
        let verdict = &policy.compiled.verdict;
        let judged = match &bypass {
            Some(order) => evidence.judge_bypassed(verdict, &order.note()),
            None => evidence.judge(verdict),
        };
        let outcome = self.carry_out(&judged, live, policy).await;
        self.count(&judged, &outcome, started);
        let reply = outcome.reply(&judged, policy.language);
        self.remember_good(&judged, &reply, policy);
        if !reply.is_positive() {
            let codes: Vec<&str> =
                judged.groups().iter().flat_map(|g| &g.weighed).map(|line| line.code.as_str()).collect();
            self.tell(judged.case().mail(), &reply.clone().because(codes.join(" ")), policy);
        }
        // Buffered: a full log never stops mail.
        let receipt = Receipt { reached, ..self.receipt(&judged, &outcome, &reply, started) };
        self.parts.record.write(self.parts.clock.now(), Entry::Receipt(Box::new(receipt)));
        let id = judged.case().mail().envelope().id();
        for note in outcome.notes() {
            tracing::info!(%id, why = note.as_str(), "a signature was left out");
        }
        tracing::info!(
            %id,
            action = %judged.strictest(),
            reply = reply.code(),
            outcome = %outcome.summary(),
            "message"
        );
        reply
    }

    /// Whether SPF says that the sender is real; asked only where an entry of the guard depends on it.
    async fn is_really(&self, opening: &Opening, policy: &Policy) -> bool {
        let wanted = policy.compiled.guard.wants_authentication(&opening.sender, opening.received_at);
        let (Some(dns), Some(mailbox), true) = (&self.parts.examiner.dns, opening.sender.mailbox(), wanted) else {
            return false;
        };
        let dns = dns.for_message(policy.limits.dns_queries, policy.guard.dns_deadline);
        let query = spf::Query {
            ip: opening.client.address.ip(),
            helo: &opening.helo,
            sender: &mailbox.to_string(),
            domain: mailbox.domain().as_str(),
            now: opening.received_at.seconds(),
        };
        let outcome = spf::check(&dns, query).await;
        outcome.result == AuthResult::Pass && !outcome.permissive
    }

    /// Mail that could not be looked at now: its sender keeps it, and what we said is on record all the same.
    fn put_off(&self, mail: &Mail, reply: &Reply, policy: &Policy) -> Reply {
        let envelope = mail.envelope();
        let id = envelope.id();
        let reply = reply.clone().line(format!("[{id}]"));
        let mut counted: Vec<&Destination> = Vec::new();
        for recipient in envelope.recipients() {
            if !counted.contains(&&recipient.destination) {
                counted.push(&recipient.destination);
                self.parts.metrics.message(&recipient.destination, Action::Defer);
            }
        }
        self.tell(mail, &reply, policy);
        let recipients: Vec<String> = envelope.recipients().iter().map(|r| r.mailbox.to_string()).collect();
        let entry = record::Refusal {
            id,
            time: envelope.received_at().rfc3339(),
            client: envelope.client().address.to_string(),
            helo: envelope.helo().to_owned(),
            sender: envelope.sender().to_string(),
            recipient: recipients.join(", "),
            reply: reply.to_string(),
        };
        self.parts.record.write(self.parts.clock.now(), Entry::Refused(entry));
        tracing::info!(%id, action = %Action::Defer, reply = reply.code(), "message");
        reply
    }

    /// A message that was not taken becomes an event, as every refusal does.
    fn tell(&self, mail: &Mail, reply: &Reply, policy: &Policy) {
        let envelope = mail.envelope();
        let recipients: Vec<String> = envelope.recipients().iter().map(|r| r.mailbox.to_string()).collect();
        let refusal = Refusal {
            id: envelope.id(),
            at: self.parts.clock.now(),
            client: envelope.client(),
            helo: envelope.helo(),
            sender: Some(envelope.sender()),
            recipient: Some(&recipients.join(" ")),
            reason: Reason::Content,
            reply,
        };
        self.parts.guard.noticed(&policy.compiled.guard, &refusal);
    }

    /// Mail from outside that nothing was held against.
    fn remember_good(&self, judged: &Judged, reply: &Reply, policy: &Policy) {
        let envelope = judged.case().mail().envelope();
        let client = envelope.client();
        if client.role == Role::Mx && reply.is_positive() && judged.strictest() == Action::Deliver {
            self.parts.guard.found_clean(&policy.compiled.guard, client.address.ip(), envelope.sender());
        }
    }

    fn receipt(&self, judged: &Judged, outcome: &Outcome, reply: &Reply, started: Instant) -> Receipt {
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut receipt = Receipt::of(judged, &[("whole", took)]);
        receipt.outcome = outcome.records(judged, reply, self.parts.clock.now());
        receipt
    }

    fn count(&self, judged: &Judged, outcome: &Outcome, started: Instant) {
        let metrics = &self.parts.metrics;
        outcome.notes().for_each(|note| metrics.unsigned(note));
        for group in judged.groups() {
            metrics.message(&group.destination, group.action);
        }
        let mut seen: Vec<&str> = Vec::new();
        for line in judged.groups().iter().flat_map(|g| &g.weighed) {
            if seen.contains(&line.code.as_str()) {
                continue;
            }
            seen.push(&line.code);
            match line.code.strip_prefix("rule.") {
                Some(rule) => metrics.rule_hit(rule, line.mode),
                None => metrics.finding(&line.code),
            }
        }
        metrics.stage(Stage::Whole, started.elapsed());
    }
}

impl Desk for Pipeline {
    type Transaction = Pinned;
    type Basin = intake::run::Basin;

    fn welcome(&self, client: &ClientFacts) -> Result<(), Reply> {
        let policy = Arc::clone(&self.parts.policy.borrow());
        self.parts.guard.welcome(&policy.compiled.guard, client)
    }

    async fn hold_back(&self, client: &ClientFacts) {
        let policy = Arc::clone(&self.parts.policy.borrow());
        self.parts.guard.hold_back(&policy.compiled.guard, client).await;
    }

    fn trusts(&self, client: &ClientFacts) -> bool {
        self.parts.policy.borrow().compiled.guard.is_trusted(client.address.ip())
    }

    fn memory_used_percent(&self) -> u32 {
        self.parts.store.used_percent()
    }

    fn stressed(&self, turn: Turn, at: Timestamp) {
        self.parts.guard.stressed(turn, at);
    }

    async fn open(&self, opening: &Opening) -> Result<Pinned, Reply> {
        let policy = Arc::clone(&self.parts.policy.borrow());
        let wanted = policy.limits.disk_free.as_u64().saturating_add(opening.params.size.unwrap_or(0));
        if self.parts.free_disk.load(Ordering::Relaxed) < wanted {
            return Err(Reply::new(452, "4.3.1", "Not enough disk space here now, please try again later"));
        }
        if !self.parts.spool.is_healthy() {
            return Err(Reply::new(451, "4.3.0", "Temporary trouble here, please try again later"));
        }
        let standing = policy.compiled.envelope.check_client(&opening.client, &opening.sender)?;
        let authenticated = self.is_really(opening, &policy).await;
        let claims_us =
            Domain::parse(&opening.helo).is_ok_and(|name| policy.compiled.envelope.agency_of(&name).is_some());
        let assessment = self.parts.guard.sender(&policy.compiled.guard, opening, authenticated, claims_us).await?;
        let debtor = Some(opening.client.address.ip()).filter(|ip| !policy.compiled.guard.is_trusted(*ip));
        Ok(Pinned {
            policy,
            standing,
            live: Live::default(),
            assessment,
            others: Vec::new(),
            debtor,
            reached: Vec::new(),
        })
    }

    async fn recipient(&self, pinned: &mut Pinned, opening: &Opening, request: Request) -> Result<Recipient, Reply> {
        let policy = Arc::clone(&pinned.policy);
        let compiled = &policy.compiled;
        let (guard, rules, assessment) = (&self.parts.guard, &compiled.guard, &pinned.assessment);
        if let Target::Mailbox(mailbox) = &request.target {
            guard.approach(rules, assessment, mailbox).await?;
        }
        let names = Names::of(&compiled.envelope, &pinned.standing, &request.target, &pinned.others)?;
        let Names { mailbox, destination, others, reached } = names;
        guard.recipient(rules, assessment, opening, &mailbox, destination.agency())?;
        if let Destination::Agency(_) = destination
            && let Some(agency) = compiled.envelope.agency_of(mailbox.domain())
            && self.parts.census.has(agency, &mailbox, &compiled.deliver).await == Answer::Unknown
        {
            return Err(Reply::new(550, "5.1.1", "No such user here"));
        }
        let needs = Needs::announced(&opening.sender, &mailbox, &opening.params);
        if let Some(refusal) = self.parts.deliver.foreseen(&destination, needs, &compiled.deliver) {
            return Err(refusal);
        }
        let original = request.original.or_else(|| names::original(&request.target, &mailbox));
        let recipient = Recipient { mailbox, destination, original, notify: request.notify };
        let question = Question { sender: &opening.sender, params: &opening.params, recipient: &recipient };
        self.parts.deliver.ask(&mut pinned.live, question, &compiled.deliver).await?;
        pinned.others.extend(others);
        pinned.reached.extend(reached);
        Ok(recipient)
    }

    fn basin(&self, pinned: &Pinned) -> intake::run::Basin {
        let store = &self.parts.store;
        pinned.debtor.map_or_else(|| store.basin(), |client| store.basin_for(client))
    }

    async fn take(&self, pinned: Pinned, mut letter: Letter, raw: Bytes) -> Reply {
        for other in pinned.others {
            if letter.recipients.iter().all(|known| known.mailbox.folded() != other.mailbox.folded()) {
                letter.recipients.push(other);
            }
        }
        let mail = Mail::complete(Envelope::of(letter), raw);
        self.process(mail, pinned.live, pinned.reached, &pinned.policy).await
    }

    async fn turn(&self, client: &ClientFacts, node: &str) -> Reply {
        let policy = Arc::clone(&self.parts.policy.borrow());
        let agency = match policy.compiled.envelope.check_turn(client.address.ip(), node) {
            Ok(agency) => agency,
            Err(reply) => return reply,
        };
        tracing::info!(%agency, node, client = %client.address, "an agency's server asks for its mail");
        // RFC 1985 §5.3.
        match self.parts.deliver.turn_to(&agency, &policy.compiled.deliver).await {
            Turned::Started => Reply::new(250, "2.0.0", format!("Queuing for node {node} started")),
            Turned::Nothing => Reply::new(251, "2.0.0", format!("No messages are waiting for node {node}")),
            Turned::Unable => Reply::new(458, "4.3.5", format!("Unable to queue messages for node {node}")),
        }
    }

    fn noticed(&self, refusal: &Refusal<'_>) {
        let policy = Arc::clone(&self.parts.policy.borrow());
        self.parts.guard.noticed(&policy.compiled.guard, refusal);
    }

    fn handshake_failed(&self, client: &ClientFacts, error: &HandshakeError, at: Timestamp) {
        self.parts.guard.handshake_failed(client, error, at);
    }

    fn sudden(&self, sudden: &Sudden<'_>) {
        self.parts.guard.sudden(sudden);
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        let entry = record::Refusal {
            id: refusal.id,
            time: refusal.at.rfc3339(),
            client: refusal.client.address.to_string(),
            helo: refusal.helo.to_owned(),
            sender: refusal.sender.map(ToString::to_string).unwrap_or_default(),
            recipient: refusal.recipient.unwrap_or_default().to_owned(),
            reply: refusal.reply.to_string(),
        };
        self.parts.record.write(refusal.at, Entry::Refused(entry));
    }
}
