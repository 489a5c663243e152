//! What must be true of the MTA-STS policies that are served here (RFC 8461).

use super::agencies::Placed;
use super::file::File;
use super::files::Files;
use super::keys::{names, pair};
use super::place::Place;
use super::relations::collide;
use crate::mail::{Problem, Span};
use crate::report::settings::MtaSts;
use crate::report::sts::{MOST_AGE, host};

pub fn check(file: &File, place: &Place<'_>, agencies: &[Placed<'_>], files: &Files<'_>, problems: &mut Vec<Problem>) {
    let Some(sts) = &file.http.mta_sts else { return };
    if (sts.max_age == Span::ZERO || sts.max_age > MOST_AGE) && place.to("max_age").is_sound() {
        problems.push(place.to("max_age").problem(
            "max_age is more than 0 and a year at most (RFC 8461)",
            "max_age phải lớn hơn 0 và tối đa một năm (RFC 8461)",
        ));
    }
    let taken = file.listener.iter().any(|listener| collide(listener.address, sts.address));
    if (taken || collide(file.http.address, sts.address)) && place.to("address").is_sound() {
        let address = sts.address;
        problems.push(place.to("address").problem(
            format!("{address} is the address of a [[listener]] or of [http] too"),
            format!("{address} cũng là địa chỉ của [[listener]] hoặc [http]"),
        ));
    }
    pair(&place.to("tls"), files, &sts.tls.certificate, &sts.tls.key, problems);
    for (i, other) in sts.sni.iter().enumerate() {
        pair(&place.to("sni").to(i), files, &other.certificate, &other.key, problems);
    }
    covered(sts, place, agencies, files, problems);
}

/// A sender that meets another name goes on without the policy: it would protect nobody.
fn covered(sts: &MtaSts, place: &Place<'_>, agencies: &[Placed<'_>], files: &Files<'_>, problems: &mut Vec<Problem>) {
    let all = [&sts.tls].into_iter().chain(&sts.sni);
    let held: Vec<String> = all.flat_map(|pair| names(files, &pair.certificate)).collect();
    // A certificate that cannot be read was told already.
    if held.is_empty() {
        return;
    }
    for domain in agencies.iter().flat_map(|placed| &placed.agency.domains) {
        let wanted = host(domain);
        let parent = wanted.split_once('.').map(|(_, parent)| parent);
        let is_for = |name: &String| *name == wanted || name.strip_prefix("*.").is_some_and(|n| Some(n) == parent);
        if !held.iter().any(is_for) {
            problems.push(
                place
                    .to("tls")
                    .problem(
                        format!("no certificate here is for {wanted}"),
                        format!("không có chứng thư nào cho {wanted}"),
                    )
                    .warning(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::env::Clock;
    use crate::env::tls::pair::tests::made;
    use crate::policy::run::examine;

    /// What is said about a page with these settings; its certificate is for mx.test.
    fn told(settings: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let now = Clock::system().now().seconds();
        let (certificate, key) = made(now - 1000, now + 100 * 86_400);
        std::fs::write(folder.path().join("sts.pem"), certificate).unwrap();
        std::fs::write(folder.path().join("sts.key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let text = format!(
            "language = \"en\"\nhostname = \"mx1.tinh.gov.vn\"\n[[listener]]\naddress = \"127.0.0.1:2525\"\n\
             [[agency]]\nid = \"so-tttt\"\ndomains = [\"tttt.tinh.gov.vn\"]\nnext_hops = [{{ address = \"10.1.2.3:25\" }}]\n\
             [http.mta_sts]\ntls = {{ certificate = \"sts.pem\", key = \"sts.key\" }}\n{settings}\n"
        );
        let config = folder.path().join("luytre.toml");
        std::fs::write(&config, text).unwrap();
        examine(&config).problems.iter().map(|problem| problem.message.clone()).collect()
    }

    #[test]
    fn rfc8461_3_a_policy_has_an_age_a_place_of_its_own_and_a_certificate_for_its_names() {
        let uncovered = told("address = \"127.0.0.1:443\"");
        assert!(uncovered.contains(&"no certificate here is for mta-sts.tttt.tinh.gov.vn".to_owned()), "{uncovered:?}");
        let long = told("address = \"127.0.0.1:443\"\nmax_age = \"367 days\"");
        assert!(long.contains(&"max_age is more than 0 and a year at most (RFC 8461)".to_owned()), "{long:?}");
        let taken = told("address = \"127.0.0.1:2525\"");
        assert!(taken.iter().any(|problem| problem.contains("is the address of a [[listener]]")), "{taken:?}");
        let strange = told("address = \"127.0.0.1:443\"\nmode = \"strict\"");
        assert!(strange.iter().any(|problem| problem.contains("strict")), "{strange:?}");
    }
}
