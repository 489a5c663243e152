//! Avast (`mailscanner.sock` and its TCP form): greeting `220`, `SCAN <path>`, `210` while it works, then for each file
//! a line with `<TAB>[+]` (clean) or `<TAB>[L]<TAB>NAME` (found), and `200` at the end. `VPS` asks for the version of the
//! signatures.

use super::{ANSWER, About, Answer, Engine, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

/// Lines that one answer may have.
const LINES: usize = 10_000;

#[derive(Clone, Copy, Debug)]
pub struct Avast;

impl Engine for Avast {
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let line = talk.line(ANSWER).await?;
            if line.starts_with("220") { Ok(()) } else { Err(Trouble::error(line)) }
        })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            talk.send(format!("SCAN {}\r\n", subject.file).as_bytes()).await?;
            let mut tally = Tally::default();
            for _ in 0..LINES {
                if let Some(answer) = tally.read(&talk.line(ANSWER).await?)? {
                    return Ok(answer.into());
                }
            }
            Err(Trouble::nonsense("an answer without end"))
        })
    }

    fn about<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async move {
            talk.send(b"VPS\r\n").await?;
            let mut said = Vec::new();
            for _ in 0..LINES {
                let line = talk.line(ANSWER).await?;
                let (code, rest) = line.split_once(' ').unwrap_or((&line, ""));
                match code {
                    "210" => {}
                    "200" => {
                        // In one line with the code, or in lines of their own before it.
                        said.push(rest.to_owned());
                        let version = Trouble::shown(said.join(" "));
                        let knows = version.bytes().any(|b| b.is_ascii_digit());
                        return Ok(About { version: if knows { version } else { String::new() }, signatures_at: None });
                    }
                    // It does not know the question.
                    _ if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => return Ok(About::default()),
                    _ => said.push(line),
                }
            }
            Err(Trouble::nonsense("an answer without end"))
        })
    }
    fn keeps(&self) -> bool {
        true
    }
    fn reads_files(&self) -> bool {
        true
    }
}

/// The lines of one answer.
#[derive(Default)]
struct Tally {
    found: Option<String>,
    /// A file that it says it looked at.
    clean: bool,
    /// Not a file it could look at: `[E]` and kin.
    failed: Option<String>,
}

impl Tally {
    /// The answer at its end.
    fn read(&mut self, line: &str) -> Result<Option<Answer>, Trouble> {
        if let Some((_, rest)) = line.split_once("\t[L]\t") {
            // `0 EICAR Test-NOT virus!!!` in newer ones: the number is a severity.
            let name = rest.split('\t').next().unwrap_or_default().trim();
            let name =
                name.split_once(' ').filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit())).map_or(name, |(_, n)| n);
            self.found.get_or_insert(if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() });
            return Ok(None);
        }
        if line.contains("\t[+]") {
            self.clean = true;
            return Ok(None);
        }
        if line.contains("\t[") {
            self.failed.get_or_insert(line.to_owned());
            return Ok(None);
        }
        match line.get(..3) {
            Some("210") => Ok(None),
            Some("200") => match (self.found.take(), self.failed.take()) {
                (Some(name), _) => Ok(Some(Answer::Infected(name))),
                (None, Some(line)) => Err(Trouble::error(line)),
                (None, None) if self.clean => Ok(Some(Answer::Clean)),
                (None, None) => Err(Trouble::nonsense("no file was looked at")),
            },
            Some(code) if code.bytes().all(|b| b.is_ascii_digit()) => Err(Trouble::error(line)),
            _ => Err(Trouble::nonsense(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Answer, Trouble> {
        let mut tally = Tally::default();
        lines.iter().find_map(|line| tally.read(line).transpose()).unwrap_or(Err(Trouble::Cut))
    }

    #[test]
    fn every_file_must_have_been_looked_at() {
        assert_eq!(read(&["210 SCAN DATA", "/x/a\t[+]", "200 SCAN OK"]), Ok(Answer::Clean));
        let found = || Ok(Answer::Infected("EICAR Test-NOT virus!!!".to_owned()));
        assert_eq!(read(&["210 x", "/x/a\t[L]\tEICAR Test-NOT virus!!!", "200 SCAN OK"]), found());
        assert_eq!(read(&["210 x", "/x/a\t[L]\t0 EICAR Test-NOT virus!!!", "/x/b\t[+]", "200 SCAN OK"]), found());
        assert!(read(&["200 SCAN OK"]).is_err(), "nothing was looked at");
        assert!(read(&["210 x", "/x/a\t[E]\tpassword protected", "200 SCAN OK"]).is_err());
        assert!(matches!(read(&["501 license expired"]), Err(Trouble::Licence(_))));
    }
}
