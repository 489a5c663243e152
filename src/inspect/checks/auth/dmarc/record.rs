//! A DMARC policy record (RFC 9989 §4.7). Tags that cannot be read count as absent; `pct`, `rf` and `ri` are gone.

use crate::inspect::case::DmarcPolicy;

/// What a record asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    pub policy: DmarcPolicy,
    pub subdomains: Option<DmarcPolicy>,
    pub missing: Option<DmarcPolicy>,
    pub strict_dkim: bool,
    pub strict_spf: bool,
    /// `t=y`: each policy is applied one step milder.
    pub testing: bool,
    pub psd: Psd,
    /// §4.10.1: without a valid `p` and without `rua` a record stands in the tree but is not processed.
    pub usable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Psd {
    Yes,
    No,
    #[default]
    Unknown,
}

impl Record {
    /// Reads a TXT record; `None` when it is not of DMARC1 (the version comes first and is case-sensitive).
    pub fn parse(text: &str) -> Option<Self> {
        let mut tags = text.split(';').map(|tag| tag.split_once('=').map(|(n, v)| (n.trim(), v.trim())));
        match tags.next()?? {
            (name, "DMARC1") if name.eq_ignore_ascii_case("v") => {}
            _ => return None,
        }
        let tags: Vec<(String, &str)> = tags.flatten().map(|(n, v)| (n.to_ascii_lowercase(), v)).take(64).collect();
        let get = |name: &str| tags.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        let policy = |name: &str| get(name).map(policy_word);
        let invalid = |policy: Option<Option<DmarcPolicy>>| policy == Some(None);
        // §4.10.1: no valid p, or a sub-domain policy that is not valid: p=none where somebody wants reports.
        let broken = policy("p").flatten().is_none() || invalid(policy("sp")) || invalid(policy("np"));
        let reports = get("rua").is_some_and(has_report_address);
        let is = |name: &str, word: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let psd = match get("psd") {
            Some(value) if value.eq_ignore_ascii_case("y") => Psd::Yes,
            Some(value) if value.eq_ignore_ascii_case("n") => Psd::No,
            _ => Psd::Unknown,
        };
        let kept = |name| if broken { None } else { policy(name).flatten() };
        Some(Self {
            policy: kept("p").unwrap_or_default(),
            subdomains: kept("sp"),
            missing: kept("np"),
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            testing: is("t", "y"),
            psd,
            usable: !broken || reports,
        })
    }
}

fn policy_word(text: &str) -> Option<DmarcPolicy> {
    [("none", DmarcPolicy::None), ("quarantine", DmarcPolicy::Quarantine), ("reject", DmarcPolicy::Reject)]
        .into_iter()
        .find_map(|(word, policy)| text.eq_ignore_ascii_case(word).then_some(policy))
}

/// At least one `mailto:` or other URI, `!10m` allowed behind it.
fn has_report_address(list: &str) -> bool {
    list.split(',').any(|uri| {
        let uri = uri.trim();
        match uri.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mailto") => rest
                .split('!')
                .next()
                .is_some_and(|a| a.split_once('@').is_some_and(|(l, d)| !l.is_empty() && !d.is_empty())),
            Some((scheme, rest)) => {
                !rest.is_empty()
                    && !scheme.is_empty()
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            }
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9989_4_7_records_are_read() {
        let record =
            Record::parse("v = DMARC1 ; P=reject;sp=NONE; np=quarantine; adkim=S; aspf=r; t=y; psd=n; x=1;").unwrap();
        assert_eq!((record.policy, record.subdomains), (DmarcPolicy::Reject, Some(DmarcPolicy::None)));
        assert_eq!(record.missing, Some(DmarcPolicy::Quarantine));
        assert!(record.strict_dkim && !record.strict_spf && record.testing && record.usable);
        assert_eq!(record.psd, Psd::No);
    }

    #[test]
    fn rfc9989_4_7_other_records_are_not_dmarc() {
        for text in ["", "v=DMARC12; p=none", "v=dmarc1; p=none", "p=none; v=DMARC1", "v=spf1 -all", "DMARC1"] {
            assert_eq!(Record::parse(text), None, "{text}");
        }
    }

    #[test]
    fn rfc9989_4_10_1_without_a_policy_reports_decide() {
        assert!(!Record::parse("v=DMARC1").unwrap().usable);
        assert!(!Record::parse("v=DMARC1; p=bad").unwrap().usable);
        assert!(!Record::parse("v=DMARC1; p=bad; rua=bogus").unwrap().usable);
        let lenient = Record::parse("v=DMARC1; p=reject; sp=bad; rua=mailto:d@x.vn!10m").unwrap();
        assert!(lenient.usable && lenient.policy == DmarcPolicy::None && lenient.subdomains.is_none());
    }
}
