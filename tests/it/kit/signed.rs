//! A small signed world: a root zone, `test.` and a few zones below it, signed by `ldns-signzone` and served by NSD, so that the
//! gateway's validator meets signatures that neither it nor its library made.
//!
//! `signed.test` is signed; `plain.test` is proven to be unsigned; `bogus.test` is signed and was changed afterwards.

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::gateway::Folder;

pub struct SignedWorld {
    pub address: SocketAddr,
    /// The root's key signing key, as `[deliver.internet] trust_anchors` wants it.
    pub anchors: PathBuf,
    server: Child,
    _folder: Folder,
}

impl Drop for SignedWorld {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// How the zones prove what is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Denial {
    #[default]
    Nsec,
    /// Hashed names (RFC 5155).
    Nsec3,
    /// Hashed, and unsigned delegations left out: as the great top-level domains do.
    OptOut,
    /// Hashed two hundred times over.
    Laborious,
}

impl Denial {
    /// Those that are to make no difference.
    pub const ALL: [Self; 3] = [Self::Nsec, Self::Nsec3, Self::OptOut];

    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Nsec => &[],
            // RFC 9276 §3.1: no extra rounds, no salt.
            Self::Nsec3 => &["-n", "-t", "0"],
            Self::OptOut => &["-n", "-t", "0", "-p"],
            Self::Laborious => &["-n", "-t", "200"],
        }
    }
}

/// Lines of a zone file, names relative to the zone.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    pub signed: String,
    pub plain: String,
    pub bogus: String,
    /// What is changed in `bogus.test` after it was signed: this into that.
    pub forge: Vec<(&'static str, &'static str)>,
    pub denial: Denial,
}

fn nsd() -> &'static str {
    if Path::new("/usr/sbin/nsd").exists() { "/usr/sbin/nsd" } else { "nsd" }
}

/// A zone with its SOA, its name server and the given lines.
fn zone(folder: &Folder, name: &str, lines: &str) -> PathBuf {
    let text = format!(
        "$ORIGIN {name}\n$TTL 300\n@ IN SOA ns.test. hostmaster.test. 1 3600 600 86400 60\n@ IN NS ns.test.\n{lines}\n"
    );
    folder.write(&format!("{}zone", name.trim_start_matches('.')), text)
}

/// Signs a zone; gives the signed file and the DS records for its parent.
fn sign(folder: &Folder, name: &str, file: &Path, denial: Denial) -> (PathBuf, String, String) {
    let keygen = Command::new("ldns-keygen")
        .args(["-k", "-a", "ECDSAP256SHA256", name])
        .current_dir(folder.path())
        .output()
        .expect("ldns-keygen runs (package ldnsutils)");
    assert!(keygen.status.success(), "{}", String::from_utf8_lossy(&keygen.stderr));
    let base = String::from_utf8(keygen.stdout).unwrap().trim().to_owned();
    let signed = file.with_extension("signed");
    let output = Command::new("ldns-signzone")
        .args(denial.arguments())
        .args(["-b", "-f"])
        .arg(&signed)
        .arg(file)
        .arg(&base)
        .current_dir(folder.path())
        .output()
        .expect("ldns-signzone runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |extension: &str| std::fs::read_to_string(folder.path().join(format!("{base}.{extension}"))).unwrap();
    (signed, read("ds"), read("key"))
}

impl SignedWorld {
    pub fn start(zones: &Zones) -> Self {
        let folder = Folder::new("dnssec");
        let mut served: Vec<(&str, PathBuf)> = Vec::new();
        let mut delegations = String::new();
        let ns = "ns.test. IN A 127.0.0.1\n";
        let signed = zone(&folder, "signed.test.", &zones.signed);
        let (signed, ds, _) = sign(&folder, "signed.test.", &signed, zones.denial);
        served.push(("signed.test.", signed));
        delegations.push_str(&format!("signed.test. IN NS ns.test.\n{ds}\n"));
        served.push(("plain.test.", zone(&folder, "plain.test.", &zones.plain)));
        delegations.push_str("plain.test. IN NS ns.test.\n");
        let honest = zone(&folder, "bogus.test.", &zones.bogus);
        let (bogus, ds, _) = sign(&folder, "bogus.test.", &honest, zones.denial);
        let text = std::fs::read_to_string(&bogus).unwrap();
        let mut forged = text.clone();
        for (from, to) in &zones.forge {
            assert!(forged.contains(from), "there is no {from} to forge:\n{forged}");
            forged = forged.replace(from, to);
        }
        std::fs::write(&bogus, forged).unwrap();
        served.push(("bogus.test.", bogus));
        delegations.push_str(&format!("bogus.test. IN NS ns.test.\n{ds}\n"));
        // Delegations stand below `test.`, and under opt-out those that are not signed leave no trace in it.
        let above = zone(&folder, "test.", &format!("{ns}{delegations}"));
        let (above, ds, _) = sign(&folder, "test.", &above, zones.denial);
        served.push(("test.", above));
        // As on the Internet the root itself has NSEC.
        let root = zone(&folder, ".", &format!("{ns}test. IN NS ns.test.\n{ds}\n"));
        let (root, _, key) = sign(&folder, ".", &root, Denial::Nsec);
        served.push((".", root));
        let anchors = folder.write("anchors", key);
        let (server, address) = serve(&folder, &served);
        Self { address, anchors, server, _folder: folder }
    }
}

fn serve(folder: &Folder, served: &[(&str, PathBuf)]) -> (Child, SocketAddr) {
    let here = folder.path().display();
    for _ in 0..20 {
        // Free a moment ago; if somebody was quicker, NSD says so and another one is tried.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = format!(
            "server:\n ip-address: 127.0.0.1\n port: {port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{here}\"\n \
             database: \"\"\n pidfile: \"{here}/nsd.pid\"\n xfrdfile: \"{here}/xfrd.state\"\n \
             zonelistfile: \"{here}/zone.list\"\n xfrdir: \"{here}\"\n server-count: 1\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n"
        );
        for (name, file) in served {
            let _ = writeln!(config, "zone:\n name: \"{name}\"\n zonefile: \"{}\"", file.display());
        }
        let config = folder.write("nsd.conf", config);
        let log = std::fs::File::create(folder.path().join("nsd.log")).unwrap();
        let mut server = Command::new(nsd())
            .arg("-d")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("nsd runs (package nsd)");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if answers(address, &mut server) {
            return (server, address);
        }
        let _ = server.kill();
        let _ = server.wait();
    }
    panic!("NSD did not start:\n{}", std::fs::read_to_string(folder.path().join("nsd.log")).unwrap_or_default());
}

/// Waits until the server answers for the root's SOA, or has ended.
fn answers(address: SocketAddr, server: &mut Child) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    // One question: ". SOA IN".
    let query = [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while std::time::Instant::now() < end {
        if server.try_wait().unwrap().is_some() {
            return false;
        }
        let mut reply = [0; 512];
        if socket.send(&query).is_ok()
            && let Ok(length) = socket.recv(&mut reply)
            && length > 12
            && reply[3] & 15 == 0
        {
            return true;
        }
    }
    false
}
