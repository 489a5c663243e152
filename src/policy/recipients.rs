//! What must be true of an agency's recipients: where they are looked up, what else they are called, who gets copies.

use super::agencies::Placed;
use super::files::Files;
use super::place::Place;
use crate::envelope::settings::{Ldap, RecipientSource};
use crate::mail::{Domain, Problem};

pub fn check(placed: &Placed<'_>, all: &[Placed<'_>], files: &Files<'_>, problems: &mut Vec<Problem>) {
    let Placed { agency, place } = placed;
    let (recipients, spot) = (&agency.recipients, place.to("recipients"));
    match (recipients.from, &recipients.path) {
        (RecipientSource::File, None) if spot.to("path").is_sound() => problems.push(
            spot.problem("from = \"file\" needs a path", "from = \"file\" cần có path")
                .help(spot.say("path = \"recipients.txt\"", "path = \"recipients.txt\"")),
        ),
        (RecipientSource::File, Some(path)) => {
            let full = files.resolve(path);
            if let Err(error) = files.read(&full) {
                let shown = full.display();
                problems.push(
                    spot.to("path")
                        .problem(format!("cannot read {shown}: {error}"), format!("không đọc được {shown}: {error}")),
                );
            }
        }
        (_, Some(_)) if spot.to("from").is_sound() => problems.push(
            spot.to("path")
                .problem("path is read only with from = \"file\"", "path chỉ được đọc khi from = \"file\"")
                .warning(),
        ),
        _ => {}
    }
    match (recipients.from, &recipients.ldap) {
        (RecipientSource::Ldap, None) if spot.to("ldap").is_sound() => problems.push(spot.problem(
            "from = \"ldap\" needs [agency.recipients.ldap] with urls and base",
            "from = \"ldap\" cần có [agency.recipients.ldap] với urls và base",
        )),
        (RecipientSource::Ldap, Some(ldap)) => directory(ldap, &spot.to("ldap"), files, problems),
        (_, Some(_)) if spot.to("from").is_sound() => problems.push(
            spot.to("ldap")
                .problem("ldap is asked only with from = \"ldap\"", "ldap chỉ được hỏi khi from = \"ldap\"")
                .warning(),
        ),
        _ => {}
    }
    if recipients.from == RecipientSource::Callout && agency.next_hops.is_empty() && place.to("next_hops").is_sound() {
        problems.push(spot.to("from").problem(
            "callout asks the agency's server, and there is none in next_hops",
            "callout hỏi máy chủ của cơ quan, nhưng next_hops chưa có máy nào",
        ));
    }
    if recipients.subaddressing.chars().count() > 1 {
        problems.push(spot.to("subaddressing").problem("one character, such as \"+\"", "chỉ một ký tự, như \"+\""));
    }
    names(placed, all, problems);
}

fn directory(ldap: &Ldap, place: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    if ldap.urls.is_empty() && place.to("urls").is_sound() {
        problems.push(place.to("urls").problem("there is no url", "chưa có địa chỉ nào"));
    }
    for (i, url) in ldap.urls.iter().enumerate() {
        let here = place.to("urls").to(i);
        let clear = url.starts_with("ldap://");
        if !clear && !url.starts_with("ldaps://") {
            let (en, vi) = ("write it like ldaps://dc1.tinh.local:636", "hãy ghi như ldaps://dc1.tinh.local:636");
            problems.push(here.problem(en, vi));
        } else if clear && !ldap.start_tls && !ldap.bind_dn.is_empty() {
            problems.push(
                here.problem("the password is sent in clear", "mật khẩu được gửi không mã hóa")
                    .help(here.say("use ldaps:// or start_tls = true", "dùng ldaps:// hoặc start_tls = true"))
                    .warning(),
            );
        }
    }
    if !ldap.filter.contains("{}") {
        problems.push(place.to("filter").problem("{} is missing: the address", "thiếu {}: địa chỉ cần tìm"));
    }
    for (key, path) in [("ca", &ldap.ca), ("password_file", &ldap.password_file)] {
        let Some(path) = path else { continue };
        let full = files.resolve(path);
        if let Err(error) = files.read(&full) {
            let shown = full.display();
            let (en, vi) = (format!("cannot read {shown}: {error}"), format!("không đọc được {shown}: {error}"));
            problems.push(place.to(key).problem(en, vi));
        }
    }
}

/// Aliases and copies lead into agencies: whatever the operator writes here, no stranger's mail goes out again.
fn names(placed: &Placed<'_>, all: &[Placed<'_>], problems: &mut Vec<Problem>) {
    let Placed { agency, place } = placed;
    let own = |domain: &Domain| agency.domains.contains(domain);
    let ours = |domain: &Domain| all.iter().any(|p| p.agency.domains.contains(domain));
    let not_own = |here: Place<'_>, domain: &Domain| {
        here.problem(format!("{domain} is no domain of this agency"), format!("{domain} không thuộc cơ quan này"))
    };
    let not_ours = |here: Place<'_>, domain: &Domain| {
        here.problem(
            format!("{domain} is no agency's domain: mail would go out again"),
            format!("{domain} không thuộc cơ quan nào: thư sẽ bị chuyển ra ngoài"),
        )
    };
    for (i, alias) in agency.aliases.iter().enumerate() {
        let here = place.to("aliases").to(i);
        if !own(alias.from.domain()) {
            problems.push(not_own(here.to("from"), alias.from.domain()));
        }
        if alias.to.is_empty() && here.to("to").is_sound() {
            problems.push(here.to("to").problem("it leads to nobody", "không dẫn đến ai"));
        }
        let foreign = alias.to.iter().enumerate().filter(|(_, to)| !ours(to.domain()));
        problems.extend(foreign.map(|(j, to)| not_ours(here.to("to").to(j), to.domain())));
    }
    for (i, alias) in agency.domain_aliases.iter().enumerate() {
        let here = place.to("domain_aliases").to(i);
        for (key, domain) in [("from", &alias.from), ("to", &alias.to)] {
            if !own(domain) {
                problems.push(not_own(here.to(key), domain));
            }
        }
        if alias.from == alias.to || agency.domain_aliases.iter().any(|other| other.from == alias.to) {
            let (en, vi) = ("it must lead to a domain that is no alias", "phải dẫn đến tên miền không phải bí danh");
            problems.push(here.to("to").problem(en, vi));
        }
    }
    let foreign = agency.always_bcc.iter().enumerate().filter(|(_, to)| !ours(to.domain()));
    problems.extend(foreign.map(|(i, to)| not_ours(place.to("always_bcc").to(i), to.domain())));
}
