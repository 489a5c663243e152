//! Certificates and private keys that settings name: PEM, readable, belonging together, valid today or soon.

use std::path::Path;

use super::files::Files;
use super::place::Place;
use crate::env::tls::pair::{self, CertificateFacts, PairError};
use crate::mail::{Problem, Span, Timestamp};

/// The DNS names that a certificate is for, in lower case; none where it cannot be read.
pub fn names(files: &Files<'_>, certificate: &Path) -> Vec<String> {
    let chain = files.read(&files.resolve(certificate)).ok();
    let facts = chain.and_then(|chain| pair::certificate(&chain).ok());
    facts.map_or_else(Vec::new, |facts| facts.names.iter().map(|name| name.to_ascii_lowercase()).collect())
}

/// A certificate and its key: readable and belonging together. One that is not valid today is a warning: most senders
/// look at no certificate, and a gateway that does not start after a reboot turns all mail away (THREATS §8: inbound
/// stays open). The metric of its end and the alert on it speak, signing leaves it out and says so.
pub fn pair(place: &Place<'_>, files: &Files<'_>, certificate: &Path, key: &Path, problems: &mut Vec<Problem>) {
    let spot = place.to("certificate");
    let chain = pem(&spot, files, certificate, "CERTIFICATE", problems);
    let secret = private_key(&place.to("key"), files, key, problems);
    let Some(chain) = chain else { return };
    match pair::certificate(&chain) {
        Err(error) => problems.push(spot.problem(error.to_string(), format!("chứng thư không đọc được: {error}"))),
        Ok(facts) => validity(&spot, &facts, files.disk().now(), problems),
    }
    if let Some(secret) = secret
        && let Err(error) = pair::belong_together(&chain, &secret)
        && !matches!(error, PairError::Certificate(_))
    {
        problems
            .push(place.to("key").problem(error.to_string(), format!("khóa không dùng được với chứng thư: {error}")));
    }
}

fn validity(spot: &Place<'_>, facts: &CertificateFacts, now: Timestamp, problems: &mut Vec<Problem>) {
    let help = spot.say("renew it", "hãy gia hạn");
    if facts.not_after < now {
        let day = day(facts.not_after);
        problems.push(
            spot.problem(format!("the certificate ended on {day}"), format!("chứng thư đã hết hạn ngày {day}"))
                .help(help)
                .warning(),
        );
    } else if facts.not_before > now {
        let day = day(facts.not_before);
        problems.push(
            spot.problem(
                format!("the certificate begins on {day} only: is the clock right?"),
                format!("chứng thư đến ngày {day} mới có hiệu lực: đồng hồ có đúng không?"),
            )
            .warning(),
        );
    } else if facts.not_after < now + Span::days(60) {
        let day = day(facts.not_after);
        problems.push(
            spot.problem(format!("the certificate ends on {day}"), format!("chứng thư hết hạn ngày {day}"))
                .help(help)
                .warning(),
        );
    }
}

fn day(at: Timestamp) -> String {
    at.rfc3339().chars().take(10).collect()
}

/// The contents of a PEM file with at least one block of the kind.
pub fn pem(
    place: &Place<'_>,
    files: &Files<'_>,
    path: &Path,
    kind: &str,
    problems: &mut Vec<Problem>,
) -> Option<Vec<u8>> {
    if !place.is_sound() {
        return None;
    }
    let full = files.resolve(path);
    let shown = full.display();
    match files.read(&full) {
        Err(error) => {
            problems.push(
                place.problem(format!("cannot read {shown}: {error}"), format!("không đọc được {shown}: {error}")),
            );
            None
        }
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            if text.lines().any(|l| l.starts_with("-----BEGIN ") && l.contains(kind)) {
                return Some(bytes);
            }
            problems.push(place.problem(
                format!("{shown} holds no PEM block \"{kind}\""),
                format!("{shown} không có khối PEM \"{kind}\""),
            ));
            None
        }
    }
}

/// A PEM private key, and a warning when everybody can read it.
pub fn private_key(place: &Place<'_>, files: &Files<'_>, path: &Path, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
    let bytes = pem(place, files, path, "PRIVATE KEY", problems)?;
    let full = files.resolve(path);
    if files.disk().is_open_to_all(&full) {
        let shown = full.display();
        problems.push(
            place
                .problem(
                    format!("everyone on this machine can read {shown}"),
                    format!("ai trên máy này cũng đọc được {shown}"),
                )
                .help(format!("chmod 640 {shown}"))
                .warning(),
        );
    }
    Some(bytes)
}
