//! Real virus engines behind the production binary: clamd of the distribution with two signatures of our own (there is no
//! network to fetch others), every one of Debian's clamav-testfiles found through the gateway; c-icap with its
//! virus-scan module; clamd stopped under load. Skips, and says so, where the packages are not installed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Folder, Gateway, luytre, receipt_id};
use crate::kit::site::{Site, letter};

const TESTFILES: &str = "/usr/share/clamav-testfiles";
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/c_icap";

/// Asks again and again what no file tells; panics with `what` after two minutes.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        if let Some(found) = ask() {
            return found;
        }
        std::thread::yield_now();
    }
    panic!("it did not come about: {what}");
}

/// Says "stop" when it goes.
struct Ended<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A daemon that ends with its owner.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(command: &mut Command, address: SocketAddr) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("a daemon that listens", || TcpStream::connect(address).ok());
        Self { child, address }
    }
}

fn eicar() -> String {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

/// The program that every test file holds, and the one that every engine knows.
fn signatures(folder: &Folder) -> PathBuf {
    let clam = Command::new("md5sum").arg(Path::new(TESTFILES).join("clam.exe")).output().unwrap();
    let digest = String::from_utf8(clam.stdout).unwrap();
    folder.write("base/own.hdb", format!("{}:544:Luytre.Test.Clam\n", &digest[..32]));
    let hex: String = eicar().bytes().map(|b| format!("{b:02x}")).collect();
    folder.write("base/own.ndb", format!("Luytre.Test.Eicar:0:*:{hex}\n"));
    folder.path().join("base")
}

/// Starts clamd, or says that it is not here.
fn clamd(folder: &Folder, address: SocketAddr) -> Option<Daemon> {
    if !Path::new("/usr/sbin/clamd").exists() || !Path::new(TESTFILES).exists() {
        println!("skipped: clamav-daemon and clamav-testfiles are not installed");
        return None;
    }
    let config = folder.write(
        "clamd.conf",
        format!(
            "Foreground yes\nTCPAddr 127.0.0.1\nTCPSocket {}\nDatabaseDirectory {}\nTemporaryDirectory {}\n\
             AlertExceedsMax yes\nAlertEncrypted yes\nStreamMaxLength 30M\nMaxFileSize 30M\nMaxThreads 4\nConcurrentDatabaseReload no\n",
            address.port(),
            signatures(folder).display(),
            folder.path().display()
        ),
    );
    Some(Daemon::start(Command::new("/usr/sbin/clamd").arg("--config-file").arg(config), address))
}

fn engine(kind: &str, address: SocketAddr, rest: &str) -> String {
    format!("[[engine]]\nid = \"{kind}\"\nkind = \"{kind}\"\naddress = \"{address}\"\n{rest}\n")
}

fn send(gateway: &Gateway, message: &[u8]) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver("ketoan@partner.example", &["an@agency.test"], message).unwrap()
}

fn attached(name: &str, octets: &[u8]) -> Vec<u8> {
    let coded = base64::engine::general_purpose::STANDARD.encode(octets);
    let lines: Vec<&str> = coded.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect();
    let headers =
        "From: Ke toan <ketoan@partner.example>\r\nTo: an@agency.test\r\nSubject: tep\r\nMIME-Version: 1.0\r\n";
    format!(
        "{headers}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nxin gui tep\r\n--b\r\n\
         Content-Type: application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}\r\n--b--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

/// The codes in the receipt of a message that was taken.
fn codes(gateway: &Gateway, answer: &Answer) -> Vec<String> {
    let receipt = gateway.receipt(&receipt_id(&answer.text).expect("an id")).expect("a receipt");
    receipt.groups[0].findings.iter().map(|line| line.code.clone()).collect()
}

#[test]
fn clamd_finds_every_one_of_debians_test_files_through_the_gateway() {
    let site = Site::new("clamd");
    let Some(clamd) = clamd(&site.folder, free()) else { return };
    // Our own rules know some of them too: here only the engine speaks.
    let site = site.section(&engine("clamd", clamd.address, "")).inspect("workers = 2\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    let mut files: Vec<PathBuf> = std::fs::read_dir(TESTFILES).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    assert!(files.len() > 40, "{files:?}");
    let mut missed = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let answer = send(&gateway, &attached(name, &std::fs::read(file).unwrap()));
        // Held, or with points enough besides refused.
        assert!(matches!(answer.code, 250 | 554), "{name}: {}", answer.text);
        if !codes(&gateway, &answer).iter().any(|code| code.starts_with("malware.luytre.test.clam")) {
            missed.push(name.to_owned());
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    println!("clamd: {} of {} test files found", files.len(), files.len());
    assert!(site.sink.taken().is_empty());
    let clean = send(&gateway, &letter("Bao cao", "Kính gửi anh An."));
    let receipt = gateway.receipt(&receipt_id(&clean.text).unwrap()).unwrap();
    let fact = &receipt.engines[0];
    assert_eq!((fact.engine.as_str(), fact.outcome.as_str(), fact.asked), ("clamd", "clean", 1));
    assert!(fact.version.starts_with("ClamAV 1."), "{fact:?}");
    let found = send(&gateway, &letter("Hoa don", &eicar()));
    assert!(codes(&gateway, &found).contains(&"malware.luytre.test.eicar.unofficial".to_owned()));
    assert_eq!(gateway.metric("luytre_engine_up{engine=\"clamd\"}"), 1.0);

    let (code, text, error) = luytre(&["engine", "--config", gateway.config.to_str().unwrap()]);
    assert!(code == 0 && text.starts_with("clamd: ") && text.contains("ClamAV 1."), "{text}{error}");
}

#[test]
fn dial_tone_lost_clamd_stops_under_load_and_returns() {
    let site = Site::new("clamd-stop");
    let address = free();
    let Some(clamd_one) = clamd(&site.folder, address) else { return };
    let site = site.section(&engine("clamd", address, ""));
    let gateway = site.start();
    assert_eq!(send(&gateway, &letter("mot", "x")).code, 250);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sent = std::sync::atomic::AtomicU64::new(0);
    let replies = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // Whatever happens here, the senders end.
        let _end = Ended(&stop);
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    // Each another message: a verdict on the same octets is remembered.
                    let number = sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    let answer = send(&gateway, &letter(&format!("tai {number}"), "y"));
                    replies.lock().unwrap().push(answer);
                }
            });
        }
        let count = |code| replies.lock().unwrap().iter().filter(|a| a.code == code).count();
        until("mail that is taken", || (count(250) > 5).then_some(()));
        drop(clamd_one);
        until("mail that must wait", || (count(451) > 20).then_some(()));
        until("the engine's gauge", || (gateway.metric("luytre_engine_up{engine=\"clamd\"}") == 0.0).then_some(()));
        until("the gauge", || (gateway.metric("luytre_engines_down") == 1.0).then_some(()));
        gateway.wait_for_line("that the engine is down", |line| line.contains("a virus engine is down"));
        let _again = clamd(&site.folder, address).unwrap();
        let before = count(250);
        until("mail that is taken again", || (count(250) > before + 5).then_some(()));
    });
    let replies = replies.into_inner().unwrap();
    assert!(replies.iter().all(|answer| matches!(answer.code, 250 | 451)), "{replies:?}");
    let waits = replies.iter().find(|answer| answer.code == 451).unwrap();
    assert!(waits.text.contains("4.7.1") && waits.text.contains("malware"), "{}", waits.text);
    let taken = replies.iter().filter(|answer| answer.code == 250).count() + 1;
    assert_eq!(site.sink.wait_for_count(taken).len(), taken, "what was not scanned was not taken");
}

#[test]
fn rfc3507_c_icap_with_its_virus_scan_module() {
    let site = Site::new("c-icap");
    if !Path::new("/usr/bin/c-icap").exists() || !Path::new(MODULES).join("virus_scan.so").exists() {
        println!("skipped: c-icap and libc-icap-mod-virus-scan are not installed");
        return;
    }
    let Some(clamd) = clamd(&site.folder, free()) else { return };
    let address = free();
    let folder = site.folder.path().display();
    let config = site.folder.write(
        "c-icap.conf",
        format!(
            "PidFile {folder}/c-icap.pid\nCommandsSocket {folder}/c-icap.ctl\nStartServers 1\nMaxServers 2\n\
             MinSpareThreads 5\nMaxSpareThreads 10\nThreadsPerChild 10\nPort 127.0.0.1:{}\nServerAdmin a@agency.test\n\
             ServerName gw.agency.test\nTmpDir {folder}\nModulesDir {MODULES}\nServicesDir {MODULES}\n\
             TemplateDir /usr/share/c_icap/templates/\nLoadMagicFile /etc/c-icap/c-icap.magic\n\
             ServerLog {folder}/server.log\nAccessLog {folder}/access.log\nModule common clamd_mod.so\n\
             clamd_mod.ClamdHost 127.0.0.1\nclamd_mod.ClamdPort {}\nService antivirus_module virus_scan.so\n\
             ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple\n\
             virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE\nvirus_scan.MaxObjectSize 50M\n\
             virus_scan.DefaultEngine clamd\n",
            address.port(),
            clamd.address.port()
        ),
    );
    let icap = Daemon::start(Command::new("/usr/bin/c-icap").args(["-N", "-f"]).arg(config), address);
    let site = site.section(&engine("icap", icap.address, "service = \"avscan\""));
    let site = site.inspect("workers = 2\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    for _ in 0..3 {
        let clean = send(&gateway, &letter("Bao cao", "Kính gửi anh An."));
        assert_eq!(clean.code, 250, "{}", clean.text);
        let receipt = gateway.receipt(&receipt_id(&clean.text).unwrap()).unwrap();
        assert_eq!(receipt.engines[0].outcome, "clean", "{:?}", receipt.engines);
    }
    for (name, octets) in [
        ("eicar.txt", eicar().into_bytes()),
        ("clam.exe", std::fs::read(Path::new(TESTFILES).join("clam.exe")).unwrap()),
    ] {
        let found = send(&gateway, &attached(name, &octets));
        let codes = codes(&gateway, &found);
        assert!(codes.iter().any(|code| code.starts_with("malware.luytre.test")), "{name}: {codes:?}");
    }
    drop(clamd);
    // The service is there and can scan nothing: that is not "clean".
    let blind = send(&gateway, &letter("Bao cao", "Kính gửi chị Bình, lần hai."));
    assert_eq!(blind.code, 451, "{}", blind.text);
}

/// The emergency bypass while inspectors are stuck: mail flows, and what an engine knows to be bad does not.
#[test]
fn r48_under_the_bypass_engines_speak_for_mail_that_no_inspector_took() {
    let site = Site::new("bypass-engines");
    let Some(clamd) = clamd(&site.folder, free()) else { return };
    let site = site.section(&engine("clamd", clamd.address, ""));
    let site = site.inspect("workers = 1\ndeadline = \"1 s\"\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let (code, _, error) =
        luytre(&["bypass", "on", "--config", config, "--for", "1 h", "--reason", "inspectors stuck"]);
    assert_eq!(code, 0, "{error}");
    for pid in crate::survive::children(gateway.pid()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGSTOP).unwrap();
    }
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let one = |number: usize| send(&gateway, &letter(&format!("hoa don {number}"), &eicar()));
        let senders: Vec<_> = (0..8).map(|number| scope.spawn(move || one(number))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let receipts = answers.iter().map(|answer| {
        assert_eq!(answer.code, 250, "{}", answer.text);
        gateway.receipt(&receipt_id(&answer.text).unwrap()).unwrap()
    });
    let mut uninspected = 0;
    for receipt in receipts {
        let codes: Vec<&str> = receipt.groups[0].findings.iter().map(|line| line.code.as_str()).collect();
        assert!(codes.contains(&"malware.luytre.test.eicar.unofficial"), "{codes:?}");
        uninspected += usize::from(receipt.parts.is_empty());
    }
    assert!(uninspected > 0, "the one inspector was stuck");
    assert!(site.sink.taken().is_empty());
}
