//! What the other stages make of their settings, once, off the mail path: rules into matchers, keys into signers,
//! certificates into TLS contexts. What goes wrong is pushed as a [`Problem`], never returned early, so that one run
//! tells everything.

use std::collections::HashMap;
use std::sync::Arc;

use super::Settings;
use super::build::Material;
use crate::deliver::seal::{self, SealKeys};
use crate::deliver::{self, route};
use crate::env::tls::server::{Acceptor, Files};
use crate::envelope;
use crate::guard;
use crate::inspect::settings::Inspect;
use crate::inspect::{self, checks::auth, policy::Sources};
use crate::mail::problem::Severity;
use crate::mail::{AgencyId, Domain, Problem, Timestamp};
use crate::report::sts;
use crate::session::house::{House, Station, Submission};
use crate::session::run::users;
use crate::verdict;

/// The compiled parts of a policy, one for each stage.
#[derive(Debug)]
pub struct Compiled {
    pub house: Arc<House>,
    pub guard: guard::Rules,
    pub envelope: envelope::relay::Policy,
    pub auth: auth::Settings,
    /// Every domain of every agency: what outsiders may not claim.
    pub own_domains: Vec<Domain>,
    pub inspect: Arc<inspect::policy::Policy>,
    pub verdict: verdict::settings::Policy,
    pub deliver: Arc<deliver::Policy>,
    /// Where MTA-STS policies are served.
    pub sts: Option<Arc<sts::Site>>,
    seals: Arc<HashMap<AgencyId, SealKeys>>,
    no_seals: SealKeys,
}

impl Compiled {
    /// The keys that sign an agency's outgoing mail; an agency without any has an empty set.
    #[must_use]
    pub fn seals(&self, agency: &AgencyId) -> &SealKeys {
        self.seals.get(agency).unwrap_or(&self.no_seals)
    }
}

/// Compiles every stage's part, or says everything that keeps it from that.
pub(super) fn compile(
    settings: &Settings,
    material: Material,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) -> Option<Compiled> {
    // What the relations told already is not told again by each stage; the rules' own problems are news.
    if problems.iter().any(|p| p.severity == Severity::Error) {
        let _ = inspect(settings, &Inspect::default().checks, material, problems);
        return None;
    }
    let sts = sts(settings, problems);
    let house = house(settings, sts.as_ref(), problems);
    let envelope = envelope(settings, problems);
    let deliver = deliver(settings, problems);
    let seals = Arc::new(seals(settings, now, problems));
    let inspect = Arc::new(inspect(settings, &settings.inspect.checks, material, problems)?);
    Some(Compiled {
        house: Arc::new(house),
        guard: guard::Rules::build(settings.guard.clone()),
        envelope: envelope?,
        auth: auth::Settings {
            dkim_signatures: settings.limits.dkim_signatures,
            dns_queries: settings.limits.dns_queries,
            protected_domains: settings.protect.domains.clone(),
            protected_names: settings.protect.names.clone(),
            ..auth::Settings::default()
        },
        own_domains: settings.agencies.iter().flat_map(|a| a.domains.iter().cloned()).collect(),
        verdict: verdict(settings, &inspect),
        inspect,
        sts: sts.map(Arc::new),
        deliver: Arc::new(deliver?.with_seals(Arc::clone(&seals))),
        seals,
        no_seals: SealKeys::default(),
    })
}

fn sts(settings: &Settings, problems: &mut Vec<Problem>) -> Option<sts::Site> {
    let wanted = settings.http.mta_sts.as_ref()?;
    let pairs = [&wanted.tls].into_iter().chain(&wanted.sni);
    let files =
        Files { pairs: pairs.map(|pair| (pair.certificate.clone(), pair.key.clone())).collect(), clients: None };
    let acceptor = Acceptor::open(&files).map_err(|found| problems.extend(found)).ok()?;
    let domains = settings.agencies.iter().flat_map(|agency| &agency.domains);
    Some(sts::Site::new(acceptor, wanted, &settings.hostname, domains))
}

fn house(settings: &Settings, sts: Option<&sts::Site>, problems: &mut Vec<Problem>) -> House {
    let mut submission =
        Submission { auth: settings.auth.clone(), outgoing: settings.outgoing, ..Submission::default() };
    if !settings.auth.users.as_os_str().is_empty() {
        match users::load(&settings.auth.users) {
            Ok(accounts) => submission.accounts = accounts,
            Err(found) => problems.extend(found),
        }
    }
    let mut station = |listener| {
        let built = Station::build(listener, &settings.file).map_err(|found| problems.extend(found)).ok();
        built.map(|station| station.with(submission.clone()))
    };
    let elsewhere = sts.map_or_else(Vec::new, |site| site.acceptor().certificates().to_vec());
    let stations = settings.listeners.iter().filter_map(|listener| station(listener).map(Arc::new)).collect();
    House { hostname: settings.hostname.to_string(), limits: settings.limits.clone(), stations, elsewhere }
}

fn envelope(settings: &Settings, problems: &mut Vec<Problem>) -> Option<envelope::relay::Policy> {
    let sources: Vec<_> = settings
        .agencies
        .iter()
        .map(|agency| envelope::run::Source {
            id: agency.id.clone(),
            domains: agency.domains.clone(),
            recipients: &agency.recipients,
            networks: &agency.networks,
            aliases: &agency.aliases,
            domain_aliases: &agency.domain_aliases,
            always_bcc: &agency.always_bcc,
            file: &settings.file,
        })
        .collect();
    let policy = envelope::run::compile(&sources).map_err(|found| problems.extend(found)).ok()?;
    let certificates = settings.agencies.iter().flat_map(|a| a.certificates.iter().map(|c| (c.clone(), a.id.clone())));
    Some(policy.with_certificates(certificates.collect()))
}

fn deliver(settings: &Settings, problems: &mut Vec<Problem>) -> Option<deliver::Policy> {
    let agencies = settings.agencies.iter().map(|agency| route::Agency {
        id: agency.id.clone(),
        domains: agency.domains.clone(),
        next_hops: agency.next_hops.clone(),
    });
    let built =
        deliver::Policy::build(settings.deliver.clone(), settings.hostname.as_str(), settings.language, agencies);
    let problem = |message| Problem::new(&settings.file, message);
    built.map_err(|wrong| problems.extend(wrong.into_iter().map(problem))).ok()
}

fn seals(settings: &Settings, now: Timestamp, problems: &mut Vec<Problem>) -> HashMap<AgencyId, SealKeys> {
    let mut all = HashMap::new();
    for agency in &settings.agencies {
        let (keys, found) = seal::run::load(&agency.dkim, agency.smime.as_ref(), &settings.base_dir, now);
        problems.extend(found);
        all.insert(agency.id.clone(), keys);
    }
    all
}

fn inspect(
    settings: &Settings,
    checks: &[String],
    material: Material,
    problems: &mut Vec<Problem>,
) -> Option<inspect::policy::Policy> {
    let Material { yara, spam, trust, hashes, passwords, parked } = material;
    let sources = Sources::from_files(yara, spam, trust, problems)
        .with_hashes(hashes)
        .with_passwords(passwords)
        .with_parked(parked);
    match inspect::policy::Policy::from_sources(checks, (&settings.limits).into(), sources) {
        Ok(policy) => {
            // What belongs to no file belongs to the configuration.
            problems.extend(policy.warnings().iter().cloned().map(|p| placed(p, settings)));
            problems.extend(policy.rules().warnings().iter().cloned());
            Some(policy)
        }
        Err(found) => {
            problems.extend(found.into_iter().map(|p| placed(p, settings)));
            None
        }
    }
    .filter(|_| problems.iter().all(|p| p.severity == Severity::Warning))
}

fn placed(mut problem: Problem, settings: &Settings) -> Problem {
    if problem.file.as_os_str().is_empty() {
        problem.file.clone_from(&settings.file);
    }
    problem
}

fn verdict(settings: &Settings, inspect: &inspect::policy::Policy) -> verdict::settings::Policy {
    // A suspicious YARA rule brings its own points; what the operator wrote for it counts instead. Malware is no matter
    // of points: `[verdict] malware` says what it gets.
    let weighed = |own: &verdict::settings::Verdict| {
        let mut own = own.clone();
        for rule in inspect.yara_rules().iter().filter(|rule| rule.code.starts_with("yara.")) {
            own.weights.entry(rule.code.clone()).or_insert(rule.score);
        }
        own
    };
    verdict::settings::Policy {
        default: weighed(&settings.verdict),
        agencies: settings.agencies.iter().map(|a| (a.id.clone(), weighed(&a.verdict))).collect(),
        attachments: settings.attachments.clone(),
        own_attachments: settings.agencies.iter().map(|a| (a.id.clone(), a.attachment.clone())).collect(),
        dmarc: settings.dmarc,
        language: settings.language,
        rules: Arc::clone(inspect.rules()),
        // Set when all files have been read.
        hash: String::new(),
    }
}
