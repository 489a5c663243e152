//! What a session costs while it waits.

use bytes::Bytes;

use super::*;
use crate::mail::{MailId, Recipient};
use crate::session::desk::{Basin, BasinError, Letter, Opening, Refusal, Request};

/// A desk that is never asked.
struct Nobody;

impl Basin for Nobody {
    async fn reserve(&mut self, _: usize) -> Result<(), BasinError> {
        Ok(())
    }
    fn pour(&mut self, _: &[u8]) {}
    async fn finish(self) -> Result<Bytes, BasinError> {
        Ok(Bytes::new())
    }
}

impl Desk for Nobody {
    type Transaction = MailId;
    type Basin = Self;

    async fn open(&self, opening: &Opening) -> Result<MailId, Reply> {
        Ok(opening.id)
    }
    async fn recipient(&self, _: &mut MailId, _: &Opening, _: Request) -> Result<Recipient, Reply> {
        Err(Reply::new(550, "5.1.1", "No"))
    }
    fn basin(&self, _: &MailId) -> Self {
        Self
    }
    async fn take(&self, _: MailId, _: Letter, _: Bytes) -> Reply {
        Reply::new(250, "2.0.0", "OK")
    }
    fn refused(&self, _: &Refusal<'_>) {}
}

/// The size of what an async function keeps while it waits.
fn kept<A, B, C, D, E, F, Out>(_: impl Fn(A, B, C, D, E, F) -> Out) -> usize {
    size_of::<Out>()
}

#[test]
fn an_idle_session_keeps_a_few_kibibytes() {
    let bytes = kept(serve::<Nobody>);
    println!("an idle session is a future of {bytes} octets");
    assert!(bytes <= 4096, "{bytes} octets");
}
