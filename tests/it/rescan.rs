//! Held mail that is looked at again by itself: what no engine could scan is let go once when clamd is back, also after a
//! restart of the gateway; a find after new signatures changes what is held and bars its release.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use openssl::ssl::{SslAcceptor, SslMethod};

use crate::engines::{attached, clamd, codes, eicar, engine, free, send};
use crate::kit::gateway::{Gateway, luytre};
use crate::kit::peer::key_and_certificate;
use crate::kit::site::{Site, letter};

const HOLD: &str = "[engines]\nwhen_down = \"quarantine\"\nrescan_rate = 6000\n";

/// Held messages that were not released, by subject.
fn held(gateway: &Gateway) -> HashMap<String, serde_json::Value> {
    let (code, text, error) = luytre(&["quarantine", "list", "--json", "--config", gateway.config.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let subject = |entry: &serde_json::Value| entry["held"]["meta"]["subject"].as_str().unwrap().to_owned();
    entries.map(|entry| (subject(&entry), entry)).collect()
}

fn release(gateway: &Gateway, entry: &serde_json::Value) -> (i32, String) {
    let config = gateway.config.to_str().unwrap();
    let key = entry["key"].as_str().unwrap();
    let (code, text, error) = luytre(&["quarantine", "release", key, "--config", config, "--reason", "asked for"]);
    (code, text + &error)
}

/// A message that is held whatever engines say: nobody can tell what is in it.
fn closed(subject: &str, text: &str) -> Vec<u8> {
    let letter = String::from_utf8(letter(subject, text)).unwrap();
    letter
        .replacen("\r\n\r\n", "\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: x-nobody-knows\r\n\r\n", 1)
        .into_bytes()
}

#[test]
fn r12_mail_held_because_no_engine_could_look_is_released_once_when_clamd_is_back() {
    let site = Site::new("rescan");
    let address = free();
    let Some(first) = clamd(&site.folder, address) else { return };
    let site = site.section(&engine("clamd", address, "")).section(HOLD).inspect("workers = 2\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    assert_eq!(send(&gateway, &letter("truoc", "x")).code, 250);
    drop(first);
    for message in [
        letter("mot", "Kinh gui anh An."),
        closed("khong ro", "x"),
        letter("hai", "Kinh gui chi Binh."),
        // No rule about attachments holds it besides.
        attached("hoa-don.txt", eicar().as_bytes()),
    ] {
        let answer = send(&gateway, &message);
        assert_eq!(answer.code, 250, "{}", answer.text);
        assert!(codes(&gateway, &answer).contains(&"engine.unscanned".to_owned()));
    }
    let waiting = held(&gateway);
    assert_eq!(waiting.len(), 4);
    assert!(waiting.values().all(|entry| entry["held"]["kind"] == "unscannable"), "not spam, which may make room");
    let (code, said) = release(&gateway, &waiting["mot"]);
    assert!(code != 0 && said.contains("engine."), "an officer is told that nobody looked: {said}");
    assert_eq!(site.sink.taken().len(), 1);
    gateway.kill();

    let gateway = site.start();
    let _again = clamd(&site.folder, address).unwrap();
    // The oldest first: behind this one there is none.
    gateway.wait_for_line("what it found", |line| line.contains("worse than was known"));
    let taken = site.sink.wait_for_count(3);
    for subject in ["mot", "hai"] {
        let of =
            |text: &str| text.contains(&format!("\r\nSubject: {subject}\r\n")) && text.contains("X-Luytre-Released: ");
        assert_eq!(taken.iter().filter(|mail| of(&mail.text())).count(), 1, "{subject}");
    }
    let left = held(&gateway);
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left["khong ro"]["held"]["kind"], "unscannable", "it was held for another reason too");
    assert_eq!(
        (left["tep"]["held"]["kind"].as_str(), left["tep"]["deeds"][0]["what"].as_str()),
        (Some("malware"), Some("found"))
    );
    assert_eq!(gateway.metric("luytre_engine_rescans_total{outcome=\"released\",why=\"unscanned\"}"), 2.0);
    assert_eq!(gateway.metric("luytre_engine_rescans_total{outcome=\"found\",why=\"unscanned\"}"), 1.0);
    let (code, said) = release(&gateway, &left["tep"]);
    assert!(code != 0 && said.contains("malware.luytre.test.eicar"), "{said}");
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(gateway.wait(), 0);
    assert_eq!(site.sink.taken().len(), 3, "each was delivered once");
}

/// A clamd that learns a word with each version.
struct Learner {
    address: SocketAddr,
    version: Arc<AtomicUsize>,
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Learner {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (version, open) = (Arc::new(AtomicUsize::new(1)), Arc::new(Mutex::new(Some(Vec::new()))));
        let (knows, streams) = (Arc::clone(&version), Arc::clone(&open));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut streams = streams.lock().unwrap();
                let Some(all) = streams.as_mut() else { return };
                all.push(stream.try_clone().unwrap());
                let knows = Arc::clone(&knows);
                std::thread::spawn(move || serve(stream, &knows));
            }
        });
        Self { address, version, open }
    }

    /// Nobody answers any more.
    fn stop(&self) {
        for stream in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        // Wakes the thread that accepts, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// One session of clamd's protocol, over whatever it comes.
fn serve(stream: impl std::io::Read + std::io::Write, knows: &AtomicUsize) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    for number in 0.. {
        let mut command = Vec::new();
        if stream.read_until(0, &mut command)? == 0 {
            return Ok(());
        }
        let version = knows.load(Ordering::SeqCst);
        let answer = match command.as_slice() {
            b"zVERSION\0" => format!("{number}: ClamAV 1.4.3/{version}/Sat Nov 21 09:41:02 2026\0"),
            b"zINSTREAM\0" => {
                let mut octets = Vec::new();
                loop {
                    let mut length = [0; 4];
                    stream.read_exact(&mut length)?;
                    let mut chunk = vec![0; u32::from_be_bytes(length) as usize];
                    if chunk.is_empty() {
                        break;
                    }
                    stream.read_exact(&mut chunk)?;
                    octets.extend(chunk);
                }
                let is_found = version > 1 && String::from_utf8_lossy(&octets).contains("WORM");
                let said = if is_found { "New.Worm FOUND" } else { "OK" };
                format!("{number}: stream: {said}\0")
            }
            _ => continue,
        };
        stream.get_mut().write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// An engine on another machine, under TLS: believed by an authority or by its key, and by nothing else.
#[test]
fn an_engine_under_tls_proves_who_it_is() {
    let (key, certificate) = key_and_certificate("127.0.0.1");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let acceptor = acceptor.clone();
            // A client that does not believe us is at its end.
            std::thread::spawn(move || acceptor.accept(stream).map(|stream| serve(stream, &AtomicUsize::new(1))));
        }
    });
    let digest = openssl::sha::sha256(&key.public_key_to_der().unwrap());
    let pin: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let other = "ab".repeat(32);
    for (trust, outcome) in [
        (format!("tls_pins = [\"sha256:{pin}\"]"), Ok(())),
        ("tls_ca = \"av.pem\"".to_owned(), Ok(())),
        (format!("tls_pins = [\"sha256:{other}\"]"), Err(pin.as_str())),
        (String::new(), Err("not believed")),
    ] {
        let site = Site::new("engine-tls").section(&engine("clamd", address, &format!("tls = true\n{trust}")));
        site.folder.write("av.pem", certificate.to_pem().unwrap());
        let config = site.write();
        let (code, text, error) = luytre(&["engine", "--config", config.to_str().unwrap()]);
        match outcome {
            Ok(()) => assert!(code == 0 && text.contains("ClamAV 1.4.3"), "{trust}: {text}{error}"),
            Err(why) => assert!(code != 0 && (text.clone() + &error).contains(why), "{trust}: {text}{error}"),
        }
    }
}

#[test]
fn held_mail_is_shown_again_after_new_signatures_and_a_find_bars_its_release() {
    let site = Site::new("rescan-news");
    let learner = Learner::start();
    let site = site.section(&engine("clamd", learner.address, "")).section(HOLD);
    let site = site.inspect("workers = 2\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    let ask = || {
        let (code, text, error) = luytre(&["engine", "--config", gateway.config.to_str().unwrap()]);
        assert_eq!(code, 0, "{text}{error}");
    };
    assert_eq!(send(&gateway, &closed("sau", "a WORM in it")).code, 250);
    assert_eq!(send(&gateway, &closed("lanh", "nothing")).code, 250);
    ask();
    assert!(held(&gateway).values().all(|entry| entry["held"]["kind"] == "unscannable"));
    learner.version.store(2, Ordering::SeqCst);
    ask();
    let line = gateway.wait_for_line("what it found", |line| line.contains("worse than was known"));
    assert!(line.contains("malware.new.worm") && line.contains("ClamAV 1.4.3/2/"), "{line}");
    let left = held(&gateway);
    assert_eq!(
        (left["sau"]["held"]["kind"].as_str(), left["lanh"]["held"]["kind"].as_str()),
        (Some("malware"), Some("unscannable"))
    );
    assert_eq!(left["sau"]["held"]["because"][0], "malware.new.worm");
    assert_eq!(gateway.metric("luytre_engine_rescans_total{outcome=\"found\",why=\"signatures\"}"), 1.0);
    assert_eq!(gateway.metric("luytre_quarantine_messages{kind=\"malware\"}"), 1.0);
    let id = left["sau"]["held"]["meta"]["id"].as_str().unwrap();
    let receipt = gateway.receipt(id).unwrap();
    assert!(receipt.outcome.iter().any(|outcome| outcome.state == "found"), "{:?}", receipt.outcome);
    // Also where nobody can look today.
    learner.stop();
    let (code, said) = release(&gateway, &left["sau"]);
    assert!(code != 0 && said.contains("malware.new.worm"), "{said}");
    assert!(site.sink.taken().is_empty());
}
