//! Evidence: authentication beside the inspector, then everything about the message in one [`Case`].

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::turns::{Turn, Turns};
use crate::env::{Clock, Dns};
use crate::envelope::relay::Standing;
use crate::inspect::checks::auth;
use crate::inspect::checks::net::engines::outcome::Outcome;
use crate::inspect::checks::net::engines::run::Engines;
use crate::inspect::inspector::{Strip, Task};
use crate::inspect::rules::RuleSet;
use crate::inspect::run::Pool;
use crate::inspect::{AuthFacts, Case, ContentFacts, Finding, OutgoingKind, Released, Wants};
use crate::intake::Mail;
use crate::listen::Role;
use crate::mail::header::Headers;
use crate::mail::{Mailbox, Recipient, Reply};
use crate::policy::Policy;
use crate::report::metrics::{Metrics, Stage};
use crate::verdict::attachment::notice;
use crate::verdict::settings::Ambiguous;
use crate::verdict::{self, Judged, Ruled};

/// Up to this size a body is hashed on the spot.
const INLINE: usize = 64 << 10;

/// A closed case, and the rules that its pattern numbers belong to: during a reload an inspector may be one
/// generation away from the policy pinned for the message.
#[derive(Debug)]
pub struct Evidence {
    pub case: Case,
    pub rules: Arc<RuleSet>,
}

impl Evidence {
    /// The decision, with the rules the inspector used.
    #[must_use]
    pub fn judge(self, policy: &verdict::settings::Policy) -> Judged {
        if Arc::ptr_eq(&self.rules, &policy.rules) {
            return verdict::judge(self.case, policy);
        }
        verdict::judge(self.case, &verdict::settings::Policy { rules: self.rules, ..policy.clone() })
    }

    /// The decision while the emergency bypass is on.
    #[must_use]
    pub fn judge_bypassed(self, policy: &verdict::settings::Policy, note: &str) -> Judged {
        verdict::decide::judge_bypassed(self.case, policy, note)
    }
}

/// What inspector and engines say.
struct Seen {
    content: ContentFacts,
    rules: Arc<RuleSet>,
    released: Released,
    engines: Outcome,
}

impl Seen {
    fn close(self, mail: Mail, auth: AuthFacts, mut findings: Vec<Finding>) -> Evidence {
        findings.extend(self.content.findings.iter().cloned());
        findings.extend(self.engines.findings);
        let case = Case::closed(mail, auth, self.content, findings);
        Evidence { case: case.with_released(self.released).with_engines(self.engines.facts), rules: self.rules }
    }
}

/// What looks at messages: used by the gateway for mail on its way and by `luytre scan` for files.
#[derive(Clone)]
pub struct Examiner {
    /// `None`: nothing is asked of the network, and nothing is said of the sender.
    pub dns: Option<Dns>,
    pub inspectors: Pool,
    pub metrics: Metrics,
    pub clock: Clock,
    /// How many messages of one network are looked into at a time; `None`: as many as come.
    pub turns: Option<Turns>,
    /// Virus engines; none are asked where none are configured.
    pub engines: Engines,
}

impl Examiner {
    /// Every check has run when this returns, or a finding says which did not. The error is a 4xx of ours.
    pub async fn examine(&self, mail: Mail, policy: &Arc<Policy>) -> Result<Evidence, Reply> {
        // The inspector first: it works on another core while this one hashes the body.
        let (seen, authentication) = tokio::join!(self.look(&mail, policy), self.authenticate(&mail, policy));
        let (auth, findings) = authentication;
        Ok(seen?.close(mail, auth, findings))
    }

    /// As [`Self::examine`], for mail of which others said who sent it: a collection with its results beside it.
    pub async fn examine_known(
        &self,
        mail: Mail,
        policy: &Arc<Policy>,
        auth: AuthFacts,
        findings: Vec<Finding>,
    ) -> Result<Evidence, Reply> {
        Ok(self.look(&mail, policy).await?.close(mail, auth, findings))
    }

    /// What is known of a message that no inspector took: virus engines, which see it whole, and who wrote it.
    pub async fn examine_uninspected(&self, mail: Mail, policy: &Arc<Policy>) -> Evidence {
        let inquiry = self.engines.open();
        let (mut rows, besides, (auth, findings)) = tokio::join!(
            inquiry.whole(mail.raw()),
            inquiry.whole_besides(mail.raw()),
            self.authenticate(&mail, policy)
        );
        rows.extend(besides);
        let seen = Seen {
            content: ContentFacts::default(),
            rules: Arc::clone(&policy.compiled.verdict.rules),
            released: Released::default(),
            engines: inquiry.conclude(&rows),
        };
        seen.close(mail, auth, findings)
    }

    /// Inspector and virus engines: the engines see the whole message at once, its parts when they have been opened; those
    /// that see only parts get the whole one where the parts may not be all there is.
    async fn look(&self, mail: &Mail, policy: &Arc<Policy>) -> Result<Seen, Reply> {
        let inquiry = self.engines.open();
        let wants = Wants { parts: inquiry.wants(), ..Wants::default() };
        let opened = async {
            let (content, rules, released) = self.inspect(mail, policy, wants).await?;
            let mut rows = inquiry.parts(&released).await;
            if policy.inspect.checks.is_empty() || content.findings.iter().any(hides_parts) {
                rows.extend(inquiry.whole_besides(mail.raw()).await);
            }
            Ok::<_, Reply>((content, rules, released, rows))
        };
        let (opened, mut rows) = tokio::join!(opened, inquiry.whole(mail.raw()));
        let (content, rules, released, of_parts) = opened?;
        rows.extend(of_parts);
        Ok(Seen { content, rules, released, engines: inquiry.conclude(&rows) })
    }

    async fn authenticate(&self, mail: &Mail, policy: &Arc<Policy>) -> (AuthFacts, Vec<Finding>) {
        let started = Instant::now();
        let envelope = mail.envelope();
        if envelope.client().role == Role::Relay {
            return own_author(mail, policy);
        }
        let Some(dns) = self.dns.as_ref().filter(|_| policy.inspect.authenticate) else {
            return (AuthFacts::default(), Vec::new());
        };
        let recipients: Vec<&Mailbox> = envelope.recipients().iter().map(|r| &r.mailbox).collect();
        let compiled = &policy.compiled;
        let subject = auth::Subject {
            client: envelope.client().address.ip(),
            helo: envelope.helo(),
            sender: envelope.sender(),
            recipients: &recipients,
            raw: mail.raw(),
            own_domains: &compiled.own_domains,
            trusted: false,
        };
        let letter = if mail.raw().len() > INLINE {
            self.read_apart(mail, policy).await
        } else {
            auth::read(subject, &compiled.auth)
        };
        let report = auth::examine_letter(dns, subject, letter, &compiled.auth, self.clock.now()).await;
        self.metrics.stage(Stage::Authenticate, started.elapsed());
        (report.facts, report.findings)
    }

    /// Hashing a large body takes milliseconds: not on a thread that serves sessions.
    async fn read_apart(&self, mail: &Mail, policy: &Arc<Policy>) -> auth::Letter {
        let (mail, policy) = (mail.clone(), Arc::clone(policy));
        let read = tokio::task::spawn_blocking(move || {
            let envelope = mail.envelope();
            let recipients: Vec<&Mailbox> = envelope.recipients().iter().map(|r| &r.mailbox).collect();
            let subject = auth::Subject {
                client: envelope.client().address.ip(),
                helo: envelope.helo(),
                sender: envelope.sender(),
                recipients: &recipients,
                raw: mail.raw(),
                own_domains: &policy.compiled.own_domains,
                trusted: false,
            };
            auth::read(subject, &policy.compiled.auth)
        });
        read.await.unwrap_or_default()
    }

    /// The message without some of its parts and with a notice in their place, written in the cage; `Err` says why it
    /// cannot be.
    pub async fn strip(&self, mail: &Mail, policy: &Policy, removed: &[Ruled]) -> Result<Bytes, String> {
        let notice = notice::text(mail.envelope().id(), removed);
        let parts = removed.iter().map(|line| line.path.clone()).collect();
        let task = Task {
            now: self.clock.now(),
            sender: mail.envelope().sender().clone(),
            recipients: Vec::new(),
            client_ip: String::new(),
            helo: String::new(),
            budget_ms: policy.inspect.deadline.as_millis(),
            wants: Wants { message: true, strip: Some(Strip { parts, notice }), ..Wants::default() },
        };
        let examined = self.inspectors.examine(mail.raw(), task).await.map_err(|error| error.to_string())?;
        let why = || examined.facts.findings.first().map_or_else(String::new, |finding| finding.detail.clone());
        examined.released.first(OutgoingKind::Message).ok_or_else(why)
    }

    async fn inspect(
        &self,
        mail: &Mail,
        policy: &Arc<Policy>,
        wants: Wants,
    ) -> Result<(ContentFacts, Arc<RuleSet>, Released), Reply> {
        if policy.inspect.checks.is_empty() {
            let rules = Arc::clone(&policy.compiled.verdict.rules);
            return Ok((ContentFacts::default(), rules, Released::default()));
        }
        let started = Instant::now();
        let envelope = mail.envelope();
        let task = Task {
            now: self.clock.now(),
            sender: envelope.sender().clone(),
            recipients: envelope.recipients().iter().map(|r| r.mailbox.to_string()).collect(),
            client_ip: envelope.client().address.ip().to_string(),
            helo: envelope.helo().to_owned(),
            budget_ms: policy.inspect.deadline.as_millis(),
            wants: Wants { message: wants_copy(mail, policy), ..wants },
        };
        let _turn = self.turn(mail, policy).await?;
        let examined = self.inspectors.examine(mail.raw(), task).await;
        self.metrics.stage(Stage::Inspect, started.elapsed());
        let examined = examined.map_err(|error| {
            tracing::warn!(id = %envelope.id(), %error, "no inspector took the message");
            error.reply()
        })?;
        Ok((examined.facts, Arc::clone(examined.policy.rules()), examined.released))
    }

    /// A stranger's network waits for its turn, half of the deadline at most.
    async fn turn(&self, mail: &Mail, policy: &Policy) -> Result<Option<Turn>, Reply> {
        let client = mail.envelope().client();
        let Some(turns) = &self.turns else { return Ok(None) };
        if client.role == Role::Relay || policy.compiled.guard.is_trusted(client.address.ip()) {
            return Ok(None);
        }
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        let inspectors = if policy.inspect.workers == 0 { cores() } else { policy.inspect.workers };
        let turn = turns.take(client.address.ip(), inspectors, policy.inspect.deadline.as_std() / 2).await;
        turn.map(Some).ok_or_else(|| {
            tracing::warn!(id = %mail.envelope().id(), "too many messages of one network wait to be looked into");
            Reply::new(451, "4.3.2", "Too many messages of your network at once; try again later")
                .because("inspect:network")
        })
    }
}

/// Whether a finding says that a message was not opened, or may hold parts that we do not know as its reader's client
/// does; and what makes the text of a letter more than text. Engines that see only parts are shown such mail whole.
fn hides_parts(finding: &Finding) -> bool {
    let code = &*finding.code;
    ["inspect.", "mime.", "unpack."].iter().any(|room| code.starts_with(room))
        || matches!(
            code,
            "engine.limit"
                | "html.application"
                | "html.data-page"
                | "html.form"
                | "html.local-program"
                | "html.obfuscated"
                | "html.password-field"
                | "html.password-form"
                | "html.redirect"
                | "html.script"
                | "html.smuggling"
                | "smime.compressed"
                | "smime.efail"
                | "smime.encrypted"
                | "smime.malformed"
                | "smime.partial"
        )
}

/// Whether some agency's recipients get a rewritten copy where a message can be read in several ways.
fn wants_copy(mail: &Mail, policy: &Policy) -> bool {
    let verdict = &policy.compiled.verdict;
    let rewrites = |r: &Recipient| verdict.for_agency(r.destination.agency()).ambiguous == Ambiguous::Rewrite;
    mail.envelope().recipients().iter().any(rewrites)
}

/// Mail of an agency's own server: nothing to authenticate, but its author must be one of the agency (THREATS A-24).
fn own_author(mail: &Mail, policy: &Policy) -> (AuthFacts, Vec<Finding>) {
    let from = auth::from::read(&Headers::parse_limited(mail.raw(), policy.limits.header_fields));
    let mut findings: Vec<Finding> =
        from.problem.iter().map(|(code, detail)| Finding::new(*code).with(detail)).collect();
    // As at MAIL FROM, under the policy pinned there. The recipients' agencies have no say in whose mail it is.
    let envelope = mail.envelope();
    let agency = match policy.compiled.envelope.check_client(envelope.client(), envelope.sender()) {
        Ok(Standing::Outward(id)) => policy.agency(&id),
        _ => None,
    };
    // A report is written by a host of the agency, under the host's own name: MAILER-DAEMON@mail.agency (DOMAIN §2.3).
    let report = envelope.sender().is_null();
    let ours = |mailbox: &Mailbox| {
        let domain = mailbox.domain();
        agency.is_some_and(|a| a.domains.iter().any(|own| own == domain || (report && domain.is_within(own))))
    };
    if from.mailbox.as_ref().is_some_and(|mailbox| !ours(mailbox)) {
        findings
            .push(Finding::new("from.foreign-domain").with("the author is not of the agency whose server sent this"));
    }
    (AuthFacts { from: from.mailbox, ..AuthFacts::default() }, findings)
}
