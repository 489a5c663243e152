//! AVG's `avgtcpd`: a greeting of `220`, `SCAN <path>`, replies as in SMTP with several lines. `200 ok` alone is clean, a
//! line `403 File '…', 'Virus identified NAME'` (older: `403 …: NAME`) is a find, anything else an error.

use std::sync::{Mutex, PoisonError};

use super::{ANSWER, About, Answer, Engine, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

/// Lines that one reply may have.
const LINES: usize = 1000;

#[derive(Debug, Default)]
pub struct Avg {
    /// What it greeted with: program and virus database, each on a line.
    greeting: Mutex<String>,
}

impl Engine for Avg {
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let lines = reply(talk).await?;
            let first = lines.first().map(String::as_str).unwrap_or_default();
            if !first.starts_with("220") {
                return Err(Trouble::error(first));
            }
            let said: Vec<&str> = lines.iter().filter_map(|line| line.get(4..)).collect();
            // A greeting that names no database is no version of one.
            let knows = said.iter().any(|line| line.to_ascii_lowercase().contains("database"));
            *self.greeting.lock().unwrap_or_else(PoisonError::into_inner) =
                if knows { Trouble::shown(said.join("; ")) } else { String::new() };
            Ok(())
        })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            talk.send(format!("SCAN {}\r\n", subject.file).as_bytes()).await?;
            read_reply(&reply(talk).await?).map(Into::into)
        })
    }

    fn about<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        let version = self.greeting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async { Ok(About { version, signatures_at: None }) })
    }
    fn keeps(&self) -> bool {
        true
    }
    fn reads_files(&self) -> bool {
        true
    }
}

/// Lines `NNN-text` and a last one `NNN text`.
async fn reply(talk: &mut Talk) -> Result<Vec<String>, Trouble> {
    let mut lines = Vec::new();
    while lines.len() < LINES {
        let line = talk.line(ANSWER).await?;
        let goes_on = line.as_bytes().get(3) == Some(&b'-');
        lines.push(line);
        if !goes_on {
            return Ok(lines);
        }
    }
    Err(Trouble::nonsense("a reply without end"))
}

fn read_reply(lines: &[String]) -> Result<Answer, Trouble> {
    if let Some(found) = lines.iter().find(|line| line.starts_with("403")) {
        return Ok(Answer::Infected(name(found)));
    }
    match lines.iter().find(|line| !line.starts_with("200")) {
        Some(other) => Err(Trouble::error(other)),
        None if lines.is_empty() => Err(Trouble::nonsense("")),
        None => Ok(Answer::Clean),
    }
}

/// `403 File 'x', 'Virus identified EICAR_Test'`; the older `403 x: EICAR_Test`.
fn name(line: &str) -> String {
    let quoted = line.trim_end().strip_suffix('\'').and_then(|rest| rest.rsplit_once('\'')).map(|(_, name)| name);
    let named = quoted.or_else(|| line.split_once(": ").map(|(_, name)| name)).unwrap_or("unnamed").trim();
    ["Virus identified ", "Virus found ", "Trojan horse "]
        .iter()
        .find_map(|before| named.strip_prefix(before))
        .unwrap_or(named)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_two_forms() {
        assert_eq!(name("403 File '/x/a', 'Virus identified EICAR_Test'"), "EICAR_Test");
        assert_eq!(name("403 /x/a: EICAR_Test"), "EICAR_Test");
        assert_eq!(name("403 what"), "unnamed");
    }

    #[test]
    fn anything_but_200_in_every_line_is_no_clean() {
        let read = |lines: &[&str]| read_reply(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(read(&["200 ok"]), Ok(Answer::Clean));
        assert_eq!(read(&["200-one", "200 ok"]), Ok(Answer::Clean));
        for lines in [&["404 no such file"][..], &["200-ok", "500 error"], &["406 password protected"], &[]] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
    }
}
