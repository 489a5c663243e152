//! F-Prot 6, `fpscand`: `SCAN STREAM <id> SIZE <n>`, the octets, and one line that begins with a number made of bits:
//! 1 infected, 2 suspicious (heuristic or pattern), 4 error or not all scanned, 8 something skipped.

use super::{ANSWER, About, Answer, Engine, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

/// The codes that stand for a find (DOMAIN §2.6).
const INFECTED: [u32; 11] = [1, 2, 3, 5, 6, 7, 9, 11, 13, 14, 15];
/// And those that stand for none.
const CLEAN: [u32; 3] = [0, 8, 64];

#[derive(Clone, Copy, Debug)]
pub struct Fprot;

impl Engine for Fprot {
    fn greet<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async { Ok(()) })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            talk.send(format!("SCAN STREAM mail SIZE {}\n", subject.bytes.len()).as_bytes()).await?;
            let sent = async {
                talk.send(&subject.bytes).await?;
                talk.send(b"\n").await
            }
            .await;
            match (talk.line(ANSWER).await, sent) {
                (Ok(line), _) => read_answer(&line).map(Into::into),
                (Err(error), Ok(())) | (Err(_), Err(error)) => Err(error.into()),
            }
        })
    }

    fn about<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async { Ok(About::default()) })
    }
}

/// `0 <clean> mail`, `1 <infected: EICAR_Test_File> mail`.
fn read_answer(line: &str) -> Result<Answer, Trouble> {
    let (code, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let name = rest.split_once("<infected: ").and_then(|(_, rest)| rest.split_once('>')).map(|(name, _)| name);
    let number: Result<u32, _> = code.parse();
    match (number, name) {
        (_, Some(name)) => Ok(Answer::Infected(name.to_owned())),
        (Ok(code), None) if INFECTED.contains(&code) => Ok(Answer::Infected(suspected(rest))),
        (Ok(code), None) if CLEAN.contains(&code) => Ok(Answer::Clean),
        (Ok(_), None) => Err(Trouble::error(line)),
        (Err(_), None) => Err(Trouble::nonsense(line)),
    }
}

/// What stands in the brackets of a find without the word "infected".
fn suspected(rest: &str) -> String {
    let inside = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inside, _)| inside);
    let inside = inside.map(|text| text.split_once(": ").map_or(text, |(_, name)| name).trim());
    inside.filter(|text| !text.is_empty()).unwrap_or("unnamed").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_bits() {
        assert_eq!(read_answer("0 <clean> mail"), Ok(Answer::Clean));
        assert_eq!(read_answer("8 <clean> mail"), Ok(Answer::Clean));
        assert_eq!(read_answer("64 <clean> mail"), Ok(Answer::Clean));
        let eicar = || Ok(Answer::Infected("EICAR_Test_File".to_owned()));
        assert_eq!(read_answer("1 <infected: EICAR_Test_File> mail"), eicar());
        assert_eq!(read_answer("3 <contains infected objects: EICAR_Test_File> mail"), eicar());
        assert_eq!(read_answer("2"), Ok(Answer::Infected("unnamed".to_owned())));
        for error in ["4 <error> mail", "10 x", "20", "128"] {
            assert!(matches!(read_answer(error), Err(Trouble::Error(_))), "{error}");
        }
        assert!(matches!(read_answer("32 <not scanned: license expired>"), Err(Trouble::Licence(_))));
        assert!(matches!(read_answer("clean"), Err(Trouble::Nonsense(_))));
    }
}
