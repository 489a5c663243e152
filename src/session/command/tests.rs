//! Command lines, good and hostile.

use super::*;

fn code(line: &str) -> u16 {
    match parse(line.as_bytes()) {
        Ok(_) => 250,
        Err(Refused::Reply(reply) | Refused::Junk(reply) | Refused::Close(reply)) => reply.code(),
    }
}

fn check(cases: &[(&str, u16)]) {
    for (line, expected) in cases {
        assert_eq!(code(line), *expected, "{line:?}");
    }
}

fn mail_of(line: &str) -> (ReversePath, MailParams) {
    match parse(line.as_bytes()) {
        Ok(Command::Mail { sender, params }) => (sender, params),
        other => panic!("{line}: {other:?}"),
    }
}

fn rcpt_of(line: &str) -> Request {
    match parse(line.as_bytes()) {
        Ok(Command::Rcpt { request, .. }) => request,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn rfc5321_4_1_1_2_mail_takes_paths_and_parameters() {
    let (sender, params) =
        mail_of("MAIL FROM:<a@x.vn> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1 AUTH=<> REQUIRETLS");
    assert_eq!(sender.to_string(), "a@x.vn");
    let expected = MailParams {
        size: Some(1000),
        body: BodyType::EightBitMime,
        smtputf8: true,
        requiretls: true,
        ret: Some(Ret::Headers),
        envid: Some("QQ+2B1".to_owned()),
    };
    assert_eq!(params, expected);
    assert!(mail_of("mail from:<>").0.is_null());
    assert_eq!(mail_of("MAIL FROM: <\"a b>c\"@x.vn> BODY=7BIT").0.to_string(), "\"a b>c\"@x.vn");
    assert_eq!(
        mail_of("MAIL FROM:<a@x.vn> SIZE=99999999999999999999").1.size,
        Some(u64::MAX),
        "too large is too large"
    );
}

#[test]
fn hostile_senders_are_refused() {
    check(&[
        ("MAIL", 501),
        ("MAIL FROM:", 501),
        ("MAIL FROM:a@x.vn", 501),
        ("MAIL <a@x.vn>", 501),
        ("MAIL FROM:<a@x.vn", 501),
        ("MAIL FROM:<a@x.vn>SIZE=1", 501),
        ("MAIL FROM:<;for i in 0 1 2;do id;done;exit 0;>", 501),
        ("MAIL FROM:<|/bin/sh@x.vn>", 250),
        ("MAIL FROM:<postmaster>", 501),
        ("MAIL FROM:<a@[127.0.0.1]>", 501),
        ("MAIL FROM:<@r.vn:a@x.vn>", 550),
        ("MAIL FROM:<a%b@x.vn>", 550),
        ("MAIL FROM:<a@x.vn\0>", 501),
        ("MAIL FROM:<\u{430}lice@x.vn>", 553),
        ("MAIL FROM:<\u{430}lice@x.vn> SMTPUTF8", 250),
    ]);
    assert_eq!(code(&format!("MAIL FROM:<{}@x.vn>", "a".repeat(65))), 501);
    assert_eq!(code(&format!("MAIL FROM:<{}@{}vn>", "a".repeat(64), "abcdefg.".repeat(25))), 501);
    let broken = parse(b"MAIL FROM:<a\xff@x.vn> SMTPUTF8");
    assert!(matches!(broken, Err(Refused::Reply(reply)) if reply.code() == 553));
}

#[test]
fn threats_s_28_parameters_are_known_single_and_clean() {
    check(&[
        ("MAIL FROM:<a@x.vn> FOO=bar", 555),
        ("MAIL FROM:<a@x.vn> BY=100;R", 555),
        ("MAIL FROM:<a@x.vn> HOLDFOR=10", 555),
        ("MAIL FROM:<a@x.vn> NOTIFY=NEVER", 555),
        ("MAIL FROM:<a@x.vn> SIZE=1 size=2", 501),
        ("MAIL FROM:<a@x.vn> SIZE=", 501),
        ("MAIL FROM:<a@x.vn> SIZE=-1", 501),
        ("MAIL FROM:<a@x.vn> SIZE=1e3", 501),
        ("MAIL FROM:<a@x.vn> SIZE=123456789012345678901", 501),
        ("MAIL FROM:<a@x.vn> BODY=BINARYMIME", 501),
        ("MAIL FROM:<a@x.vn> BODY=9BIT", 501),
        ("MAIL FROM:<a@x.vn> RET=SOME", 501),
        ("MAIL FROM:<a@x.vn> ENVID=a+0D+0AX-Injected:+20yes", 501),
        ("MAIL FROM:<a@x.vn> ENVID=a+00", 501),
        ("MAIL FROM:<a@x.vn> ENVID=a+zz", 501),
        ("MAIL FROM:<a@x.vn> ENVID=a+0d", 501),
        ("MAIL FROM:<a@x.vn> ENVID=", 501),
        ("MAIL FROM:<a@x.vn> AUTH=a+0A", 501),
        ("RCPT TO:<a@x.vn> ORCPT=rfc822;a+40x.vn+0A", 501),
        ("RCPT TO:<a@x.vn> ORCPT=a@x.vn", 501),
        ("RCPT TO:<a@x.vn> NOTIFY=NEVER,SUCCESS", 501),
        ("RCPT TO:<a@x.vn> NOTIFY=NEVER NOTIFY=NEVER", 501),
        ("RCPT TO:<a@x.vn> NOTIFY=SOMETIMES", 501),
        ("RCPT TO:<a@x.vn> RRVS=2014-04-03T23:01:00Z", 555),
        ("RCPT TO:<a@x.vn> SIZE=1", 555),
    ]);
    assert_eq!(code(&format!("MAIL FROM:<a@x.vn> ENVID={}", "a".repeat(101))), 501);
}

#[test]
fn rfc3461_4_1_recipients_carry_what_they_ask_for() {
    let request = rcpt_of("RCPT TO:<a@x.vn> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@x.vn");
    assert_eq!(request.original.as_deref(), Some("rfc822;a+2Bb@x.vn"));
    assert_eq!(request.notify, Notify { success: true, failure: false, delay: true, explicit: true });
    assert_eq!(rcpt_of("RCPT TO:<a@x.vn>").notify, Notify::default());
    let never = rcpt_of("RCPT TO:<a@x.vn> NOTIFY=NEVER").notify;
    assert_eq!(never, Notify { success: false, failure: false, delay: false, explicit: true });
    assert_eq!(rcpt_of("rcpt to:<PostMaster>").target, Target::Postmaster);
}

#[test]
fn threats_s_21_no_trick_makes_a_recipient() {
    check(&[
        ("RCPT TO:<user%outside.example@agency.test>", 550),
        ("RCPT TO:<outside.example!user@agency.test>", 550),
        ("RCPT TO:<\"user@outside.example\"@agency.test>", 550),
        ("RCPT TO:<user@outside.example@agency.test>", 550),
        ("RCPT TO:<@agency.test:user@outside.example>", 550),
        ("RCPT TO:<@a.test,@b.test:user@agency.test>", 550),
        ("RCPT TO:<user@[127.0.0.1]>", 550),
        ("RCPT TO:<user@[IPv6:::1]>", 550),
        ("RCPT TO:<user@agency.test.>", 501),
        ("RCPT TO:<user@outside\u{3002}example>", 501),
        ("RCPT TO:<>", 501),
        ("RCPT TO:<user>", 501),
        ("RCPT TO:<user@>", 501),
        ("RCPT TO:<@agency.test>", 550),
        ("RCPT TO:<user@agency.test> <other@x.vn>", 555),
        ("RCPT TO:user@agency.test", 501),
        ("RCPT TO:<a b@agency.test>", 501),
    ]);
    assert_eq!(code(&format!("RCPT TO:<{}@agency.test>", "a".repeat(900))), 501);
}

#[test]
fn threats_s_26_a_greeting_is_one_plain_name() {
    check(&[
        ("EHLO mail.x.vn", 250),
        ("HELO [192.0.2.1]", 250),
        ("EHLO [IPv6:2001:db8::1]", 250),
        ("EHLO under_score", 250),
        ("EHLO", 501),
        ("EHLO ", 501),
        ("EHLO a b", 501),
        ("EHLO \u{1b}[2Jclear", 501),
        ("EHLO a;b", 501),
        ("EHLO <script>", 501),
        ("EHLO t\u{1ec9}nh.vn", 501),
    ]);
    assert_eq!(code(&format!("EHLO {}", "a".repeat(256))), 501);
}

#[test]
fn rfc3030_chunk_sizes_are_numbers_or_the_end() {
    assert_eq!(parse(b"BDAT 10"), Ok(Command::Bdat { size: 10, last: false }));
    assert_eq!(parse(b"bdat 0 last"), Ok(Command::Bdat { size: 0, last: true }));
    let huge = format!("BDAT {}", "9".repeat(40));
    assert_eq!(parse(huge.as_bytes()), Ok(Command::Bdat { size: u64::MAX, last: false }));
    for line in ["BDAT", "BDAT -1 LAST", "BDAT abc LAST", "BDAT 1 FIRST", "BDAT 1 LAST x", "BDAT +1", "BDAT 0x10"] {
        assert!(matches!(parse(line.as_bytes()), Err(Refused::Close(reply)) if reply.code() == 501), "{line}");
    }
}

#[test]
fn threats_s_07_s_10_verbs_of_others_are_told_apart() {
    check(&[
        ("NOOP", 250),
        ("NOOP with words", 250),
        ("noop", 250),
        ("HELP", 250),
        ("VRFY root", 250),
        ("RSET", 250),
        ("QUIT", 250),
        ("DATA", 250),
        ("STARTTLS", 250),
        ("AUTH PLAIN AGFkbWluAGFkbWlu", 250),
        ("AUTH", 250),
        ("AUTH NOSUCH", 250),
        ("DATA now", 501),
        ("RSET x", 501),
        ("STARTTLS now", 501),
        ("VRFY", 501),
        ("EXPN list", 502),
        ("ETRN x.vn", 250),
        ("etrn @x.vn", 250),
        ("ETRN", 501),
        ("ETRN #queue", 501),
        ("ETRN a b", 501),
        ("DEBUG", 502),
        ("WIZ", 502),
        ("SEND FROM:<a@b.vn>", 502),
        ("TURN", 502),
        ("BURL x", 502),
        ("", 500),
        (".", 500),
        ("FOOBAR", 500),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2", 500),
        ("XYZZY \u{1b}", 500),
        ("MAILFROM:<a@x.vn>", 500),
        ("GET / HTTP/1.1", 421),
        ("post /x HTTP/1.0", 421),
        ("Host: gw", 421),
        ("CONNECT x:25 HTTP/1.1", 421),
    ]);
}

#[test]
fn xclient_is_pairs_in_xtext() {
    let pairs = |pairs: &[(&str, &str)]| {
        Ok(Command::Xclient(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()))
    };
    assert_eq!(parse(b"XCLIENT addr=192.0.2.1 NAME=a+2Db"), pairs(&[("ADDR", "192.0.2.1"), ("NAME", "a-b")]));
    check(&[("XCLIENT", 501), ("XCLIENT ADDR", 501), ("XCLIENT NAME=a+0D+0Ab", 501)]);
}
