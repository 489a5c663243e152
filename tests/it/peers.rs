//! Other people's programs on both sides: smtp-source, swaks and Python send, a real Postfix receives,
//! dkimpy and openssl check what we signed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kit::client::Client;
use crate::kit::gateway::{Folder, Gateway, luytre};
use crate::kit::site::Site;
use crate::kit::watch::{self, Watch};

/// Whether a program is installed; says so when it is not.
fn have(program: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Runs a program and gives its output; panics with it when it fails.
fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text
}

/// A Postfix of the test's own: its queue, its configuration and a mailbox folder, on a free loopback port.
pub struct Postfix {
    folder: Folder,
    config: PathBuf,
    pub address: SocketAddr,
    watch: Watch,
    /// The folder with its password.
    account: Option<Folder>,
}

/// Whose mailbox it is.
const NOBODY: u32 = 65534;

impl Postfix {
    /// An agency's server.
    fn start() -> Self {
        Self::start_with("virtual_mailbox_domains = agency.test\n")
    }

    /// Somebody's server on the Internet, that sends everything to `gateway`.
    fn sending_to(gateway: SocketAddr) -> Self {
        let (host, port) = (gateway.ip(), gateway.port());
        Self::start_with(&format!(
            "virtual_mailbox_domains =\nrelayhost = [{host}]:{port}\ndefault_transport = smtp\nsmtp_host_lookup = native\n"
        ))
    }

    /// The same, with an account there and inside TLS only.
    pub fn logging_in(gateway: SocketAddr, (name, password): (&str, &str)) -> Self {
        let (host, port) = (gateway.ip(), gateway.port());
        let accounts = Folder::in_temp("postfix-account");
        let file = accounts.write("sasl", format!("[{host}]:{port} {name}:{password}\n"));
        let mut this = Self::start_with(&format!(
            "virtual_mailbox_domains =\nrelayhost = [{host}]:{port}\ndefault_transport = smtp\nsmtp_host_lookup = native\n\
             smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = texthash:{}\nsmtp_sasl_security_options = noanonymous\n\
             smtp_tls_security_level = encrypt\n",
            file.display()
        ));
        this.account = Some(accounts);
        this
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("mail.log")).unwrap_or_default()
    }

    fn start_with(settings: &str) -> Self {
        let folder = Folder::in_temp("postfix");
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = folder.path().display().to_string();
        for sub in ["conf", "spool", "data", "mail"] {
            std::fs::create_dir_all(folder.path().join(sub)).unwrap();
        }
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {dir}/spool\ndata_directory = {dir}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\n\
             myhostname = exchange.agency.test\nmydestination = agency.test\nlocal_recipient_maps =\nluser_relay = root\n\
             inet_interfaces = 127.0.0.1\nmynetworks = 127.0.0.0/8\nlocal_transport = virtual\nvirtual_mailbox_base = {dir}/mail\n\
             {settings}virtual_mailbox_maps = static:all/\nvirtual_uid_maps = static:{NOBODY}\n\
             virtual_gid_maps = static:{NOBODY}\nmaillog_file = {dir}/mail.log\nmaillog_file_prefixes = {dir}\nsmtpd_client_connection_rate_limit = 0\n"
        )
        .replace("mydestination = agency.test", "mydestination =");
        let port = address.port();
        let master = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n\
             qmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nsmtp unix - - n - - smtp\nvirtual unix - n n - - virtual\n\
             error unix - - n - - error\nretry unix - - n - - error\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
             proxymap unix - - n - - proxymap\ntlsmgr unix - - n 1000? 1 tlsmgr\npostlog unix-dgram n - n - 1 postlogd\n"
        );
        std::fs::write(folder.path().join("conf/main.cf"), main).unwrap();
        std::fs::write(folder.path().join("conf/master.cf"), master).unwrap();
        run("chown", &["postfix", &format!("{dir}/data")]);
        run("chown", &["nobody", &format!("{dir}/mail")]);
        watch::maildir(&folder.path().join("mail/all"), NOBODY, NOBODY);
        let watch = Watch::over(&folder.path().join("mail"));
        let config = folder.path().join("conf");
        run("/usr/sbin/postfix", &["-c", config.to_str().unwrap(), "start"]);
        let this = Self { folder, config, address, watch, account: None };
        Client::connect(this.address).expect("postfix answers");
        this
    }

    /// The messages in the mailbox, once there are `count`.
    fn mailbox(&self, count: usize) -> Vec<String> {
        watch::messages(&self.watch, &self.folder.path().join("mail/all/new"), count)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/postfix")
            .args(["-c", self.config.to_str().unwrap_or("/nonexistent"), "stop"])
            .output();
    }
}

#[test]
fn smtp_source_and_swaks_send_and_a_real_postfix_receives() {
    if !(have("postfix") && have("smtp-source") && have("swaks") && nix::unistd::geteuid().is_root()) {
        println!("skipped: needs postfix, swaks and root");
        return;
    }
    let postfix = Postfix::start();
    let site =
        Site::new("peers").next_hop(&format!("{{ address = \"{}\", tls = \"opportunistic\" }}", postfix.address));
    // smtp-source speaks no PROXY: this listener trusts nobody's header.
    let text = std::fs::read_to_string(site.write()).unwrap().replace("proxy_networks = [\"127.0.0.1/32\"]\n", "");
    let gateway = Gateway::start(&site.folder.write("luytre.toml", text));
    let mx = gateway.address("mx").to_string();
    run(
        "/usr/sbin/smtp-source",
        &["-s", "4", "-m", "40", "-l", "4000", "-f", "a@partner.example", "-t", "an@agency.test", &mx],
    );
    let (host, port) = mx.split_once(':').unwrap();
    run(
        "swaks",
        &[
            "--server",
            host,
            "--port",
            port,
            "--ehlo",
            "mail.partner.example",
            "--from",
            "b@partner.example",
            "--to",
            "binh@agency.test",
            "--header",
            "Subject: tu swaks",
            "--body",
            "xin chao\n.\n..x",
        ],
    );
    let python = "import smtplib,sys\ns=smtplib.SMTP(sys.argv[1],int(sys.argv[2]))\n\
        s.sendmail('c@partner.example',['an@agency.test','binh@agency.test'],'From: c@partner.example\\r\\nSubject: tu python\\r\\n\\r\\nhai nguoi nhan\\r\\n')\ns.quit()";
    run("/usr/bin/python3", &["-c", python, host, port]);
    let mails = postfix.mailbox(43);
    assert_eq!(mails.iter().filter(|m| m.contains("hai nguoi nhan")).count(), 2, "one copy a recipient");
    let swaks = mails.iter().find(|m| m.contains("tu swaks")).unwrap();
    assert!(swaks.contains("xin chao\n.\n..x"), "{swaks}");
    assert!(mails.iter().all(|m| m.contains("Authentication-Results: gw.agency.test;")));
}

#[test]
fn a_real_postfix_sends_and_each_message_arrives_once() {
    if !(have("postfix") && have("smtp-source") && nix::unistd::geteuid().is_root()) {
        println!("skipped: needs postfix and root");
        return;
    }
    let site = Site::new("postfix-sends");
    let text = std::fs::read_to_string(site.write()).unwrap().replace("proxy_networks = [\"127.0.0.1/32\"]\n", "");
    let gateway = Gateway::start(&site.folder.write("luytre.toml", text));
    let postfix = Postfix::sending_to(gateway.address("mx"));
    let (from, server) = ("a@partner.example", postfix.address.to_string());
    run("/usr/sbin/smtp-source", &["-s", "4", "-m", "30", "-l", "4000", "-f", from, "-t", "an@agency.test", &server]);
    let taken = site.sink.wait_for_count(30);
    let mut ids: Vec<String> = taken.iter().filter_map(|t| t.header("Message-Id")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), taken.len()), (30, 30), "each once");
    assert!(taken.iter().all(|t| t.text().contains("by exchange.agency.test (Postfix)")), "through Postfix");
    let log = std::fs::read_to_string(postfix.folder.path().join("mail.log")).unwrap();
    assert!(log.contains("status=sent (250 2.0.0 Accepted"), "{log}");
}

#[test]
fn outgoing_mail_is_signed_so_that_dkimpy_and_openssl_agree() {
    if !(have("openssl") && have("python3")) {
        return;
    }
    let site = Site::new("outgoing").relay();
    let dir = site.folder.path().display().to_string();
    let keys = ["rsa", "ed25519"].map(|algorithm| DkimKey::make(&dir, algorithm));
    make_certificate(&site, "an@agency.test");
    let internet = crate::kit::sink::Sink::start();
    let tables: Vec<String> = keys.iter().map(DkimKey::table).collect();
    let site = site.section(&format!("[deliver]\nsmart_host = \"{}\"\n\n", internet.address())).agency(&format!(
        "smime = {{ certificate = \"{dir}/an.pem\", key = \"{dir}/an.key.pem\" }}\ndkim = [{}]\n",
        tables.join(", ")
    ));
    let gateway = site.start();
    let mut client = Client::connect(gateway.address("relay")).unwrap();
    client.say("EHLO exchange.agency.test").unwrap();
    let message = "From: An <an@agency.test>\r\nTo: x@partner.example\r\nSubject: Tra loi\r\n\
        Date: Sat, 21 Nov 2026 09:00:00 +0700\r\nMessage-ID: <1@agency.test>\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nKính gửi quý đơn vị.\r\n.\r\n";
    let answer = client.deliver("an@agency.test", &["x@partner.example"], message.as_bytes()).unwrap();
    assert_eq!(answer.code, 250, "{}", answer.text);
    let taken = internet.wait_for_count(1);
    let file = site.folder.write("out.eml", &taken[0].data);
    assert_eq!(taken[0].text().matches("DKIM-Signature:").count(), 2, "{}", taken[0].text());

    verify_dkim(&site, &file, &keys);
    verify_smime(&dir, &file);

    // Signed mail passes as it is: the second copy carries the first one's signature untouched.
    let mut client = Client::connect(gateway.address("relay")).unwrap();
    client.say("EHLO exchange.agency.test").unwrap();
    let inner = taken[0].text();
    let signed = &inner[inner.find("From:").unwrap()..];
    assert_eq!(client.deliver("an@agency.test", &["x@partner.example"], signed.as_bytes()).unwrap().code, 250);
    let again = internet.wait_for_count(2)[1].text();
    assert_eq!(again.matches("multipart/signed").count(), 1, "{again}");

    // A foreign From is never signed and never leaves (THREATS A-24).
    let forged = message.replace("an@agency.test", "boss@bank.example");
    let answer = client.deliver("boss@bank.example", &["x@partner.example"], forged.as_bytes()).unwrap();
    assert!(answer.text.starts_with("550 5.7.1"), "{}", answer.text);
}

/// A key that `luytre dkim new` made for agency.test.
struct DkimKey {
    selector: &'static str,
    file: String,
    /// What the DNS would say.
    value: String,
}

impl DkimKey {
    /// In the folder `dir`; its selector is the algorithm.
    fn make(dir: &str, algorithm: &'static str) -> Self {
        let args = ["--domain", "agency.test", "--selector", algorithm, "--algorithm", algorithm, "--out", dir];
        let (code, text, error) = luytre(&[&["dkim", "new"], args.as_slice()].concat());
        assert_eq!(code, 0, "{text}{error}");
        let file = text.lines().find_map(|line| line.strip_prefix("Key: ")).unwrap().to_owned();
        assert!(file.ends_with(&format!("{algorithm}.agency.test.pem")), "{file}");
        Self { selector: algorithm, file, value: dns_value(&text) }
    }

    /// Its table in the configuration.
    fn table(&self) -> String {
        format!("{{ domain = \"agency.test\", selector = \"{}\", key = \"{}\" }}", self.selector, self.file)
    }
}

/// Both signatures, by dkimpy.
fn verify_dkim(site: &Site, file: &Path, keys: &[DkimKey]) {
    let records = keys
        .iter()
        .map(|key| (format!("{}._domainkey.agency.test", key.selector), serde_json::Value::String(key.value.clone())));
    let zone: serde_json::Map<_, _> = records.collect();
    let zone = site.folder.write("zone.json", serde_json::Value::Object(zone).to_string());
    let verify = "import dkim,sys,json\nz=json.load(open(sys.argv[2]))\nm=open(sys.argv[1],'rb').read()\n\
        f=lambda n,timeout=5: z.get(n.decode().rstrip('.'),'').encode() or None\n\
        d=dkim.DKIM(m)\nr=[d.verify(idx=i,dnsfunc=f) for i in range(2)]\nprint(r)\nsys.exit(0 if all(r) else 1)";
    run("/usr/bin/python3", &["-c", verify, file.to_str().unwrap(), zone.to_str().unwrap()]);
}

/// The S/MIME signature, by OpenSSL.
fn verify_smime(dir: &str, file: &Path) {
    let (ca, who) = (format!("{dir}/ca.pem"), format!("{dir}/who.pem"));
    let args = ["cms", "-verify", "-in", file.to_str().unwrap(), "-CAfile", &ca, "-signer", &who];
    let text = run("openssl", &args);
    assert!(text.contains("erification successful"), "{text}");
}

/// The value of the record that `luytre dkim new` prints.
fn dns_value(text: &str) -> String {
    let value =
        text.lines().find_map(|line| line.strip_prefix("Value: ")).unwrap_or_else(|| panic!("no record in {text}"));
    assert!(value.starts_with("v=DKIM1"), "{text}");
    value.to_owned()
}

fn make_certificate(site: &Site, address: &str) {
    let dir = site.folder.path().display().to_string();
    let file = |name: &str| format!("{dir}/{name}");
    let subject = ["-subj", "/CN=Test CA"];
    let ca = (file("ca.key.pem"), file("ca.pem"));
    run(
        "openssl",
        &[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", subject[0], subject[1], "-keyout", &ca.0,
            "-out", &ca.1,
        ],
    );
    site.folder.write(
        "ext",
        format!("subjectAltName=email:{address}\nextendedKeyUsage=emailProtection\nkeyUsage=digitalSignature\n"),
    );
    let (key, csr, cert) = (file("an.key.pem"), file("an.csr"), file("an.pem"));
    run("openssl", &["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=An", "-keyout", &key, "-out", &csr]);
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &csr,
            "-CA",
            &ca.1,
            "-CAkey",
            &ca.0,
            "-set_serial",
            "7",
            "-extfile",
            &file("ext"),
            "-out",
            &cert,
        ],
    );
}
