//! A gateway's delivery with nothing around it: a spool on a simulated disk, a clock turned by hand.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use luytre::deliver::settings::{self, Delivery, NextHop, Profile, TlsMode};
use luytre::deliver::{
    Agency, Deliver, Handover, Internet, InternetParts, Metrics, Parts, Pending, Policy, Undeliverable, tlspolicy,
};
use luytre::env::clock::Hand;
use luytre::env::disk::{Disk, Simulated};
use luytre::env::dns::validator::{Validator, Wanted};
use luytre::env::tls::client::Connector;
use luytre::env::tls::guard::Guard;
use luytre::env::{Clock, Dice, Dns};
use luytre::mail::transaction::Notify;
use luytre::mail::{
    AgencyId, ByteSize, Destination, Domain, Language, MailId, MailParams, Mailbox, Parcel, ParcelMeta, Recipient,
    ReversePath, Span, Timestamp,
};
use luytre::spool::{Engine, Job, Spool};
use prometheus::Registry;

use super::watched::Watched;
use crate::kit::peer::Peer;

pub const START: Timestamp = Timestamp::from_seconds(1_795_302_082);

/// Copies that were held, with the reason.
#[derive(Default)]
pub struct Shelf(pub Mutex<Vec<(Parcel, String)>>);

impl Undeliverable for Shelf {
    fn hold<'a>(&'a self, parcel: &'a Parcel, because: &'a str) -> Pending<'a, Result<(), String>> {
        self.0.lock().unwrap().push((parcel.clone(), because.to_owned()));
        Box::pin(async { Ok(()) })
    }
}

/// How outgoing mail finds and proves its servers.
pub struct Outward {
    pub disk: Arc<dyn Disk>,
    pub validate: Option<Wanted>,
    pub anchors: Option<PathBuf>,
}

impl Default for Outward {
    fn default() -> Self {
        Self { disk: Arc::new(Simulated::new(1)), validate: None, anchors: None }
    }
}

pub struct House {
    pub deliver: Arc<Deliver>,
    pub spool: Spool,
    pub policy: Arc<Policy>,
    pub hand: Hand,
    pub shelf: Arc<Shelf>,
    pub watched: Arc<Watched>,
    registry: Registry,
}

pub fn hop(address: SocketAddr, profile: Profile, tls: TlsMode) -> NextHop {
    NextHop { profile, tls, delivery: Delivery::CutThrough, ..NextHop::to(address.to_string()) }
}

pub fn agency() -> AgencyId {
    "a".parse().unwrap()
}

impl House {
    pub fn new(hops: Vec<NextHop>) -> Self {
        Self::with(hops, None, |_| {})
    }

    pub fn with(hops: Vec<NextHop>, roots: Option<&Path>, set: impl FnOnce(&mut settings::Deliver)) -> Self {
        let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
        Self::of(vec![("a", "y.vn", hops)], nowhere, roots, set)
    }

    /// Agencies with one domain each, and a DNS server.
    pub fn of(
        agencies: Vec<(&str, &str, Vec<NextHop>)>,
        dns: SocketAddr,
        roots: Option<&Path>,
        set: impl FnOnce(&mut settings::Deliver),
    ) -> Self {
        Self::with_internet(agencies, dns, roots, &Outward::default(), set)
    }

    /// As `of`, with what only outgoing mail by MX needs.
    pub fn with_internet(
        agencies: Vec<(&str, &str, Vec<NextHop>)>,
        dns: SocketAddr,
        roots: Option<&Path>,
        outward: &Outward,
        set: impl FnOnce(&mut settings::Deliver),
    ) -> Self {
        let registry = Registry::new();
        let (clock, hand) = Clock::by_hand(START);
        let disk = outward.disk.clone();
        let metrics = luytre::spool::metrics::Metrics::new(&registry).unwrap();
        let small =
            luytre::spool::settings::Spool { segment: ByteSize::mib(1), ..luytre::spool::settings::Spool::default() };
        let (spool, _) = Spool::open(Arc::clone(&disk), Path::new("/spool"), small, clock.clone(), metrics).unwrap();
        let watched = Watched::around(spool);
        let spool = Spool::on(Arc::clone(&watched) as Arc<dyn Engine>);
        let shelf = Arc::new(Shelf::default());
        let options = luytre::env::dns::Options { servers: vec![dns], ..luytre::env::dns::Options::default() };
        let dns = Dns::new(&options).unwrap();
        let anchors = outward.anchors.clone();
        let validator = outward.validate.map(|wanted| Validator::new(&options, wanted, anchors).unwrap());
        let internet = InternetParts {
            disk,
            data_dir: Path::new("/data"),
            dns: dns.clone(),
            clock: clock.clone(),
            validator,
            guard: Guard::new(roots).unwrap(),
            metrics: tlspolicy::Metrics::new(&registry).unwrap(),
        };
        let parts = Parts {
            spool: spool.clone(),
            dns,
            internet: Internet::open(internet).unwrap(),
            clock,
            dice: Dice::seeded(1),
            metrics: Metrics::new(&registry).unwrap(),
            connector: Connector::new(roots).unwrap(),
            undeliverable: Arc::clone(&shelf) as Arc<dyn Undeliverable>,
        };
        let mut settings = settings::Deliver { cut_through_wait: Span::seconds(30), ..settings::Deliver::default() };
        set(&mut settings);
        let agencies = agencies.into_iter().map(|(id, domain, next_hops)| {
            let domains = vec![Domain::parse(domain).unwrap()];
            Agency { id: id.parse().unwrap(), domains, next_hops }
        });
        let policy = Arc::new(Policy::build(settings, "mx1.tinh.gov.vn", Language::Vi, agencies).unwrap());
        Self { deliver: Deliver::new(parts), spool, policy, hand, shelf, watched, registry }
    }

    /// One next hop of the generic profile without TLS.
    pub fn before(peer: &Peer) -> Self {
        Self::new(vec![hop(peer.address, Profile::Generic, TlsMode::None)])
    }

    pub async fn hand_over(&self, parcel: &Parcel) -> Handover {
        self.deliver.hand_over(parcel, &self.policy).await
    }

    /// As `hand_over`, for a peer that stands still: from that moment the timers run at once.
    pub async fn hand_over_stalled(&self, parcel: &Parcel, peer: &Peer) -> Handover {
        let skip = async {
            peer.stalled().await;
            tokio::time::pause();
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = self.hand_over(parcel) => outcome,
            () = skip => unreachable!(),
        };
        tokio::time::resume();
        outcome
    }

    /// Works off what is due now.
    pub async fn run_due(&self) -> usize {
        self.deliver.run_due(&self.policy).await
    }

    pub fn jobs(&self) -> Vec<Job> {
        self.spool.jobs()
    }

    /// The value of a counter or gauge, its labels as `name=value` in the order of the family.
    pub fn metric(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let found = families.iter().filter(|f| f.name() == family).flat_map(|f| f.get_metric());
        found
            .filter(|m| labels.iter().all(|(k, v)| m.get_label().iter().any(|l| l.name() == *k && l.value() == *v)))
            .map(|m| m.get_counter().get_value() + m.get_gauge().get_value())
            .sum()
    }
}

/// A message to `to`, from a sender that was vouched for.
pub fn parcel(to: &[&str], body: &str) -> Parcel {
    let destination = Destination::Agency(agency());
    let recipient = |text: &&str| Recipient {
        mailbox: Mailbox::parse(text).unwrap(),
        destination: destination.clone(),
        original: None,
        notify: Notify::default(),
    };
    Parcel {
        meta: ParcelMeta {
            id: MailId::new(START, 7),
            received_at: START,
            sender: ReversePath::Mailbox(Mailbox::parse("from@x.vn").unwrap()),
            recipients: to.iter().map(recipient).collect(),
            destination: destination.clone(),
            params: MailParams::default(),
            sender_authenticated: true,
            subject: "hello".to_owned(),
        },
        head: Bytes::from_static(b"From: from@x.vn\r\nSubject: hello\r\n\r\n"),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// The outcome in one word, with the code where there is a reply.
pub fn word(outcome: &Handover) -> String {
    match outcome {
        Handover::Handed { .. } => "handed".to_owned(),
        Handover::Spooled { .. } => "spooled".to_owned(),
        Handover::InDoubt { .. } => "in doubt".to_owned(),
        Handover::Held { .. } => "held".to_owned(),
        Handover::Refused { reply, .. } => format!("refused {}", reply.code() / 100),
        Handover::Deferred { reply, .. } => format!("deferred {}", reply.code()),
    }
}
