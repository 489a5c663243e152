//! The line discipline against a slow reference, over every small input and every way to cut it.

use super::*;

const WIDE: Bounds =
    Bounds { message: 1 << 20, line: 1 << 16, header: 1 << 18, header_fields: 2000, received: 100, normalize: false };

/// Feeds `input` cut at `cuts`; the message, its fault, and how many octets it took if it ended.
fn read(mut reader: Reader, input: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Fault>, Option<usize>) {
    let (mut out, mut from) = (Vec::new(), 0);
    for to in cuts.iter().copied().chain([input.len()]) {
        match reader.feed(&input[from..to], &mut |bytes| out.extend_from_slice(bytes)) {
            Fed::More => {}
            Fed::End(taken) => return (out, reader.fault(), Some(from + taken)),
        }
        from = to;
    }
    (out, reader.fault(), None)
}

/// RFC 5321 §4.1.1.4 and §4.5.2 word by word: where the message ends, its text, and whether a CR or LF is bare.
fn reference(input: &[u8]) -> (Option<usize>, Vec<u8>, bool) {
    let whole = [b"\r\n".as_slice(), input].concat();
    let end = whole.windows(5).position(|w| w == b"\r\n.\r\n");
    let text = &whole[2..end.map_or(whole.len(), |end| end + 2)];
    let bare = (0..text.len()).any(|i| match text[i] {
        b'\r' => text.get(i + 1).is_some_and(|next| *next != b'\n'),
        b'\n' => i == 0 || text[i - 1] != b'\r',
        _ => false,
    });
    let (mut out, mut start) = (Vec::new(), true);
    let mut i = 0;
    while i < text.len() {
        if start && text[i] == b'.' {
            start = false;
        } else {
            start = text[i..].starts_with(b"\n") && i > 0 && text[i - 1] == b'\r';
            out.push(text[i]);
        }
        i += 1;
    }
    (end.map(|end| end + 3), out, bare)
}

#[test]
fn rfc5321_4_1_1_4_only_crlf_dot_crlf_ends_a_message() {
    let letters = [b'\r', b'\n', b'.', b'a'];
    for length in 0..=8_u32 {
        for code in 0..4_usize.pow(length) {
            let input: Vec<u8> = (0..length).map(|i| letters[code >> (2 * i) & 3]).collect();
            let (end, text, bare) = reference(&input);
            let cuts: Vec<usize> = (1..input.len()).collect();
            for cuts in [&[][..], &cuts[..], &cuts[..cuts.len().min(1)], &cuts[cuts.len() / 2..]] {
                let (out, fault, taken) = read(Reader::data(WIDE), &input, cuts);
                assert_eq!(taken, end, "{:?} cut at {cuts:?}", String::from_utf8_lossy(&input));
                if end.is_some() {
                    assert_eq!(fault, bare.then_some(Fault::BareNewline), "{:?}", String::from_utf8_lossy(&input));
                    assert!(bare || out == text, "{:?} cut at {cuts:?}", String::from_utf8_lossy(&input));
                }
            }
        }
    }
}

#[test]
fn threats_t1_the_endings_of_the_smuggling_papers_end_nothing() {
    for ending in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\r.\r\n",
        "\r\r\n.\r\r\n",
        "\r\n.\r\r\n",
        "\n\r.\r\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\n. \r\n",
        "\r\n..\r\n",
        "\u{2028}.\u{2028}",
    ] {
        let input = format!("one{ending}MAIL FROM:<x>\r\n");
        for cut in 0..input.len() {
            let (_, _, taken) = read(Reader::data(WIDE), input.as_bytes(), &[cut]);
            assert_eq!(taken, None, "{ending:?}");
        }
    }
}

#[test]
fn nul_and_bare_octets_condemn_but_the_end_is_still_found() {
    let (out, fault, taken) = read(Reader::data(WIDE), b"a\0b\r\n.\r\nQUIT\r\n", &[]);
    assert_eq!((fault, taken), (Some(Fault::Nul), Some(8)));
    assert!(out.is_empty() || out == b"a");
    let (_, fault, _) = read(Reader::data(WIDE), b"a\nb\0\r\n.\r\n", &[]);
    assert_eq!(fault, Some(Fault::BareNewline), "the first fault counts");
}

#[test]
fn normalising_mends_line_ends_and_still_ends_only_at_the_true_end() {
    let bounds = Bounds { normalize: true, ..WIDE };
    for (input, expected) in [
        ("a\nb\r\n.\r\n", "a\r\nb\r\n"),
        ("a\rb\r\n.\r\n", "a\r\nb\r\n"),
        ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
    ] {
        for cut in 0..input.len() {
            let (out, fault, taken) = read(Reader::data(bounds), input.as_bytes(), &[cut]);
            assert_eq!(
                (String::from_utf8(out).unwrap().as_str(), fault, taken),
                (expected, None, Some(input.len())),
                "{input:?} at {cut}"
            );
        }
    }
}

fn fault_of(bounds: Bounds, input: &str) -> Option<Fault> {
    let (mut reader, mut kept) = (Reader::data(bounds), 0_usize);
    for piece in input.as_bytes().chunks(1000) {
        reader.feed(piece, &mut |bytes| kept += bytes.len());
    }
    assert!(kept as u64 <= bounds.message, "memory is bounded");
    reader.fault()
}

#[test]
fn threats_s_13_s_16_s_17_s_29_each_limit_is_held_at_its_edge() {
    let line = |n: usize| format!("S: x\r\n\r\n{}\r\n.\r\n", "a".repeat(n));
    assert_eq!(fault_of(WIDE, &line(65_536)), None);
    assert_eq!(fault_of(WIDE, &line(65_537)), Some(Fault::LineTooLong));
    let small = Bounds { message: 10, ..WIDE };
    assert_eq!(fault_of(small, "12345678\r\n.\r\n"), None);
    assert_eq!(fault_of(small, "123456789\r\n.\r\n"), Some(Fault::MessageTooLong));
    let fields = |n: usize| format!("{}\r\nbody\r\n.\r\n", "A: b\r\n".repeat(n));
    assert_eq!(fault_of(WIDE, &fields(2000)), None);
    assert_eq!(fault_of(WIDE, &fields(2001)), Some(Fault::TooManyFields));
    let folds = |n: usize| format!("A: b\r\n{}\r\n.\r\n", " c\r\n".repeat(n));
    assert_eq!(fault_of(WIDE, &folds(1999)), None);
    assert_eq!(fault_of(WIDE, &folds(2000)), Some(Fault::HeaderTooLong));
    let wide = format!("{}\r\n.\r\n", format!("A: {}\r\n", "b".repeat(60_000)).repeat(5));
    assert_eq!(fault_of(WIDE, &wide), Some(Fault::HeaderTooLong));
    let hops =
        |n: usize| format!("{}{}\r\n.\r\n", "Received: x\r\n".repeat(n / 2), "rEcEived : x\r\n".repeat(n - n / 2));
    assert_eq!(fault_of(WIDE, &hops(100)), None);
    assert_eq!(fault_of(WIDE, &hops(101)), Some(Fault::TooManyHops));
    let body = format!("A: b\r\n\r\n{}.\r\n", "Received: x\r\n".repeat(5000));
    assert_eq!(fault_of(WIDE, &body), None, "what stands in the body is no header");
}

#[test]
fn rfc3030_chunks_keep_their_octets_and_close_with_a_line_end() {
    let close = |input: &[u8], cuts: &[usize]| {
        let mut reader = Reader::chunks(WIDE);
        let (mut out, mut from) = (Vec::new(), 0);
        for to in cuts.iter().copied().chain([input.len()]) {
            reader.feed(&input[from..to], &mut |bytes| out.extend_from_slice(bytes));
            from = to;
        }
        reader.close(&mut |bytes| out.extend_from_slice(bytes));
        (String::from_utf8(out).unwrap(), reader.fault())
    };
    let text = b"S: x\r\n\r\n.\r\n..\r\nend\r\n";
    for cut in 0..text.len() {
        assert_eq!(close(text, &[cut]), (String::from_utf8(text.to_vec()).unwrap(), None));
    }
    assert_eq!(close(b"no end", &[]), ("no end\r\n".to_owned(), None));
    assert_eq!(close(b"cr at the end\r", &[]).1, Some(Fault::BareNewline));
    assert_eq!(close(b"a\n.\nb\r\n", &[]).1, Some(Fault::BareNewline));
}

#[test]
fn command_lines_end_with_crlf_only() {
    for (input, expected) in [
        (b"".as_slice(), Line::Incomplete),
        (b"NOOP", Line::Incomplete),
        (b"NOOP\r", Line::Incomplete),
        (b"NOOP\r\nQUIT\r\n", Line::Complete(6)),
        (b"\r\n", Line::Complete(2)),
        (b"NOOP\nQUIT\r\n", Line::BareNewline),
        (b"NOOP\rQUIT\r\n", Line::BareNewline),
        (b"\n", Line::BareNewline),
        (b"12345678\r\n", Line::Complete(10)),
        (b"123456789\r\n", Line::TooLong),
        (b"1234567890", Line::TooLong),
        (b"123456789\r", Line::TooLong),
    ] {
        assert_eq!(command_line(input, 10), expected, "{:?}", String::from_utf8_lossy(input));
    }
}

#[test]
fn long_runs_are_passed_on_in_one_piece() {
    let input = "a line of mail that is not remarkable\r\n".repeat(1000);
    let mut pieces = 0;
    Reader::data(WIDE).feed(input.as_bytes(), &mut |_| pieces += 1);
    assert_eq!(pieces, 1, "nothing is copied line by line");
}
