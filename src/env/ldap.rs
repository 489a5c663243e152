//! Asks an LDAP directory (RFC 4511): one connection, shared by all questions, opened anew when it broke. A directory
//! that does not answer is left alone for a while, so that not every session waits for it.
//!
//! One question is one search for one address: a few entries at most come back, so nothing is read page by page
//! (RFC 2696). Referrals (RFC 4511 §4.5.3) are not followed: they would lead our name and password to whatever host an
//! answer names. But an answer that names another host for a part of it, or was cut short, is not the whole one, and says
//! so: who was not in it may exist. A forest is asked at its global catalogue, which knows everybody.

use std::sync::Arc;
use std::time::Duration;

use ldap3::adapters::EntriesOnly;
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, SearchOptions, ldap_escape,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::mail::Span;

/// A directory that failed is left alone for so long.
const QUIET: Duration = Duration::from_secs(10);
/// Results (RFC 4511 §4.1.9) with which an answer ends before its end: timeLimitExceeded, sizeLimitExceeded, referral,
/// adminLimitExceeded.
const CUT_SHORT: [u32; 4] = [3, 4, 10, 11];
/// busy, unavailable: the directory is not well.
const UNWELL: [u32; 2] = [51, 52];
/// What Active Directory refers to in each answer from its root, and what holds nobody's mailbox (MS-ADTS §3.1.1.1.9): the
/// first part of the name.
const NOBODY_THERE: [&str; 4] = ["dc=domaindnszones", "dc=forestdnszones", "cn=configuration", "cn=schema"];

/// Entries of one answer that are looked at: a mailbox is one, a mistake in the directory two or three.
const MOST: i32 = 10;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub entries: Vec<Entry>,
    /// Why there may be more; `None`: that is all.
    pub missing: Option<String>,
}

/// What one entry holds of the attributes that were asked for, names in lower case.
pub type Entry = std::collections::HashMap<String, Vec<String>>;

/// How a directory is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `ldaps://host:636` or `ldap://host:389`, tried in order.
    pub urls: Vec<String>,
    /// With `ldap://`: STARTTLS before anything else.
    pub start_tls: bool,
    /// PEM of the authorities that are believed; `None`: the system's.
    pub ca: Option<Vec<u8>>,
    /// Empty: anonymous.
    pub bind_dn: String,
    pub password: String,
    /// For one question, connection included.
    pub timeout: Span,
}

/// Why a directory gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("the directory cannot be reached: {0}")]
    Connect(String),
    #[error("the directory refuses: {0}")]
    Refused(String),
    /// This question only; others may be answered.
    #[error("the directory does not answer this question: {0}")]
    Declined(String),
    #[error("the directory did not answer in time")]
    Slow,
    #[error("the directory failed a moment ago and is left alone")]
    Quiet,
}

/// One directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    open: Option<Ldap>,
    quiet_until: Option<Instant>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("open", &self.open.is_some()).finish_non_exhaustive()
    }
}

/// Puts an address into a filter at each `{}`; what has a meaning there is escaped (RFC 4515 §3).
#[must_use]
pub fn filter(template: &str, address: &str) -> String {
    template.replace("{}", &ldap_escape(address))
}

impl Directory {
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Inner { options, line: Mutex::default() }))
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The entries below `base` that fit the filter, with those attributes.
    pub async fn find(&self, base: &str, filter: &str, attributes: &[&str]) -> Result<Found, DirectoryError> {
        let patience = self.0.options.timeout.as_std();
        let asked = timeout(patience, self.ask(base, filter, attributes)).await.unwrap_or(Err(DirectoryError::Slow));
        if let Err(error) = &asked
            && !matches!(error, DirectoryError::Quiet | DirectoryError::Declined(_))
            // Somebody else is opening it anew: that will show whether it answers.
            && let Ok(mut line) = self.0.line.try_lock()
        {
            *line = Line { open: None, quiet_until: Some(Instant::now() + QUIET) };
        }
        asked
    }

    async fn ask(&self, base: &str, filter: &str, attributes: &[&str]) -> Result<Found, DirectoryError> {
        let (mut ldap, fresh) = self.line().await?;
        match search(&mut ldap, base, filter, attributes).await {
            // The connection was closed while it rested: once more on a new one.
            Err(error) if !fresh && is_broken(&error) => {
                self.0.line.lock().await.open = None;
                let (mut ldap, _) = self.line().await?;
                search(&mut ldap, base, filter, attributes).await
            }
            answer => answer,
        }
        .map_err(|error| match error {
            // A question that it does not like must not silence it for all others: a stranger chooses the address.
            LdapError::LdapResult { result } if !UNWELL.contains(&result.rc) => {
                DirectoryError::Declined(result.to_string())
            }
            LdapError::FilterParsing => DirectoryError::Declined(error.to_string()),
            error => DirectoryError::Refused(error.to_string()),
        })
    }

    /// The open connection, or a new one; and whether it is new.
    async fn line(&self) -> Result<(Ldap, bool), DirectoryError> {
        let mut line = self.0.line.lock().await;
        if let Some(open) = line.open.as_mut()
            && !open.is_closed()
        {
            return Ok((open.clone(), false));
        }
        if line.quiet_until.is_some_and(|until| Instant::now() < until) {
            return Err(DirectoryError::Quiet);
        }
        let mut last = DirectoryError::Connect("no url".to_owned());
        for url in &self.0.options.urls {
            match self.connect(url).await {
                Ok(ldap) => {
                    *line = Line { open: Some(ldap.clone()), quiet_until: None };
                    return Ok((ldap, true));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect(&self, url: &str) -> Result<Ldap, DirectoryError> {
        let o = &self.0.options;
        let failed = |error: LdapError| DirectoryError::Connect(format!("{url}: {error}"));
        let mut settings = LdapConnSettings::new().set_starttls(o.start_tls).set_conn_timeout(o.timeout.as_std());
        if let Some(pem) = &o.ca {
            settings = settings.set_connector(connector(pem).map_err(|e| DirectoryError::Connect(e.to_string()))?);
        }
        let (conn, mut ldap) = LdapConnAsync::with_settings(settings, url).await.map_err(failed)?;
        tokio::spawn(async move {
            if let Err(error) = conn.drive().await {
                tracing::info!(%error, "the connection to a directory ended");
            }
        });
        if !o.bind_dn.is_empty() {
            let bound = ldap.simple_bind(&o.bind_dn, &o.password).await.map_err(failed)?;
            bound.success().map_err(|error| DirectoryError::Refused(error.to_string()))?;
        }
        Ok(ldap)
    }
}

fn connector(pem: &[u8]) -> Result<native_tls::TlsConnector, native_tls::Error> {
    let mut builder = native_tls::TlsConnector::builder();
    builder.disable_built_in_roots(true).min_protocol_version(Some(native_tls::Protocol::Tlsv12));
    for certificate in native_tls::Certificate::stack_from_pem(pem)? {
        builder.add_root_certificate(certificate);
    }
    builder.build()
}

async fn search(ldap: &mut Ldap, base: &str, filter: &str, attributes: &[&str]) -> Result<Found, LdapError> {
    // RFC 4511 §4.5.1.8: "1.1" asks for none of the attributes.
    let attributes = if attributes.is_empty() { &["1.1"] } else { attributes };
    let ldap = ldap.with_search_options(SearchOptions::new().sizelimit(MOST));
    let only = EntriesOnly::new();
    let mut stream = ldap.streaming_search_with(only, base, Scope::Subtree, filter, attributes.to_vec()).await?;
    let mut entries = Vec::new();
    while let Some(entry) = stream.next().await? {
        if entries.len() >= MOST.unsigned_abs() as usize {
            // It was asked for no more. What it goes on to say is not kept.
            return Err(LdapError::EndOfStream);
        }
        let entry = SearchEntry::construct(entry);
        entries.push(entry.attrs.into_iter().map(|(name, values)| (name.to_lowercase(), values)).collect());
    }
    let end = stream.finish().await;
    let missing = missing(&end);
    if !CUT_SHORT.contains(&end.rc) {
        end.success()?;
    }
    Ok(Found { entries, missing })
}

/// Why an answer that ended so may not be all.
fn missing(end: &LdapResult) -> Option<String> {
    if let Some(elsewhere) = end.refs.iter().find(|reference| may_hold_mailboxes(reference)) {
        return Some(format!("a part of it is at {elsewhere}; ask the global catalogue, or a base below the root"));
    }
    CUT_SHORT.contains(&end.rc).then(|| end.to_string())
}

/// Whether somebody could have a mailbox where an LDAP URL (RFC 4516) leads.
fn may_hold_mailboxes(reference: &str) -> bool {
    let name = reference.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, name)| name);
    let name = name.to_ascii_lowercase().replace("%20", " ");
    !NOBODY_THERE.iter().any(|start| name.trim_start().strip_prefix(start).is_some_and(|rest| rest.starts_with(',')))
}

const fn is_broken(error: &LdapError) -> bool {
    !matches!(error, LdapError::LdapResult { .. } | LdapError::FilterParsing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4515_3_an_address_cannot_change_the_question() {
        let template = "(|(mail={})(proxyAddresses=smtp:{}))";
        assert_eq!(filter(template, "an@a.test"), "(|(mail=an@a.test)(proxyAddresses=smtp:an@a.test))");
        assert_eq!(filter("(mail={})", "*)(uid=*@a.test"), "(mail=\\2a\\29\\28uid=\\2a@a.test)");
    }

    fn ended(rc: u32, refs: &[&str]) -> LdapResult {
        let refs = refs.iter().map(|text| (*text).to_owned()).collect();
        LdapResult { rc, matched: String::new(), text: String::new(), refs, ctrls: Vec::new() }
    }

    #[test]
    fn rfc4511_4_5_3_a_part_that_is_elsewhere_or_cut_off_is_missing() {
        // What Active Directory adds to each answer from the root of a domain without others below it.
        let own = [
            "ldap://ForestDnsZones.tinh.local/DC=ForestDnsZones,DC=tinh,DC=local",
            "ldap://DomainDnsZones.tinh.local/DC=DomainDnsZones,DC=tinh,DC=local",
            "ldap://tinh.local/CN=Configuration,DC=tinh,DC=local",
        ];
        assert_eq!(missing(&ended(0, &[])), None);
        assert_eq!(missing(&ended(0, &own)), None);
        let child = "ldap://so.tinh.local/DC=so,DC=tinh,DC=local";
        for refs in [
            &[own[0], child][..],
            &[child],
            &["ldap://dc2.tinh.local"],
            &["rubbish"],
            &["ldap:///cn=configurations,dc=x"],
        ] {
            assert!(
                missing(&ended(0, refs)).is_some_and(|why| why.contains("elsewhere") || why.contains("is at")),
                "{refs:?}"
            );
        }
        for rc in CUT_SHORT {
            assert!(missing(&ended(rc, &[])).is_some(), "{rc}");
        }
    }

    #[tokio::test]
    async fn a_dead_directory_is_left_alone_for_a_while() {
        let shut = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ldap://{}", shut.local_addr().unwrap());
        drop(shut);
        let directory = Directory::new(Options {
            urls: vec![url],
            start_tls: false,
            ca: None,
            bind_dn: String::new(),
            password: String::new(),
            timeout: Span::seconds(5),
        });
        assert!(matches!(directory.find("dc=a", "(mail=x)", &[]).await, Err(DirectoryError::Connect(_))));
        assert!(matches!(directory.find("dc=a", "(mail=x)", &[]).await, Err(DirectoryError::Quiet)));
    }
}
