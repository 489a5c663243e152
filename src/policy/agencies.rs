//! What must be true between agencies, and between an agency and the rest. The gateway is never an open relay:
//! whoever may send outward is one known party, so a wide public range or a shared cloud range is refused here,
//! before any mail is seen (THREATS I-07, A-24; promise 2).

use super::attachments;
use super::file::{Agency, File};
use super::files::Files;
use super::keys::{pair, private_key};
use super::place::Place;
use super::recipients;
use super::relations::{host_and_port, verdict};
use crate::deliver::settings::{Delivery, TlsMode};
use crate::listen::Role;
use crate::mail::{Domain, Network, Problem};

/// An agency as written, and where.
pub struct Placed<'a> {
    pub agency: &'a Agency,
    pub place: Place<'a>,
}

/// Outgoing ranges of large mail services, as their SPF records name them: everybody's mail comes from there.
const SHARED_RANGES: [&str; 10] = [
    "40.92.0.0/15",
    "40.107.0.0/16",
    "52.100.0.0/14",
    "104.47.0.0/17",
    "64.233.160.0/19",
    "66.249.80.0/20",
    "74.125.0.0/16",
    "108.177.8.0/21",
    "173.194.0.0/16",
    "209.85.128.0/17",
];

pub fn check(file: &File, root: &Place<'_>, agencies: &[Placed<'_>], files: &Files<'_>, problems: &mut Vec<Problem>) {
    if agencies.is_empty() && root.to("agency").is_sound() {
        problems.push(
            root.problem("there is no agency: no mail is accepted", "chưa có cơ quan nào: không thư nào được nhận")
                .help(root.say("add an [[agency]], or run luytre init", "thêm [[agency]], hoặc chạy luytre init"))
                .warning(),
        );
    }
    for (i, placed) in agencies.iter().enumerate() {
        let (before, _) = agencies.split_at(i);
        identity(placed, before, problems);
        networks(placed, before, problems);
        recipients::check(placed, agencies, files, problems);
        next_hops(file, placed, problems);
        keys(placed, files, problems);
        attachments::check(&placed.agency.attachment, &placed.place.to("attachment"), problems);
        // Problems of [verdict] itself were told there.
        if placed.place.to("verdict").is_written() && root.to("verdict").is_sound() {
            verdict(&placed.agency.verdict.over(&file.verdict), &placed.place.to("verdict"), problems);
        }
    }
    let relays = file.listener.iter().any(|l| l.role == Role::Relay);
    if !relays && let Some(placed) = agencies.iter().find(|p| !p.agency.networks.is_empty()) {
        problems.push(
            placed
                .place
                .to("networks")
                .problem(
                    "no listener has role = \"relay\": nobody can send outward",
                    "không có listener nào với role = \"relay\": không ai gửi ra ngoài được",
                )
                .warning(),
        );
    }
}

fn identity(placed: &Placed<'_>, before: &[Placed<'_>], problems: &mut Vec<Problem>) {
    let Placed { agency, place } = placed;
    if place.to("id").is_sound() && before.iter().any(|p| p.agency.id == agency.id) {
        problems.push(place.to("id").problem(
            format!("\"{}\" is the id of an earlier agency", agency.id),
            format!("\"{}\" đã là id của một cơ quan ở trên", agency.id),
        ));
    }
    if agency.domains.is_empty() && place.to("domains").is_sound() {
        problems.push(place.to("domains").problem("an agency needs a domain", "cơ quan cần ít nhất một tên miền"));
    }
    for (j, domain) in agency.domains.iter().enumerate() {
        let owner = before.iter().find(|p| p.agency.domains.contains(domain));
        let twice = agency.domains.iter().take(j).any(|d| d == domain);
        if owner.is_some() || twice {
            let whose = owner.map_or(&agency.id, |p| &p.agency.id);
            problems.push(place.to("domains").to(j).problem(
                format!("{domain} belongs to agency \"{whose}\" already"),
                format!("{domain} đã thuộc về cơ quan \"{whose}\""),
            ));
        }
        if !domain.as_str().contains('.') && place.to("domains").is_sound() {
            problems.push(
                place
                    .to("domains")
                    .to(j)
                    .problem(
                        format!("{domain} has no dot: is it whole?"),
                        format!("{domain} không có dấu chấm: đã đủ chưa?"),
                    )
                    .warning(),
            );
        }
    }
}

fn networks(placed: &Placed<'_>, before: &[Placed<'_>], problems: &mut Vec<Problem>) {
    let Placed { agency, place } = placed;
    for (j, network) in agency.networks.iter().enumerate() {
        let spot = place.to("networks").to(j);
        let shared = SHARED_RANGES.iter().filter_map(|r| r.parse::<Network>().ok()).any(|r| r.overlaps(network));
        if network.is_wide_public() {
            problems.push(
                spot.problem(
                    format!("{network} is public and wider than /28: strangers could relay through it"),
                    format!("{network} là mạng công cộng rộng hơn /28: người lạ có thể gửi thư qua"),
                )
                .help(place.say("name the servers' own addresses", "chỉ ghi địa chỉ của chính các máy chủ")),
            );
        } else if shared {
            problems.push(
                spot.problem(
                    format!("{network} is in a range that a mail service shares among all its customers"),
                    format!("{network} thuộc dải mà một dịch vụ thư dùng chung cho mọi khách hàng"),
                )
                .help(place.say("move it to shared_addresses", "chuyển sang shared_addresses")),
            );
        }
        if let Some(other) = before.iter().find(|p| p.agency.networks.iter().any(|n| n.overlaps(network))) {
            let id = &other.agency.id;
            problems.push(spot.problem(
                format!("{network} overlaps a network of agency \"{id}\": whose mail would it be?"),
                format!("{network} trùng với mạng của cơ quan \"{id}\": thư sẽ là của ai?"),
            ));
        }
    }
}

fn next_hops(file: &File, placed: &Placed<'_>, problems: &mut Vec<Problem>) {
    let Placed { agency, place } = placed;
    let spot = place.to("next_hops");
    if agency.next_hops.is_empty() && spot.is_sound() {
        problems.push(
            spot.problem(
                format!("agency \"{}\" has no next hop: where should its mail go?", agency.id),
                format!("cơ quan \"{}\" chưa có next_hops: thư sẽ chuyển đến đâu?", agency.id),
            )
            .help(
                place.say("next_hops = [{ address = \"10.1.2.3:25\" }]", "next_hops = [{ address = \"10.1.2.3:25\" }]"),
            ),
        );
    }
    for (j, hop) in agency.next_hops.iter().enumerate() {
        let here = spot.to(j);
        let Some((host, port)) = host_and_port(&here.to("address"), &hop.address, problems) else { continue };
        let ourselves = file.listener.iter().any(|l| {
            let same_host = l.address.ip().to_string() == host
                || host == file.hostname.to_ascii_lowercase()
                || (l.address.ip().is_unspecified() && (host == "127.0.0.1" || host == "::1" || host == "localhost"));
            l.address.port() == port && same_host && here.to("address").is_sound()
        });
        if ourselves {
            problems.push(here.to("address").problem(
                format!("{} is this gateway itself: mail would go round in circles", hop.address),
                format!("{} chính là cổng này: thư sẽ chạy vòng tròn", hop.address),
            ));
        }
        // With "opportunistic" whoever spoils the handshake would get the mail in clear: the pin would prove nothing.
        if !hop.tls_pins.is_empty() && hop.tls != TlsMode::Required && here.to("tls_pins").is_sound() {
            problems.push(
                here.to("tls_pins")
                    .problem("tls_pins needs tls = \"required\"", "tls_pins cần có tls = \"required\"")
                    .help(
                        here.say("set tls = \"required\" for this next hop", "đặt tls = \"required\" cho máy chủ này"),
                    ),
            );
        }
        if hop.live_recipients && (j > 0 || hop.delivery == Delivery::Queued) {
            problems.push(
                here.to("live_recipients")
                    .problem(
                        "live_recipients asks the first next hop, with delivery = \"cut-through\"; here it does nothing",
                        "live_recipients chỉ hỏi máy chủ đầu tiên, khi delivery = \"cut-through\"; ở đây không có tác dụng",
                    )
                    .warning(),
            );
        }
        if agency.next_hops.iter().take(j).any(|h| h.address == hop.address) {
            problems.push(
                here.to("address")
                    .problem(format!("{} stands here twice", hop.address), format!("{} được ghi hai lần", hop.address)),
            );
        }
    }
}

fn keys(placed: &Placed<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    let Placed { agency, place } = placed;
    for (j, key) in agency.dkim.iter().enumerate() {
        let here = place.to("dkim").to(j);
        private_key(&here.to("key"), files, &key.key, problems);
        let label = |l: &str| {
            !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !key.selector.split('.').all(label) && here.to("selector").is_sound() {
            problems.push(here.to("selector").problem(
                format!("\"{}\" is no selector: letters, digits and - (RFC 6376 §3.1)", key.selector),
                format!("\"{}\" không phải selector: chỉ chữ, số và dấu - (RFC 6376 §3.1)", key.selector),
            ));
        }
        // The gateway signs only what is the agency's own (THREATS I-07).
        let owns =
            |d: &Domain| d == &key.domain || (d.is_within(&key.domain) && key.domain.is_within(&d.organisational()));
        if !agency.domains.iter().any(owns) && here.to("domain").is_sound() && place.to("domains").is_sound() {
            problems.push(here.to("domain").problem(
                format!("{} is no domain of agency \"{}\"", key.domain, agency.id),
                format!("{} không phải tên miền của cơ quan \"{}\"", key.domain, agency.id),
            ));
        }
        if agency.dkim.iter().take(j).any(|k| k.domain == key.domain && k.selector == key.selector) {
            problems.push(here.to("selector").problem(
                format!("{} signs for {} already", key.selector, key.domain),
                format!("{} đã ký cho {}", key.selector, key.domain),
            ));
        }
    }
    if let Some(smime) = &agency.smime {
        pair(&place.to("smime"), files, &smime.certificate, &smime.key, problems);
    }
}
