//! What no single value can tell: settings that contradict each other, files that are not there, things that are
//! allowed but odd. Agencies have their own page (`agencies.rs`).

use std::net::{IpAddr, SocketAddr};

use super::attachments;
use super::engines;
use super::fault::suggest;
use super::file::File;
use super::files::Files;
use super::keys::pair;
use super::outgoing;
use super::place::Place;
use crate::env::vault::Keys;
use crate::inspect::settings::Inspect;
use crate::listen::Role;
use crate::listen::settings::{BareNewline, Listener};
use crate::mail::{Network, Problem, Span};
use crate::verdict::settings::{Severe, Verdict};

/// A sender's patience for the final answer: usual, and what the standard promises with some room left.
const ANSWER_USUAL: Span = Span::seconds(60);
const ANSWER_MOST: Span = Span::minutes(8);

/// Everything but the agencies.
pub fn check(file: &File, root: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    listeners(file, &root.to("listener"), files, problems);
    limits(file, &root.to("limits"), problems);
    times(file, root, problems);
    inspection(file, root, problems);
    verdict(&file.verdict, &root.to("verdict"), problems);
    attachments::check(&file.attachments.rule, &root.to("attachments").to("rule"), problems);
    deliver(file, &root.to("deliver"), problems);
    outgoing::check(&file.deliver.internet, &root.to("deliver").to("internet"), files, problems);
    engines::check(file, root, files, problems);
    quarantine_key(file, &root.to("quarantine").to("key"), files, problems);
}

/// A key file that is named must be one that can be used: without it the gateway does not start.
fn quarantine_key(file: &File, place: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    let named = &file.quarantine.key;
    if named.as_os_str().is_empty() || !place.is_sound() {
        return;
    }
    let path = files.resolve(named);
    let bad = match files.read(&path) {
        Err(error) => error.to_string(),
        Ok(bytes) => match Keys::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(_) => return,
            Err(bad) => bad.to_string(),
        },
    };
    let shown = path.display();
    problems.push(
        place
            .problem(
                format!("the key file {shown} cannot be used: {bad}"),
                format!("không dùng được tệp khóa {shown}: {bad}"),
            )
            .help(
                place.say("luytre quarantine key new prints a new key", "luytre quarantine key new in ra một khóa mới"),
            ),
    );
}

fn listeners(file: &File, place: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    if file.listener.is_empty() && place.is_sound() {
        problems.push(place.problem("there is no listener", "chưa có địa chỉ nào để nhận thư").help(place.say(
            "add a [[listener]] with address = \"0.0.0.0:25\"",
            "thêm [[listener]] với address = \"0.0.0.0:25\"",
        )));
    }
    for (i, listener) in file.listener.iter().enumerate() {
        let here = place.to(i);
        if !here.to("address").is_sound() {
            continue;
        }
        let earlier = file.listener.iter().take(i).any(|other| collide(other.address, listener.address));
        if earlier {
            let address = listener.address;
            problems.push(here.to("address").problem(
                format!("{address} is listened on already by an earlier [[listener]]"),
                format!("một [[listener]] ở trên đã dùng {address}"),
            ));
        } else if collide(listener.address, file.http.address) {
            problems.push(here.to("address").problem(
                format!("{} is the address of [http] too", listener.address),
                format!("{} cũng là địa chỉ của [http]", listener.address),
            ));
        }
        listener_tls(listener, &here, files, problems);
        listener_networks(listener, &here, problems);
    }
}

/// Whether the system would refuse the second: same port, and the same or an unspecified address.
pub fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    let family = a.is_ipv4() == b.is_ipv4();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || (family && (any(a.ip()) || any(b.ip()))))
}

fn listener_tls(listener: &Listener, here: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    let Some(tls) = &listener.tls else {
        if listener.role == Role::Mx && here.to("tls").is_sound() && !listener.address.ip().is_loopback() {
            problems.push(
                here.problem(
                    "no certificate: mail arrives without TLS",
                    "chưa có chứng thư: thư đến không được mã hóa",
                )
                .help(here.say(
                    "tls = { certificate = \"certs/mx.pem\", key = \"certs/mx.key\" }",
                    "tls = { certificate = \"certs/mx.pem\", key = \"certs/mx.key\" }",
                ))
                .warning(),
            );
        }
        return;
    };
    pair(&here.to("tls"), files, &tls.certificate, &tls.key, problems);
}

fn listener_networks(listener: &Listener, here: &Place<'_>, problems: &mut Vec<Problem>) {
    for (key, list) in [
        ("proxy_networks", &listener.proxy_networks),
        ("xclient_networks", &listener.xclient_networks),
        ("normalize_networks", &listener.normalize_networks),
    ] {
        for (j, text) in list.iter().enumerate() {
            let spot = here.to(key).to(j);
            match text.parse::<Network>() {
                Err(error) => problems.push(spot.problem(error.to_string(), format!("mạng không hợp lệ: {error}"))),
                // Whoever may say where a client comes from may say it comes from an agency: an open relay.
                Ok(network) if network.is_wide_public() && key != "normalize_networks" => {
                    problems.push(
                        spot.problem(
                            format!("{network} is a public range: anyone in it could pretend to be an agency's server"),
                            format!(
                                "{network} là dải mạng công cộng: bất kỳ ai trong đó cũng giả được máy chủ của cơ quan"
                            ),
                        )
                        .help(here.say(
                            "name your own proxies, /28 at the widest",
                            "chỉ ghi máy proxy của mình, rộng nhất /28",
                        )),
                    )
                }
                Ok(_) => {}
            }
        }
    }
    let normalizes = listener.bare_newline == BareNewline::Normalize;
    if here.to("bare_newline").is_sound() && normalizes == listener.normalize_networks.is_empty() {
        let spot = if normalizes { here.to("bare_newline") } else { here.to("normalize_networks") };
        problems.push(
            spot.problem(
                "bare_newline = \"normalize\" and normalize_networks belong together",
                "bare_newline = \"normalize\" và normalize_networks phải đi cùng nhau",
            )
            .help(here.say(
                "name the old devices in normalize_networks, or take both out",
                "ghi các thiết bị cũ vào normalize_networks, hoặc bỏ cả hai",
            )),
        );
    }
}

fn limits(file: &File, place: &Place<'_>, problems: &mut Vec<Problem>) {
    let l = &file.limits;
    let sizes = [
        ("message", l.message.as_u64(), 64 << 10),
        ("header", l.header.as_u64(), 4 << 10),
        // RFC 5321 §4.5.3.1.4 and .6: 512 and 1000 octets are what a sender may count on.
        ("line", l.line.as_u64(), 1000),
        ("command", l.command.as_u64(), 512),
        ("inspector_memory", l.inspector_memory.as_u64(), 64 << 20),
        ("archive_bytes", l.archive_bytes.as_u64(), 1 << 20),
        ("memory", l.memory.as_u64(), 1 << 20),
    ];
    for (key, value, floor) in sizes {
        if value < floor && place.to(key).is_sound() {
            let floor = crate::mail::ByteSize::bytes(floor);
            problems.push(place.to(key).problem(
                format!("{key} is too small to work with: at least {floor}"),
                format!("{key} quá nhỏ: ít nhất {floor}"),
            ));
        }
    }
    let counts = [
        ("header_fields", l.header_fields as u64, 50),
        ("recipients", l.recipients as u64, 1),
        ("received", l.received as u64, 10),
        ("errors", u64::from(l.errors), 1),
        ("junk_commands", u64::from(l.junk_commands), 1),
        ("connections", l.connections as u64, 1),
        ("connections_per_address", l.connections_per_address as u64, 1),
        ("mime_depth", l.mime_depth as u64, 2),
        ("mime_parts", l.mime_parts as u64, 2),
        ("dns_queries", u64::from(l.dns_queries), 1),
    ];
    for (key, value, floor) in counts {
        if value < floor && place.to(key).is_sound() {
            problems.push(
                place
                    .to(key)
                    .problem(format!("{key} must be at least {floor}"), format!("{key} ít nhất phải là {floor}")),
            );
        }
    }
    // RFC 5321 §4.5.3.1.8: a server must take 100 recipients.
    if (1..100).contains(&l.recipients) && place.to("recipients").is_sound() {
        problems.push(
            place
                .to("recipients")
                .problem(
                    "servers must take 100 recipients (RFC 5321 §4.5.3.1.8)",
                    "máy chủ phải nhận được 100 người nhận (RFC 5321 §4.5.3.1.8)",
                )
                .warning(),
        );
    }
    let smaller = [
        ("header", "message", l.header > l.message),
        ("message", "memory", l.message > l.memory),
        ("message", "inspector_memory", l.message > l.inspector_memory),
        ("connections_per_address", "connections", l.connections_per_address > l.connections),
    ];
    for (small, large, wrong) in smaller {
        if wrong && place.to(small).is_sound() && place.to(large).is_sound() {
            let spot = if place.to(small).is_written() { small } else { large };
            problems.push(
                place.to(spot).problem(format!("{small} is more than {large}"), format!("{small} lớn hơn {large}")),
            );
        }
    }
}

fn times(file: &File, root: &Place<'_>, problems: &mut Vec<Problem>) {
    let spans = [
        (root.to("dns").to("timeout"), "timeout", file.dns.timeout),
        (root.to("inspect").to("deadline"), "deadline", file.inspect.deadline),
        (root.to("limits").to("command_timeout"), "command_timeout", file.limits.command_timeout),
        (root.to("limits").to("data_timeout"), "data_timeout", file.limits.data_timeout),
        (root.to("limits").to("archive_time"), "archive_time", file.limits.archive_time),
        (root.to("limits").to("session_timeout"), "session_timeout", file.limits.session_timeout),
        (root.to("deliver").to("cut_through_wait"), "cut_through_wait", file.deliver.cut_through_wait),
        (root.to("deliver").to("retry_first"), "retry_first", file.deliver.retry_first),
        (root.to("quarantine").to("keep"), "keep", file.quarantine.keep),
        (root.to("receipts").to("keep"), "keep", file.receipts.keep),
        (root.to("retro").to("look_back"), "look_back", file.retro.look_back),
    ];
    for (spot, key, span) in spans {
        if span == Span::ZERO && spot.is_sound() {
            problems.push(spot.problem(format!("{key} must be more than 0"), format!("{key} phải lớn hơn 0")));
        }
    }
    patience(file, root, problems);
}

/// RFC 5321 §4.5.3.2.6: a sender waits ten minutes for the last answer, many wait much less; who gives up before our
/// answer sends the message again although we took it.
fn patience(file: &File, root: &Place<'_>, problems: &mut Vec<Problem>) {
    let spot = root.to("deliver").to("cut_through_wait");
    let wait =
        Span::millis(file.inspect.deadline.as_millis().saturating_add(file.deliver.cut_through_wait.as_millis()));
    if wait <= ANSWER_USUAL || !spot.is_sound() {
        return;
    }
    let problem = spot
        .problem(
            format!("inspect.deadline and cut_through_wait let a sender wait up to {wait}"),
            format!("inspect.deadline cộng cut_through_wait khiến nơi gửi phải chờ đến {wait}"),
        )
        .help(root.say(
            "keep them together under a minute; senders that give up send again",
            "nên giữ tổng dưới một phút; nơi gửi chờ không được sẽ gửi lại",
        ));
    problems.push(if wait < ANSWER_MOST { problem.warning() } else { problem });
}

fn inspection(file: &File, root: &Place<'_>, problems: &mut Vec<Problem>) {
    let place = root.to("inspect");
    let known = Inspect::default().checks;
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for (i, name) in file.inspect.checks.iter().enumerate() {
        let spot = place.to("checks").to(i);
        if !known.contains(&name.as_str()) {
            problems.push(
                spot.problem(format!("there is no check \"{name}\""), format!("không có phép kiểm tra \"{name}\""))
                    .help(suggest(name, &known, root.language())),
            );
        } else if file.inspect.checks.iter().take(i).any(|n| n == name) {
            problems
                .push(spot.problem(format!("\"{name}\" stands here twice"), format!("\"{name}\" được ghi hai lần")));
        }
    }
    if file.inspect.checks.is_empty() && place.to("checks").is_sound() {
        problems.push(
            place
                .to("checks")
                .problem(
                    "no content check runs: mail passes without being looked at",
                    "không phép kiểm tra nội dung nào chạy: thư đi qua mà không được xem",
                )
                .warning(),
        );
    }
    if !file.inspect.authenticate {
        problems.push(
            place
                .to("authenticate")
                .problem("SPF, DKIM and DMARC are switched off", "SPF, DKIM và DMARC đang bị tắt")
                .warning(),
        );
    }
}

/// Thresholds in order, weights that are numbers, malware never only tagged. Also asked for each agency.
pub fn verdict(verdict: &Verdict, place: &Place<'_>, problems: &mut Vec<Problem>) {
    let thresholds = [("tag", verdict.tag), ("quarantine", verdict.quarantine), ("reject", verdict.reject)];
    let sound = thresholds.iter().all(|(key, _)| place.to(*key).is_sound());
    if thresholds.iter().any(|(_, value)| !value.is_finite()) {
        problems.push(place.problem("a threshold is no finite number", "có ngưỡng không phải là số hữu hạn"));
    } else if sound {
        for pair in thresholds.windows(2) {
            if let [(low, below), (high, above)] = pair
                && below > above
            {
                let spot = if place.to(*high).is_written() { high } else { low };
                problems.push(
                    place
                        .to(*spot)
                        .problem(
                            format!("{low} = {below} is above {high} = {above}"),
                            format!("{low} = {below} lớn hơn {high} = {above}"),
                        )
                        .help(place.say("tag ≤ quarantine ≤ reject", "phải là tag ≤ quarantine ≤ reject")),
                );
            }
        }
    }
    if verdict.malware == Severe::Tag {
        problems.push(
            place
                .to("malware")
                .problem("malware is never only tagged", "không thể chỉ gắn nhãn mã độc")
                .help(place.say("\"quarantine\" or \"reject\"", "\"quarantine\" hoặc \"reject\"")),
        );
    }
    if verdict.unscannable == Severe::Tag && place.to("unscannable").is_written() {
        problems.push(
            place
                .to("unscannable")
                .problem(
                    "mail that nobody could look into is delivered",
                    "thư không kiểm tra được vẫn sẽ được chuyển đi",
                )
                .warning(),
        );
    }
    for (code, weight) in &verdict.weights {
        let spot = place.to("weights").to(code.as_str());
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        if code.is_empty() || !code.chars().all(good) {
            problems.push(spot.problem(
                format!("\"{code}\" is no finding: codes are lower case and dotted, like \"spf.fail\""),
                format!("\"{code}\" không phải mã phát hiện: mã viết thường, có dấu chấm, như \"spf.fail\""),
            ));
        } else if !weight.is_finite() {
            problems.push(spot.problem("a weight must be a finite number", "điểm phải là số hữu hạn"));
        }
    }
}

fn deliver(file: &File, place: &Place<'_>, problems: &mut Vec<Problem>) {
    let d = &file.deliver;
    for (low, below, high, above) in
        [("retry_first", d.retry_first, "retry_max", d.retry_max), ("retry_max", d.retry_max, "give_up", d.give_up)]
    {
        if below > above && place.to(low).is_sound() && place.to(high).is_sound() {
            let spot = if place.to(high).is_written() { high } else { low };
            problems.push(place.to(spot).problem(
                format!("{low} = \"{below}\" is longer than {high} = \"{above}\""),
                format!("{low} = \"{below}\" dài hơn {high} = \"{above}\""),
            ));
        }
    }
    if !d.smart_host.is_empty() {
        host_and_port(&place.to("smart_host"), &d.smart_host, problems);
    }
    for (key, value) in [("mx_port", u64::from(d.mx_port)), ("concurrency", d.concurrency as u64)] {
        if value == 0 && place.to(key).is_sound() {
            problems
                .push(place.to(key).problem(format!("{key} must be at least 1"), format!("{key} ít nhất phải là 1")));
        }
    }
}

/// `mail.local:25`, `10.1.2.3:25`, `[fd00::1]:25`: the host and the port, or a problem.
pub fn host_and_port(place: &Place<'_>, text: &str, problems: &mut Vec<Problem>) -> Option<(String, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>()
        && address.port() != 0
    {
        return Some((address.ip().to_string(), address.port()));
    }
    let good_host =
        |host: &str| !host.bytes().all(|b| b.is_ascii_digit() || b == b'.') && crate::mail::Domain::parse(host).is_ok();
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok().filter(|p| *p > 0)?;
        good_host(host).then(|| (host.to_ascii_lowercase(), port))
    });
    if parsed.is_none() && place.is_sound() {
        problems.push(
            place.problem(format!("\"{text}\" is no server"), format!("\"{text}\" không phải địa chỉ máy chủ")).help(
                place.say(
                    "write it like \"10.1.2.3:25\" or \"mail.local:25\"",
                    "viết như \"10.1.2.3:25\" hoặc \"mail.local:25\"",
                ),
            ),
        );
    }
    parsed
}
