//! The DNS records that make an agency's mail arrive here and be believed elsewhere, ready to be published.
//! MX: RFC 5321 §5; SPF: RFC 7208; DKIM: RFC 6376; DMARC: RFC 9989; MTA-STS: RFC 8461; TLS reports: RFC 8460.

use std::fmt::Write as _;

use crate::cli::dkim::zone_line;
use crate::deliver::seal::DkimPair;
use crate::mail::{Domain, Span};
use crate::policy::{Agency, Policy};
use crate::report::settings::StsMode;
use crate::report::sts;

/// Everything to publish, as lines of a zone file with comments.
pub fn all(policy: &Policy) -> String {
    let mut out = String::new();
    for agency in &policy.agencies {
        for domain in &agency.domains {
            // Writing to a string does not fail.
            let _ = write!(out, "{}", domain_records(policy, agency, domain));
        }
    }
    out
}

fn domain_records(policy: &Policy, agency: &Agency, domain: &Domain) -> String {
    let host = policy.hostname.as_str();
    let mut lines = vec![
        format!("; {domain} ({})", agency.id),
        format!("{domain}. IN MX 10 {host}."),
        // Mail leaves through the gateway only; -all once that is true for all of it.
        format!("{domain}. IN TXT \"v=spf1 a:{host} -all\""),
    ];
    let own = agency.dkim.iter().filter(|key| domain.is_within(&key.domain) || key.domain == *domain);
    let mut signed = false;
    for key in own {
        let record = std::fs::read(&key.key)
            .map_err(|error| error.to_string())
            .and_then(|pem| DkimPair::parse(key.domain.clone(), &key.selector, &pem))
            .and_then(|pair| zone_line(&pair));
        match record {
            Ok(record) => lines.push(record),
            Err(error) => lines.push(format!("; {}: {error}", key.key.display())),
        }
        signed = true;
    }
    if !signed {
        lines.push(format!("; DKIM: luytre dkim new --domain {domain} --selector lt2026"));
    }
    lines.push(format!("_dmarc.{domain}. IN TXT \"v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}\""));
    lines.push(format!("_smtp._tls.{domain}. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@{domain}\""));
    lines.extend(sts_records(policy, domain));
    lines.push(String::new());
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}

/// RFC 8461 §3.1, and the page itself where somebody else serves it.
fn sts_records(policy: &Policy, domain: &Domain) -> Vec<String> {
    let own = policy.http.mta_sts.as_ref();
    let (mode, max_age) = own.map_or((StsMode::Testing, Span::days(7)), |sts| (sts.mode, sts.max_age));
    let text = sts::policy(mode, max_age, &policy.hostname);
    let (host, page) = (sts::host(domain), sts::PATH);
    let mut lines = vec![format!("_mta-sts.{domain}. IN TXT \"v=STSv1; id={}\"", sts::id(&text))];
    if own.is_some() {
        lines.push(format!("{host}. IN CNAME {}.", policy.hostname));
        lines.push(format!("; this gateway serves https://{host}{page} :"));
    } else {
        lines.push(format!("; and at https://{host}{page} :"));
    }
    lines.extend(text.lines().map(|line| format!(";   {line}")));
    lines
}
