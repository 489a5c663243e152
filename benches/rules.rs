//! What a message pays for the number of rules: CPU time of reading, matching and evaluating one letter with rule sets
//! of 300 and 5,000 rules, and with the shipped set. `cargo bench --bench rules -- [ROUNDS]`; only ratios carry over to other
//! machines. Matching should not grow with the rules (a unit test beside the matcher proves it without a clock);
//! evaluating does, by one look at each rule's condition.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use luytre::inspect::case::SmimeFact;
use luytre::inspect::rules::{Facts, Outer, RuleSet, Source, Surfaces};
use luytre::mail::mime::{self, Limits};

/// CPU time of this process so far.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("usage");
    let span = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    };
    span(usage.user_time()) + span(usage.system_time())
}

/// `count` rules as officers write them: half phrases, half expressions, one in ten over both subject and body.
fn many(count: usize) -> RuleSet {
    let rule = |i: usize| {
        let when = match i % 10 {
            0 => format!("[{{ in = ['subject', 'body'], words = ['gói {i}'] }}, {{ feature = 'link.all-foreign' }}]"),
            n if n % 2 == 0 => format!("{{ in = 'body', words = ['khuyến mại {i}', 'ưu đãi {i}', 'gia hạn {i}'] }}"),
            _ => format!("{{ in = 'body', regex = '(?i)hop-dong{i}\\s+\\d+' }}"),
        };
        format!(
            "[[rule]]\nid = \"R{i:05}\"\nscore = 1.0\nmode = \"enforce\"\ndescription = {{ vi = \"v\", en = \"e\" }}\n\
             when = {when}\n[[test]]\nrule = \"R{i:05}\"\nhits = [{{}}]\nmisses = [{{}}]\n"
        )
    };
    let text = (0..count).map(rule).collect();
    RuleSet::from_sources(&[Source { name: "many.toml".into(), text }]).expect("the made-up rules compile")
}

/// A letter of about `size` bytes in which a few words of rules stand.
fn letter(size: usize) -> Vec<u8> {
    let line =
        "Kính gửi các đồng chí, đề nghị xem khuyến mại 14 và hop-dong15 9 tại http://www.x.test/a trước thứ sáu.\r\n";
    let head = "From: a@x.test\r\nTo: b@tinh.gov.vn\r\nSubject: =?utf-8?q?L=E1=BB=8Bch_h=E1=BB=8Dp?=\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain; charset=utf-8\r\n\r\n";
    (head.to_owned() + &line.repeat(size / line.len() + 1)).into_bytes()
}

fn measured(name: &str, set: &RuleSet, raw: &[u8], rounds: u32) {
    set.warm();
    let tree = mime::parse(raw, &Limits::default());
    let read = || Surfaces::from_tree(raw, &tree, &Outer::default());
    let began = cpu();
    for _ in 0..rounds {
        black_box(read());
    }
    let reading = (cpu() - began) / rounds;
    let (surfaces, smime) = (read(), SmimeFact::default());
    let began = cpu();
    for _ in 0..rounds {
        let atoms = set.match_atoms(&surfaces);
        black_box(set.evaluate(&Facts { atoms: &atoms, findings: &[], auth: None, smime: &smime }));
    }
    let matching = (cpu() - began) / rounds;
    println!(
        "{name}: {} rules, {} KiB: text made ready {:.1} µs, matched and evaluated {:.1} µs",
        set.rules().len(),
        raw.len() / 1024,
        reading.as_secs_f64() * 1e6,
        matching.as_secs_f64() * 1e6
    );
}

fn main() {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(2000);
    let shipped = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/spam"));
    let shipped = RuleSet::load(&[shipped]).expect("the shipped rules load");
    let sets = [("made up", many(300)), ("made up", many(5000)), ("shipped", shipped)];
    for size in [4 << 10, 64 << 10] {
        let raw = letter(size);
        for (name, set) in &sets {
            measured(name, set, &raw, rounds);
        }
    }
}
