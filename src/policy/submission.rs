//! How senders prove who they are on relay listeners: certificates, accounts, and what must be true between them.
//! Files are read through [`Files`], so that a new account or a renewed certificate is a reason to load again.

use super::agencies::Placed;
use super::file::File;
use super::files::Files;
use super::keys::{pair, pem};
use super::place::Place;
use crate::listen::Role;
use crate::listen::settings::Listener;
use crate::mail::{Problem, Span};
use crate::session::accounts::Accounts;

pub fn check(file: &File, root: &Place<'_>, agencies: &[Placed<'_>], files: &Files<'_>, problems: &mut Vec<Problem>) {
    for (i, listener) in file.listener.iter().enumerate() {
        certificates(listener, &root.to("listener").to(i), files, problems);
    }
    auth(file, &root.to("auth"), agencies, files, problems);
    let logins = file.listener.iter().any(|l| l.role == Role::Relay && l.tls.is_some()) && has_users(file);
    let asks = file.listener.iter().any(|l| l.role == Role::Relay && l.tls.is_some() && l.client_certificates);
    for (i, placed) in agencies.iter().enumerate() {
        let (before, _) = agencies.split_at(i);
        agency(placed, before, (logins, asks), problems);
    }
}

fn has_users(file: &File) -> bool {
    !file.auth.users.as_os_str().is_empty()
}

fn certificates(listener: &Listener, here: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    if listener.tls.is_none() && !listener.sni.is_empty() && here.to("tls").is_sound() {
        problems.push(
            here.to("sni")
                .problem("sni adds to tls, and there is no tls here", "sni chỉ bổ sung cho tls, mà ở đây chưa có tls"),
        );
    }
    for (j, other) in listener.sni.iter().enumerate() {
        pair(&here.to("sni").to(j), files, &other.certificate, &other.key, problems);
    }
    let asking = here.to("client_certificates");
    if listener.client_certificates && listener.role == Role::Mx && asking.is_sound() {
        problems.push(asking.problem(
            "strangers are not asked for certificates: role = \"relay\" only",
            "không đòi chứng thư của người lạ: chỉ dùng với role = \"relay\"",
        ));
    }
    if listener.client_certificates && listener.tls.is_none() && asking.is_sound() {
        problems.push(asking.problem(
            "client certificates are shown inside TLS, and there is no tls here",
            "chứng thư của máy gửi chỉ có trong TLS, mà ở đây chưa có tls",
        ));
    }
    for (j, path) in listener.client_trust.iter().enumerate() {
        let spot = here.to("client_trust").to(j);
        let _ = pem(&spot, files, path, "CERTIFICATE", problems);
        if !listener.client_certificates && spot.is_sound() {
            problems.push(
                spot.problem(
                    "not used: client_certificates is false",
                    "không được dùng: client_certificates đang là false",
                )
                .warning(),
            );
        }
    }
}

fn auth(file: &File, place: &Place<'_>, agencies: &[Placed<'_>], files: &Files<'_>, problems: &mut Vec<Problem>) {
    for (key, zero) in [("failures", file.auth.failures == 0), ("lock", file.auth.lock == Span::ZERO)] {
        if zero && place.to(key).is_sound() {
            problems.push(place.to(key).problem(format!("{key} must be more than 0"), format!("{key} phải lớn hơn 0")));
        }
    }
    let spot = place.to("users");
    if !has_users(file) || !spot.is_sound() {
        return;
    }
    let path = files.resolve(&file.auth.users);
    let shown = path.display();
    let bytes = match files.read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let problem =
                spot.problem(format!("cannot read {shown}: {error}"), format!("không đọc được {shown}: {error}"));
            problems.push(problem.help(place.say("make it with luytre user add", "tạo bằng luytre user add")));
            return;
        }
    };
    if files.disk().is_open_to_all(&path) {
        let problem = spot.problem(
            format!("everyone on this machine can read {shown}"),
            format!("ai trên máy này cũng đọc được {shown}"),
        );
        problems.push(problem.help(format!("chmod 640 {shown}")).warning());
    }
    match Accounts::parse(&String::from_utf8_lossy(&bytes)) {
        Err(bad) => {
            problems.extend(bad.into_iter().map(|(line, error)| Problem::new(&path, error.to_string()).at(line, 1)))
        }
        Ok(accounts) => {
            for account in accounts.iter().filter(|a| !agencies.iter().any(|p| p.agency.id == a.agency)) {
                let (name, agency) = (&account.name, &account.agency);
                problems.push(
                    spot.problem(
                        format!("the account {name} is of agency \"{agency}\", which does not exist"),
                        format!("tài khoản {name} thuộc cơ quan \"{agency}\" không tồn tại"),
                    )
                    .warning(),
                );
            }
        }
    }
    if !file.listener.iter().any(|l| l.role == Role::Relay && l.tls.is_some()) {
        problems.push(
            spot.problem(
                "nobody can log in: no listener with role = \"relay\" has tls",
                "không ai đăng nhập được: chưa có listener role = \"relay\" nào có tls",
            )
            .warning(),
        );
    }
}

/// `ways`: whether senders can log in, and whether they are asked for certificates.
fn agency(placed: &Placed<'_>, before: &[Placed<'_>], ways: (bool, bool), problems: &mut Vec<Problem>) {
    let Placed { agency, place } = placed;
    let (logins, asks) = ways;
    for (j, certificate) in agency.certificates.iter().enumerate() {
        let spot = place.to("certificates").to(j);
        if let Some(other) = before.iter().find(|p| p.agency.certificates.contains(certificate)) {
            let id = &other.agency.id;
            problems.push(spot.problem(
                format!("{certificate} speaks for agency \"{id}\" already: whose mail would it be?"),
                format!("{certificate} đã thuộc cơ quan \"{id}\": thư sẽ là của ai?"),
            ));
        }
    }
    let spot = place.to("certificates");
    if !agency.certificates.is_empty() && !asks && spot.is_sound() {
        problems.push(
            spot.problem(
                "no relay listener has client_certificates = true: nobody is asked for one",
                "chưa có listener relay nào đặt client_certificates = true: không ai bị hỏi chứng thư",
            )
            .warning(),
        );
    }
    let spot = place.to("shared_addresses");
    let by_certificate = asks && !agency.certificates.is_empty();
    if !agency.shared_addresses.is_empty() && !logins && !by_certificate && spot.is_sound() {
        problems.push(
            spot.problem(
                "shared addresses relay with AUTH or a client certificate only, and there is neither",
                "địa chỉ dùng chung chỉ gửi ra được khi có AUTH hoặc chứng thư, mà chưa có cách nào",
            )
            .help(place.say("set [auth] users, or certificates", "đặt [auth] users, hoặc certificates"))
            .warning(),
        );
    }
}
