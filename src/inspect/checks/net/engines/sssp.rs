//! Sophos SAVDI, the Sophos Simple Scanning Protocol (SSSP 1.0): `SCANDATA <n>` and the octets; `ACC`, events such as
//! `VIRUS <name> <file>`, one `DONE`, an empty line. `FAIL 0212` means encrypted, `REJ 4` larger than it takes.

use super::{ANSWER, About, Answer, Engine, Objection, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

/// Lines that one answer may have.
const LINES: usize = 1000;

#[derive(Clone, Copy, Debug)]
pub struct Sssp;

impl Engine for Sssp {
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let line = talk.line(ANSWER).await?;
            if !line.starts_with("OK SSSP/1") {
                return Err(Trouble::error(line));
            }
            talk.send(b"SSSP/1.0\n").await?;
            accepted(talk).await
        })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            talk.send(format!("SCANDATA {}\n", subject.bytes.len()).as_bytes()).await?;
            accepted(talk).await?;
            talk.send(&subject.bytes).await?;
            let mut events = Events::default();
            for _ in 0..LINES {
                let line = talk.line(ANSWER).await?;
                if let Some(answer) = events.read(&line)? {
                    // An empty line ends the answer.
                    let end = talk.line(ANSWER).await?;
                    return if end.is_empty() { Ok(answer.into()) } else { Err(Trouble::nonsense(end)) };
                }
            }
            Err(Trouble::nonsense("an answer without end"))
        })
    }

    fn about<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async { Ok(About::default()) })
    }
    fn keeps(&self) -> bool {
        true
    }
}

/// `ACC <id>`, or a rejection.
async fn accepted(talk: &mut Talk) -> Result<(), Trouble> {
    let line = talk.line(ANSWER).await?;
    if line.starts_with("ACC ") {
        return Ok(());
    }
    match line.strip_prefix("REJ ") {
        Some(code) if code.trim() == "4" => Err(Trouble::TooLarge(line)),
        Some(_) => Err(Trouble::error(line)),
        None => Err(Trouble::nonsense(line)),
    }
}

/// The events of one scan.
#[derive(Default)]
struct Events {
    virus: Option<String>,
    encrypted: Option<String>,
    failed: Option<String>,
}

impl Events {
    /// The answer when the line is the last: `DONE OK 0000 …` or `DONE FAIL 0212 …`.
    fn read(&mut self, line: &str) -> Result<Option<Answer>, Trouble> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "VIRUS" => {
                let name = rest.split(' ').next().filter(|name| !name.is_empty()).unwrap_or("unnamed");
                self.virus.get_or_insert(name.to_owned());
            }
            "FAIL" => self.fail(rest, line),
            // What it is doing, what it looks at, what it met on the way.
            "EVENT" | "TYPE" | "FILE" | "OK" | "" => {}
            "DONE" => {
                if let Some(why) = rest.strip_prefix("FAIL ") {
                    self.fail(why, line);
                } else if !rest.starts_with("OK") {
                    return Err(Trouble::error(line));
                }
                return self.end().map(Some);
            }
            "REJ" if rest.trim() == "4" => return Err(Trouble::TooLarge(line.to_owned())),
            "REJ" => return Err(Trouble::error(line)),
            _ => return Err(Trouble::nonsense(line)),
        }
        Ok(None)
    }

    fn fail(&mut self, why: &str, line: &str) {
        let place = if why.starts_with("0212") { &mut self.encrypted } else { &mut self.failed };
        place.get_or_insert(line.to_owned());
    }

    fn end(&mut self) -> Result<Answer, Trouble> {
        match (self.virus.take(), self.failed.take(), self.encrypted.take()) {
            (Some(name), _, _) => Ok(Answer::Infected(name)),
            (None, Some(line), _) => Err(Trouble::error(line)),
            (None, None, Some(line)) => Ok(Answer::Objects(Objection::Encrypted, line)),
            (None, None, None) => Ok(Answer::Clean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Answer, Trouble> {
        let mut events = Events::default();
        lines.iter().find_map(|line| events.read(line).transpose()).unwrap_or(Err(Trouble::Cut))
    }

    #[test]
    fn only_a_done_ok_without_a_failure_is_clean() {
        assert_eq!(read(&["DONE OK 0000 The function call succeeded"]), Ok(Answer::Clean));
        let virus = ["EVENT FILE /x", "VIRUS EICAR-AV-Test /x", "DONE OK 0203 Virus found during virus scan"];
        assert_eq!(read(&virus), Ok(Answer::Infected("EICAR-AV-Test".to_owned())));
        let encrypted = read(&["FAIL 0212 /x", "DONE OK 0212 File is encrypted"]);
        assert!(matches!(encrypted, Ok(Answer::Objects(Objection::Encrypted, _))), "{encrypted:?}");
        let encrypted = read(&["DONE FAIL 0212 File is encrypted"]);
        assert!(matches!(encrypted, Ok(Answer::Objects(Objection::Encrypted, _))), "{encrypted:?}");
        assert!(matches!(read(&["DONE FAIL 021F Corrupt"]), Err(Trouble::Error(_))));
        assert!(matches!(read(&["REJ 4"]), Err(Trouble::TooLarge(_))));
        assert!(matches!(read(&["REJ 1"]), Err(Trouble::Error(_))));
        assert!(matches!(read(&["hello"]), Err(Trouble::Nonsense(_))));
    }
}
