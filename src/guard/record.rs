//! Bans and rates as the text that survives a restart: one line each, a checksum at the end.
//!
//! The file is ours, but a disk can lie and a hand can slip: what does not read back as a whole is not believed at all,
//! numbers are bounded by whoever takes them, and the length is bounded here.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::ban::Conduct;
use super::pace::{Kind, Secret};
use crate::mail::Timestamp;

/// The first line.
const TITLE: &str = "luytre guard 1";
/// No more than this is read: twice what full tables come to.
pub const LONGEST: u64 = 24 << 20;

/// What is kept.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Record {
    pub secret: Secret,
    pub bans: Vec<(IpAddr, Conduct)>,
    pub rates: Vec<(Kind, u64, Timestamp)>,
}

impl Record {
    #[must_use]
    pub fn write(&self) -> String {
        let mut text = format!("{TITLE}\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "secret {:032x}", u128::from_be_bytes(self.secret));
        for (ip, c) in &self.bans {
            let until = c.banned_until.map_or(0, Timestamp::millis);
            let _ = writeln!(text, "ban {ip} {until} {} {} {}", c.times, c.at.millis(), c.points);
        }
        for (kind, name, used) in &self.rates {
            let _ = writeln!(text, "rate {} {name:016x} {}", kind.as_str(), used.millis());
        }
        let sum = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "end {sum:08x}");
        text
    }

    /// `None` when it is not, to the last octet, what was written.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let body_end = text.strip_suffix('\n')?.rfind('\n')?.checked_add(1)?;
        let (body, end) = text.split_at_checked(body_end)?;
        let sum = end.trim_end_matches('\n').strip_prefix("end ")?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let secret = u128::from_str_radix(lines.next()?.strip_prefix("secret ")?, 16).ok()?.to_be_bytes();
        let mut record = Self { secret, ..Self::default() };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["ban", ip, until, times, at, points] => record.bans.push((
                    ip.parse().ok()?,
                    Conduct {
                        points: points.parse().ok()?,
                        at: time(at)?,
                        banned_until: Some(time(until)?),
                        times: times.parse().ok()?,
                    },
                )),
                ["rate", kind, name, used] => {
                    let kind = Kind::ALL.into_iter().find(|k| k.as_str() == *kind)?;
                    record.rates.push((kind, u64::from_str_radix(name, 16).ok()?, time(used)?));
                }
                _ => return None,
            }
        }
        Some(record)
    }
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::ban::{Bans, Offence};
    use crate::guard::pace::{Pace, Rate};
    use crate::guard::settings::Ban;
    use crate::mail::Span;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
    fn of(bans: &Bans, pace: &Pace, now: Timestamp) -> Record {
        Record { secret: *pace.secret(), bans: bans.saved(now).collect(), rates: pace.saved(now).collect() }
    }

    #[test]
    fn bans_and_rates_come_back_as_they_were() {
        let s = Ban { after: 10.0, ..Ban::default() };
        let (mut bans, mut pace) = (Bans::default(), Pace::keyed([7; 16]));
        let until = bans.offend(&s, ip("2001:db8::1"), Offence::Trap, START).unwrap();
        assert_eq!(bans.offend(&s, ip("192.0.2.1"), Offence::Abuse, START), None);
        for _ in 0..3 {
            assert!(pace.take(Kind::Sender, "a@x.test", Rate::hourly(3), START).is_ok());
        }
        let text = of(&bans, &pace, START).write();
        assert!(!text.contains("a@x.test"), "{text}");
        let record = Record::read(&text).unwrap();
        assert_eq!(record.write().len(), text.len());

        let now = START + Span::minutes(10);
        let (mut bans, mut pace) = (Bans::default(), Pace::keyed(record.secret));
        bans.restore(record.bans, &s, now);
        pace.restore(record.rates, now);
        assert_eq!((bans.until(ip("2001:db8::9"), now), bans.len()), (Some(until), 1));
        assert!(pace.take(Kind::Sender, "a@x.test", Rate::hourly(3), START).is_err(), "its share is used up");
        assert!(pace.take(Kind::Sender, "b@x.test", Rate::hourly(3), START).is_ok());
        let again = bans.offend(&s, ip("2001:db8::1"), Offence::Trap, until).unwrap();
        assert_eq!(again, until + Span::hours(2), "the second ban is the longer one");
    }

    #[test]
    fn a_file_that_is_damaged_or_hostile_is_not_believed() {
        let mut bans = Bans::default();
        bans.offend(&Ban { after: 1.0, ..Ban::default() }, ip("192.0.2.1"), Offence::Trap, START);
        let text = of(&bans, &Pace::default(), START).write();
        assert!(Record::read(&text).is_some());
        for cut in 0..text.len() {
            assert_eq!(Record::read(&text[..cut]), None, "cut at {cut}");
        }
        let damaged = text.replace("192.0.2.1", "192.0.2.2");
        assert_eq!(Record::read(&damaged), None);
        assert_eq!(Record::read("end 00000000\n"), None);
        // One that was made on purpose: it bans for no longer than the longest, and not for ever.
        let forged = Conduct {
            points: f64::NAN,
            at: Timestamp::from_millis(i64::MAX),
            banned_until: Some(Timestamp::from_millis(i64::MAX)),
            times: u32::MAX,
        };
        let record = Record { bans: vec![(ip("192.0.2.1"), forged)], ..Record::default() };
        let (mut bans, s) = (Bans::default(), Ban { after: 5.0, ..Ban::default() });
        bans.restore(Record::read(&record.write()).unwrap().bans, &s, START);
        assert_eq!(bans.until(ip("192.0.2.1"), START), Some(START + s.longest));
        assert!(bans.offend(&s, ip("192.0.2.1"), Offence::Trap, START + s.longest).is_some());
    }
}
