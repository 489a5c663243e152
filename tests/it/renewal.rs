//! What a running gateway takes in without a restart, as other programs renew it: certificates whose links are swapped,
//! accounts and recipients whose files are replaced; and the page of MTA-STS policies.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use luytre::session::accounts;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::kit::client::Client;
use crate::kit::gateway::{Gateway, luytre};
use crate::kit::site::Site;
use crate::submission::{self, made};
use crate::talk::ACCOUNT;

const RELAY: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"relay\"\n";

/// Writes `NAME.pem` and `NAME.key` into `folder`.
fn put(folder: &Path, name: &str, (certificate, key): &(X509, PKey<Private>)) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.to_pem().unwrap()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
}

/// A link to `target` takes the place of whatever is at `link`, in one step.
fn relink(target: &str, link: &Path) {
    let fresh = link.parent().unwrap().join("fresh");
    symlink(target, &fresh).unwrap();
    std::fs::rename(&fresh, link).unwrap();
}

fn replace(file: &Path, content: impl AsRef<[u8]>) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, content).unwrap();
    std::fs::rename(&fresh, file).unwrap();
}

/// Waits until the policy that is named so is in force.
fn generation(gateway: &Gateway, number: u32) {
    let number = format!("\"generation\":{number}");
    gateway.wait_for_line("that it reloaded", |line| line.contains("\"reloaded\"") && line.contains(&number));
}

fn shown(gateway: &Gateway, asked: &str) -> String {
    submission::Client::connect(gateway.address("relay"), asked, None).server()
}

#[test]
fn renewed_certificates_are_shown_without_a_restart_however_they_are_swapped() {
    let site = Site::new("renewal").listeners(&format!(
        "{RELAY}tls = {{ certificate = \"live/mx.pem\", key = \"live/mx.key\" }}\n\
         sni = [{{ certificate = \"cluster/tls.pem\", key = \"cluster/tls.key\" }}]\n\n"
    ));
    let at = site.folder.path();
    // As certbot keeps them: links in one folder, files in another.
    let (live, archive, cluster) = (at.join("live"), at.join("archive"), at.join("cluster"));
    put(&archive, "mx1", &made("one.test", 30, None));
    std::fs::create_dir_all(&live).unwrap();
    let swap = |number: u32| {
        for end in ["pem", "key"] {
            relink(&format!("../archive/mx{number}.{end}"), &live.join(format!("mx.{end}")));
        }
    };
    swap(1);
    // As a cluster mounts them: the folder behind a link changes.
    put(&cluster.join("..v1"), "tls", &made("web.test", 31, None));
    relink("..v1", &cluster.join("..data"));
    for end in ["pem", "key"] {
        symlink(format!("..data/tls.{end}"), cluster.join(format!("tls.{end}"))).unwrap();
    }
    let gateway = site.start();
    assert_eq!((shown(&gateway, "x.test").as_str(), shown(&gateway, "web.test").as_str()), ("one.test", "web.test"));

    put(&archive, "mx2", &made("two.test", 32, None));
    swap(2);
    generation(&gateway, 2);
    assert_eq!(shown(&gateway, "x.test"), "two.test");

    // A key that is not the certificate's: the old pair stays, and the alert's metric says so.
    put(&archive, "mx3", &made("three.test", 33, None));
    std::fs::write(archive.join("mx3.key"), made("x", 3, None).1.private_key_to_pem_pkcs8().unwrap()).unwrap();
    swap(3);
    gateway.wait_for_line("that the old policy stays", |line| line.contains("the old policy stays"));
    assert_eq!(shown(&gateway, "x.test"), "two.test");
    assert!(gateway.metric("luytre_policy_reloads_total{outcome=\"refused\"}") >= 1.0);

    // In place, behind the link.
    put(&archive, "mx3", &made("four.test", 34, None));
    generation(&gateway, 3);
    assert_eq!(shown(&gateway, "x.test"), "four.test");

    put(&cluster.join("..v2"), "tls", &made("web.test", 35, None));
    relink("..v2", &cluster.join("..data"));
    generation(&gateway, 4);
    let page = gateway.get("/metrics");
    assert!(page.contains("luytre_certificate_expires_seconds{certificate=\"four.test\"}"), "{page}");
}

#[test]
fn accounts_and_recipients_are_followed_as_their_files_are_replaced() {
    let site = Site::new("followed").listeners(&format!(
        "{RELAY}tls = {{ certificate = \"mx.pem\", key = \"mx.key\" }}\n\n\
         [[listener]]\naddress = \"127.0.0.2:0\"\nrole = \"mx\"\n\n"
    ));
    put(site.folder.path(), "mx", &made("one.test", 30, None));
    let account = |name: &str| accounts::line(name, &"so-tttt".parse().unwrap(), ACCOUNT.1, [7; 16]).unwrap();
    let users = site.folder.write("users", account("other@agency.test"));
    let book = site.folder.write("staff.toml", "recipients = [\"an@agency.test\"]\n");
    let site = site.section("[auth]\nusers = \"users\"\n\n");
    let config = site.write();
    let text = std::fs::read_to_string(&config).unwrap().replace("path = \"recipients.txt\"", "path = \"staff.toml\"");
    std::fs::write(&config, text).unwrap();
    let gateway = Gateway::start(&config);
    let login = || submission::Client::connect(gateway.address("relay"), "x.test", None).log_in(ACCOUNT.0, ACCOUNT.1);
    let rcpt = || {
        let mut client = Client::connect(gateway.address("mx")).unwrap();
        client.say("EHLO mail.partner.example").unwrap();
        client.say("MAIL FROM:<a@partner.example>").unwrap();
        client.say("RCPT TO:<moi@agency.test>").unwrap().code
    };
    assert_eq!((login(), rcpt()), (535, 550));
    replace(&users, account(ACCOUNT.0));
    generation(&gateway, 2);
    assert_eq!(login(), 235);
    replace(&book, "[[recipient]]\naddress = \"moi@agency.test\"\nname = \"Người mới\"\n");
    generation(&gateway, 3);
    assert_eq!(rcpt(), 250);
    replace(&book, "recipients = [\"moi@agency.test\"\n");
    gateway.wait_for_line("that the old policy stays", |line| line.contains("the old policy stays"));
    assert_eq!(rcpt(), 250);
}

/// Fetches a page by a name; status (0: no connection that curl would trust) and body.
fn curl(address: SocketAddr, host: &str, path: &str, more: &[&str]) -> Option<(u16, String)> {
    let port = address.port();
    let (resolve, url) = (format!("{host}:{port}:127.0.0.1"), format!("https://{host}:{port}{path}"));
    let output = Command::new("curl")
        .args([
            "--silent",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code} %{content_type}",
            "--resolve",
            &resolve,
            &url,
        ])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, last) = text.rsplit_once('\n')?;
    Some((last.split(' ').next()?.parse().ok()?, format!("{body}|{last}")))
}

#[test]
fn rfc8461_3_3_the_policy_of_each_domain_is_served_over_https_and_nothing_else() {
    let site = Site::new("mta-sts");
    let at = site.folder.path();
    let authority = made("ca", 30, None);
    std::fs::write(at.join("ca.pem"), authority.0.to_pem().unwrap()).unwrap();
    put(at, "sts", &made("mta-sts.agency.test", 30, Some(&authority)));
    let config = site.write();
    let table = "[http.mta_sts]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"sts.pem\", key = \"sts.key\" }\nmode = \"enforce\"\n";
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n{table}")).unwrap();
    let gateway = Gateway::start(&config);
    let address = gateway.address("mta-sts");
    let ca = at.join("ca.pem").display().to_string();
    let trust = ["--cacert", ca.as_str()];
    let page = "/.well-known/mta-sts.txt";
    let Some((code, body)) = curl(address, "mta-sts.agency.test", page, &trust) else {
        println!("skipped: curl is not installed");
        return;
    };
    let expected = "version: STSv1\r\nmode: enforce\r\nmx: gw.agency.test\r\nmax_age: 604800\r\n";
    assert_eq!(code, 200, "{body}\n{}", gateway.log());
    assert!(body.starts_with(expected) && body.contains("text/plain"), "{body}");
    let strange = |host: &str, path: &str, more: &[&str]| curl(address, host, path, more).unwrap().0;
    assert_eq!(strange("mta-sts.agency.test", "/", &trust), 404);
    assert_eq!(strange("mta-sts.agency.test", page, &["--cacert", &ca, "--request", "POST"]), 405);
    assert_eq!(strange("mta-sts.other.test", page, &trust), 0, "the certificate is not for that name");
    assert_eq!(strange("mta-sts.other.test", page, &["--insecure"]), 404);
    let asked = |outcome: &str| gateway.metric(&format!("luytre_mta_sts_requests_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((asked("served"), asked("strange")), (1.0, 3.0));
    let metrics = gateway.get("/metrics");
    assert!(metrics.contains("luytre_certificate_expires_seconds{certificate=\"mta-sts.agency.test\"}"), "{metrics}");
    let (_, records, _) = luytre(&["doctor", "--records", "--config", config.to_str().unwrap()]);
    assert!(records.contains("mta-sts.agency.test. IN CNAME gw.agency.test."), "{records}");
    assert!(records.contains(";   mode: enforce"), "{records}");
}
