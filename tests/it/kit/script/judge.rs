//! What the headers of a script ask of the outcome, and that nothing ever crosses with a bare CR or LF.

use super::{Delivered, Pattern, Played, Script, unescape};

/// What the headers of the script ask of the outcome.
pub fn judge(script: &Script, played: &Played, sink: &[Delivered]) -> Vec<String> {
    let mut failures = played.failures.clone();
    if played.skipped {
        return failures;
    }
    let mut must = |holds: bool, what: String| {
        if !holds {
            failures.push(what);
        }
    };
    let contains = |hay: &[u8], needle: &str| {
        let needle = unescape(needle).unwrap_or_default();
        !needle.is_empty() && hay.windows(needle.len()).any(|window| window == needle)
    };
    for allowed in script.header("delivered") {
        let count = sink.len().to_string();
        must(allowed.split('|').any(|a| a.trim() == count), format!("{count} messages at the sink, allowed {allowed}"));
    }
    for outcome in script.header("outcome") {
        let refused = played.replies.iter().any(|(code, _)| *code >= 400);
        let holds = match outcome {
            "accept" => !sink.is_empty(),
            "reject" => (refused || played.closed) && sink.is_empty(),
            "close" => played.closed || played.aborted || played.replies.iter().any(|(code, _)| *code == 421),
            _ => true,
        };
        must(holds, format!("outcome is not {outcome}: {:?}", played.replies));
    }
    for text in script.header("sink_absent") {
        must(!sink.iter().any(|m| contains(&m.raw, text)), format!("the sink has {text}"));
    }
    for text in script.header("sink_contains") {
        must(sink.iter().any(|m| contains(&m.raw, text)), format!("the sink lacks {text}"));
    }
    for text in script.header("sink_absent_envelope") {
        let found = sink.iter().any(|m| m.sender.contains(text) || m.recipients.iter().any(|r| r.contains(text)));
        must(!found, format!("an envelope at the sink has {text}"));
    }
    for keyword in script.header("ehlo_absent") {
        must(!played.keywords.iter().any(|k| k == keyword), format!("EHLO offers {keyword}"));
    }
    for pattern in script.header("last_not") {
        if let (Some((code, text)), Ok(pattern)) = (played.replies.last(), Pattern::parse(pattern)) {
            must(!pattern.matches(*code, text), format!("the last reply is {code} {text}"));
        }
    }
    for which in script.header("same_reply") {
        let numbers: Vec<usize> = which.split([' ', ',', '|']).filter_map(|n| n.parse().ok()).collect();
        let chosen: Vec<_> = if numbers.len() > 1 {
            numbers.iter().filter_map(|n| played.replies.get(n.checked_sub(1)?)).collect()
        } else {
            played.replies.iter().rev().take(2).collect()
        };
        must(chosen.windows(2).all(|pair| pair[0] == pair[1]), format!("replies differ: {chosen:?}"));
    }
    for (code, text) in &played.replies {
        for line in text.lines() {
            must(is_well_formed(*code, line), format!("this is no reply: {code} {line}"));
        }
    }
    for message in sink {
        let bare = message.raw.iter().enumerate().any(|(i, byte)| match byte {
            b'\r' => message.raw.get(i + 1) != Some(&b'\n'),
            b'\n' => i == 0 || message.raw[i - 1] != b'\r',
            _ => false,
        });
        must(!bare, "a bare CR or LF reached the sink".to_owned());
    }
    failures
}

/// RFC 5321 §4.2, §4.5.3.1.5: printable ASCII, 512 octets with code and CRLF; RFC 2034 §4: an enhanced code has the class
/// of its reply.
fn is_well_formed(code: u16, line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    let numbers: Vec<&str> = word.split('.').collect();
    let enhanced = numbers.len() == 3
        && numbers.iter().all(|n| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()));
    let same_class = !enhanced || numbers[0] == (code / 100).to_string();
    same_class && line.len() <= 506 && line.bytes().all(|b| matches!(b, b' '..=b'~'))
}
