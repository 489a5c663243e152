//! Client certificates on the production binary, with `openssl` as the client: known by an authority and a name, or by
//! their key alone.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use luytre::listen::settings::Certificate;

use crate::kit::site::Site;
use crate::submission::{key_of, made, save};

/// `openssl s_client` inside TLS.
struct SClient {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl SClient {
    fn connect(address: SocketAddr, own: Option<&Certificate>) -> Option<Self> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-starttls", "smtp", "-crlf", "-quiet", "-connect", &address.to_string()]);
        if let Some(own) = own {
            command.arg("-cert").arg(&own.certificate).arg("-key").arg(&own.key);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.ok()?;
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut client = Self { child, to, from };
        client.say("NOOP", "250 2.0.0");
        client.say("EHLO unit.example", "250 SMTPUTF8");
        Some(client)
    }

    /// Says a line; what was answered, up to a line that begins so, or the first that refuses.
    fn say(&mut self, line: &str, until: &str) -> String {
        self.to.write_all(format!("{line}\n").as_bytes()).unwrap();
        loop {
            let mut answer = String::new();
            let count = self.from.read_line(&mut answer).unwrap();
            if count == 0 || answer.starts_with(until) || answer.starts_with('5') || answer.starts_with('4') {
                return answer;
            }
        }
    }
}

impl Drop for SClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check(config: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_luytre")).args(["check", "--config"]).arg(config).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn rfc7469_2_4_a_relay_client_is_known_by_its_key_beside_those_an_authority_names() {
    let site = Site::new("pinned");
    let folder = site.folder.path().to_owned();
    let pair = crate::talk::certificate(&folder);
    let authority = made("units ca", 30, None);
    let trust = save(&folder, "ca", &authority).certificate;
    let named = save(&folder, "named", &made("mail.unit.agency.test", 30, Some(&authority)));
    let own = made("pc7", 30, None);
    let (pin, keyed) = (key_of(&own), save(&folder, "keyed", &own));
    let stranger = save(&folder, "stranger", &made("pc7", 30, None));
    let site = site
        .listeners(&format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\n\n[[listener]]\naddress = \"127.0.0.2:0\"\nrole = \"relay\"\n\
             tls = {{ certificate = \"{}\", key = \"{}\" }}\nclient_certificates = true\nclient_trust = [\"{}\"]\n\n",
            pair.certificate.display(),
            pair.key.display(),
            trust.display()
        ))
        .agency(&format!("certificates = [\"name:mail.unit.agency.test\", \"{pin}\"]\n"));
    let config = site.write();
    let (code, text) = check(&config);
    assert_eq!(code, Some(0), "{text}");
    let gateway = site.start();
    for (what, own, expected) in [
        ("a pinned key", Some(&keyed), "250 2.1.0"),
        ("a name of our authority", Some(&named), "250 2.1.0"),
        ("the same words with another key", Some(&stranger), "550 5.7.1"),
        ("no certificate", None, "550 5.7.1"),
    ] {
        let Some(mut client) = SClient::connect(gateway.address("relay"), own) else {
            println!("skipped: openssl is not installed");
            return;
        };
        let answer = client.say("MAIL FROM:<an@agency.test>", "250");
        assert!(answer.starts_with(expected), "{what}: {answer}");
        if expected.starts_with('2') {
            let answer = client.say("RCPT TO:<nguoi@outside.example>", "250");
            assert!(answer.starts_with("250 2.1.5"), "{what}: {answer}");
        }
    }
    // A pin with a digit too few is told at its place.
    let text = std::fs::read_to_string(&config).unwrap();
    let line = text.lines().position(|line| line.starts_with("certificates")).unwrap() + 1;
    let short = pin.to_string();
    std::fs::write(&config, text.replace(&short, short.get(..short.len() - 1).unwrap())).unwrap();
    let (code, text) = check(&config);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("luytre.toml:{line}:")) && text.contains("64"), "{text}");
}
