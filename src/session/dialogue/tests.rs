//! The protocol machine, fed by hand.

use std::sync::Arc;

use super::*;
use crate::listen::Networks;
use crate::mail::{Destination, transaction::Notify};
use crate::session::desk::{Request, Target};
use crate::session::house::Submission;
use crate::session::settings::Limits;

/// A dialogue whose desk accepts everything.
struct Talk(Dialogue);

impl Talk {
    fn with(limits: Limits, xclient: &str) -> Self {
        let networks: Networks = xclient.parse().into_iter().collect();
        let station = Arc::new(Station {
            address: "127.0.0.1:25".parse().unwrap(),
            role: Role::Mx,
            tls: None,
            proxy: Networks::default(),
            xclient: networks,
            normalize: Networks::default(),
            submission: Submission::default(),
        });
        let house = House {
            hostname: "gw.agency.test".to_owned(),
            limits,
            stations: vec![Arc::clone(&station)],
            elsewhere: Vec::new(),
        };
        let client = ClientFacts {
            address: "192.0.2.9:4000".parse().unwrap(),
            local: "198.51.100.1:25".parse().unwrap(),
            role: Role::Mx,
            tls: None,
        };
        Self(Dialogue::new(Arc::new(house), station, client))
    }

    fn new() -> Self {
        Self::with(Limits::default(), "-")
    }

    fn step(&mut self, line: &str, behind: Behind) -> Step {
        let step = self.0.line(line.as_bytes(), behind);
        match step.next.clone() {
            Next::Open(sender, params) => {
                let opening = self.0.open(MailId::from_u128(7), Timestamp::EPOCH, sender, params);
                self.0.opened(opening, Ok(()))
            }
            Next::Check(Request { target: Target::Mailbox(mailbox), .. }) => {
                if mailbox.local().starts_with("nobody") {
                    return self.0.checked(Err(Reply::new(550, "5.1.1", "No such user here")));
                }
                let destination = Destination::Agency("one".parse().unwrap());
                self.0.checked(Ok(Recipient { mailbox, destination, original: None, notify: Notify::default() }))
            }
            _ => step,
        }
    }

    fn say(&mut self, line: &str) -> u16 {
        self.step(line, Behind::Nothing).reply().map_or(0, Reply::code)
    }

    /// `COMMAND => code` lines.
    fn script(mut self, script: &str) -> Self {
        for turn in script.lines().map(str::trim).filter(|turn| !turn.is_empty()) {
            let (line, code) = turn.rsplit_once(" => ").unwrap();
            assert_eq!(self.say(line).to_string(), code, "{line}");
        }
        self
    }
}

#[test]
fn rfc5321_4_1_4_commands_keep_their_order() {
    Talk::new().script(
        "MAIL FROM:<a@x.vn> => 503
         RCPT TO:<b@y.vn> => 503
         DATA => 503
         EHLO x.vn => 250
         RCPT TO:<b@y.vn> => 503
         DATA => 503
         MAIL FROM:<a@x.vn> => 250
         MAIL FROM:<a@x.vn> => 503
         DATA => 554
         RCPT TO:<b@y.vn> => 250
         RSET => 250
         DATA => 503
         MAIL FROM:<a@x.vn> => 250
         RCPT TO:<b@y.vn> => 250
         EHLO x.vn => 250
         DATA => 503
         QUIT => 221",
    );
}

#[test]
fn a_message_goes_to_the_desk_once_and_leaves_nothing_behind() {
    let mut talk =
        Talk::new().script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> => 250\n RCPT TO:<b@y.vn> => 250\n DATA => 354");
    let letter = talk.0.ended(None, 0).unwrap();
    assert_eq!((letter.recipients.len(), letter.opening.helo.as_str(), letter.opening.esmtp), (1, "x.vn", true));
    assert_eq!(talk.0.answered(Reply::new(250, "2.0.0", "ok")).reply().unwrap().code(), 250);
    talk.script("DATA => 503\n RCPT TO:<b@y.vn> => 503\n MAIL FROM:<> => 250");
}

#[test]
fn threats_s_01_a_condemned_message_gets_one_refusal_with_its_id() {
    for (fault, code, enhanced) in [
        (Fault::BareNewline, 550, "5.6.11"),
        (Fault::Nul, 550, "5.6.0"),
        (Fault::MessageTooLong, 552, "5.3.4"),
        (Fault::LineTooLong, 552, "5.3.4"),
        (Fault::HeaderTooLong, 552, "5.3.4"),
        (Fault::TooManyFields, 552, "5.3.4"),
        (Fault::TooManyHops, 554, "5.4.6"),
    ] {
        let mut talk =
            Talk::new().script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> => 250\n RCPT TO:<b@y.vn> => 250\n DATA => 354");
        let step = talk.0.ended(Some(fault), 0).unwrap_err();
        let said = step.say.unwrap();
        assert_eq!((said.reply.code(), said.reply.enhanced(), said.id), (code, enhanced, Some(MailId::from_u128(7))));
        talk.script("DATA => 503\n MAIL FROM:<a@x.vn> => 250");
    }
    let mut talk =
        Talk::new().script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> => 250\n RCPT TO:<b@y.vn> => 250\n DATA => 354");
    assert!(talk.0.ended(None, OWN_HOPS + 1).is_err(), "our own name too often is a loop");
}

#[test]
fn rfc2920_bytes_behind_a_synchronisation_point_end_the_session() {
    for (before, line) in [
        ("NOOP => 250", "EHLO x.vn"),
        ("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> => 250\n RCPT TO:<b@y.vn> => 250", "DATA"),
        ("EHLO x.vn => 250", "STARTTLS"),
        ("HELO x.vn => 250", "MAIL FROM:<a@x.vn>"),
        ("EHLO x.vn => 250", "AUTH PLAIN x"),
    ] {
        let step = Talk::new().script(before).step(line, Behind::Bytes);
        assert_eq!(
            (step.reply().unwrap().to_string().split(' ').take(2).collect::<Vec<_>>(), &step.next),
            (vec!["554", "5.5.0"], &Next::Close),
            "{line}"
        );
    }
    let mut talk = Talk::new().script("EHLO x.vn => 250");
    for line in ["MAIL FROM:<a@x.vn>", "RCPT TO:<b@y.vn>", "RSET", "NOOP"] {
        assert_eq!(talk.step(line, Behind::Bytes).reply().unwrap().code(), 250, "{line}");
    }
}

#[test]
fn rfc3030_chunks_and_their_refusals() {
    let mut talk = Talk::new().script("EHLO x.vn => 250");
    assert_eq!(talk.step("BDAT 5 LAST", Behind::Nothing).next, Next::Swallow { size: 5 });
    talk = talk.script("MAIL FROM:<a@x.vn> => 250");
    assert_eq!(talk.step("BDAT 5", Behind::Nothing).next, Next::Swallow { size: 5 }, "nobody to send it to");
    talk = talk.script("RCPT TO:<b@y.vn> => 250");
    assert_eq!(talk.step("BDAT 5", Behind::Nothing).next, Next::Chunk { size: 5, last: false });
    assert_eq!(talk.0.chunk_ended(5, None).reply().unwrap().code(), 250);
    talk = talk.script("DATA => 503\n RCPT TO:<c@y.vn> => 503\n NOOP => 250");
    assert_eq!(talk.step("BDAT 5", Behind::Nothing).next, Next::Chunk { size: 5, last: false });
    assert_eq!(talk.0.chunk_ended(5, Some(Fault::BareNewline)).reply().unwrap().code(), 550);
    assert_eq!(talk.step("BDAT 7", Behind::Nothing).next, Next::Swallow { size: 7 });
    let step = talk.step("BDAT 7 LAST", Behind::Nothing);
    assert_eq!((step.reply().unwrap().code(), step.next), (503, Next::Swallow { size: 7 }));
    talk = talk.script("MAIL FROM:<a@x.vn> => 250");
    let step = talk.step("BDAT 99999999999 LAST", Behind::Nothing);
    assert_eq!((step.reply().unwrap().code(), step.next), (552, Next::Close));
}

#[test]
fn threats_s_14_more_recipients_wait_for_the_next_message() {
    let limits = Limits { recipients: 3, ..Limits::default() };
    let mut talk = Talk::with(limits, "-").script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> => 250");
    let codes: Vec<u16> = (0..34).map(|i| talk.say(&format!("RCPT TO:<u{i}@y.vn>"))).collect();
    assert_eq!(codes[..3], [250; 3]);
    assert!(codes[3..33].iter().all(|code| *code == 452), "{codes:?}");
    assert_eq!(codes[33], 421, "for ever is too long");
}

#[test]
fn threats_s_15_errors_slow_down_and_end_the_session() {
    let mut talk = Talk::new().script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> => 250");
    for i in 1..=20 {
        let step = talk.step(&format!("RCPT TO:<nobody{i}@y.vn>"), Behind::Nothing);
        let expected = if i == 20 {
            (421, Next::Close, Span::ZERO)
        } else {
            (550, Next::Read, if i < 10 { Span::ZERO } else { Span::seconds(1) })
        };
        assert_eq!((step.reply().unwrap().code(), step.next, step.delay), expected, "error {i}");
    }
}

#[test]
fn threats_s_15_junk_ends_the_session_unless_mail_flows() {
    let mut talk = Talk::new().script("EHLO x.vn => 250");
    assert!((0..100).all(|_| talk.say("NOOP") == 250));
    assert_eq!(talk.say("VRFY root"), 421);
    let mut talk = Talk::new().script("EHLO x.vn => 250");
    for _ in 0..150 {
        talk = talk.script("RSET => 250\n MAIL FROM:<a@x.vn> => 250\n RCPT TO:<b@y.vn> => 250\n DATA => 354");
        talk.0.ended(None, 0).unwrap();
        talk.0.answered(Reply::new(250, "2.0.0", "ok"));
    }
}

#[test]
fn threats_s_25_nobody_else_is_us() {
    Talk::new().script(
        "EHLO gw.agency.test => 550
         EHLO GW.Agency.TEST => 550
         HELO [198.51.100.1] => 550
         MAIL FROM:<a@x.vn> => 503
         HELO [192.0.2.9] => 250",
    );
}

#[test]
fn rfc3207_4_2_nothing_said_before_tls_counts_after_it() {
    let mut talk =
        Talk::new().script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> => 250\n RCPT TO:<b@y.vn> => 250\n STARTTLS => 502");
    talk.0.secured(TlsFacts { version: "TLSv1.3".to_owned(), cipher: String::new(), bits: 256, ..TlsFacts::default() });
    let talk = talk.script("DATA => 503\n MAIL FROM:<a@x.vn> => 503\n EHLO x.vn => 250\n STARTTLS => 503\n MAIL FROM:<a@x.vn> REQUIRETLS => 250");
    drop(talk);
    Talk::new().script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> REQUIRETLS => 530");
}

#[test]
fn rfc1870_6_1_a_declared_size_is_believed_when_it_is_too_large() {
    Talk::new()
        .script("EHLO x.vn => 250\n MAIL FROM:<a@x.vn> SIZE=26214401 => 552\n MAIL FROM:<a@x.vn> SIZE=26214400 => 250");
}

#[test]
fn rfc6531_recipients_beyond_ascii_need_smtputf8() {
    Talk::new().script(
        "EHLO x.vn => 250
         MAIL FROM:<a@x.vn> => 250
         RCPT TO:<hộp@y.vn> => 553
         RCPT TO:<b@tỉnh.vn> => 553
         RSET => 250
         MAIL FROM:<a@x.vn> SMTPUTF8 => 250
         RCPT TO:<hộp@tỉnh.vn> => 250",
    );
}

#[test]
fn threats_s_24_xclient_is_for_those_we_believe() {
    Talk::new().script("EHLO x.vn => 250\n XCLIENT ADDR=10.0.0.1 => 550");
    let mut talk = Talk::with(Limits::default(), "192.0.2.9/32")
        .script("EHLO x.vn => 250\n XCLIENT ADDR=203.0.113.5 PORT=99 HELO=a.vn PROTO=SMTP => 220");
    assert_eq!((talk.0.client().address.to_string().as_str(), talk.0.hello()), ("203.0.113.5:99", "a.vn"));
    talk = talk.script("XCLIENT ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE] => 220\n XCLIENT ADDR=rubbish => 501\n XCLIENT LOGIN=admin => 501\n XCLIENT HELO=a;b => 501");
    assert_eq!(talk.0.client().address.ip().to_string(), "2001:db8::1");
    let offered = talk.step("EHLO x.vn", Behind::Nothing).reply().unwrap().text();
    assert!(offered.contains("XCLIENT"), "{offered}");
}

#[test]
fn extensions_are_those_we_keep() {
    let offered = Talk::new().step("EHLO x.vn", Behind::Nothing).reply().unwrap().text();
    for word in ["PIPELINING", "SIZE 26214400", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN"] {
        assert!(offered.contains(word), "{word}");
    }
    for word in ["BINARYMIME", "AUTH", "STARTTLS", "XCLIENT", "REQUIRETLS", "VRFY", "ETRN"] {
        assert!(!offered.contains(word), "{word}");
    }
}

#[test]
fn domain_2_4_the_null_sender_of_domino_is_read_from_the_inside_only() {
    for (role, lines, expected) in [
        (Role::Relay, ["MAIL FROM:<@>", "mail from: <@> SIZE=10"], 250),
        (Role::Mx, ["MAIL FROM:<@>", "mail from: <@> SIZE=10"], 550),
        (Role::Relay, ["MAIL FROM:<@>x", "MAIL FROM:<@@>"], 501),
    ] {
        for line in lines {
            let mut talk = Talk::new();
            let nobody = Networks::default;
            let (proxy, xclient, normalize) = (nobody(), nobody(), nobody());
            let address = talk.0.station.address;
            talk.0.station = Arc::new(Station {
                address,
                role,
                tls: None,
                proxy,
                xclient,
                normalize,
                submission: Submission::default(),
            });
            talk.say("EHLO domino.agency.local");
            assert_eq!(talk.say(line) / 100, expected / 100, "{role:?} {line}");
            if expected == 250 {
                assert!(talk.0.opening().unwrap().sender.is_null());
            }
        }
    }
}
