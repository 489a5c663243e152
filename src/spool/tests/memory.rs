//! What a waiting message costs in memory, measured in a process of its own: all of it counts, tree nodes half full and
//! what the allocator rounds up too.

use std::process::Command;

use super::super::frame::State;
use super::super::index::{Entry, Hand, Index};
use super::super::segment::Place;
use super::super::sieve::Mark;
use crate::mail::{Span, Timestamp};

const CHILD: &str = "LUYTRE_INDEX_CHILD";
const COUNT: u64 = 300_000;

/// Memory of this process that is not backed by files, octets.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn add(index: &mut Index, key: u64) {
    // Due in no order, as after days of retries.
    let due = Timestamp::from_seconds(1000) + Span::millis(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 86_400_000);
    let state = State { due, left: 1, ..State::default() };
    index.insert(key, Entry::new(Place::new(1, key * 16, 16), &state, Hand::Waiting, Mark::default()));
}

#[test]
fn a_waiting_message_takes_at_most_200_octets_of_memory() {
    if std::env::var_os(CHILD).is_some() {
        let (before, mut index) = (memory(), Index::default());
        (0..COUNT).for_each(|key| add(&mut index, key));
        let fresh = (memory() - before) / COUNT;
        // A day of traffic: each third goes, as many come, and every one of them is deferred once.
        for key in (0..COUNT).step_by(3) {
            index.remove(key);
            add(&mut index, COUNT + key);
        }
        let place = Some(Place::new(2, 0, 16));
        let keys: Vec<u64> = index.keys(None).collect();
        for key in &keys {
            let due =
                Timestamp::from_seconds(1000) + Span::millis(key.wrapping_mul(0x2545_f491_4f6c_dd1d) % 86_400_000);
            index.set_state(*key, place, &State { due, left: 1, ..State::default() });
        }
        drop(keys);
        println!("\nfresh {fresh}, later {} octets a message", (memory() - before) / index.counts().total as u64);
        return;
    }
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["spool::tests::memory::a_waiting_message_takes_at_most_200_octets_of_memory", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let line = said.lines().find(|line| line.contains("octets a message")).unwrap_or_else(|| panic!("{said}"));
    println!("{line}");
    let figures: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(figures[..], [fresh, later] if fresh <= 200 && later <= 200), "{line}");
}
