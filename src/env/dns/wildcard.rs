//! Answers made from a wildcard, proven by NSEC (RFC 4035 §5.3.4). The library finds them bogus when the record that
//! covers the name is the wildcard's own NSEC (`*.x NSEC …`), which is what authoritative servers send for a zone whose
//! wildcard stands last; a domain with a wildcard MX would then never get mail. What the library did prove (signatures of
//! the answer and of the NSEC) is used as it is; only the question "is there no closer name" is answered here.

use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::{DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData};

/// Whether every record of the answer is proven, and a proven NSEC says that no name stands between the wildcard and
/// the name that was asked for.
pub(super) fn holds(query: &Query, response: &DnsResponse) -> bool {
    let mut labels = None;
    let mut answered = false;
    for record in &response.answers {
        if let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data {
            let input = signature.input();
            if record.proof == Proof::Secure && record.name == query.name && input.type_covered == query.query_type {
                labels = Some(usize::from(input.num_labels));
            }
            continue;
        }
        // No alias: each step of one would need its own proof.
        if record.proof != Proof::Secure || record.name != query.name || record.record_type() != query.query_type {
            return false;
        }
        answered = true;
    }
    let own = usize::from(query.name.num_labels());
    let Some(labels) = labels.filter(|labels| answered && *labels < own) else { return false };
    if response.response_code != ResponseCode::NoError {
        return false;
    }
    // The one name that must not be there: a label longer than the wildcard's parent.
    let closer = query.name.trim_to(labels.saturating_add(1));
    response.authorities.iter().filter(|record| record.proof == Proof::Secure).any(|record| {
        let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data else { return false };
        covers(&record.name, nsec.next_domain_name(), &closer)
    })
}

/// RFC 4034 §4.1.1, §6.1: `name` lies between the two. The last NSEC of a zone leads back to its apex. A `next` below
/// `name` says that `name` is there, without records.
fn covers(owner: &Name, next: &Name, name: &Name) -> bool {
    let wraps = next <= owner && next.zone_of(name);
    owner < name && (name < next || wraps) && !name.zone_of(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4034_6_1_an_nsec_covers_what_lies_between_in_canonical_order() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        for (owner, next, asked, covered) in [
            ("*.w.test.", "test.", "a.w.test.", true),
            ("*.w.test.", "b.w.test.", "a.w.test.", true),
            ("*.w.test.", "a.w.test.", "a.w.test.", false),
            ("*.w.test.", "b.a.w.test.", "a.w.test.", false),
            ("b.w.test.", "test.", "a.w.test.", false),
            ("a.w.test.", "b.w.test.", "a.w.test.", false),
            ("*.w.test.", "z.", "a.w.test.", true),
            ("z.evil.", "evil.", "a.w.test.", false),
            ("A.w.test.", "C.w.test.", "b.w.test.", true),
        ] {
            let found = covers(&name(owner), &name(next), &name(asked));
            assert_eq!(found, covered, "{owner} {next} {asked}");
        }
    }
}
