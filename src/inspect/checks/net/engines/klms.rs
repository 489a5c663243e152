//! Kaspersky for Linux Mail Server: clamd's words for a file, `nSCAN <path>`.

use super::{ANSWER, About, Engine, Pending, Seen, Subject, Trouble, clamd};
use crate::env::talk::Talk;

#[derive(Clone, Copy, Debug)]
pub struct Klms;

impl Engine for Klms {
    fn greet<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<(), Trouble>> {
        Box::pin(async { Ok(()) })
    }
    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>> {
        Box::pin(async move {
            talk.send(format!("nSCAN {}\n", subject.file).as_bytes()).await?;
            clamd::read_answer(&talk.line(ANSWER).await?).map(Into::into)
        })
    }
    fn about<'a>(&'a self, _: &'a mut Talk) -> Pending<'a, Result<About, Trouble>> {
        Box::pin(async { Ok(About::default()) })
    }
    fn reads_files(&self) -> bool {
        true
    }
}
