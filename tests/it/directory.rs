//! Who works there: aliases and copies, the agency's server asked, a real slapd asked, and what happens without them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Folder, Gateway, receipt_id};
use crate::kit::peer::key_and_certificate;
use crate::kit::site::{Site, letter};
use crate::kit::watch::Watch;

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
    let receipt = gateway.receipt(&receipt_id(&answer.text).unwrap()).unwrap();
    let reached = &receipt.reached[0];
    assert_eq!(reached.written, "VanThu+gap@agency.test");
    assert_eq!((reached.mailboxes.len(), reached.copies.as_slice()), (2, ["alice@agency.test".to_owned()].as_slice()));
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
        Self::start_with("", "")
    }

    /// With more entries, and more lines about its database.
    fn start_with(entries: &str, lines: &str) -> Self {
        let folder = Folder::in_temp("slapd");
        let dir = folder.path().to_owned();
        std::fs::create_dir_all(dir.join("db")).unwrap();
        let (key, certificate) = key_and_certificate("localhost");
        folder.write("ldap.key", key.private_key_to_pem_pkcs8().unwrap());
        folder.write("ldap.pem", certificate.to_pem().unwrap());
        let config = folder.write("slapd.conf", slapd_conf(&dir) + lines);
        let people = folder.write("people.ldif", format!("{PEOPLE}{entries}"));
        let added = Command::new("/usr/sbin/slapadd").arg("-f").arg(&config).arg("-l").arg(&people).output().unwrap();
        assert!(added.status.success(), "slapadd: {}", String::from_utf8_lossy(&added.stderr));
        let [port, tls_port] = [free_port(), free_port()];
        let watch = Watch::over(&dir);
        let child = run(&config, port, tls_port);
        // It writes the number of its process once it listens.
        watch.until("slapd listens", || {
            std::fs::read_to_string(dir.join("slapd.pid")).ok().filter(|t| t.ends_with('\n'))
        });
        Self { folder, child, port, tls_port }
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

/// An has a mailbox with another address; Binh has left; the meeting room is nobody's account. What holds nobody is
/// elsewhere, as in Active Directory.
const PEOPLE: &str = "dn: dc=agency,dc=test
objectClass: dcObject
objectClass: organization
o: agency
dc: agency

dn: cn=luytre,dc=agency,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: luytre
userPassword: bi mat

dn: uid=an,dc=agency,dc=test
objectClass: inetOrgPerson
objectClass: exchangeUser
uid: an
cn: An
sn: Nguyen
mail: An@agency.test
proxyAddresses: SMTP:An@agency.test
proxyAddresses: smtp:vanthu@agency.test
proxyAddresses: X400:c=VN;a= ;p=So;
userAccountControl: 512

dn: uid=binh,dc=agency,dc=test
objectClass: inetOrgPerson
objectClass: exchangeUser
uid: binh
cn: Binh
sn: Tran
mail: binh@agency.test
userAccountControl: 514

dn: uid=phonghop,dc=agency,dc=test
objectClass: inetOrgPerson
objectClass: exchangeUser
uid: phonghop
cn: Phong hop
sn: Phong
mail: phonghop@agency.test
userAccountControl: 514
msExchRecipientTypeDetails: 16

dn: dc=DomainDnsZones,dc=agency,dc=test
objectClass: referral
objectClass: extensibleObject
dc: DomainDnsZones
ref: ldap://127.0.0.1:9/DC=DomainDnsZones,dc=agency,dc=test
";

/// Another domain of the forest.
const BRANCH: &str = "
dn: dc=branch,dc=agency,dc=test
objectClass: referral
objectClass: extensibleObject
dc: branch
ref: ldap://127.0.0.1:9/dc=branch,dc=agency,dc=test
";

/// The attributes of Active Directory that we know, with their own numbers.
const EXCHANGE: &str = "attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.7000.102.50970 NAME 'msExchRecipientTypeDetails' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.5.9999 NAME 'exchangeUser' AUXILIARY MAY ( proxyAddresses $ userAccountControl $ msExchRecipientTypeDetails ) )
";

fn slapd_conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\n{EXCHANGE}pidfile {dir}/slapd.pid\nargsfile {dir}/slapd.args\n\
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

/// `recipients` that asks a directory, with the account of the tests.
fn asking(url: &str, ca: &Path, more: &str) -> String {
    format!(
        "recipients = {{ from = \"ldap\", subaddressing = \"+\", ldap = {{ urls = [\"{url}\"], ca = \"{}\", \
         bind_dn = \"cn=luytre,dc=agency,dc=test\", password_file = \"ldap.txt\", base = \"dc=agency,dc=test\", \
         timeout = \"60 s\"{more} }} }}",
        ca.display()
    )
}

fn check(gateway: &Gateway, to: &str, code: u16) {
    let answer = rcpt(gateway, to);
    assert_eq!(answer.code, code, "{to}: {answer:?}\n{}", gateway.log());
}

fn site(name: &str) -> Site {
    let site = Site::new(name);
    site.folder.write("ldap.txt", "bi mat\n");
    site
}

#[test]
fn rfc4511_a_real_directory_is_asked_and_its_absence_is_bridged() {
    if !Path::new(SLAPD).exists() {
        println!("skipped: slapd is not installed");
        return;
    }
    let mut slapd = Slapd::start();
    let ca = slapd.folder.path().join("ldap.pem");
    let inside = format!("ldaps://localhost:{}", slapd.tls_port);
    let first = site("ldap");
    let gateway = start(&first, &asking(&inside, &ca, ""));
    for (to, code) in [
        ("an@agency.test", 250),
        ("an+hoadon@agency.test", 250),
        ("VanThu@agency.test", 250),
        ("binh@agency.test", 250),
        ("ghost@agency.test", 550),
        ("*@agency.test", 550),
        ("abuse@agency.test", 250),
    ] {
        check(&gateway, to, code);
    }

    let second = site("ldap-starttls");
    let clear = format!("ldap://localhost:{}", slapd.port);
    let strict = start(&second, &asking(&clear, &ca, ", start_tls = true, disabled_accounts = \"refuse\""));
    for (to, code) in
        [("an@agency.test", 250), ("binh@agency.test", 550), ("phonghop@agency.test", 250), ("ghost@agency.test", 550)]
    {
        check(&strict, to, code);
    }

    // An authority that did not sign its certificate: it is told neither name nor password, and refuses nobody.
    let third = site("ldap-stranger");
    let (_, other) = key_and_certificate("localhost");
    let other = third.folder.write("other.pem", other.to_pem().unwrap());
    let stranger = start(&third, &asking(&inside, &other, ""));
    check(&stranger, "ghost@agency.test", 250);
    assert!(stranger.metric("luytre_recipient_checks_total{answer=\"unsure\",source=\"ldap\"}") >= 1.0);

    slapd.stop();
    check(&gateway, "an@agency.test", 250);
    check(&gateway, "ghost@agency.test", 550);
    check(&gateway, "unheard@agency.test", 250);
    assert!(gateway.metric("luytre_recipient_checks_total{answer=\"unsure\",source=\"ldap\"}") >= 1.0);
    assert!(gateway.metric("luytre_recipient_checks_total{answer=\"unknown\",source=\"memory\"}") >= 1.0);
}

#[test]
fn rfc4511_4_5_3_an_answer_that_is_not_whole_refuses_nobody() {
    if !Path::new(SLAPD).exists() {
        println!("skipped: slapd is not installed");
        return;
    }
    let unsure = |gateway: &Gateway| gateway.metric("luytre_recipient_checks_total{answer=\"unsure\",source=\"ldap\"}");
    // Ghost may work in the branch, which another server knows.
    let forest = Slapd::start_with(BRANCH, "");
    let ca = forest.folder.path().join("ldap.pem");
    let inside = format!("ldaps://localhost:{}", forest.tls_port);
    let first = site("ldap-forest");
    let gateway = start(&first, &asking(&inside, &ca, ""));
    check(&gateway, "an@agency.test", 250);
    check(&gateway, "ghost@agency.test", 250);
    assert_eq!(unsure(&gateway), 1.0);
    gateway.wait_for_line("where the rest is", |line| line.contains("dc=branch") && line.contains("global catalogue"));

    // A base that is on another server altogether.
    let second = site("ldap-branch");
    let asked = asking(&inside, &ca, "").replace("base = \"dc=agency", "base = \"dc=branch,dc=agency");
    let branch = start(&second, &asked);
    check(&branch, "ghost@agency.test", 250);
    assert_eq!(unsure(&branch), 1.0);

    // One entry is all it gives: that Binh's account is switched off says nothing about those behind him.
    let short = Slapd::start_with("", "sizelimit 1\n");
    let third = site("ldap-short");
    let more = ", disabled_accounts = \"refuse\", filter = \"(|(mail={})(userAccountControl=514))\"";
    let url = format!("ldaps://localhost:{}", short.tls_port);
    let limited = start(&third, &asking(&url, &short.folder.path().join("ldap.pem"), more));
    check(&limited, "ghost@agency.test", 250);
    assert_eq!(unsure(&limited), 1.0);
    limited.wait_for_line("that it was cut short", |line| line.contains("sizeLimitExceeded"));
}

#[test]
fn a_directory_that_says_nothing_holds_nobody_up_for_long() {
    // It takes connections, as far as the kernel does that for it, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldap://{}", silent.local_addr().unwrap());
    let site = site("ldap-silent");
    let recipients =
        asking(&url, Path::new("ldap.txt"), "").replace("\"60 s\"", "\"200 ms\"").replace("ca = \"ldap.txt\", ", "");
    let gateway = start(&site, &recipients);
    check(&gateway, "an@agency.test", 250);
    // Left alone for a while: nobody waits again.
    check(&gateway, "binh@agency.test", 250);
    gateway.wait_for_line("that it is left alone", |line| line.contains("left alone"));
}
