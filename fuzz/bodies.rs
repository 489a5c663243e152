//! What must hold for any octets: one function a grammar that strangers reach before anything is known of them. The
//! fuzz targets beside this file call them, and so does the main package's test binary with seeded input, so that
//! they are tried on every change without a nightly compiler.

use luytre::deliver::client::Replies;
use luytre::listen::proxy::{self, Header};
use luytre::session::command;
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
