//! Kaspersky Anti-Virus 5, `aveserver`: a greeting of `2xx`, then `SCAN bPQRSTUW <path>`; lines `322 <virus> …` name
//! what it found, `2xx` ends the answer, `5xx` is an error.

use super::{ANSWER, About, Answer, Engine, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

/// Lines that one answer may have.
const LINES: usize = 1000;

#[derive(Clone, Copy, Debug)]
pub struct Aveserver;

impl Engine for Aveserver {
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let line = talk.line(ANSWER).await?;
            if line.starts_with('2') { Ok(()) } else { Err(Trouble::error(line)) }
        })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            talk.send(format!("SCAN bPQRSTUW {}\r\n", subject.file).as_bytes()).await?;
            let mut found = None;
            for _ in 0..LINES {
                let line = talk.line(ANSWER).await?;
                match line.get(..3) {
                    Some("322") => {
                        let name = line.get(3..).unwrap_or_default().split_whitespace().next();
                        found = found.or(Some(name.unwrap_or("unnamed").to_owned()));
                    }
                    Some(code) if code.starts_with('2') => {
                        return Ok(found.map_or(Answer::Clean, Answer::Infected).into());
                    }
                    Some(code) if code.starts_with('3') => {}
                    Some(code) if code.starts_with('5') => return Err(Trouble::error(line)),
                    _ => return Err(Trouble::nonsense(line)),
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
    fn reads_files(&self) -> bool {
        true
    }
}
