//! F-Prot's older daemon, `f-protd`: an HTTP GET of a file's path with the scanner's arguments behind a question mark; an
//! XML page answers, whose `<summary code="N">` decides. The codes are the daemon's, not those of the program.

use super::{ANSWER, About, Answer, Engine, Objection, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

#[derive(Clone, Copy, Debug)]
pub struct Fprotd;

impl Engine for Fprotd {
    fn greet<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async { Ok(()) })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            let arguments = "-dumb%20-archive%20-packed%20-remote-dtd";
            talk.send(format!("GET {}?{arguments} HTTP/1.0\r\n\r\n", subject.file).as_bytes()).await?;
            let answer = talk.rest(ANSWER).await?;
            read_page(&String::from_utf8_lossy(&answer)).map(Into::into)
        })
    }

    fn about<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async { Ok(About::default()) })
    }
    fn reads_files(&self) -> bool {
        true
    }
}

fn read_page(text: &str) -> Result<Answer, Trouble> {
    let status = text.lines().next().unwrap_or_default();
    if status.is_empty() {
        return Err(Trouble::Cut);
    }
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    match code {
        Some("200") => {}
        Some(_) => return Err(Trouble::error(status)),
        None => return Err(Trouble::nonsense(status)),
    }
    if !text.contains("</fprot-results>") {
        return Err(Trouble::Cut);
    }
    let summary = text.split_once("<summary").and_then(|(_, rest)| rest.split_once('>'));
    let number =
        summary.and_then(|(attributes, _)| attributes.split_once("code=\"")).and_then(|(_, rest)| rest.split_once('"'));
    let number: Option<i32> = number.and_then(|(number, _)| number.trim().parse().ok());
    let between = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        let (inside, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(Trouble::shown(inside)).filter(|inside| !inside.is_empty())
    };
    match number {
        // Infected; disinfected, which it was not asked to do.
        Some(11 | 13) => Ok(Answer::Infected(between("name").unwrap_or_else(|| "unnamed".to_owned()))),
        // Looked at and nothing found; of a kind that can do no harm.
        Some(7 | 9) => Ok(Answer::Clean),
        Some(4) => Ok(Answer::Objects(Objection::Encrypted, "encrypted".to_owned())),
        Some(code) => Err(Trouble::error(format!("{code} {}", between("error").unwrap_or_default()))),
        None => Err(Trouble::nonsense("no summary code")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_codes_decide() {
        let read = |code: i32, inside: &str| {
            read_page(&format!(
                "HTTP/1.0 200 OK\r\nServer: fprotd\r\n\r\n<?xml version=\"1.0\"?><fprot-results version=\"1.0\">{inside}\
                 <summary code=\"{code}\">x</summary></fprot-results>"
            ))
        };
        assert_eq!(read(9, ""), Ok(Answer::Clean));
        assert_eq!(read(7, ""), Ok(Answer::Clean));
        let found = read(11, "<detected><filename>/x</filename><name>EICAR_Test_File</name></detected>");
        assert_eq!(found, Ok(Answer::Infected("EICAR_Test_File".to_owned())));
        assert!(matches!(read(4, ""), Ok(Answer::Objects(Objection::Encrypted, _))));
        for error in [-1, 0, 1, 2, 3, 5, 6, 99] {
            assert!(matches!(read(error, ""), Err(Trouble::Error(_))), "{error}");
        }
        assert!(matches!(read(0, "<error>License expired</error>"), Err(Trouble::Licence(_))));
        assert!(matches!(read_page("HTTP/1.0 200 OK\r\n\r\n<fprot-results><summary code=\"9\">"), Err(Trouble::Cut)));
        assert!(matches!(read_page("HTTP/1.0 404 Not found\r\n\r\n"), Err(Trouble::Error(_))));
        assert!(matches!(read_page("0 <clean>"), Err(Trouble::Nonsense(_))));
    }
}
