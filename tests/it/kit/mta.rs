//! Real Exim and OpenSMTPD (Debian packages, unpacked by `tests/setup.sh`) that pass everything on to one server.
//!
//! Each runs in a mount namespace of its own: the users it wants stand in a copy of /etc/passwd that only it sees, its
//! queue lies in its own memory file systems, and the machine's mail server, if there is one, knows nothing of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::gateway::Folder;
use super::peer::key_and_certificate;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Exim,
    OpenSmtpd,
}

/// Ids that no Debian package uses; they exist inside the namespace only.
const USERS: [(&str, u32); 3] = [("Debian-exim", 64_990), ("opensmtpd", 64_991), ("opensmtpq", 64_992)];

/// Makes the namespace: $1 is the server's folder, the rest is the command that takes this process's place.
const NAMESPACE: &str = "set -eu; dir=$1; shift
mount -t tmpfs none /run; mount -t tmpfs none /var/spool; mount -t tmpfs none /var/lib
mount --bind \"$dir/passwd\" /etc/passwd; mount --bind \"$dir/group\" /etc/group
cd /var/spool; mkdir -m 711 smtpd; cd smtpd; mkdir -m 770 offline; mkdir -m 700 purge queue incoming
chown root:opensmtpq offline; chown opensmtpq:root purge queue incoming
mkdir -p /var/lib/opensmtpd/empty; chmod 755 /var/lib
cd /; exec \"$@\"";

/// A running server; stopped when dropped.
pub struct Mta {
    folder: Folder,
    child: Child,
    pub address: SocketAddr,
    /// PEM of the certificate it shows.
    pub certificate: Vec<u8>,
}

impl Mta {
    /// `None`, and a word about it, where this machine cannot run one.
    pub fn start(kind: Kind, forward_to: SocketAddr) -> Option<Self> {
        Self::start_with(kind, forward_to, None)
    }

    /// The same, with an account (name and password) there and inside TLS only.
    pub fn logging_in(kind: Kind, forward_to: SocketAddr, account: (&str, &str)) -> Option<Self> {
        Self::start_with(kind, forward_to, Some(account))
    }

    fn start_with(kind: Kind, forward_to: SocketAddr, account: Option<(&str, &str)>) -> Option<Self> {
        let program = program(kind)?;
        let folder = Folder::in_temp("mta");
        let at = folder.path();
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
        users(&folder);
        // Where its own users can reach it; the tree may lie in somebody's home.
        let copy = at.join("server");
        std::fs::copy(program, &copy).unwrap();
        let (key, certificate) = key_and_certificate("127.0.0.1");
        let certificate = certificate.to_pem().unwrap();
        folder.write("certificate.pem", &certificate);
        let key = folder.write("key.pem", key.private_key_to_pem_pkcs8().unwrap());
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let arguments = match kind {
            Kind::Exim => exim(&folder, address, forward_to, account),
            Kind::OpenSmtpd => opensmtpd(&folder, address, forward_to, account),
        };
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", NAMESPACE, "sh"]).arg(at).arg(copy);
        let log = std::fs::File::create(at.join("output")).unwrap();
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut this = Self { child: command.spawn().unwrap(), folder, address, certificate };
        this.ready();
        Some(this)
    }

    fn ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "the server did not start: {}", self.log());
            // Another process has no bell to ring.
            std::thread::yield_now();
        }
    }

    /// What it wrote, for a test that fails.
    pub fn log(&self) -> String {
        let files = ["output", "log/mainlog", "log/rejectlog", "log/paniclog"];
        files.iter().filter_map(|f| std::fs::read_to_string(self.folder.path().join(f)).ok()).collect()
    }
}

impl Drop for Mta {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn program(kind: Kind) -> Option<PathBuf> {
    let path = match kind {
        Kind::Exim => "exim4-daemon-light/usr/sbin/exim4",
        Kind::OpenSmtpd => "opensmtpd/usr/sbin/smtpd",
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers").join(path);
    if !path.exists() {
        println!("skipped: {kind:?} is not there; tests/setup.sh unpacks it");
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: {kind:?} is started by root only");
        return None;
    }
    // A container without the right to, or a changed root that is no mount of its own.
    let namespace = Command::new("unshare").args(["--mount", "--propagation", "private", "true"]).output();
    if !namespace.is_ok_and(|done| done.status.success()) {
        println!("skipped: this machine gives no mount namespace for {kind:?}");
        return None;
    }
    Some(path)
}

fn users(folder: &Folder) {
    for (file, tail) in [("passwd", "::/nonexistent:/usr/sbin/nologin"), ("group", "")] {
        let text = std::fs::read_to_string(format!("/etc/{file}")).unwrap();
        let own = |line: &&str| USERS.iter().all(|(name, _)| !line.starts_with(&format!("{name}:")));
        let mut text: String = text.lines().filter(own).map(|line| format!("{line}\n")).collect();
        for (name, id) in USERS {
            let group = if file == "passwd" { format!("{id}") } else { String::new() };
            writeln!(text, "{name}:x:{id}:{group}{tail}").unwrap();
        }
        folder.write(file, text);
    }
}

fn exim(folder: &Folder, address: SocketAddr, to: SocketAddr, account: Option<(&str, &str)>) -> Vec<String> {
    let dir = folder.path().display();
    for name in ["spool", "log"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["spool", "log", "key.pem"] {
        let id = Some(USERS[0].1);
        std::os::unix::fs::chown(folder.path().join(name), id, id).unwrap();
    }
    let (host, port) = (to.ip(), to.port());
    let must = if account.is_some() {
        "  hosts_require_tls = *\n  hosts_require_auth = *\n  tls_verify_hosts =\n  tls_try_verify_hosts =\n"
    } else {
        ""
    };
    let login = account.map_or_else(String::new, |(name, password)| {
        format!("begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  client_send = ^{name}^{password}\n")
    });
    let text = format!(
        "notifier_socket =\nexim_path = {dir}/server\nspool_directory = {dir}/spool\nlog_file_path = {dir}/log/%slog\n\
         primary_hostname = exim.partner.example\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = {}\nhost_lookup =\n\
         rfc1413_hosts =\nkeep_environment =\ndisable_ipv6\nmessage_size_limit = 50M\nacl_smtp_rcpt = all\n\
         pipelining_advertise_hosts = *\nchunking_advertise_hosts = *\ntls_advertise_hosts = *\n\
         tls_certificate = {dir}/certificate.pem\ntls_privatekey = {dir}/key.pem\nqueue_run_max = 10\n\
         begin acl\nall:\n  deny local_parts = nobody\n    message = no such user\n  accept\n\
         begin routers\nfwd:\n  driver = manualroute\n  transport = out\n  route_list = * {host} byname\n  self = send\n\
         begin transports\nout:\n  driver = smtp\n  port = {port}\n  allow_localhost\n{must}\
         begin retry\n* * F,2h,1s\n{login}",
        address.port()
    );
    let config = folder.write("exim.conf", text);
    vec!["-C".to_owned(), config.display().to_string(), "-bdf".to_owned(), "-q2s".to_owned()]
}

fn opensmtpd(folder: &Folder, address: SocketAddr, to: SocketAddr, account: Option<(&str, &str)>) -> Vec<String> {
    let dir = folder.path().display();
    let relay = match account {
        None => format!("smtp://{to}"),
        Some(_) => format!("smtp+tls://mine@{to} auth <secrets> tls no-verify"),
    };
    let text = format!(
        "pki mine cert \"{dir}/certificate.pem\"\npki mine key \"{dir}/key.pem\"\n\
         listen on 127.0.0.1 port {} tls pki mine hostname smtpd.partner.example\n\
         action \"fwd\" relay host {relay}\nmatch from any for any rcpt-to <nobody> reject\nmatch from any for any action \"fwd\"\n",
        address.port()
    );
    let secrets = account.map_or_else(String::new, |(n, p)| format!("table secrets {{ mine = \"{n}:{p}\" }}\n"));
    let text = format!("{secrets}table nobody {{ nobody@agency.test }}\n{text}");
    let config = folder.write("smtpd.conf", text);
    vec!["-d".to_owned(), "-f".to_owned(), config.display().to_string()]
}
