//! The bodies of the fuzz targets (`fuzz/`) on seeded input: octets put together from pieces of the grammar, for plain
//! noise seldom gets past the first octet. `LUYTRE_CAMPAIGN` makes the run longer, `LUYTRE_SEED` another one.

#[path = "../../fuzz/bodies.rs"]
mod bodies;

use luytre::env::Dice;

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Inputs of each body.
fn rounds() -> u64 {
    number("LUYTRE_CAMPAIGN").unwrap_or(20_000)
}

/// Tries `body` on inputs made of `pieces` and of single octets; a failure names the seed and the input.
pub fn try_all(name: &str, rounds: u64, pieces: &[&[u8]], body: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let seed = number("LUYTRE_SEED").unwrap_or(1);
    let dice = Dice::seeded(seed);
    let pick = |bound: usize| usize::try_from(dice.below(bound as u64)).unwrap();
    for round in 0..rounds {
        let mut input = Vec::new();
        for _ in 0..pick(24) {
            match pick(8) {
                0 => input.push(u8::try_from(pick(256)).unwrap()),
                1 if !input.is_empty() => {
                    let at = pick(input.len());
                    input[at] ^= 1 << pick(8);
                }
                2 if !input.is_empty() => input.truncate(pick(input.len())),
                3 => input.extend(std::iter::repeat_n(b'x', pick(300))),
                _ => input.extend_from_slice(pieces[pick(pieces.len())]),
            }
        }
        let outcome = std::panic::catch_unwind(|| body(&input));
        assert!(outcome.is_ok(), "{name}: seed {seed}, round {round}: {}", input.escape_ascii());
    }
    println!("{name}: {rounds} inputs, seed {seed}");
}

const TEXT: [&[u8]; 10] =
    [b"\r\n", b"\n", b"\r", b".", b"\r\n.\r\n", b"..", b"\0", b"Received: x\r\n", b"Subject: y\r\n", b"body "];

#[test]
fn rfc5321_2_3_8_any_octets_are_a_line_or_none() {
    try_all("line", rounds(), &TEXT, bodies::line);
}

#[test]
fn rfc5321_4_1_any_line_is_a_command_or_gets_a_reply() {
    let pieces: [&[u8]; 28] = [
        b"MAIL FROM:",
        b"RCPT TO:",
        b"EHLO ",
        b"HELO ",
        b"BDAT ",
        b"AUTH PLAIN ",
        b"XCLIENT ",
        b"<",
        b">",
        b"@",
        b"\"",
        b"\\",
        b"a",
        b"agency.test",
        b"[127.0.0.1]",
        b"\xc3\xa1",
        b"\xff",
        b" SIZE=",
        b" BODY=8BITMIME",
        b" SMTPUTF8",
        b" RET=",
        b" ENVID=",
        b" NOTIFY=",
        b" ORCPT=rfc822;",
        b"+0A",
        b"18446744073709551616",
        b" LAST",
        b" ",
    ];
    try_all("command", rounds(), &pieces, bodies::command);
}

#[test]
fn xclient_attributes_carry_no_line_ends() {
    let pieces: [&[u8]; 10] =
        [b"ADDR=", b"NAME=", b"HELO=", b"PORT=", b"IPV6:", b"::1", b"+0D", b"+0A", b" ", b"[UNAVAILABLE]"];
    try_all("xclient", rounds(), &pieces, bodies::xclient);
}

#[test]
fn rfc5321_4_1_1_4_packets_make_no_difference_to_a_message() {
    try_all("data", rounds(), &TEXT, bodies::data);
}

#[test]
fn proxy_headers_are_whole_or_none() {
    let pieces: [&[u8]; 12] = [
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"192.0.2.1 ",
        b"::1 ",
        b"40000 ",
        b"25",
        b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x21\x11\0\x0c",
        b"\x20\0\0\0",
    ];
    try_all("proxy", rounds(), &pieces, bodies::proxy);
}

#[test]
fn rfc5321_4_2_packets_make_no_difference_to_replies() {
    let pieces: [&[u8]; 9] =
        [b"250 ", b"250-", b"550 5.1.1 ", b"\r\n", b"\n", b"no such user", b"999", b"25", b"\r\n\r\n"];
    try_all("replies", rounds(), &pieces, bodies::replies);
}

#[test]
fn rfc5322_2_2_any_octets_have_a_header_and_what_we_fold_is_one_field() {
    let pieces: [&[u8]; 14] = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"Subject",
        b"From: an@agency.test",
        b"=?utf-8?B?",
        b"?=",
        b"\0",
        b"\xff",
        b"\r\n\r\n",
        b"\xe1\xbb\x99",
    ];
    try_all("header", rounds(), &pieces, bodies::header);
}

#[test]
fn rfc2045_any_octets_are_a_tree_within_its_limits() {
    let pieces: [&[u8]; 22] = [
        b"\r\n",
        b"\n",
        b"--b",
        b"--b--",
        b"--b\r\n",
        b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=\"b\"; boundary=c\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Disposition: attachment; filename*0*=utf-8''a%20",
        b"; filename*1=b",
        b"=\r\n",
        b"=41",
        b"QUJD",
        b"====",
        b"begin 644 x\n",
        b"=ybegin line=128 size=1 name=x\r\n",
        b"M86%A",
        b"\xff\xfe",
        b"\0",
    ];
    try_all("mime", rounds(), &pieces, bodies::mime);
    try_all("rewrite", rounds(), &pieces, bodies::rewrite);
}

#[test]
fn ms_oxtnef_any_octets_are_a_stream_or_end() {
    let pieces: [&[u8]; 12] = [
        b"\x78\x9f\x3e\x22\x01\x00",
        b"\x02\x02\x90\x06\x00\x00\x00\x00\x00\x00\x00",
        b"\x02\x10\x80\x01\x00\x02\x00\x00\x00a\x00\x00\x00",
        b"\x02\x0f\x80\x06\x00",
        b"\x02\x05\x90\x06\x00",
        b"\x01\x03\x90\x06\x00",
        b"\x04\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x0d\x00\x01\x37",
        b"\x1f\x10\x07\x37",
        b"\x02\x01\x09\x10\x01\x00\x00\x00\x40\x00\x00\x00",
        b"LZFu",
    ];
    try_all("tnef", rounds(), &pieces, bodies::tnef);
}

#[test]
fn rfc3464_2_nothing_that_others_say_is_a_field_of_a_report() {
    let pieces: [&[u8]; 20] = [
        b"\n",
        b"\r",
        b"ENVID=a+2Bb ",
        b"RET=FULL ",
        b"RET=HDRS ",
        b"SMTPUTF8 ",
        b"<x@partner.example>",
        b"<h\xe1\xbb\x99p@partner.example>",
        b" ORCPT=rfc822;a+2Bb@c",
        b" ORCPT=utf-8;h\\x{1ED9}p@c",
        b" NOTIFY=DELAY",
        b"550 5.1.1 ",
        b"Action: delivered",
        b": ",
        b"\xe2\x80\xa8",
        b"Subject: x",
        b"Message-ID: <1@a>",
        b"\n\n",
        b"\xff",
        b"\x1b[2J",
    ];
    try_all("dsn", rounds(), &pieces, bodies::dsn);
}
