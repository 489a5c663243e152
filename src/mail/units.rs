//! Quantities with their units: times, spans, sizes and the id of a message.
//! A bare number never travels between rooms; configuration writes these with units ("25 MiB", "30 min").

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const EPOCH: Self = Self(0);

    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span::millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `Sat, 21 Nov 2026 23:01:22 +0000` (RFC 5322 §3.3).
    #[must_use]
    pub fn rfc5322(self) -> String {
        self.zoned().strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
    }

    /// `2026-11-21T23:01:22.345Z` (RFC 3339), for logs and receipts.
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.zoned().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    fn zoned(self) -> jiff::Zoned {
        jiff::Timestamp::from_millisecond(self.0)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_zoned(jiff::tz::TimeZone::UTC)
    }
}

impl std::ops::Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A length of time in whole milliseconds. Written `"300 ms"`, `"20 s"`, `"30 min"`, `"4 h"`, `"5 days"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(u64);

impl Span {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(millis)
    }
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes.saturating_mul(60))
    }
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours.saturating_mul(60))
    }
    #[must_use]
    pub const fn days(days: u64) -> Self {
        Self::hours(days.saturating_mul(24))
    }
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }
    #[must_use]
    pub const fn as_std(self) -> Duration {
        Duration::from_millis(self.0)
    }
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// Both together, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
    /// What is left of this span without `other`; zero when that is longer.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
    /// This span doubled `times` times, saturating.
    #[must_use]
    pub fn doubled(self, times: u32) -> Self {
        Self(self.0.saturating_mul(1_u64.checked_shl(times.min(40)).unwrap_or(u64::MAX)))
    }
}

const SPAN_UNITS: [(&str, u64); 5] = [("days", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in SPAN_UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{} {unit}", self.0 / factor);
            }
        }
        write!(f, "{} ms", self.0)
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split_number(text);
        if number == "0" && unit.is_empty() {
            return Ok(Self::ZERO);
        }
        let factor = match unit {
            "ms" => 1,
            "s" | "sec" | "second" | "seconds" => 1000,
            "min" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return Err(UnitError::span(text)),
        };
        scaled(number, factor).map(Self).ok_or_else(|| UnitError::span(text))
    }
}

/// A number of octets. Written `"2 KiB"`, `"25 MiB"`, `"1 GiB"`; `"512 B"` for odd sizes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }
    #[must_use]
    pub const fn gib(gib: u64) -> Self {
        Self(gib.saturating_mul(1 << 30))
    }
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
    /// As an index; on a 64-bit machine nothing is lost.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            let factor = 1_u64 << shift;
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{} {unit}", self.0 / factor);
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split_number(text);
        let factor = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ if number == "0" => 1,
            _ => return Err(UnitError::size(text)),
        };
        scaled(number, factor).map(Self).ok_or_else(|| UnitError::size(text))
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// `number` × `factor`, exact for whole numbers, rounded for decimals; `None` when it is no number or too large.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    ((0.0..9e15).contains(&value)).then_some(value.round() as u64)
}

/// A quantity that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is not {expected}")]
pub struct UnitError {
    given: String,
    expected: &'static str,
}

impl UnitError {
    fn span(given: &str) -> Self {
        Self {
            given: given.to_owned(),
            expected: "a time: write it like \"300 ms\", \"20 s\", \"30 min\", \"4 h\" or \"5 days\"",
        }
    }
    fn size(given: &str) -> Self {
        Self {
            given: given.to_owned(),
            expected: "a size: write it like \"512 B\", \"64 KiB\", \"25 MiB\" or \"1 GiB\"",
        }
    }
}

macro_rules! text_serde {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_serde;
text_serde!(Span);
text_serde!(ByteSize);
text_serde!(MailId);

/// The name of one message from MAIL FROM to its last trace: spool key, receipt id, id in replies and logs.
/// 48 bits of milliseconds and 80 random bits, written as 26 Crockford base-32 characters, so ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailId(u128);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl MailId {
    /// From the time of arrival and 80 bits of randomness (the low bits of `random` are used).
    #[must_use]
    pub fn new(at: Timestamp, random: u128) -> Self {
        let millis = u128::from(u64::try_from(at.millis()).unwrap_or(0) & 0xFFFF_FFFF_FFFF);
        Self((millis << 80) | (random & ((1 << 80) - 1)))
    }
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }
    /// When this id was given.
    #[must_use]
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0 >> 80).unwrap_or(0))
    }
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in (0..26).rev() {
            let digit = usize::try_from((self.0 >> (5 * i)) & 31).unwrap_or(0);
            let byte = CROCKFORD.get(digit).copied().unwrap_or(b'0');
            write!(f, "{}", char::from(byte))?;
        }
        Ok(())
    }
}

impl fmt::Debug for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailId({self})")
    }
}

impl FromStr for MailId {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            given: text.to_owned(),
            expected: "a message id: 26 letters and digits, like 01KAN5QF3W8Z5T2D9H6X0V7RBM",
        };
        if text.len() != 26 {
            return Err(error());
        }
        let mut value = 0_u128;
        for byte in text.bytes() {
            let digit = CROCKFORD.iter().position(|c| *c == byte.to_ascii_uppercase()).ok_or_else(error)?;
            value = value.checked_mul(32).ok_or_else(error)? | digit as u128;
        }
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_what_they_write() {
        for text in ["300 ms", "20 s", "30 min", "4 h", "5 days"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["512 B", "64 KiB", "25 MiB", "1 GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("1.5 h".parse::<Span>().unwrap(), Span::minutes(90));
    }

    #[test]
    fn numbers_without_units_are_refused() {
        for text in ["20", "", "x", "-1 s", "1 fortnight", "99999999999999999999 s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_sort_by_time_and_round_trip() {
        let (a, b) = (MailId::new(Timestamp::from_millis(1), u128::MAX), MailId::new(Timestamp::from_millis(2), 0));
        assert!(a < b && a.to_string() < b.to_string());
        assert_eq!(a.to_string().parse::<MailId>().unwrap(), a);
        assert_eq!(a.time(), Timestamp::from_millis(1));
        assert!("01KAN5QF3W8Z5T2D9H6X0V7RBU".parse::<MailId>().is_err(), "U is not in the alphabet");
    }

    #[test]
    fn dates_are_written_as_mail_wants_them() {
        let t = Timestamp::from_seconds(1_795_302_082);
        assert_eq!(t.rfc5322(), "Sat, 21 Nov 2026 23:01:22 +0000");
        assert_eq!(t.rfc3339(), "2026-11-21T23:01:22.000Z");
    }
}
