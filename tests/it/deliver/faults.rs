//! DESIGN §5a "Cut-through": what becomes of a message when the next hop fails at each state of the conversation. The
//! table in `docs/*/next-hops.md` is what this test saw: it fails when the page says something else, and writes the
//! page anew when LUYTRE_BLESS is set.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use luytre::deliver::Handover;
use luytre::deliver::settings::{Profile, TlsMode};
use luytre::mail::{Parcel, Span};

use super::house::{House, hop, parcel, word};
use crate::kit::peer::{Act, At, Moment, Peer, loopback_acceptor};

const DATA: &[&str] = &["PIPELINING", "8BITMIME", "SIZE 50000000"];
const BDAT: &[&str] = &["PIPELINING", "8BITMIME", "SIZE", "CHUNKING"];
const TLS: &[&str] = &["PIPELINING", "STARTTLS"];
const FAULTS: [&str; 4] = ["4xx", "5xx", "stall", "cut"];

/// A row of the table: where the hop fails, and under which policy.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Row {
    en: &'static str,
    vi: &'static str,
    at: At,
    tls: TlsMode,
    /// Two recipients of which the second meets the fault.
    second: bool,
}

const fn row(en: &'static str, vi: &'static str, at: At) -> Row {
    Row { en, vi, at, tls: TlsMode::None, second: false }
}

const ROWS: &[Row] = &[
    row("connect, banner", "kết nối, lời chào", At::Banner),
    row("EHLO", "EHLO", At::Ehlo),
    Row { tls: TlsMode::Opportunistic, ..row("STARTTLS, opportunistic", "STARTTLS, opportunistic", At::StartTls) },
    Row { tls: TlsMode::Required, ..row("STARTTLS, required", "STARTTLS, required", At::StartTls) },
    Row { tls: TlsMode::Opportunistic, ..row("TLS, opportunistic", "bắt tay TLS, opportunistic", At::Handshake) },
    Row { tls: TlsMode::Required, ..row("TLS, required", "bắt tay TLS, required", At::Handshake) },
    row("MAIL", "MAIL", At::Mail),
    row("RCPT, the only one", "RCPT, người nhận duy nhất", At::Rcpt),
    Row { second: true, ..row("RCPT, one of two", "RCPT, một trong hai", At::Rcpt) },
    row("DATA", "DATA", At::Data),
    row("in the body of a large message", "giữa nội dung thư lớn", At::Body),
    row("after the final dot", "sau dấu chấm cuối", At::Dot),
];

/// What the sender was told and where the message is now; the order of the legend.
const OUTCOMES: [(&str, &str, &str); 7] = [
    ("passed on", "đã chuyển", "250: the server has it"),
    ("spool", "hàng đợi", "250: it is in the spool and will be tried again"),
    ("in doubt", "chưa rõ", "250: it is in the spool; only if no late 250 comes is it sent again"),
    ("4xx", "4xx", "the server's 4xx: the sender keeps the message and tries again"),
    ("5xx", "5xx", "the server's 5xx: the sender keeps the message and tells its author"),
    (
        "passed on, other in spool",
        "đã chuyển, còn một trong hàng đợi",
        "250: one copy is delivered, the refused recipient's copy is in the spool",
    ),
    (
        "passed on, other reported",
        "đã chuyển, một bị từ chối",
        "250: one copy is delivered; of the other the sender gets a report, or the copy is held if nobody vouched for it",
    ),
];
const LEGEND_VI: [&str; 7] = [
    "250: máy chủ đã nhận",
    "250: thư nằm trong hàng đợi và sẽ được thử lại",
    "250: thư nằm trong hàng đợi; chỉ gửi lại nếu không có 250 đến muộn",
    "4xx của máy chủ: nơi gửi giữ thư và thử lại",
    "5xx của máy chủ: nơi gửi giữ thư và báo cho người viết",
    "250: một bản đã chuyển, bản của người bị từ chối nằm trong hàng đợi",
    "250: một bản đã chuyển; với người kia, nơi gửi nhận báo cáo, hoặc bản thư bị giữ nếu không ai bảo đảm cho nơi gửi",
];

fn meets(row: Row, moment: &Moment) -> bool {
    moment.at == row.at && (!row.second || moment.line.contains("<two@"))
}

fn act(row: Row, fault: usize) -> Act {
    let text = ["451 4.7.1 not now", "550 5.7.1 never"];
    match fault {
        // Said while the message is still coming; who reads on would have to answer twice.
        0 | 1 if row.at == At::Body => Act::SayAndCut(text[fault].to_owned()),
        0 | 1 => Act::Say(text[fault].to_owned()),
        2 => Act::StallAndCut,
        _ => Act::Cut,
    }
}

fn message(row: Row) -> Parcel {
    let to: &[&str] = if row.second { &["one@y.vn", "two@y.vn"] } else { &["a@y.vn"] };
    // Larger than what the kernel takes for a peer that does not read.
    parcel(to, &if row.at == At::Body { "0123456789\r\n".repeat(1 << 20) } else { "text\r\n".to_owned() })
}

/// From the moment the peer stands still the time of the sender passes at once.
async fn hand_over(house: &House, mail: &Parcel, peer: &Peer, row: Row) -> Handover {
    let frozen = Cell::new(false);
    let skip = async {
        peer.stalled().await;
        tokio::time::pause();
        frozen.set(true);
        // Half of the sender's patience is for the handshake; the rest of it is real again, so that the second
        // connection has what it needs.
        let handshake = row.at == At::Handshake;
        tokio::time::advance(Span::seconds(if handshake { 16 } else { 31 }).as_std()).await;
        tokio::time::resume();
        frozen.set(false);
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = house.hand_over(mail) => outcome,
        () = skip => unreachable!(),
    };
    if frozen.get() {
        tokio::time::resume();
    }
    outcome
}

/// One cell: the number of its outcome. Whatever was said, the message must be where that says.
async fn cell(row: Row, fault: usize, extensions: &'static [&'static str], profile: Profile) -> usize {
    let plot = move |m: &Moment| meets(row, m).then(|| act(row, fault));
    let extensions = if row.tls == TlsMode::None { extensions } else { TLS };
    let peer = Peer::with(extensions, plot, false, Some(loopback_acceptor())).await;
    let house = House::new(vec![hop(peer.address, profile, row.tls)]);
    let outcome = hand_over(&house, &message(row), &peer, row).await;
    let (jobs, taken) = (house.jobs(), peer.taken().len());
    let case = format!("{} {} {profile:?}: {outcome:?}, {} jobs, {taken} taken", row.en, FAULTS[fault], jobs.len());
    match (word(&outcome).as_str(), &outcome) {
        ("handed", Handover::Handed { later, refused, .. }) => {
            assert_eq!(taken, 1, "{case}");
            match (later.len(), refused.len(), jobs.len()) {
                (0, 0, 0) => 0,
                (1, 0, 1) => 5,
                (0, 1, 1) => 6,
                _ => panic!("{case}"),
            }
        }
        ("spooled", _) => {
            assert_eq!((jobs.len(), taken), (1, 0), "{case}");
            1
        }
        ("in doubt", _) => {
            assert_eq!(jobs.len(), 1, "{case}");
            2
        }
        (refused @ ("refused 4" | "refused 5"), _) => {
            assert_eq!((jobs.len(), taken), (0, 0), "{case}");
            if refused == "refused 4" { 3 } else { 4 }
        }
        _ => panic!("{case}"),
    }
}

async fn line(row: Row, extensions: &'static [&'static str], profile: Profile) -> [usize; 4] {
    let mut found = [0; 4];
    for (fault, place) in found.iter_mut().enumerate() {
        *place = cell(row, fault, extensions, profile).await;
    }
    found
}

/// The table as Markdown, in one of the two languages.
fn rendered(seen: &[(String, String, [usize; 4])], vietnamese: bool) -> String {
    let mut out = if vietnamese {
        "| máy chủ hỏng ở | trả lời 4xx | trả lời 5xx | im lặng | đứt |\n|---|---|---|---|---|\n".to_owned()
    } else {
        "| the server fails at | it says 4xx | it says 5xx | it stands still | the line is cut |\n|---|---|---|---|---|\n".to_owned()
    };
    let say = |i: usize| if vietnamese { OUTCOMES[i].1 } else { OUTCOMES[i].0 };
    for (en, vi, [a, b, c, d]) in seen {
        let name = if vietnamese { vi } else { en };
        writeln!(out, "| {name} | {} | {} | {} | {} |", say(*a), say(*b), say(*c), say(*d)).unwrap();
    }
    out.push('\n');
    for (i, (_, _, legend)) in OUTCOMES.iter().enumerate() {
        writeln!(out, "- *{}*: {}.", say(i), if vietnamese { LEGEND_VI[i] } else { legend }).unwrap();
    }
    out
}

/// Compares what stands between the marks of a page with `table`, or puts it there.
fn bless(language: &str, table: &str) {
    const MARKS: [&str; 2] = ["<!-- table: tests/it/deliver/faults.rs -->\n", "<!-- end of table -->\n"];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{language}/next-hops.md"));
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(MARKS[0]).expect("the page has a mark");
    let (old, after) = rest.split_once(MARKS[1]).expect("the page has an end mark");
    if old == table {
        return;
    }
    if std::env::var_os("LUYTRE_BLESS").is_some() {
        fs::write(&path, format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1])).unwrap();
        return;
    }
    panic!("{} does not show what happens; LUYTRE_BLESS=1 rewrites it:\n{table}", path.display());
}

#[tokio::test]
async fn threats_r_08_every_state_and_every_fault_has_its_one_outcome() {
    let mut seen = Vec::new();
    for row in ROWS {
        let grouped = line(*row, DATA, Profile::Generic).await;
        if row.at != At::StartTls && row.at != At::Handshake {
            let single = line(*row, DATA, Profile::Exchange2010).await;
            assert_eq!(grouped, single, "{}: commands in a group or one by one make no difference", row.en);
        }
        seen.push((row.en.to_owned(), row.vi.to_owned(), grouped));
        // BDAT has no DATA command; a small message stands behind the recipients at once.
        if row.tls == TlsMode::None && row.at != At::Data {
            let chunked = line(*row, BDAT, Profile::Generic).await;
            if chunked != grouped {
                seen.push((format!("{}, with BDAT", row.en), format!("{}, khi dùng BDAT", row.vi), chunked));
            }
        }
    }
    // Whatever the table says, these never change.
    let is = |name: &str, outcomes: [usize; 4]| {
        assert_eq!(seen.iter().find(|(en, ..)| en == name).map(|(.., o)| *o), Some(outcomes), "{name}");
    };
    is("connect, banner", [1; 4]);
    is("TLS, required", [1; 4]);
    is("TLS, opportunistic", [0; 4]);
    is("after the final dot", [3, 4, 2, 1]);
    bless("en", &rendered(&seen, false));
    bless("vi", &rendered(&seen, true));
}
