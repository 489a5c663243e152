//! What must hold for any octets: one function a grammar that strangers reach before anything is known of them. The
//! fuzz targets beside this file call them, and so does the main package's test binary with seeded input, so that
//! they are tried on every change without a nightly compiler.

use bytes::Bytes;
use luytre::deliver::bounce::{self, Item, Kind, Report};
use luytre::deliver::client::Replies;
use luytre::listen::proxy::{self, Header};
use luytre::mail::header::{Headers, fold};
use luytre::mail::{
    self, Language, MailId, MailParams, Mailbox, Parcel, ParcelMeta, Recipient, ReversePath, Timestamp, mime,
};
use luytre::session::command::{self, Command};
use luytre::session::desk::Target;
use luytre::session::line::{Bounds, Fed, Line, Reader, command_line};

const LINE_LIMIT: usize = 512;
const BOUNDS: Bounds =
    Bounds { message: 4096, line: 200, header: 1024, header_fields: 20, received: 5, normalize: false };

/// RFC 5321 §2.3.8: a line ends at CRLF and nowhere else, and is never longer than the limit.
pub fn line(input: &[u8]) {
    match command_line(input, LINE_LIMIT) {
        Line::Complete(length) => {
            assert!(length <= LINE_LIMIT && input[..length].ends_with(b"\r\n"));
            let text = &input[..length - 2];
            assert!(!text.contains(&b'\r') && !text.contains(&b'\n'), "a line end inside a line");
        }
        Line::Incomplete => assert!(input.len() < LINE_LIMIT, "memory is bounded"),
        Line::BareNewline | Line::TooLong => {}
    }
}

/// Any line is a command or a reply that a stranger may read; what a command carries has no control characters.
pub fn command(input: &[u8]) {
    match command::parse(input) {
        Ok(command::Command::Mail { sender, .. }) => {
            assert!(!sender.to_string().chars().any(char::is_control));
        }
        Ok(command::Command::Rcpt { request, .. }) => {
            assert!(!request.target.to_string().chars().any(char::is_control));
        }
        Ok(command::Command::Hello { name, .. }) => assert!(command::is_host_name(name.as_bytes())),
        Ok(_) => {}
        Err(command::Refused::Reply(reply) | command::Refused::Junk(reply) | command::Refused::Close(reply)) => {
            let mut bytes = Vec::new();
            reply.write_to(&mut bytes);
            assert!(reply.code() >= 400 && bytes.iter().all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n')));
        }
    }
}

/// XCLIENT's attributes: what comes out of xtext cannot end a line.
pub fn xclient(input: &[u8]) {
    let line = [b"XCLIENT ", input].concat();
    if let Ok(command::Command::Xclient(pairs)) = command::parse(&line) {
        assert!(pairs.iter().all(|(_, value)| !value.chars().any(char::is_control)));
    }
}

/// How a message is cut into packets makes no difference: not to where it ends, not to what is in it, not to why it is
/// refused. The first octet says how to cut the rest.
pub fn data(input: &[u8]) {
    let Some((&step, input)) = input.split_first() else { return };
    let read = |step: usize, chunks: bool| {
        let (mut reader, mut out) = (if chunks { Reader::chunks(BOUNDS) } else { Reader::data(BOUNDS) }, Vec::new());
        let mut at = 0;
        for piece in input.chunks(step.max(1)) {
            match reader.feed(piece, &mut |bytes| out.extend_from_slice(bytes)) {
                Fed::More => at += piece.len(),
                Fed::End(taken) => {
                    assert!(taken <= piece.len());
                    return (Some(at + taken), out, reader.fault());
                }
            }
        }
        if chunks {
            reader.close(&mut |bytes| out.extend_from_slice(bytes));
        }
        (None, out, reader.fault())
    };
    for chunks in [false, true] {
        let whole = read(input.len(), chunks);
        let cut = read(usize::from(step % 16) + 1, chunks);
        assert_eq!((whole.0, whole.2), (cut.0, cut.2), "cut into {} octets", step % 16 + 1);
        if whole.2.is_none() {
            assert_eq!(whole.1, cut.1);
            assert!(whole.1.len() as u64 <= BOUNDS.message);
            assert_clean(&whole.1, whole.0.is_some() || chunks);
        }
        if let Some(end) = whole.0 {
            assert!(!chunks, "only the count of octets ends a chunk");
            assert!(input[..end].ends_with(b".\r\n"));
        }
    }
}

/// No bare CR or LF and no NUL gets past (an unfinished message may end inside a line end).
fn assert_clean(message: &[u8], ended: bool) {
    for (at, byte) in message.iter().enumerate() {
        match byte {
            b'\n' => assert!(at > 0 && message[at - 1] == b'\r', "a bare LF passed"),
            b'\r' => assert!(message.get(at + 1).map_or(!ended, |next| *next == b'\n'), "a bare CR passed"),
            0 => panic!("a NUL passed"),
            _ => {}
        }
    }
}

/// A PROXY header is found whole or not at all, within what was read, and more octets behind it change nothing.
pub fn proxy(input: &[u8]) {
    if let Header::Complete { length, .. } = proxy::parse(input) {
        assert!(length <= input.len());
        let longer = [input, b"EHLO x\r\n"].concat();
        assert!(matches!(proxy::parse(&longer), Header::Complete { length: again, .. } if again == length));
        // Before its last octet it was incomplete, never something else.
        assert!(matches!(proxy::parse(&input[..length - 1]), Header::Incomplete));
    }
}

/// Replies of a next hop: the same however they are cut into packets, and always of a code with three digits.
pub fn replies(input: &[u8]) {
    let Some((&step, input)) = input.split_first() else { return };
    let read = |step: usize| {
        let (mut replies, mut all) = (Replies::default(), Vec::new());
        for piece in input.chunks(step.max(1)) {
            replies.push(piece);
            loop {
                match replies.pull() {
                    Ok(Some(reply)) => all.push(reply),
                    Ok(None) => break,
                    Err(_) => return (all, true),
                }
            }
        }
        (all, false)
    };
    let (whole, cut) = (read(input.len()), read(usize::from(step % 16) + 1));
    assert_eq!(whole.1, cut.1, "an error is one however it comes");
    assert_eq!(whole.0, cut.0);
    assert!(whole.0.iter().all(|reply| (100..=999).contains(&reply.code())));
}

/// Fields lie one behind the other inside the header section, their values are one line; a field that we fold is one field.
pub fn header(input: &[u8]) {
    const LIMIT: usize = 50;
    let headers = Headers::parse_limited(input, LIMIT);
    assert!(headers.fields().len() <= LIMIT && input.ends_with(headers.body()));
    let mut at = 0;
    for field in headers.fields() {
        assert!(field.range.start >= at && field.range.start < field.range.end && field.range.end <= input.len());
        assert!(!field.name.contains(&b':'));
        assert!(!field.unfolded().contains(['\r', '\n']));
        at = field.range.end;
    }
    let ours = fold("X-Luytre-Test", &String::from_utf8_lossy(input));
    assert!(ours.ends_with(b"\r\n"));
    assert_clean(&ours, true);
    let again = Headers::parse(&ours);
    assert!(again.fields().len() == 1 && again.fields()[0].is("x-luytre-test"), "a value became a field of its own");
}

/// Any message is a tree within its limits, and no part holds more than was sent.
pub fn mime(input: &[u8]) {
    let limits = mime::Limits { depth: 8, parts: 50, header_fields: 50 };
    let tree = mime::parse(input, &limits);
    assert!(!tree.parts.is_empty() && tree.parts.len() <= limits.parts + 1, "{} parts", tree.parts.len());
    for (at, part) in tree.parts.iter().enumerate() {
        assert!(part.depth <= limits.depth + 1, "depth {}", part.depth);
        assert!(part.parent.is_none_or(|parent| parent < at), "a part stands before what it is in");
        assert!(part.decoded.len() <= input.len(), "{} octets of {}", part.decoded.len(), input.len());
    }
}

/// Lines of `message/delivery-status` begin so (RFC 3464 §2).
const STATUS: [&str; 11] = [
    "Reporting-MTA: ",
    "Original-Envelope-Id: ",
    "Arrival-Date: ",
    "Original-Recipient: ",
    "Final-Recipient: ",
    "Action: ",
    "Status: ",
    "Diagnostic-Code: ",
    "Last-Attempt-Date: ",
    "Will-Retry-Until: ",
    "Remote-MTA: ",
];

/// What a sender and a next hop say ends up in a delivery report; none of it becomes a field or a line of its own. The
/// input is four texts between line feeds: parameters of MAIL, recipient with parameters, the server's answer, and the
/// header of the message.
pub fn dsn(input: &[u8]) {
    let mut texts = input.splitn(4, |byte| *byte == b'\n');
    let mut next = || texts.next().unwrap_or_default();
    let (mail, rcpt, said, head) = (next(), next(), next(), next());
    let params = match command::parse(&[b"MAIL FROM:<an@agency.test> ", mail].concat()) {
        Ok(Command::Mail { params, .. }) => params,
        _ => MailParams::default(),
    };
    let Ok(Command::Rcpt { request, .. }) = command::parse(&[b"RCPT TO:", rcpt].concat()) else { return };
    let Target::Mailbox(mailbox) = request.target else { return };
    let destination = mail::Destination::Outward("agency".parse().expect("an id"));
    let recipient =
        Recipient { mailbox, destination: destination.clone(), original: request.original, notify: request.notify };
    let sender = Mailbox::parse("an@agency.test").expect("an address");
    // What was taken has whole line ends and no NUL.
    let kept: String = String::from_utf8_lossy(head).chars().filter(|c| !matches!(c, '\r' | '\0')).collect();
    let original = Parcel {
        meta: ParcelMeta {
            id: MailId::from_u128(1),
            received_at: Timestamp::from_seconds(1_800_000_000),
            sender: ReversePath::Mailbox(sender.clone()),
            recipients: vec![recipient.clone()],
            destination: destination.clone(),
            params,
            sender_authenticated: true,
            subject: String::new(),
        },
        head: Bytes::from(format!("{}\r\n\r\n", kept.replace('\n', "\r\n"))),
        body: Bytes::from_static(b"body\r\n"),
    };
    let said = String::from_utf8_lossy(said);
    for kind in [Kind::Failed, Kind::Delayed, Kind::Relayed] {
        let item = Item {
            recipient: &recipient,
            status: said.split(' ').next().unwrap_or_default(),
            said: &said,
            is_reply: true,
        };
        let parcel = bounce::build(&Report {
            kind,
            id: MailId::from_u128(2),
            now: Timestamp::from_seconds(1_800_000_100),
            hostname: "gw.agency.test",
            from: "postmaster@agency.test",
            language: Language::Vi,
            original: &original,
            sender: &sender,
            destination: destination.clone(),
            items: &[item],
            until: Timestamp::from_seconds(1_800_400_000),
        });
        let whole = [&parcel.head[..], &parcel.body[..]].concat();
        assert_clean(&whole, true);
        assert!(parcel.meta.sender == ReversePath::Null, "a report is never answered");
        let tree = mime::parse(&whole, &mime::Limits::default());
        let status =
            tree.parts.iter().find(|part| part.content_type.ends_with("delivery-status")).expect("its machine part");
        for line in String::from_utf8_lossy(status.body).lines().filter(|line| !line.is_empty()) {
            assert!(STATUS.iter().any(|name| line.starts_with(name)), "a line of its own: {line:?}");
        }
    }
}
