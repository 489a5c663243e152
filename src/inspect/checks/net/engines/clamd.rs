//! clamd: `INSTREAM` over TCP or a Unix socket, many questions in one session (`IDSESSION`). Over a Unix socket the
//! octets are handed over as sealed memory (`FILDES`): clamd copies nothing and writes no temporary file. Where it will
//! not have that (its own confinement may forbid it) it is asked by `INSTREAM` from then on.
//!
//! clamd answers `OK` for what is larger than its MaxFileSize or MaxScanSize unless `AlertExceedsMax yes` stands in
//! clamd.conf; with it, such data is reported as `Heuristics.Limits.Exceeded.*`, which is no virus and not clean.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::fmt::strtime;

use super::{ANSWER, About, Answer, Engine, Objection, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

/// Octets in one chunk of a stream.
const CHUNK: usize = 256 << 10;

#[derive(Debug, Default)]
pub struct Clamd {
    /// It refused a descriptor.
    only_streams: AtomicBool,
}

impl Engine for Clamd {
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async move { Ok(talk.send(b"zIDSESSION\0").await?) })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            if talk.is_local() && !self.only_streams.load(Ordering::Relaxed) {
                return self.scan_memory(talk, subject).await.map(Into::into);
            }
            // clamd stops reading at its StreamMaxLength and says so: the answer counts, not the broken pipe.
            let sent = stream(talk, &subject.bytes).await;
            match (talk.until(0, ANSWER).await, sent) {
                (Ok(answer), _) => read_answer(&String::from_utf8_lossy(&answer)).map(Into::into),
                (Err(error), Ok(())) | (Err(_), Err(error)) => Err(error.into()),
            }
        })
    }

    fn about<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async move {
            talk.send(b"zVERSION\0").await?;
            let answer = talk.until(0, ANSWER).await?;
            read_version(&String::from_utf8_lossy(&answer))
        })
    }

    fn keeps(&self) -> bool {
        true
    }
}

impl Clamd {
    async fn scan_memory(&self, talk: &mut Talk, subject: &Subject) -> Result<Answer, Trouble> {
        talk.send(b"zFILDES\0").await?;
        talk.hand_over(&subject.bytes).await?;
        let answer = String::from_utf8_lossy(&talk.until(0, ANSWER).await?).into_owned();
        match read_answer(&answer) {
            Err(trouble @ Trouble::Error(_)) => {
                self.only_streams.store(true, Ordering::Relaxed);
                tracing::warn!(%trouble, "clamd does not look at memory handed over; it gets streams from now on");
                Err(Trouble::AskAgain)
            }
            said => said,
        }
    }
}

async fn stream(talk: &mut Talk, bytes: &[u8]) -> std::io::Result<()> {
    let mut head = b"zINSTREAM\0".to_vec();
    for chunk in bytes.chunks(CHUNK) {
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(chunk);
        talk.send(&head).await?;
        head.clear();
    }
    head.extend_from_slice(&[0; 4]);
    talk.send(&head).await
}

/// `stream: OK`, in a session `1: stream: OK`.
pub(super) fn read_answer(answer: &str) -> Result<Answer, Trouble> {
    let answer = in_session(answer);
    if answer.contains("size limit exceeded") {
        return Err(Trouble::TooLarge(Trouble::shown(answer)));
    }
    if let Some(error) = answer.strip_suffix("ERROR") {
        return Err(Trouble::error(error));
    }
    if answer.starts_with("UNKNOWN COMMAND") || answer.starts_with("COMMAND UNAVAILABLE") {
        return Err(Trouble::error(answer));
    }
    verdict(answer).ok_or_else(|| Trouble::nonsense(answer))
}

/// `<path>: OK`, `<path>: NAME FOUND`.
pub(super) fn verdict(answer: &str) -> Option<Answer> {
    let (_, said) = answer.split_once(": ")?;
    if said == "OK" {
        return Some(Answer::Clean);
    }
    // The path may hold a colon; the name of a virus holds no blank.
    let name = said.strip_suffix(" FOUND")?.rsplit(' ').next()?;
    (!name.is_empty()).then(|| heuristic(name))
}

/// Some of its names are policies of clamd, not viruses.
fn heuristic(name: &str) -> Answer {
    let what = [
        ("Heuristics.Encrypted.", Objection::Encrypted),
        ("Heuristics.Limits.Exceeded", Objection::Limit),
        ("Heuristics.OLE2.ContainsMacros", Objection::Macros),
    ];
    let found = what.iter().find(|(start, _)| name.starts_with(start));
    found.map_or_else(|| Answer::Infected(name.to_owned()), |(_, what)| Answer::Objects(*what, name.to_owned()))
}

/// `ClamAV 1.4.3/27800/Sat Nov 21 09:41:02 2026`; without a database only the first word pair.
fn read_version(answer: &str) -> Result<About, Trouble> {
    let answer = in_session(answer);
    if !answer.starts_with("ClamAV") {
        return Err(Trouble::nonsense(answer));
    }
    let date = answer.splitn(3, '/').nth(2).unwrap_or_default();
    let made = strtime::parse("%a %b %d %H:%M:%S %Y", date.trim()).and_then(|parts| parts.to_datetime());
    let signatures_at = made.ok().and_then(|when| when.in_tz("UTC").ok()).map(|when| when.timestamp().as_second());
    Ok(About { version: Trouble::shown(answer), signatures_at })
}

/// Without the number that a session puts before every answer.
fn in_session(answer: &str) -> &str {
    let answer = answer.trim();
    match answer.split_once(": ") {
        Some((number, rest)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ok_is_clean() {
        assert_eq!(read_answer("1: stream: OK"), Ok(Answer::Clean));
        assert_eq!(read_answer("stream: OK"), Ok(Answer::Clean));
        let infected = Answer::Infected("Win.Test.EICAR_HDB-1".to_owned());
        assert_eq!(read_answer("3: stream: Win.Test.EICAR_HDB-1 FOUND"), Ok(infected));
        for (answer, what) in [
            ("Heuristics.Encrypted.Zip", Objection::Encrypted),
            ("Heuristics.Limits.Exceeded.MaxFileSize", Objection::Limit),
            ("Heuristics.OLE2.ContainsMacros.VBA", Objection::Macros),
        ] {
            let objects = Answer::Objects(what, answer.to_owned());
            assert_eq!(read_answer(&format!("stream: {answer} FOUND")), Ok(objects));
        }
        assert!(matches!(read_answer("1: INSTREAM size limit exceeded. ERROR"), Err(Trouble::TooLarge(_))));
        assert!(matches!(read_answer("stream: Can't allocate memory ERROR"), Err(Trouble::Error(_))));
        assert!(matches!(read_answer("UNKNOWN COMMAND"), Err(Trouble::Error(_))));
        for odd in ["", "OK", "stream OK", "stream: ", "stream:  FOUND", "stream: ok", "stream: OK OK"] {
            assert!(read_answer(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn the_version_tells_the_age_of_the_signatures() {
        let about = read_version("2: ClamAV 1.4.3/27800/Sat Nov 21 09:41:02 2026").unwrap();
        assert_eq!(about.signatures_at, Some(1_795_254_062));
        assert_eq!(about.version, "ClamAV 1.4.3/27800/Sat Nov 21 09:41:02 2026");
        assert_eq!(read_version("ClamAV 1.4.3").unwrap().signatures_at, None);
        assert!(read_version("PONG").is_err());
    }
}
