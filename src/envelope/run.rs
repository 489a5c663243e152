//! Fetches the facts the relay decision needs: recipient files, and the agencies' settings checked and compiled.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::alias::{Alias, Aliases, DomainAlias};
use super::list;
use super::relay::{Agency, Policy, Roster};
use super::settings::{RecipientSource, Recipients};
use crate::listen::Networks;
use crate::mail::problem::Severity;
use crate::mail::{AgencyId, Domain, Mailbox, Network, Problem};

/// One agency as the configuration has it.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    pub id: AgencyId,
    pub domains: Vec<Domain>,
    pub recipients: &'a Recipients,
    pub networks: &'a [Network],
    pub aliases: &'a [Alias],
    pub domain_aliases: &'a [DomainAlias],
    pub always_bcc: &'a [Mailbox],
    /// The configuration file that says so: problems are reported there, paths are relative to its folder.
    pub file: &'a Path,
}

/// All agencies as one relay policy, or every problem.
pub fn compile(sources: &[Source<'_>]) -> Result<Policy, Vec<Problem>> {
    let mut problems = Vec::new();
    let agencies: Vec<Agency> = sources
        .iter()
        .map(|source| Agency {
            id: source.id.clone(),
            domains: source.domains.clone(),
            roster: roster(source, &mut problems),
            subaddressing: subaddressing(source, &mut problems),
            networks: networks(source, &mut problems),
        })
        .collect();
    let file = sources.first().map_or(Path::new(""), |source| source.file);
    match Policy::build(agencies) {
        Ok(policy) if problems.is_empty() => {
            let mut aliases = Aliases::default();
            for source in sources {
                aliases.add(source.aliases, source.domain_aliases);
            }
            let copies = sources.iter().filter(|s| !s.always_bcc.is_empty());
            let copies = copies.map(|s| (s.id.clone(), s.always_bcc.to_vec())).collect();
            Ok(policy.with_names(aliases, copies))
        }
        Ok(_) => Err(problems),
        Err(shared) => {
            problems.extend(shared.iter().map(|s| Problem::new(file, s.to_string())));
            Err(problems)
        }
    }
}

fn networks(source: &Source<'_>, problems: &mut Vec<Problem>) -> Networks {
    for network in source.networks.iter().filter(|network| network.is_wide_public()) {
        let message =
            format!("agency {}: {network} is a public range that many share; it would make an open relay", source.id);
        problems.push(Problem::new(source.file, message).help("name the agency's own addresses, /28 at most"));
    }
    source.networks.iter().copied().collect()
}

fn subaddressing(source: &Source<'_>, problems: &mut Vec<Problem>) -> Option<char> {
    let mut chars = source.recipients.subaddressing.chars();
    match (chars.next(), chars.next()) {
        (first, None) => first,
        _ => {
            let message = format!("agency {}: subaddressing is one character, such as \"+\", or empty", source.id);
            problems.push(Problem::new(source.file, message));
            None
        }
    }
}

fn roster(source: &Source<'_>, problems: &mut Vec<Problem>) -> Roster {
    let mut problem =
        |message: String| problems.push(Problem::new(source.file, format!("agency {}: {message}", source.id)));
    match (source.recipients.from, &source.recipients.path) {
        (RecipientSource::Any, _) => Roster::Any,
        (RecipientSource::Callout, _) => Roster::Callout,
        (RecipientSource::Ldap, _) => match &source.recipients.ldap {
            Some(ldap) => Roster::Ldap(Arc::new(ldap.clone())),
            None => {
                problem("recipients from \"ldap\" need [agency.recipients.ldap]".to_owned());
                Roster::Any
            }
        },
        (RecipientSource::File, None) => {
            problem("recipients from \"file\" need a path".to_owned());
            Roster::Any
        }
        (RecipientSource::File, Some(path)) => {
            let path: PathBuf = source.file.parent().unwrap_or_else(|| Path::new(".")).join(path);
            load(&path, &source.domains).map_or_else(
                |found| {
                    problems.extend(found);
                    Roster::Any
                },
                Roster::Listed,
            )
        }
    }
}

/// Reads a recipient file (`list` says which forms it may have). Every problem found is in the list, with its line.
pub fn load(path: &Path, domains: &[Domain]) -> Result<HashSet<String>, Vec<Problem>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![Problem::new(path, format!("the recipient file cannot be read: {error}"))])?;
    let (listed, problems) = list::read(path, &text, domains);
    // An address of another domain can do no harm: it is never looked up. Everything else keeps the old policy.
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    for problem in &problems {
        tracing::warn!(%problem, "recipient file");
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(recipients: &Recipients, networks: &[&str]) -> Result<Policy, Vec<String>> {
        let networks: Vec<Network> = networks.iter().map(|n| n.parse().unwrap()).collect();
        let source = Source {
            id: "one".parse().unwrap(),
            domains: vec![Domain::parse("agency.test").unwrap()],
            recipients,
            networks: &networks,
            aliases: &[],
            domain_aliases: &[],
            always_bcc: &[],
            file: Path::new("/nonexistent/luytre.toml"),
        };
        compile(&[source]).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn threats_r_18_a_configuration_of_an_open_relay_is_refused() {
        assert!(compiled(&Recipients::default(), &["10.0.0.0/8", "203.0.113.7"]).is_ok());
        let problems = compiled(&Recipients::default(), &["0.0.0.0/0", "203.0.113.0/24"]).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("open relay"), "{problems:?}");
    }

    #[test]
    fn sources_that_are_not_complete_are_not_silently_open() {
        let ldap = Recipients { from: RecipientSource::Ldap, ..Recipients::default() };
        assert!(compiled(&ldap, &[]).unwrap_err()[0].contains("need [agency.recipients.ldap]"));
        let file = Recipients { from: RecipientSource::File, path: Some("users.txt".into()), ..Recipients::default() };
        assert!(compiled(&file, &[]).unwrap_err()[0].contains("cannot be read"));
        let wide = Recipients { subaddressing: "+-".to_owned(), ..Recipients::default() };
        assert!(compiled(&wide, &[]).unwrap_err()[0].contains("one character"));
    }
}
