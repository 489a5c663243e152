//! Old servers take everything and report later: what their reports meet on the way back out, through the whole program.
//! A report goes to who wrote and was vouched for, and to nobody else (THREATS S-30); a loop ends (S-29).

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Gateway, luytre, receipt_id};
use crate::kit::sink::{Sink, Taken};
use crate::kit::site::{Site, letter};

/// An agency before whose server the gateway stands, both ways, and the Internet as one server.
struct Place {
    internet: Sink,
    site: Site,
    gateway: Gateway,
}

impl Place {
    fn new(name: &str, profile: &str) -> Self {
        let internet = Sink::start();
        let site = Site::new(name).relay();
        let hop = format!("{{ address = \"{}\", tls = \"none\", profile = \"{profile}\" }}", site.sink.address());
        let smart = format!("[deliver]\nsmart_host = \"{}\"\n", internet.address());
        let site = site.next_hop(&hop).section(&smart);
        let gateway = site.start();
        Self { internet, site, gateway }
    }

    /// A letter from the Internet, taken by the agency's server.
    fn arrives(&self, client: &str, from: &str, subject: &str) -> Taken {
        let before = self.site.sink.taken().len();
        let mut smtp = Client::connect_as(self.gateway.address("mx"), client).unwrap();
        smtp.say("EHLO mail.partner.example").unwrap();
        let answer = smtp.deliver(from, &["an@agency.test"], &letter(subject, "Xin chao")).unwrap();
        assert_eq!(answer.code, 250, "{}", answer.text);
        self.site.sink.wait_for_count(before + 1).pop().unwrap()
    }

    /// What the agency's server sends out.
    fn leaves(&self, from: &str, to: &[&str], message: &[u8]) -> Answer {
        let mut smtp = Client::connect(self.gateway.address("relay")).unwrap();
        smtp.say("EHLO mail.agency.test").unwrap();
        smtp.deliver(from, to, message).unwrap()
    }

    fn held(&self) -> String {
        let (code, list, error) = luytre(&["quarantine", "list", "--config", self.gateway.config.to_str().unwrap()]);
        assert_eq!(code, 0, "{error}");
        list
    }

    fn strays(&self) -> f64 {
        self.gateway.metric("luytre_delivery_reports_total{kind=\"stray\"}")
    }
}

/// As qmail writes it: no MIME, the whole original below a line; a host's name in From.
fn qmail(to: &str, original: &Taken) -> Vec<u8> {
    let head = format!(
        "Received: (qmail 4321 invoked for bounce); 21 Nov 2026 02:00:00 -0000\r\nDate: 21 Nov 2026 02:00:00 -0000\r\n\
         From: MAILER-DAEMON@mail.agency.test\r\nTo: {to}\r\nSubject: failure notice\r\n\r\n\
         Hi. This is the qmail-send program at mail.agency.test.\r\n\r\n<an@agency.test>:\r\n\
         Sorry, no mailbox here by that name. (#5.1.1)\r\n\r\n--- Below this line is a copy of the message.\r\n\r\n\
         Return-Path: <{to}>\r\nReceived: (qmail 4320 invoked from network); 21 Nov 2026 02:00:00 -0000\r\n"
    );
    [head.as_bytes(), &original.data].concat()
}

/// As Domino writes it: `multipart/report` with a diagnostic code of its own kind.
fn domino(to: &str, original: &Taken) -> Vec<u8> {
    let header = original.text().split_once("\r\n\r\n").unwrap().0.to_owned();
    format!(
        "From: Postmaster@agency.test\r\nTo: {to}\r\nSubject: DELIVERY FAILURE: User an (an@agency.test) not listed in Domino\r\n\
         \x20Directory\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"==D\"\r\n\r\n\
         --==D\r\nContent-Type: text/plain; charset=US-ASCII\r\n\r\nYour message was not delivered.\r\n\
         --==D\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns;mail.agency.test\r\n\r\n\
         Final-Recipient: rfc822;an@agency.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: X-Notes; User an not listed in Domino Directory\r\n\
         --==D\r\nContent-Type: text/rfc822-headers\r\n\r\n{header}\r\n--==D--\r\n"
    )
    .into_bytes()
}

#[test]
fn threats_s_30_a_late_report_reaches_who_wrote_and_was_vouched_for_and_nobody_else() {
    let place = Place::new("late-qmail", "qmail");
    let vouched = place.arrives("198.51.100.10", "ketoan@partner.example", "Cong van 1");
    let forged = place.arrives("203.0.113.7", "victim@elsewhere.example", "Cong van 2");

    // qmail found no mailbox for either.
    let answer = place.leaves("", &["ketoan@partner.example"], &qmail("ketoan@partner.example", &vouched));
    assert_eq!(answer.code, 250, "{}", answer.text);
    let answer = place.leaves("", &["victim@elsewhere.example"], &qmail("victim@elsewhere.example", &forged));
    assert_eq!(answer.code, 250, "qmail would only report the report: {}", answer.text);
    let receipt = place.gateway.receipt(&receipt_id(&answer.text).unwrap()).unwrap();
    assert_eq!(receipt.outcome[0].state, "quarantined", "{receipt:?}");

    // One for both, as Exchange sends a note of absence: those who may get it do.
    let both = ["victim@elsewhere.example", "ketoan@partner.example"];
    let absent = b"From: An <an@agency.test>\r\nTo: undisclosed:;\r\nSubject: Vang mat\r\nAuto-Submitted: auto-replied\r\n\r\nVang mat.\r\n";
    assert_eq!(place.leaves("", &both, absent).code, 250);

    let out = place.internet.wait_for_count(2);
    assert!(out.iter().all(|mail| mail.mail_from.is_empty() && mail.rcpt_to == ["ketoan@partner.example"]), "{out:?}");
    assert!(out.iter().any(|mail| mail.text().contains("no mailbox here by that name")));
    assert!(place.held().contains("victim@elsewhere.example"), "{}", place.held());
    assert_eq!((place.strays(), place.internet.taken().len()), (2.0, 2), "no backscatter");

    // A message of a person goes wherever that person wants.
    let letter = b"From: An <an@agency.test>\r\nTo: x@new.example\r\nSubject: Chao\r\n\r\nChao.\r\n";
    assert_eq!(place.leaves("an@agency.test", &["x@new.example"], letter).code, 250);
    place.internet.wait_for_count(3);
}

#[test]
fn who_wrote_is_remembered_over_a_restart_and_domino_writes_its_null_sender_its_own_way() {
    let place = Place::new("late-domino", "domino");
    let vouched = place.arrives("198.51.100.10", "ketoan@partner.example", "Cong van 3");
    let Place { internet, site, gateway } = place;
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(gateway.wait(), 0);
    let gateway = site.start();
    let place = Place { internet, site, gateway };
    let answer = place.leaves("@", &["ketoan@partner.example"], &domino("ketoan@partner.example", &vouched));
    assert_eq!(answer.code, 250, "{}", answer.text);
    let out = place.internet.wait_for_count(1);
    assert_eq!((out[0].mail_from.as_str(), place.strays()), ("", 0.0));
    assert!(out[0].text().contains("Diagnostic-Code: X-Notes; User an not listed"));
}

#[test]
fn a_report_that_cannot_be_delivered_is_held_and_never_reported() {
    let place = Place::new("late-double", "qmail");
    let vouched = place.arrives("198.51.100.10", "ketoan@partner.example", "Cong van 4");
    place.internet.refuse("ketoan@partner.example", "550 5.1.1 gone");
    let answer = place.leaves("", &["ketoan@partner.example"], &qmail("ketoan@partner.example", &vouched));
    assert_eq!(answer.code, 250, "{}", answer.text);
    place.gateway.wait_for_line("that it is held", |line| line.contains("held: its sender cannot be told"));
    assert!(place.held().contains("ketoan@partner.example"), "{}", place.held());
    assert_eq!(place.gateway.metric("luytre_delivery_reports_total{kind=\"bounced\"}"), 0.0);
    assert!(place.internet.taken().is_empty() && place.site.sink.taken().len() == 1, "nobody was told");
}

#[test]
fn threats_s_29_a_message_that_comes_round_again_is_stopped_by_our_own_name_and_by_the_count_of_hops() {
    let place = Place::new("late-loop", "qmail");
    let mut mail = place.arrives("198.51.100.10", "ketoan@partner.example", "Cong van 5");
    // An agency's server that sends its own domain's mail back to the gateway.
    let mut rounds = 1;
    let refusal = loop {
        let before = place.site.sink.taken().len();
        let own = mail.text().replace("ketoan@partner.example", "an@agency.test").into_bytes();
        let answer = place.leaves("an@agency.test", &["an@agency.test"], &own);
        if answer.code != 250 {
            break answer.text;
        }
        rounds += 1;
        assert!(rounds < 20, "it goes round for ever");
        mail = place.site.sink.wait_for_count(before + 1).pop().unwrap();
    };
    assert!(refusal.starts_with("554 5.4.6"), "{refusal}");
    assert_eq!(rounds, 6, "five of our own are a forwarding agency's right, a sixth is a loop");

    // And a report that went through a hundred other hosts.
    let vouched = place.arrives("198.51.100.10", "ketoan@partner.example", "Cong van 6");
    let hops = "Received: from a by b; Sat, 21 Nov 2026 09:00:00 +0700\r\n".repeat(101);
    let report = [hops.as_bytes(), &qmail("ketoan@partner.example", &vouched)].concat();
    let answer = place.leaves("", &["ketoan@partner.example"], &report);
    assert!(answer.text.starts_with("554 5.4.6"), "{}", answer.text);
    assert!(place.internet.taken().is_empty());
}
