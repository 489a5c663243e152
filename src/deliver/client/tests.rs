//! The client as tables: replies in, commands out.

use bytes::Bytes;

use super::reply::Replies;
use super::*;
use crate::deliver::profile::Traits;
use crate::deliver::settings::{Profile, TlsMode};
use crate::mail::transaction::{BodyType, Notify, Ret};
use crate::mail::{
    AgencyId, Destination, MailId, MailParams, Mailbox, Parcel, ParcelMeta, Recipient, Reply, ReversePath, Timestamp,
};

fn parcel(to: &[&str], head: &str, body: &str) -> Parcel {
    let destination = Destination::Agency("a".parse::<AgencyId>().unwrap());
    let recipient = |text: &&str| Recipient {
        mailbox: Mailbox::parse(text).unwrap(),
        destination: destination.clone(),
        original: None,
        notify: Notify::default(),
    };
    Parcel {
        meta: ParcelMeta {
            id: MailId::from_u128(1),
            received_at: Timestamp::EPOCH,
            sender: ReversePath::Mailbox(Mailbox::parse("from@x.vn").unwrap()),
            recipients: to.iter().map(recipient).collect(),
            destination: destination.clone(),
            params: MailParams::default(),
            sender_authenticated: true,
            subject: String::new(),
        },
        head: Bytes::copy_from_slice(head.as_bytes()),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn reply(text: &str) -> Reply {
    let mut replies = Replies::default();
    replies.push(text.as_bytes());
    replies.push(b"\r\n");
    replies.pull().unwrap().unwrap()
}

fn joined(slices: wire::Slices<'_>) -> String {
    String::from_utf8(slices.collect::<Vec<_>>().concat()).unwrap()
}

// ---- replies

#[test]
fn rfc5321_4_2_1_replies_come_in_packets_of_any_size() {
    let text = b"250-mx.local Hello\r\n250-SIZE\r\n250 8BITMIME\r\n354 go\r\n";
    for step in [1, 2, 3, 7, text.len()] {
        let (mut replies, mut got) = (Replies::default(), Vec::new());
        for piece in text.chunks(step) {
            replies.push(piece);
            while let Some(reply) = replies.pull().unwrap() {
                got.push((reply.code(), reply.lines().count()));
            }
        }
        assert_eq!(got, [(250, 3), (354, 1)], "{step} octets at a time");
        assert!(replies.is_idle());
    }
}

#[test]
fn rfc5321_4_2_replies_that_are_none_are_errors() {
    let long = format!("250 {}\r\n", "x".repeat(70_000));
    let endless = "250-x\r\n".repeat(60_000);
    for bad in ["hello\r\n", "25\r\n", "250x\r\n", "199 a\r\n", "600 a\r\n", "250-a\r\n550 b\r\n", &long, &endless] {
        let mut replies = Replies::default();
        replies.push(bad.as_bytes());
        assert!(replies.pull().is_err(), "{:?}", bad.get(..20.min(bad.len())));
    }
    let mut unending = Replies::default();
    unending.push(&vec![b'2'; 70_000]);
    assert!(unending.pull().is_err(), "a line without end is bounded too");
}

#[test]
fn rfc5321_4_2_1_the_first_digit_decides() {
    assert!(reply("412 4.3.2 Service not active").is_temporary());
    assert!(reply("599 what").is_permanent());
    // DOMAIN §2.1: Exchange's "550 4.4.7": the code is right, the class of the finer one is not.
    let odd = reply("550 4.4.7 QUEUE.Expired; message expired");
    assert_eq!((odd.is_permanent(), odd.enhanced()), (true, ""));
    let mixed = reply("550-5.1.1 no\r\n551 5.1.1 never");
    assert_eq!((mixed.code(), mixed.enhanced(), mixed.text().as_str()), (551, "5.1.1", "no never"));
    assert_eq!(reply("250").code(), 250);
}

// ---- abilities and opening

#[test]
fn domain_2_1_the_ehlo_of_exchange_2010_is_read() {
    let text = "250-ex.local Hello [10.0.0.1]\r\n250-SIZE\r\n250-PIPELINING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n\
                250-STARTTLS\r\n250-X-ANONYMOUSTLS\r\n250-AUTH NTLM\r\n250-X-EXPS GSSAPI NTLM\r\n250-8BITMIME\r\n\
                250-BINARYMIME\r\n250-CHUNKING\r\n250-XEXCH50\r\n250-XRDST\r\n250 XSHADOW";
    let can = Abilities::read(&reply(text));
    assert!(can.size && can.pipelining && can.dsn && can.starttls && can.eight_bit && can.chunking);
    assert!(!can.smtputf8 && !can.requiretls);
    assert_eq!(can.size_limit, None, "SIZE without a number names no limit");
    assert_eq!(Abilities::read(&reply("250-x\r\n250 SIZE 37748736")).size_limit, Some(37_748_736));
    assert_eq!(Abilities::read(&reply("250-x\r\n250 size 0")).size_limit, None);
}

/// Plays replies into an opening; gives what was sent and how it ended.
fn open(tls: TlsMode, script: &[&str]) -> (String, Result<Abilities, Trouble>) {
    let (mut hello, mut out, mut next) = (Hello::new("me.vn", tls), Vec::new(), Next::Read);
    for line in script {
        if *line == "<tls>" {
            assert_eq!(next, Next::StartTls);
            next = hello.secured(&mut out);
            continue;
        }
        match hello.reply(&reply(line), false, &mut out) {
            Ok(step) => next = step,
            Err(trouble) => return (String::from_utf8(out).unwrap(), Err(trouble)),
        }
    }
    assert_eq!(next, Next::Done, "{script:?}");
    (String::from_utf8(out).unwrap(), Ok(hello.abilities()))
}

#[test]
fn rfc5321_3_2_helo_stands_behind_ehlo() {
    let (sent, can) = open(TlsMode::Opportunistic, &["220 x", "502 what", "250 x"]);
    assert_eq!(sent, "EHLO me.vn\r\nHELO me.vn\r\n");
    assert_eq!(can.unwrap(), Abilities::default());
}

#[test]
fn rfc3207_4_2_what_was_said_before_tls_is_forgotten() {
    let script = ["220 x", "250-x\r\n250-CHUNKING\r\n250 STARTTLS", "220 go", "<tls>", "250-x\r\n250 DSN"];
    let (sent, can) = open(TlsMode::Required, &script);
    assert_eq!(sent, "EHLO me.vn\r\nSTARTTLS\r\nEHLO me.vn\r\n");
    let can = can.unwrap();
    assert!(can.dsn && !can.chunking);
}

#[test]
fn r02_tls_policy_decides_what_a_missing_starttls_means() {
    let without = ["220 x", "250 x"];
    assert!(open(TlsMode::Opportunistic, &without).1.is_ok());
    assert_eq!(open(TlsMode::Required, &without).1.unwrap_err(), Trouble::NoTls);
    let refused = ["220 x", "250-x\r\n250 STARTTLS", "454 4.7.0 TLS not available"];
    assert!(open(TlsMode::Opportunistic, &refused).1.is_ok());
    assert!(matches!(open(TlsMode::Required, &refused).1, Err(Trouble::Tls(_))));
    let offered = ["220 x", "250-x\r\n250 STARTTLS"];
    assert_eq!(open(TlsMode::None, &offered).0, "EHLO me.vn\r\n", "not wanted, not asked for");
}

#[test]
fn threats_s_05_octets_behind_the_220_of_starttls_are_an_error() {
    let (mut hello, mut out) = (Hello::new("me.vn", TlsMode::Opportunistic), Vec::new());
    hello.reply(&reply("220 x"), false, &mut out).unwrap();
    hello.reply(&reply("250-x\r\n250 STARTTLS"), false, &mut out).unwrap();
    assert!(matches!(hello.reply(&reply("220 go"), true, &mut out), Err(Trouble::Nonsense(Stage::StartTls, _))));
}

#[test]
fn a_server_that_is_not_ready_says_nothing_about_the_message() {
    for script in [&["421 4.3.2 no"][..], &["554 5.7.1 go away"], &["220 x", "421 bye"], &["220 x", "500 a", "550 b"]] {
        assert!(matches!(open(TlsMode::None, script).1, Err(Trouble::NotReady(..))), "{script:?}");
    }
}

// ---- transactions

const ALL: Abilities = Abilities {
    pipelining: true,
    starttls: false,
    eight_bit: true,
    smtputf8: true,
    dsn: true,
    chunking: true,
    requiretls: false,
    size: true,
    size_limit: None,
};
const GROUPED: Traits = Traits { bdat: false, ..Profile::Generic.traits() };
const SINGLE: Traits = Profile::Exchange2010.traits();

/// Plays replies into a transaction; `*` in what was sent stands for the message.
fn play(parcel: &Parcel, traits: Traits, script: &[&str]) -> (String, Result<Answers, Trouble>) {
    let to: Vec<usize> = (0..parcel.meta.recipients.len()).collect();
    let wire = Wire::check(parcel).unwrap();
    let mut tx = Transaction::new(parcel, &to, wire.size_bytes(), ALL, traits);
    let mut out = Vec::new();
    let mut next = tx.begin(false, &mut out);
    let mut script = script.iter();
    loop {
        match next {
            Next::Body => {
                out.push(b'*');
                tx.body_sent();
            }
            Next::Done => return (String::from_utf8(out).unwrap(), Ok(tx.finish())),
            _ => {}
        }
        let line = script.next().expect("the script answers everything that was asked");
        match tx.reply(reply(line), &mut out) {
            Ok(step) => next = step,
            Err(trouble) => return (String::from_utf8(out).unwrap(), Err(trouble)),
        }
    }
}

fn codes(answers: &Answers) -> Vec<u16> {
    answers.fates.iter().map(|fate| fate.as_ref().map_or_else(Reply::code, |()| 0)).collect()
}

#[test]
fn rfc2920_commands_travel_in_one_group() {
    let mail = parcel(&["a@y.vn", "b@y.vn"], "A: b\r\n\r\n", "x\r\n");
    let (sent, answers) = play(&mail, GROUPED, &["250 ok", "250 ok", "250 ok", "354 go", "250 2.0.0 taken"]);
    let expected = "MAIL FROM:<from@x.vn> SIZE=11\r\nRCPT TO:<a@y.vn>\r\nRCPT TO:<b@y.vn>\r\nDATA\r\n*";
    assert_eq!(sent, expected);
    let answers = answers.unwrap();
    assert_eq!(codes(&answers), [0, 0]);
    assert_eq!(answers.answer.unwrap().text(), "taken");
    assert!(!answers.needs_reset);
}

#[test]
fn kb2398431_exchange_2010_is_asked_one_by_one() {
    let mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    let to = [0];
    let mut tx = Transaction::new(&mail, &to, 8, ALL, SINGLE);
    let mut sent = Vec::new();
    for (answer, expected) in [("250 a", "RCPT"), ("250 b", "DATA"), ("354 go", ""), ("250 done", "")] {
        let mut out = Vec::new();
        if sent.is_empty() {
            tx.begin(false, &mut sent);
            assert!(sent.starts_with(b"MAIL") && sent.iter().filter(|b| **b == b'\n').count() == 1);
        }
        tx.reply(reply(answer), &mut out).unwrap();
        assert!(out.starts_with(expected.as_bytes()) && out.iter().filter(|b| **b == b'\n').count() <= 1);
    }
}

#[test]
fn rfc3030_a_small_message_travels_with_its_commands() {
    let mail = parcel(&["a@y.vn", "b@y.vn"], "A: b\r\n\r\n", ".x\r\n");
    let (sent, answers) = play(&mail, Profile::Generic.traits(), &["250 a", "550 5.1.1 no", "250 b", "250 done"]);
    assert!(sent.ends_with("BDAT 12 LAST\r\n*"), "{sent}");
    assert_eq!(codes(&answers.unwrap()), [550, 0]);
    assert_eq!(joined(Wire::check(&mail).unwrap().plain()), "A: b\r\n\r\n.x\r\n", "BDAT is not dot-stuffed");
}

#[test]
fn rfc2920_3_1_nobody_taken_and_354_all_the_same() {
    let mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    let (sent, answers) = play(&mail, GROUPED, &["250 a", "550 5.1.1 no", "354 go", "554 5.5.1 nobody"]);
    assert!(sent.ends_with("DATA\r\n.\r\n"), "a lone dot, never the message: {sent}");
    let answers = answers.unwrap();
    assert_eq!((codes(&answers), answers.needs_reset), (vec![550], false));
}

#[test]
fn a_refused_sender_is_the_reason_not_what_follows_it() {
    let mail = parcel(&["a@y.vn", "b@y.vn"], "A: b\r\n\r\n", "");
    let script = ["553 5.7.1 bad sender", "503 mail first", "503 mail first", "503 rcpt first"];
    let answers = play(&mail, GROUPED, &script).1.unwrap();
    assert_eq!((codes(&answers), answers.needs_reset), (vec![553, 553], false));
    let answers = play(&mail, SINGLE, &script[..1]).1.unwrap();
    assert_eq!(codes(&answers), [553, 553]);
}

#[test]
fn every_answer_about_the_message_is_kept_apart_from_the_hosts() {
    let mail = parcel(&["a@y.vn", "b@y.vn"], "A: b\r\n\r\n", "");
    let table: [(&[&str], &[u16], bool); 5] = [
        (&["250 a", "450 4.2.1 later", "550 5.1.1 no"], &[450, 550], true),
        (&["250 a", "250 b", "550 5.1.1 no", "354 go", "250 ok"], &[0, 550], false),
        (&["250 a", "250 b", "250 c", "451 4.3.0 not now"], &[451, 451], true),
        (&["250 a", "250 b", "250 c", "354 go", "554 5.7.1 spam"], &[554, 554], false),
        (&["250 a", "250 b", "452 4.5.3 too many", "354 go", "250 ok"], &[0, 452], false),
    ];
    for (script, fates, needs_reset) in table {
        let answers = play(&mail, SINGLE, script).1.unwrap();
        assert_eq!((codes(&answers).as_slice(), answers.needs_reset), (fates, needs_reset), "{script:?}");
    }
    let hosts: [&[&str]; 5] = [
        &["421 4.3.2 bye"],
        &["452 4.3.1 Insufficient system resources"],
        &["250 a", "412 4.3.2 Service not active"],
        &["250 a", "250 b", "250 c", "354 go", "421 4.4.2 bye"],
        &["250 a", "250 b", "250 c", "354 go", "452 4.3.1 disk"],
    ];
    for script in hosts {
        let trouble = play(&mail, SINGLE, script).1.unwrap_err();
        assert!(trouble.is_answer(), "{script:?}: {trouble}");
    }
}

#[test]
fn rfc5321_4_2_1_a_3yz_says_yes_to_nothing() {
    let mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    let scripts: [&[&str]; 4] = [
        &["354 go"],
        &["250 a", "354 go"],
        &["250 a", "250 b", "354 go", "354 go on"],
        &["250 a", "250 b", "354 go", "334 cGFzc3dvcmQ="],
    ];
    for script in scripts {
        let trouble = play(&mail, SINGLE, script).1.unwrap_err();
        assert!(matches!(trouble, Trouble::Nonsense(..)) && !trouble.is_answer(), "{script:?}: {trouble}");
    }
}

#[test]
fn rfc5321_4_1_1_5_an_open_transaction_is_reset_before_the_next() {
    let mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    let to = [0];
    let (mut out, mut tx) = (Vec::new(), Transaction::new(&mail, &to, 8, ALL, GROUPED));
    tx.begin(true, &mut out);
    assert!(out.starts_with(b"RSET\r\nMAIL"), "grouped with what follows");
    let (mut out, mut tx) = (Vec::new(), Transaction::new(&mail, &to, 8, ALL, SINGLE));
    tx.begin(true, &mut out);
    assert_eq!(out, b"RSET\r\n");
    out.clear();
    tx.reply(reply("250 reset"), &mut out).unwrap();
    assert!(out.starts_with(b"MAIL"));
}

#[test]
fn a_lost_answer_is_a_doubt_only_when_somebody_may_have_been_taken() {
    let mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    let to = [0];
    let bdat = Profile::Generic.traits();
    let in_doubt = |script: &[&str]| {
        let (mut out, mut tx) = (Vec::new(), Transaction::new(&mail, &to, 8, ALL, bdat));
        assert_eq!(tx.begin(false, &mut out), Next::Body);
        assert!(!tx.in_doubt(), "nothing has left yet");
        tx.body_sent();
        for line in script {
            tx.reply(reply(line), &mut out).unwrap();
        }
        tx.in_doubt()
    };
    assert!(in_doubt(&[]));
    assert!(in_doubt(&["250 a", "250 b"]));
    assert!(!in_doubt(&["553 no"]));
    assert!(!in_doubt(&["250 a", "550 no"]));
}

#[test]
fn parameters_go_only_where_they_are_understood() {
    let mut mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    mail.meta.params = MailParams {
        body: BodyType::EightBitMime,
        ret: Some(Ret::Headers),
        envid: Some("QQ314159".to_owned()),
        ..MailParams::default()
    };
    mail.meta.recipients[0].notify = Notify { success: true, failure: true, delay: false, explicit: true };
    mail.meta.recipients[0].original = Some("rfc822;a+2Bb@y.vn".to_owned());
    let commands = |can: Abilities, traits: Traits| {
        let (mut out, to) = (Vec::new(), [0]);
        Transaction::new(&mail, &to, 8, can, traits).begin(false, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert!(commands(ALL, GROUPED).starts_with(
        "MAIL FROM:<from@x.vn> SIZE=8 BODY=8BITMIME RET=HDRS ENVID=QQ314159\r\n\
         RCPT TO:<a@y.vn> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@y.vn\r\n"
    ));
    let plain = "MAIL FROM:<from@x.vn>\r\n";
    assert_eq!(commands(Abilities::default(), GROUPED), plain);
    let qmail = Abilities { pipelining: true, eight_bit: true, ..Abilities::default() };
    assert!(commands(qmail, Profile::Qmail.traits()).starts_with("MAIL FROM:<from@x.vn> BODY=8BITMIME\r\n"));
}

#[test]
fn threats_s_28_no_parameter_carries_a_command() {
    let mut mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    mail.meta.params.envid = Some("x\r\nRCPT TO:<evil@z.vn>".to_owned());
    mail.meta.recipients[0].original = Some("rfc822;a b".to_owned());
    let (mut out, to) = (Vec::new(), [0]);
    Transaction::new(&mail, &to, 8, ALL, GROUPED).begin(false, &mut out);
    let sent = String::from_utf8(out).unwrap();
    assert_eq!(sent.lines().count(), 3);
    assert!(!sent.contains("evil") && !sent.contains("ORCPT"));
}

#[test]
fn what_a_hop_cannot_take_is_known_before_it_is_sent() {
    let to = [0];
    let unfit = |mail: &Parcel, can: Abilities, secured: bool| {
        Transaction::new(mail, &to, 100, can, GROUPED).unfit(secured).map(|r| r.enhanced().to_owned())
    };
    let plain = parcel(&["a@y.vn"], "A: b\r\n\r\n", "");
    assert_eq!(unfit(&plain, Abilities { size_limit: Some(99), ..ALL }, false).unwrap(), "5.3.4");
    assert_eq!(unfit(&plain, Abilities { size_limit: Some(100), ..ALL }, false), None);
    let eai = parcel(&["đô@y.vn"], "A: b\r\n\r\n", "");
    assert_eq!(unfit(&eai, Abilities { smtputf8: false, ..ALL }, false).unwrap(), "5.6.7");
    assert_eq!(unfit(&eai, ALL, false), None);
    let mut strict = plain.clone();
    strict.meta.params.requiretls = true;
    let able = Abilities { requiretls: true, ..ALL };
    assert_eq!(unfit(&strict, ALL, true).unwrap(), "5.7.30");
    assert_eq!(unfit(&strict, able, false).unwrap(), "5.7.30");
    assert_eq!(unfit(&strict, able, true), None);
}

// ---- the wire

#[test]
fn rfc5321_4_5_2_leading_dots_are_doubled() {
    let table = [
        (".\r\n", ".x\r\n..y\r\na.b\r\n.", "..\r\n..x\r\n...y\r\na.b\r\n..\r\n.\r\n"),
        ("A: b\r\n\r\n", "", "A: b\r\n\r\n.\r\n"),
        ("A: b\r\n\r\n", "no end", "A: b\r\n\r\nno end\r\n.\r\n"),
        ("", "", ".\r\n"),
        ("A: b\r\n\r\n", ".", "A: b\r\n\r\n..\r\n.\r\n"),
    ];
    for (head, body, expected) in table {
        let mail = parcel(&["a@y.vn"], head, body);
        let wire = Wire::check(&mail).unwrap();
        assert_eq!(joined(wire.stuffed()), expected);
        assert!(wire.stuffed().all(|slice| !slice.is_empty()));
        assert_eq!(joined(wire.plain()).len(), wire.size_bytes());
        assert_eq!(joined(wire.stuffed().behind(b"DATA\r\n")), format!("DATA\r\n{expected}"));
    }
}

#[test]
fn a_message_without_leading_dots_is_not_copied() {
    let mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", &"line\r\n".repeat(1000));
    let wire = Wire::check(&mail).unwrap();
    let slices: Vec<&[u8]> = wire.stuffed().collect();
    assert_eq!(slices.len(), 3);
    assert_eq!(slices[1].as_ptr(), mail.body.as_ptr());
}

#[test]
fn promise_3_no_bare_cr_or_lf_leaves() {
    let bad = ["a\nb\r\n", "a\rb\r\n", "\n", "\r", "a\r\n\n.\r\n", "a\r\r\n", "x\r"];
    for body in bad {
        let mail = parcel(&["a@y.vn"], "A: b\r\n\r\n", body);
        assert_eq!(Wire::check(&mail).unwrap_err(), wire::WireError::BareLineEnd, "{body:?}");
    }
    let torn = parcel(&["a@y.vn"], "A: b\r", "\nx\r\n");
    assert!(Wire::check(&torn).is_err());
    assert!(wire::is_clean(b"MAIL\r\nRCPT\r\n") && wire::is_clean(b""));
    for bad in [&b"MAIL"[..], b"MAIL\n", b"MA\rIL\r\n", b"MAIL\r\nx", b"a\n\r\n"] {
        assert!(!wire::is_clean(bad), "{bad:?}");
    }
}
