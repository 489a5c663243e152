//! A real Postfix (Debian package) as next hop: what we send is what lands in its mailboxes.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use luytre::deliver::Handover;
use luytre::deliver::settings::{Profile, TlsMode};
use luytre::mail::MailId;

use crate::kit::watch::{self, Watch};

use super::house::{House, START, hop, parcel, word};
use crate::kit::peer::key_and_certificate;

/// A Postfix of our own in a temporary folder; stopped when dropped.
struct Postfix {
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
    watch: Watch,
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.command("stop").status();
        let _ = self.child.wait();
    }
}

fn id(of: &str, name: &str) -> Option<String> {
    let output = Command::new("id").args([of, name]).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn write(path: PathBuf, text: &str) {
    fs::write(path, text).unwrap();
}

impl Postfix {
    /// `None`, and a word about it, where this machine cannot run one.
    fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// With lines of its own in main.cf; `{dir}` is its folder.
    fn start_with(more: &str) -> Option<Self> {
        let programs = ["/usr/sbin/postfix", "/usr/lib/postfix/sbin/master"];
        let (uid, gid) = match (id("-u", "postfix"), id("-g", "postfix")) {
            (Some(uid), Some(gid)) if programs.iter().all(|p| Path::new(p).exists()) => (uid, gid),
            _ => {
                println!("skipped: postfix is not installed");
                return None;
            }
        };
        if id("-u", "root").is_none() || !nix::unistd::geteuid().is_root() {
            println!("skipped: postfix is started by root only");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        let at = folder.path();
        // The daemons run as another user and must get through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(at, open).unwrap();
        for name in ["conf", "queue", "data", "mail"] {
            fs::create_dir(at.join(name)).unwrap();
        }
        for name in ["data", "mail"] {
            let owner = (Some(uid.parse().unwrap()), Some(gid.parse().unwrap()));
            std::os::unix::fs::chown(at.join(name), owner.0, owner.1).unwrap();
        }
        for name in ["a", "b"] {
            watch::maildir(&at.join("mail").join(name), uid.parse().unwrap(), gid.parse().unwrap());
        }
        let watch = Watch::over(at);
        let (key, certificate) = key_and_certificate("127.0.0.1");
        write(at.join("key.pem"), std::str::from_utf8(&key.private_key_to_pem_pkcs8().unwrap()).unwrap());
        write(at.join("certificate.pem"), std::str::from_utf8(&certificate.to_pem().unwrap()).unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = at.display();
        write(
            at.join("conf/main.cf"),
            &format!(
                "compatibility_level = 3.6\nqueue_directory = {dir}/queue\ndata_directory = {dir}/data\n\
                 mail_owner = postfix\nsetgid_group = postdrop\ncommand_directory = /usr/sbin\n\
                 daemon_directory = /usr/lib/postfix/sbin\nmyhostname = agency.test\nmydestination =\n\
                 local_recipient_maps =\nalias_maps =\nalias_database =\nrelay_domains =\n\
                 virtual_mailbox_domains = y.vn\nvirtual_mailbox_base = {dir}/mail\n\
                 virtual_mailbox_maps = inline:{{ a@y.vn=a/, b@y.vn=b/ }}\nvirtual_minimum_uid = 1\n\
                 virtual_uid_maps = static:{uid}\nvirtual_gid_maps = static:{gid}\ninet_interfaces = 127.0.0.1\n\
                 inet_protocols = ipv4\nsmtpd_peername_lookup = no\nmaillog_file = {dir}/log\n\
                 maillog_file_prefixes = {dir}\nsmtpd_relay_restrictions = reject_unauth_destination\n{}",
                more.replace("{dir}", &dir.to_string())
            ),
        );
        write(
            at.join("conf/master.cf"),
            &format!(
                "127.0.0.1:{port} inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
                 rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
                 trace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\nproxywrite unix - - n - 1 proxymap\n\
                 error unix - - n - - error\nretry unix - - n - - error\nvirtual unix - n n - - virtual\n\
                 anvil unix - - n - 1 anvil\ntlsmgr unix - - n 1000? 1 tlsmgr\npostlog unix-dgram n - n - 1 postlogd\npickup unix n - n 60 1 pickup\n"
            ),
        );
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(at.join("conf")).arg("start-fg").stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        watch.until("postfix says that it runs, with its port open", || {
            fs::read_to_string(at.join("log")).ok().filter(|log| log.contains("daemon started"))
        });
        Some(Self { folder, child, address, watch })
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(self.folder.path().join("conf")).arg(verb).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The messages in a mailbox, once there are `count`. Nothing of ours has to go on meanwhile.
    fn mailbox(&self, name: &str, count: usize) -> Vec<String> {
        watch::messages(&self.watch, &self.folder.path().join("mail").join(name).join("new"), count)
    }
}

#[tokio::test]
async fn postfix_takes_what_we_send_and_nothing_is_changed() {
    let Some(postfix) = Postfix::start() else { return };
    for (i, profile) in [Profile::Generic, Profile::Qmail, Profile::Exchange2010].into_iter().enumerate() {
        let house = House::new(vec![hop(postfix.address, profile, TlsMode::Opportunistic)]);
        let mut mail = parcel(
            &["a@y.vn", "b@y.vn"],
            &format!(".dot\r\n..two\r\nK\u{ed}nh g\u{1eed}i {profile:?}\r\n.\r\nend\r\n"),
        );
        mail.meta.id = MailId::new(START, i as u128);
        assert_eq!(word(&house.hand_over(&mail).await), "handed");
        let Handover::Refused { reply, .. } = house.hand_over(&parcel(&["nobody@y.vn"], "x\r\n")).await else {
            panic!()
        };
        assert_eq!((reply.code(), reply.enhanced()), (550, "5.1.1"));
        let queued = parcel(&["a@y.vn"], "queued\r\n");
        house.deliver.queue(&queued).await.unwrap();
        house.run_due().await;
        assert!(house.jobs().is_empty());
        house.deliver.drain().await;
    }
    let (a, b) = (postfix.mailbox("a", 6), postfix.mailbox("b", 3));
    for profile in ["Generic", "Qmail", "Exchange2010"] {
        let end = format!("\n\n.dot\n..two\nK\u{ed}nh g\u{1eed}i {profile}\n.\nend\n");
        assert!(a.iter().any(|m| m.ends_with(&end)) && b.iter().any(|m| m.ends_with(&end)), "{a:?}");
    }
    assert_eq!((a.len(), b.len()), (6, 3), "each once");
}

/// A real Postfix that knows TLS 1.0 and nothing newer, as Exchange 2007 does.
#[tokio::test]
async fn kb3029667_a_postfix_limited_to_tls_1_0_is_reached_under_it_or_by_policy() {
    let old = "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {dir}/certificate.pem\nsmtpd_tls_key_file = {dir}/key.pem\n\
               smtpd_tls_protocols = TLSv1\nsmtpd_tls_ciphers = low\ntls_low_cipherlist = ALL:@SECLEVEL=0\n\
               smtpd_tls_received_header = yes\n";
    let Some(postfix) = Postfix::start_with(old) else { return };
    let ways = [
        (Profile::Exchange2007, TlsMode::Opportunistic, "handed", "TLSv1"),
        (Profile::Generic, TlsMode::Opportunistic, "handed", "none"),
        (Profile::Generic, TlsMode::Required, "spooled", ""),
    ];
    for (profile, tls, expected, version) in ways {
        let house = House::new(vec![hop(postfix.address, profile, tls)]);
        let outcome = house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await;
        assert_eq!(word(&outcome), expected, "{profile:?} {tls:?}: {outcome:?}");
        if !version.is_empty() {
            assert_eq!(house.metric("luytre_delivery_tls_total", &[("version", version)]), 1.0, "{profile:?}");
        }
        house.deliver.drain().await;
    }
    let mail = postfix.mailbox("a", 2);
    assert_eq!(mail.iter().filter(|m| m.contains("using TLSv1 with")).count(), 1, "{mail:?}");
}
