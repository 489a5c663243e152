//! Bounds: whatever a message does, the work is a fixed multiple of its length, and what is kept fits an inspector.
//! Counted, not timed. `LUYTRE_CAMPAIGN` makes the messages longer (50 MiB) and the mutations more.

use super::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata/mime");

fn campaign() -> Option<usize> {
    std::env::var("LUYTRE_CAMPAIGN").ok()?.parse().ok()
}

/// Octets kept beside the message itself.
fn kept(tree: &Tree<'_>) -> usize {
    let owned = |cow: &std::borrow::Cow<'_, [u8]>| match cow {
        std::borrow::Cow::Owned(octets) => octets.capacity(),
        std::borrow::Cow::Borrowed(_) => 0,
    };
    tree.parts.iter().map(|p| owned(&p.decoded)).chain(tree.alternatives.iter().map(|a| owned(&a.decoded))).sum()
}

/// A message of about `size` octets: `head`, then `unit` over and over.
fn filled(head: &str, unit: &str, size: usize) -> Vec<u8> {
    let mut raw = head.as_bytes().to_vec();
    raw.extend(unit.bytes().cycle().take(size.saturating_sub(raw.len())));
    raw
}

type Crafted = (&'static str, fn(usize) -> Vec<u8>);

/// Messages made to cost as much as they can.
const WORST: &[Crafted] = &[
    ("a million tiny parts", |n| filled("Content-Type: multipart/mixed; boundary=x\r\n\r\n", "--x\r\n\r\na\r\n", n)),
    ("headers only", |n| filled("", "Content-Type: a/b\r\n", n)),
    ("one header line", |n| filled("Content-Type: multipart/mixed; boundary=", "x\\\"", n)),
    ("one folded header", |n| filled("Content-Type: text/plain", ";\r\n boundary=x", n)),
    ("one file name", |n| filled("Content-Disposition: attachment; filename=\"", "=?utf-8?B?YQ==?= ", n)),
    ("a long subject", |n| filled("Subject: ", "=?utf-8?Q?=41?= ", n)),
    ("nesting", |n| {
        let mut raw = String::new();
        for i in 0.. {
            raw.push_str(&format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n"));
            if raw.len() >= n.min(4 << 20) {
                break;
            }
        }
        filled(&raw, "x\r\n", n)
    }),
    ("nesting with many boundaries", |n| {
        let names: String = (0..8).map(|i| format!("; boundary=b{i}")).collect();
        let level = format!("Content-Type: multipart/mixed{names}\r\n\r\n--b0\r\n");
        filled(&level.repeat(40), "--b1\r\n\r\n--b2\r\n\r\n--b3\r\n\r\n", n)
    }),
    ("messages in messages", |n| filled("", "Content-Type: message/rfc822\r\n\r\n", n)),
    ("uuencode begins", |n| filled("\r\n", "begin 644 a\r\n", n)),
    ("uuencoded files", |n| filled("\r\n", "begin 644 a\r\n#0V%T\r\n`\r\nend\r\n", n)),
    ("yenc begins", |n| filled("\r\n", "=ybegin line=1 size=1 name=a\r\n", n)),
    ("soft breaks", |n| filled("Content-Transfer-Encoding: quoted-printable\r\n\r\n", "=\r\n", n)),
    ("broken escapes", |n| {
        filled("Content-Type: a/b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", "=4=X= \r\n==", n)
    }),
    ("broken base64", |n| {
        filled("Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n", "YQ==\r\nYW-_I!\r\n=Y\u{e9}\r\n", n)
    }),
    ("hidden parts", |n| filled("\r\n", "--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n", n)),
    ("lines that could be delimiters", |n| filled("\r\n", "\r\n--:\r\n", n)),
    ("nearly delimiters", |n| {
        filled("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n", "--x y\r\nContent-Type: a/b\r\n\r\n", n)
    }),
    ("late headers", |n| filled("", "Content-Type: a/b\r\n\r\n", n)),
    ("carriage returns", |n| filled("Content-Type: a/b\r", "\rContent-Type: a/b\r", n)),
    ("controls in nested headers", |n| filled("", "Content-Type: message/rfc822\0\r\n\0Content-X: y\r\n\r\n", n)),
    ("utf-7", |n| filled("Content-Type: text/html; charset=utf-7\r\n\r\n", "+AAA-+", n)),
    ("binhex runs", |n| filled("\r\n(This file must be converted with BinHex 4.0)\r\n\r\n:", "!N!3!N!3", n)),
    ("encoded multiparts", |n| {
        filled("", "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n--x\r\n", n)
    }),
];

#[test]
fn the_work_is_a_fixed_multiple_of_the_length() {
    let size = if campaign().is_some() { 50 << 20 } else { 1 << 20 };
    for (name, make) in WORST {
        let (half, whole) = (make(size / 2), make(size));
        let limits = Limits::default();
        let (small, large) = (parse(&half, &limits), parse(&whole, &limits));
        // Levels of nesting, and the passes that other readings may cost.
        let bound = (limits.depth + 2 + 25) * (whole.len() + 65_536);
        assert!(large.work <= bound, "{name}: {} octets gone over for {}", large.work, whole.len());
        let twice = small.work.max(65_536).saturating_mul(5) / 2;
        let settled = large.work <= twice.saturating_add(small.work.max(1 << 20) * 2);
        assert!(settled, "{name}: {} for {}, {} for {}", small.work, half.len(), large.work, whole.len());
        let room = whole.len() + (96 << 20).min(whole.len() * 4 + 65_536) * 2;
        assert!(kept(&large) <= room, "{name}: {} octets kept for {}", kept(&large), whole.len());
        assert!(large.parts.len() <= limits.parts && large.alternatives.len() <= 256, "{name}");
        println!("{name}: {} octets, {} gone over, {} kept", whole.len(), large.work, kept(&large));
    }
}

/// Messages of the corpus, bent at random places; a failure names file, seed and round.
#[test]
fn mutant_messages_never_panic_and_stay_in_bounds() {
    let rounds = campaign().unwrap_or(3);
    let seed: u64 = std::env::var("LUYTRE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut files: Vec<std::path::PathBuf> = Vec::new();
    for folder in
        ["mimeminer", "mime-is-broken/hide-content", "mime-is-broken/hide-filename", "mimetools-testmsgs", "cpython"]
    {
        let Ok(entries) = std::fs::read_dir(std::path::Path::new(CORPUS).join(folder)) else { continue };
        files.extend(entries.map(|e| e.unwrap().path()).filter(|p| p.is_file()));
    }
    files.sort();
    let mut messages: Vec<Vec<u8>> =
        files.iter().map(|f| std::fs::read(f).unwrap()).filter(|m| m.len() < 65_536).collect();
    if messages.is_empty() {
        println!("no corpus at {CORPUS}: only the crafted messages are bent");
    }
    messages.extend(WORST.iter().map(|(_, make)| make(2000)));
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap_or(0) % bound.max(1)
    };
    let pieces: [&[u8]; 16] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"--",
        b"=",
        b"\"",
        b";",
        b"boundary=",
        b"*0*=",
        b"begin 644 a\r\n",
        b"Content-Type: ",
        b"message/rfc822",
        b"\r\n\r\n",
        b"=?utf-8?B?",
        b"\xff",
    ];
    for round in 0..rounds {
        for (number, message) in messages.iter().enumerate() {
            let mut bent = message.clone();
            for _ in 0..=next(4) {
                let at = next(bent.len());
                match next(4) {
                    0 => bent.splice(at..at, pieces[next(pieces.len())].iter().copied()).for_each(drop),
                    1 => bent.truncate(at),
                    2 => bent.splice(at..(at + next(40)).min(bent.len()), []).for_each(drop),
                    _ => bent.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << next(8)),
                }
            }
            let outcome = std::panic::catch_unwind(|| {
                let limits = Limits::default();
                let tree = parse(&bent, &limits);
                assert!(tree.work <= (limits.depth + 27) * (bent.len() + 65_536));
                for part in &tree.parts {
                    let whole = &bent[part.span.clone()];
                    assert!(whole.ends_with(part.body), "the body is the end of the part's place");
                }
                // A copy is only given where it reads back the same.
                if let Ok(copy) = rewrite::canonical(&bent, &limits) {
                    let again = parse(&copy, &limits);
                    assert!(
                        again.alternatives.is_empty() && !again.oddities.iter().any(|o| o.code == "mime.ambiguous")
                    );
                }
                let first: Vec<rewrite::PartPath> =
                    tree.parts.iter().skip(1).take(1).map(|p| rewrite::PartPath::of(&p.path)).collect();
                let _ = rewrite::strip(&bent, &first, "gone", &limits);
                let _ = tnef::read(&bent);
            });
            assert!(outcome.is_ok(), "seed {seed}, round {round}, message {number}: {}", bent.escape_ascii());
        }
    }
    println!("{} messages, {rounds} rounds, seed {seed}", messages.len());
}
