//! Every line end that is none, in every phase of a session (THREATS S-01 to S-04, S-18): a matrix, where `tests/talk` has
//! conversations.

use crate::kit::script::Script;
use crate::talk::{play_all, report};

/// How a session comes to each phase: its name, profile, script.
fn phases() -> Vec<(&'static str, &'static str, String)> {
    let hello = "S: 220\nC: EHLO client.sender.example\\r\\n\nS: 250\n".to_owned();
    let mail = hello.clone() + "C: MAIL FROM:<news@sender.example>\\r\\n\nS: 250\n";
    let rcpt = mail.clone() + "C: RCPT TO:<alice@agency.test>\\r\\n\nS: 250\n";
    let taken = rcpt.clone() + "C: DATA\\r\\n\nS: 354\nC: Subject: one\\r\\n\\r\\nhi\\r\\n.\\r\\n\nS: 250\n";
    let chunk = rcpt.clone() + "C: BDAT 14\\r\\nSubject: x\\r\\n\\r\\n\nS: 250\n";
    let tls = hello.clone() + "C: STARTTLS\\r\\n\nS: 220\nT:\n";
    let proxied = "C: PROXY TCP4 203.0.113.77 127.0.0.1 40000 25\\r\\n\n";
    let login = format!("{proxied}{tls}C: EHLO unit.example\\r\\n\nS: 250\nC: AUTH LOGIN\\r\\n\nS: 334\n");
    vec![
        ("greeted", "", "S: 220\n".to_owned()),
        ("hello", "", hello),
        ("mail", "", mail),
        ("rcpt", "", rcpt),
        ("behind a message", "", taken),
        ("between chunks", "", chunk),
        ("tls", "", tls),
        ("login", "relay proxy accounts", login),
    ]
}

#[test]
fn rfc5321_2_3_8_no_phase_takes_a_line_that_does_not_end_with_crlf() {
    let bad = [
        "NOOP\\n",
        "NOOP\\n\\r",
        "NOOP\\r\\r\\n",
        "NOOP\\rNOOP\\r\\n",
        "NO\\nOP\\r\\n",
        "\\nNOOP\\r\\n",
        "\\n",
        "\\rNOOP\\r\\n",
        "NOOP\\r\\0\\n",
        "NOOP \\n.\\n",
    ];
    let mut scripts = Vec::new();
    for (phase, profile, start) in phases() {
        for line in bad {
            // What is smuggled behind it is never answered.
            let text = format!("{start}C: {line}MAIL FROM:<smuggler@evil.test>\\r\\n\nS: 500 /^5.5.2/\nS: close\n");
            let name = format!("{phase}: {line}");
            let delivered = usize::from(phase == "behind a message");
            scripts.push((
                Script::parse(&name, &format!("# profile: {profile}\n# delivered: {delivered}\n{text}")).unwrap(),
                profile.to_owned(),
            ));
        }
    }
    report("line ends of commands", scripts.len(), &play_all(&scripts));
}

/// Ends of a message that are none: one message at most, one answer, and nobody else's envelope.
const ENDS: [&str; 24] = [
    "\\n.\\n",
    "\\n.\\r\\n",
    "\\r.\\r",
    "\\r.\\r\\n",
    "\\r.\\n",
    "\\r\\n.\\n",
    "\\r\\n.\\r",
    "\\r\\n.\\r\\r\\n",
    "\\r\\r\\n.\\r\\r\\n",
    "\\r\\n.\\r\\r\\r\\n",
    "\\r\\n.\\n\\r\\n",
    "\\n\\r.\\n\\r",
    "\\r\\n\\0.\\r\\n",
    "\\r\\n.\\0\\r\\n",
    "\\r\\n.\\r\\0\\n",
    "\\r\\n. \\r\\n",
    "\\r\\n.\\t\\r\\n",
    "\\r\\n..\\r\\n",
    "\\r\\n .\\r\\n",
    "\\r\\n.\\x0b\\r\\n",
    "\\r\\n.\\x0c\\r\\n",
    "\\xc2\\x85.\\xc2\\x85",
    "\\xe2\\x80\\xa8.\\xe2\\x80\\xa8",
    "\\r\\n\\xef\\xbc\\x8e\\r\\n",
];

const SMUGGLED: &str =
    "MAIL FROM:<smuggler@evil.test>\\r\\nRCPT TO:<bob@agency.test>\\r\\nDATA\\r\\nSubject: two\\r\\n\\r\\nx";
const HEAD: &str = "# delivered: 0|1\n# sink_absent_envelope: smuggler@evil.test\n";

#[test]
fn threats_s_01_no_other_end_of_a_message_smuggles_a_second() {
    let start = &phases().remove(3).2;
    let mut scripts = Vec::new();
    for end in ENDS {
        let body = format!("Subject: one\\r\\n\\r\\nhi{end}{SMUGGLED}\\r\\n.\\r\\n");
        let whole =
            format!("{HEAD}{start}C: DATA\\r\\n\nS: 354\nC: {body}\nS: 250|550\nC: QUIT\\r\\n\nS: 221\nS: close\n");
        // Octet by octet, so that no reader sees an end in one piece.
        let cut = format!(
            "{HEAD}{start}C: DATA\\r\\n\nS: 354\nD: 1 Subject: one\\r\\n\\r\\nhi{end}\nC: {SMUGGLED}\\r\\n.\\r\\n\nS: 250|550\nC: QUIT\\r\\n\nS: 221\nS: close\n"
        );
        scripts.push((Script::parse(&format!("DATA {end}"), &whole).unwrap(), String::new()));
        scripts.push((Script::parse(&format!("DATA in pieces {end}"), &cut).unwrap(), String::new()));
        // A CR or LF on either side of the start is bare there too.
        let first = format!(
            "{HEAD}{start}C: DATA\\r\\n\nS: 354\nC: {}{SMUGGLED}\\r\\n.\\r\\n\nS: 250|550\nC: QUIT\\r\\n\nS: 221\nS: close\n",
            end.trim_start_matches("\\r\\n")
        );
        scripts.push((Script::parse(&format!("DATA begins {end}"), &first).unwrap(), String::new()));
    }
    report("ends of messages", scripts.len(), &play_all(&scripts));
}

#[test]
fn threats_s_04_a_chunk_carries_no_end_of_a_message() {
    let start = &phases().remove(3).2;
    let length = |text: &str| {
        let escapes = text.matches("\\x").count();
        text.len() - text.matches('\\').count() - 2 * escapes
    };
    let mut scripts = Vec::new();
    for end in ENDS.into_iter().chain(["\\r\\n.\\r\\n"]) {
        let body = format!("Subject: one\\r\\n\\r\\nhi{end}{SMUGGLED}\\r\\n.\\r\\n");
        let text = format!(
            "{HEAD}{start}C: BDAT {} LAST\\r\\n{body}\nS: 250|550\nC: QUIT\\r\\n\nS: 221\nS: close\n",
            length(&body)
        );
        scripts.push((Script::parse(&format!("BDAT {end}"), &text).unwrap(), String::new()));
    }
    report("ends inside chunks", scripts.len(), &play_all(&scripts));
}
