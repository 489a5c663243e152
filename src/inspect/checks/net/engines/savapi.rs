//! Avira's SAVAPI 3: greeting `100`, `SET PRODUCT <id>`, `SCAN <path>`; `310 … <<< NAME ; …` for each find (more
//! follows), `319` after the last find, `200` and `210` clean.

use super::{ANSWER, About, Answer, Engine, Pending, Seen, Subject, Trouble};
use crate::env::talk::Talk;

/// Lines that one answer may have.
const LINES: usize = 1000;

#[derive(Clone, Debug)]
pub struct Savapi {
    /// The product id of the licence.
    pub product: String,
}

impl Engine for Savapi {
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let line = talk.line(ANSWER).await?;
            if !line.starts_with("100") {
                return Err(Trouble::error(line));
            }
            talk.send(format!("SET PRODUCT {}\n", self.product).as_bytes()).await?;
            let line = talk.line(ANSWER).await?;
            if line.starts_with("100 PRODUCT:") {
                return Ok(());
            }
            // Without a product that its licence covers it scans nothing.
            Err(Trouble::Licence(Trouble::shown(line)))
        })
    }

    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            talk.send(format!("SCAN {}\n", subject.file).as_bytes()).await?;
            let mut found: Option<String> = None;
            for _ in 0..LINES {
                let line = talk.line(ANSWER).await?;
                match line.get(..3) {
                    Some("310") => {
                        let name = name(&line);
                        found.get_or_insert(name);
                    }
                    Some("319") => return Ok(Answer::Infected(found.unwrap_or_else(|| "unnamed".to_owned())).into()),
                    Some("200" | "210") => return Ok(found.map_or(Answer::Clean, Answer::Infected).into()),
                    Some(code) if code.bytes().all(|b| b.is_ascii_digit()) => return Err(Trouble::error(line)),
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

/// `310 /x/a <<< Eicar-Test-Signature ; virus ; Contains code of …`.
fn name(line: &str) -> String {
    let rest = line.split_once("<<<").map_or("", |(_, rest)| rest);
    let name = rest.split(';').next().unwrap_or_default().trim();
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}
