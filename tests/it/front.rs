//! The front as a whole: limits of connections, reload, memory, going down.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use luytre::mail::{ByteSize, Span};
use luytre::session::house::House;
use luytre::session::settings::Limits;

use crate::talk::{Gate, open};

/// A client that waits for each answer.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        Self(BufReader::new(tcp))
    }

    /// The code of the next reply; 0 when the connection is closed.
    fn reply(&mut self) -> u16 {
        loop {
            let mut line = String::new();
            if !matches!(self.0.read_line(&mut line), Ok(count) if count > 0) {
                return 0;
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return line[..3].parse().unwrap();
            }
        }
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn say(&mut self, text: &str) -> u16 {
        self.send(&format!("{text}\r\n"));
        self.reply()
    }

    /// Up to 354.
    fn begin(&mut self) {
        for (line, code) in [
            ("EHLO x.example", 250),
            ("MAIL FROM:<a@x.example>", 250),
            ("RCPT TO:<bob@agency.test>", 250),
            ("DATA", 354),
        ] {
            assert_eq!(self.say(line), code, "{line}");
        }
    }
}

fn quick() -> Limits {
    Limits { pregreet: Span::ZERO, ..Limits::default() }
}

fn gate(limits: Limits) -> (tempfile::TempDir, Gate) {
    let folder = tempfile::tempdir().unwrap();
    let gate = open(folder.path(), "", limits);
    (folder, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_and_they_come_back() {
    let (_folder, gate) = gate(Limits { connections_per_address: 2, ..quick() });
    let (mut a, mut b) = (Client::connect(gate.address()), Client::connect(gate.address()));
    assert_eq!((a.reply(), b.reply()), (220, 220));
    let mut c = Client::connect(gate.address());
    assert_eq!((c.reply(), c.reply()), (421, 0));
    assert_eq!((a.say("QUIT"), a.reply()), (221, 0));
    drop(a);
    drop(c);
    // The place is free once the session has seen the client leave.
    gate.front.until_open(1).await;
    assert_eq!(Client::connect(gate.address()).reply(), 220);
    let text = prometheus::TextEncoder::new().encode_to_string(&gate.registry.gather()).unwrap();
    assert!(text.contains("luytre_refusals_total{reason=\"connections\"}"), "{text}");
    assert!(text.contains("luytre_sessions_total{outcome=\"quit\",role=\"mx\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_together_have_so_many_connections() {
    let (_folder, gate) = gate(Limits { connections: 1, ..quick() });
    let mut a = Client::connect(gate.address());
    assert_eq!(a.reply(), 220);
    assert_eq!(Client::connect(gate.address()).reply(), 421);
    assert_eq!(gate.front.open_sessions(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_talkers_are_sent_away_and_familiar_clients_need_not_wait() {
    let (_folder, gate) = gate(Limits { pregreet: Span::seconds(20), ..Limits::default() });
    let mut early = Client::connect(gate.address());
    early.send("EHLO x.example\r\n");
    assert_eq!((early.reply(), early.reply()), (554, 0));
    let mut house =
        House { hostname: "gw.agency.test".to_owned(), limits: quick(), stations: Vec::new(), elsewhere: Vec::new() };
    house.stations.clone_from(&gate.house.borrow().stations);
    gate.house.send(Arc::new(house)).unwrap();
    let mut client = Client::connect(gate.address());
    assert_eq!(client.reply(), 220);
    client.begin();
    assert_eq!(client.say("Subject: x\r\n\r\nx\r\n."), 250);
    let mut house = House {
        hostname: "gw.agency.test".to_owned(),
        limits: Limits::default(),
        stations: Vec::new(),
        elsewhere: Vec::new(),
    };
    house.limits.pregreet = Span::hours(1);
    house.stations.clone_from(&gate.house.borrow().stations);
    gate.house.send(Arc::new(house)).unwrap();
    assert_eq!(Client::connect(gate.address()).reply(), 220, "its mail was taken a moment ago");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_holds_from_the_next_mail_on() {
    let (_folder, gate) = gate(quick());
    let mut client = Client::connect(gate.address());
    assert_eq!(client.reply(), 220);
    assert_eq!(client.say("EHLO x.example"), 250);
    let mut house =
        House { hostname: "gw.agency.test".to_owned(), limits: quick(), stations: Vec::new(), elsewhere: Vec::new() };
    house.limits.recipients = 1;
    house.stations.clone_from(&gate.house.borrow().stations);
    gate.house.send(Arc::new(house)).unwrap();
    assert_eq!(client.say("MAIL FROM:<a@x.example>"), 250);
    assert_eq!(client.say("RCPT TO:<bob@agency.test>"), 250);
    assert_eq!(client.say("RCPT TO:<alice@agency.test>"), 452);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_down_sends_the_idle_home_and_lets_messages_end() {
    let (_folder, gate) = gate(quick());
    let (mut idle, mut busy) = (Client::connect(gate.address()), Client::connect(gate.address()));
    assert_eq!((idle.reply(), busy.reply()), (220, 220));
    busy.begin();
    let address = gate.address();
    let drain = tokio::spawn(gate.front.drain(Span::minutes(5)));
    assert_eq!((idle.reply(), idle.reply()), (421, 0));
    assert!(TcpStream::connect(address).is_err() || Client::connect(address).reply() == 0, "the door is closed");
    busy.send("Subject: last\r\n\r\nx\r\n.\r\n");
    assert_eq!((busy.reply(), busy.reply(), busy.reply()), (250, 421, 0));
    drop((idle, busy));
    assert_eq!(drain.await.unwrap().cut, 0);
    assert_eq!(gate.desk.sink().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_down_ends_at_its_deadline() {
    let (_folder, gate) = gate(quick());
    let mut busy = Client::connect(gate.address());
    assert_eq!(busy.reply(), 220);
    busy.begin();
    assert_eq!(gate.front.drain(Span::millis(10)).await.cut, 1);
    assert_eq!(busy.reply(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threats_s_32_a_message_without_its_end_never_reaches_the_desk() {
    let (folder, gate) = gate(quick());
    let mut client = Client::connect(gate.address());
    assert_eq!(client.reply(), 220);
    client.begin();
    let line = format!("{}\r\n", "x".repeat(998));
    client.send(&format!("Subject: x\r\n\r\n{}", line.repeat(3000)));
    drop(client);
    assert_eq!(gate.front.drain(Span::minutes(5)).await.cut, 0);
    assert!(gate.desk.sink().is_empty());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the certificate and its key, and no temporary file: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_of_mail_is_told_to_the_desk_with_the_id_the_client_saw() {
    let (_folder, gate) = gate(quick());
    let mut client = Client::connect(gate.address());
    assert_eq!(client.reply(), 220);
    for (line, code) in [
        ("EHLO x.example", 250),
        ("MAIL FROM:<a@x.example>", 250),
        ("RCPT TO:<nobody@agency.test>", 550),
        ("RCPT TO:<a@elsewhere.example>", 550),
        ("MAIL FROM:<b@x.example>", 503),
    ] {
        assert_eq!(client.say(line), code, "{line}");
    }
    let refused = gate.desk.refused.lock().unwrap().clone();
    assert_eq!(refused.len(), 2, "an error of the protocol concerns no mail: {refused:?}");
    assert_eq!(refused[0].0, refused[1].0, "both belong to one transaction");
    assert!(refused.iter().all(|(_, reason)| *reason == "recipient"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_together_lose_nothing() {
    let (_folder, gate) = gate(Limits { message: ByteSize::mib(4), connections_per_address: 100, ..quick() });
    let address = gate.address();
    let threads: Vec<_> = (0..16)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                assert_eq!(client.reply(), 220);
                assert_eq!(client.say("EHLO x.example"), 250);
                for i in 0..20 {
                    client.send("MAIL FROM:<a@x.example>\r\nRCPT TO:<bob@agency.test>\r\nDATA\r\n");
                    assert_eq!((client.reply(), client.reply(), client.reply()), (250, 250, 354));
                    client.send(&format!("Subject: {n}-{i}\r\n\r\n{}.\r\n", "..dots and words\r\n".repeat(i * 300)));
                    assert_eq!(client.reply(), 250);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let sink = gate.desk.sink();
    assert_eq!(sink.len(), 320);
    for message in sink {
        let text = String::from_utf8(message.raw).unwrap();
        let i: usize = text.lines().next().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        assert_eq!(text.matches("\r\n.dots and words").count(), i * 300);
    }
}

/// Runs a program if it is installed; its output when it did what it should.
fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(args).stdin(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {text}");
    Some(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_deliver_in_clear_and_over_tls() {
    let (_folder, gate) = gate(quick());
    let (server, mut expected) = (gate.address().to_string(), 0);
    for extra in [&["--pipeline"][..], &["-tls"], &["--ehlo", "[127.0.0.1]"]] {
        let plain =
            ["--server", &server, "--from", "a@x.example", "--to", "alice@agency.test", "--header", "Subject: swaks"];
        match run("swaks", &[&plain[..], extra].concat()) {
            Some(text) => expected += usize::from(text.contains("Taken, id")),
            None => println!("skipped: swaks is not installed"),
        }
    }
    let python = format!(
        "import smtplib, ssl\n\
         s = smtplib.SMTP('127.0.0.1', {})\n\
         s.ehlo()\n\
         assert s.has_extn('smtputf8') and s.has_extn('chunking') and not s.has_extn('auth')\n\
         c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n\
         s.starttls(context=c)\n\
         text = 'Subject: python\\n\\n' + '\\n'.join('.' * (n % 4) + 'line %d' % n for n in range(100000))\n\
         assert s.sendmail('a@x.example', ['bob@agency.test', 'h\\u1ed9p@rcpt.test'], text, ['SMTPUTF8', 'BODY=8BITMIME']) == {{}}\n\
         s.quit()\n",
        gate.address().port()
    );
    match run("python3", &["-c", &python]) {
        Some(_) => expected += 1,
        None => println!("skipped: python3 is not installed"),
    }
    let sink = gate.desk.sink();
    assert_eq!(sink.len(), expected);
    if let Some(message) = sink.iter().find(|m| m.raw.starts_with(b"Subject: python")) {
        let text = String::from_utf8_lossy(&message.raw);
        assert!(text.contains("\r\nline 4\r\n.line 5\r\n..line 6\r\n...line 7\r\n"), "dots are as they were");
        assert!(text.ends_with("...line 99999\r\n"));
    }
}

#[test]
fn bad_certificates_are_told_in_one_sentence_each() {
    use luytre::env::tls::server::Acceptor;
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (good, foreign) = (crate::talk::certificate(one.path()), crate::talk::certificate(other.path()));
    assert!(Acceptor::from_files(&good.certificate, &good.key).is_ok());
    let told = |certificate: &std::path::Path, key: &std::path::Path| -> Vec<String> {
        Acceptor::from_files(certificate, key).unwrap_err().iter().map(ToString::to_string).collect()
    };
    let missing = told(&one.path().join("no.pem"), &one.path().join("no.key"));
    assert_eq!(missing.len(), 2, "every problem at once: {missing:?}");
    assert!(missing[0].contains("no.pem: cannot be read"), "{missing:?}");
    let mismatch = told(&good.certificate, &foreign.key);
    assert!(mismatch[0].contains("does not belong to the certificate"), "{mismatch:?}");
    let swapped = told(&good.key, &good.certificate);
    assert_eq!(swapped.len(), 2, "{swapped:?}");
}
