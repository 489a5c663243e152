//! Who works there: aliases and copies, the agency's server asked, a real slapd asked, and what happens without them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Folder, Gateway};
use crate::kit::peer::key_and_certificate;
use crate::kit::site::{Site, letter};

const LISTED: &str = "recipients = { from = \"file\", path = \"recipients.txt\", subaddressing = \"+\" }";

/// The site with other recipients.
fn start(site: &Site, recipients: &str) -> Gateway {
    let config = site.write();
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(LISTED));
    std::fs::write(&config, text.replace(LISTED, recipients)).unwrap();
    Gateway::start(&config)
}

fn rcpt(gateway: &Gateway, to: &str) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.say("MAIL FROM:<ketoan@partner.example>").unwrap();
    client.say(&format!("RCPT TO:<{to}>")).unwrap()
}

#[test]
fn aliases_reach_several_and_a_copy_is_kept() {
    let site = Site::new("alias").agency(
        "aliases = [{ from = \"vanthu@agency.test\", to = [\"an@agency.test\", \"binh@agency.test\"] }]\n\
         always_bcc = [\"alice@agency.test\"]\n",
    );
    let gateway = site.start();
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    let to = ["VanThu+gap@agency.test", "binh@agency.test"];
    let answer = client.deliver("ketoan@partner.example", &to, &letter("Bao cao", "Kính gửi")).unwrap();
    assert_eq!(answer.code, 250, "{answer:?}");
    let mut reached = site.sink.wait_for_count(1)[0].rcpt_to.clone();
    reached.sort();
    assert_eq!(reached, ["alice@agency.test", "an@agency.test", "binh@agency.test"], "each of them once");
    assert_eq!(rcpt(&gateway, "nobody@agency.test").code, 550);
}

#[test]
fn the_agencys_server_is_asked_once_and_its_absence_refuses_nobody() {
    let site = Site::new("callout");
    site.sink.refuse("ghost@agency.test", "550 5.1.1 unknown");
    site.sink.refuse("full@agency.test", "552 5.2.2 mailbox full");
    let gateway = start(&site, "recipients = { from = \"callout\" }");
    assert_eq!(rcpt(&gateway, "an@agency.test").code, 250);
    let ghost = rcpt(&gateway, "ghost@agency.test");
    assert!(ghost.text.starts_with("550 5.1.1 No such user here"), "{ghost:?}");
    assert_eq!(rcpt(&gateway, "full@agency.test").code, 250, "a full mailbox is a mailbox");
    assert_eq!(rcpt(&gateway, "ghost@agency.test").code, 550);
    assert_eq!(rcpt(&gateway, "postmaster@agency.test").code, 250);
    let asked = |source: &str, answer: &str| {
        gateway.metric(&format!("luytre_recipient_checks_total{{answer=\"{answer}\",source=\"{source}\"}}"))
    };
    assert_eq!((asked("callout", "unknown"), asked("memory", "unknown"), asked("callout", "unsure")), (1.0, 1.0, 1.0));
    assert!(site.sink.taken().is_empty(), "no letter was sent to ask");

    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let away = Site::new("callout-away").next_hop(&format!("{{ address = \"{address}\", tls = \"none\" }}"));
    let gateway = start(&away, "recipients = { from = \"callout\" }");
    assert_eq!(rcpt(&gateway, "an@agency.test").code, 250, "nobody can tell, so the letter is taken");
}

#[test]
fn a_server_that_says_yes_to_everybody_is_found_out_and_its_no_still_counts() {
    let site = Site::new("catch-all");
    site.sink.refuse("ghost@agency.test", "550 5.1.1 unknown");
    let gateway = start(&site, "recipients = { from = \"callout\" }");
    assert_eq!(rcpt(&gateway, "an@agency.test").code, 250);
    assert_eq!(gateway.metric("luytre_recipient_catch_all{agency=\"so-tttt\"}"), 1.0);
    assert_eq!(rcpt(&gateway, "ghost@agency.test").code, 550);
    assert_eq!(rcpt(&gateway, "binh@agency.test").code, 250);
    let questions = |name: &str| site.sink.asked().iter().filter(|to| to.starts_with(name)).count();
    assert_eq!((questions("no-such-user-"), questions("an@"), questions("binh@")), (1, 1, 1), "asked once a day");
}

/// A slapd of the test's own, with one mailbox; killed when dropped.
struct Slapd {
    folder: Folder,
    child: Child,
    port: u16,
    tls_port: u16,
}

const SLAPD: &str = "/usr/sbin/slapd";

impl Slapd {
    fn start() -> Self {
        let folder = Folder::in_temp("slapd");
        let dir = folder.path().to_owned();
        std::fs::create_dir_all(dir.join("db")).unwrap();
        let (key, certificate) = key_and_certificate("localhost");
        folder.write("ldap.key", key.private_key_to_pem_pkcs8().unwrap());
        folder.write("ldap.pem", certificate.to_pem().unwrap());
        let config = folder.write("slapd.conf", slapd_conf(&dir));
        let people = folder.write("people.ldif", PEOPLE);
        let added = Command::new("/usr/sbin/slapadd").arg("-f").arg(&config).arg("-l").arg(&people).output().unwrap();
        assert!(added.status.success(), "slapadd: {}", String::from_utf8_lossy(&added.stderr));
        let [port, tls_port] = [free_port(), free_port()];
        let child = run(&config, port, tls_port);
        let slapd = Self { folder, child, port, tls_port };
        slapd.wait();
        slapd
    }

    /// Until it answers.
    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", self.tls_port)).is_err() {
            assert!(Instant::now() < end, "slapd does not listen");
            std::thread::yield_now();
        }
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}

const PEOPLE: &str = "dn: dc=agency,dc=test\nobjectClass: dcObject\nobjectClass: organization\no: agency\ndc: agency\n\n\
    dn: cn=luytre,dc=agency,dc=test\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: luytre\n\
    userPassword: bi mat\n\n\
    dn: uid=an,dc=agency,dc=test\nobjectClass: inetOrgPerson\nuid: an\ncn: An\nsn: Nguyen\nmail: An@agency.test\n";

fn slapd_conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\npidfile {dir}/slapd.pid\nargsfile {dir}/slapd.args\n\
         modulepath /usr/lib/ldap\nmoduleload back_mdb\nTLSCertificateFile {dir}/ldap.pem\nTLSCertificateKeyFile {dir}/ldap.key\n\
         database mdb\nmaxsize 10485760\nsuffix \"dc=agency,dc=test\"\nrootdn \"cn=root,dc=agency,dc=test\"\ndirectory {dir}/db\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn=\"cn=luytre,dc=agency,dc=test\" read by * none\n"
    )
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(config: &PathBuf, port: u16, tls_port: u16) -> Child {
    Command::new(SLAPD)
        .args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/"), "-f"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn rfc4511_a_real_directory_is_asked_and_its_absence_is_bridged() {
    if !Path::new(SLAPD).exists() {
        println!("skipped: slapd is not installed");
        return;
    }
    let mut slapd = Slapd::start();
    let site = Site::new("ldap");
    site.folder.write("ldap.txt", "bi mat\n");
    let (tls, clear) = (slapd.tls_port, slapd.port);
    let recipients = |url: &str, start_tls: bool| {
        format!(
            "recipients = {{ from = \"ldap\", subaddressing = \"+\", ldap = {{ urls = [\"{url}\"], start_tls = {start_tls}, \
             ca = \"{}/ldap.pem\", bind_dn = \"cn=luytre,dc=agency,dc=test\", password_file = \"ldap.txt\", \
             base = \"dc=agency,dc=test\" }} }}",
            slapd.folder.path().display()
        )
    };
    let gateway = start(&site, &recipients(&format!("ldaps://localhost:{tls}"), false));
    let check = |gateway: &Gateway, to: &str, code: u16| {
        let answer = rcpt(gateway, to);
        assert_eq!(answer.code, code, "{to}: {answer:?}\n{}", gateway.log());
    };
    check(&gateway, "an@agency.test", 250);
    check(&gateway, "an+hoadon@agency.test", 250);
    check(&gateway, "ghost@agency.test", 550);
    check(&gateway, "*@agency.test", 550);
    check(&gateway, "abuse@agency.test", 250);

    let other = Site::new("ldap-starttls");
    other.folder.write("ldap.txt", "bi mat\n");
    let started = start(&other, &recipients(&format!("ldap://localhost:{clear}"), true));
    check(&started, "an@agency.test", 250);
    check(&started, "ghost@agency.test", 550);

    slapd.stop();
    check(&gateway, "an@agency.test", 250);
    check(&gateway, "ghost@agency.test", 550);
    check(&gateway, "unheard@agency.test", 250);
    assert!(gateway.metric("luytre_recipient_checks_total{answer=\"unsure\",source=\"ldap\"}") >= 1.0);
    assert!(gateway.metric("luytre_recipient_checks_total{answer=\"unknown\",source=\"memory\"}") >= 1.0);
}
