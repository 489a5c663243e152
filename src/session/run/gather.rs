//! A message on its way in: DATA and BDAT from the wire to the desk.

use tokio::time::{Instant, timeout_at};

use super::talk::{Flow, Talk};
use crate::mail::Span;
use crate::mail::header::Headers;
use crate::session::desk::{Basin, BasinError, Desk};
use crate::session::dialogue::{OWN_HOPS, Silence, Step};
use crate::session::line::{Fault, Fed, Reader};
use crate::session::metrics::Outcome;

/// After its grace a message has to come at this rate (THREATS S-31).
const DATA_RATE_BYTES: u64 = 1024;

/// A message on its way in. Without a basin it is only read to its end.
pub struct Gathering<B> {
    reader: Reader,
    basin: Option<B>,
}

/// Why bytes of a message stopped coming.
enum Broken {
    Gone,
    Slow,
    TooMuch,
    Trouble(BasinError),
}

impl<D: Desk> Talk<D> {
    pub(super) async fn data(&mut self) -> Flow<Step> {
        if self.wire.flush().await.is_err() {
            return Flow::Break(Outcome::Gone);
        }
        let mut gathering = self.gathering(Reader::data(self.dialogue.bounds()));
        match self.gather(&mut gathering, None).await {
            Ok(()) => Flow::Continue(self.hand_over(gathering).await),
            Err(broken) => self.broken(broken),
        }
    }

    pub(super) async fn chunk(&mut self, size: u64, last: bool) -> Flow<Step> {
        let mut gathering = match self.chunks.take() {
            Some(gathering) => gathering,
            None => self.gathering(Reader::chunks(self.dialogue.bounds())),
        };
        if let Err(broken) = self.gather(&mut gathering, Some(size)).await {
            return self.broken(broken);
        }
        if last {
            let Gathering { reader, basin } = &mut gathering;
            reader.close(&mut |bytes| {
                if let Some(basin) = basin {
                    basin.pour(bytes);
                }
            });
            return Flow::Continue(self.hand_over(gathering).await);
        }
        let fault = gathering.reader.fault();
        self.chunks = fault.is_none().then_some(gathering);
        Flow::Continue(self.dialogue.chunk_ended(size, fault))
    }

    fn gathering(&self, reader: Reader) -> Gathering<D::Basin> {
        Gathering { reader, basin: self.transaction.as_ref().map(|transaction| self.around.desk.basin(transaction)) }
    }

    /// Reads to the end of the message, or exactly `count` octets.
    async fn gather(&mut self, gathering: &mut Gathering<D::Basin>, count: Option<u64>) -> Result<(), Broken> {
        let limits = &self.dialogue.house().limits;
        let (begun, total) = (Instant::now(), limits.data_timeout);
        let too_much = limits.message.as_u64().saturating_mul(2);
        let mut got = 0_u64;
        loop {
            let missing = count.map_or(u64::MAX, |count| count.saturating_sub(got));
            if missing == 0 {
                return Ok(());
            }
            let until = begun + patience(total, got, self.grace()).as_std();
            if self.wire.pending().is_empty() {
                match timeout_at(until, self.wire.read_data(got)).await {
                    Ok(Ok(count)) if count > 0 => {}
                    Ok(_) => return Err(Broken::Gone),
                    Err(_) => return Err(Broken::Slow),
                }
            }
            let pending = self.wire.pending();
            let input = pending.get(..usize::try_from(missing).unwrap_or(usize::MAX)).unwrap_or(pending);
            let Gathering { reader, basin } = &mut *gathering;
            if reader.fault().is_some() {
                *basin = None;
            }
            if let Some(basin) = basin {
                match timeout_at(until, basin.reserve(input.len())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(Broken::Trouble(error)),
                    Err(_) => return Err(Broken::Slow),
                }
            }
            let fed = reader.feed(input, &mut |bytes| {
                if let Some(basin) = basin {
                    basin.pour(bytes);
                }
            });
            let taken = match fed {
                Fed::More => input.len(),
                Fed::End(taken) => taken,
            };
            self.wire.consume(taken);
            got = got.saturating_add(taken as u64);
            if fed != Fed::More {
                return Ok(());
            }
            if count.is_none() && got > too_much {
                return Err(Broken::TooMuch);
            }
        }
    }

    fn broken(&mut self, broken: Broken) -> Flow<Step> {
        match broken {
            Broken::Gone => Flow::Break(Outcome::Gone),
            Broken::Slow => Flow::Continue(self.dialogue.silent(Silence::Data)),
            Broken::TooMuch => Flow::Continue(self.dialogue.endless()),
            Broken::Trouble(error) => {
                tracing::error!(%error, "a message cannot be kept");
                Flow::Continue(self.dialogue.troubled(true))
            }
        }
    }

    /// The message is here, whole or condemned: its one reply.
    async fn hand_over(&mut self, gathering: Gathering<D::Basin>) -> Step {
        let Gathering { reader, basin } = gathering;
        let raw = match (reader.fault(), basin) {
            (None, Some(basin)) => match basin.finish().await {
                Ok(raw) => raw,
                Err(error) => {
                    tracing::error!(%error, "a message cannot be kept");
                    return self.dialogue.troubled(false);
                }
            },
            (fault, _) => {
                return self
                    .dialogue
                    .ended(fault.or(Some(Fault::MessageTooLong)), 0)
                    .err()
                    .map_or_else(|| self.dialogue.troubled(false), |step| *step);
            }
        };
        let own_hops = if reader.hops() > OWN_HOPS { self.own_hops(&raw) } else { 0 };
        match (self.dialogue.ended(None, own_hops), self.transaction.take()) {
            (Ok(letter), Some(transaction)) => {
                // What was said before should not wait for this; an error shows again with the reply.
                let _ = self.wire.flush().await;
                self.wire.rest();
                let client = letter.opening.client.address.ip();
                let reply = Box::pin(self.around.desk.take(transaction, letter, raw)).await;
                if reply.is_positive() {
                    self.since = Instant::now();
                    self.around.familiar().meet(client, self.around.clock.now());
                }
                self.dialogue.answered(reply)
            }
            (Ok(_), None) => self.dialogue.troubled(false),
            (Err(step), _) => *step,
        }
    }

    /// Received fields that we wrote ourselves on an earlier pass.
    fn own_hops(&self, raw: &[u8]) -> usize {
        let limits = &self.dialogue.house().limits;
        let name = self.dialogue.house().hostname.to_ascii_lowercase();
        Headers::parse_limited(raw, limits.header_fields)
            .all("Received")
            .filter(|field| {
                let text = field.unfolded().to_ascii_lowercase();
                let mut words = text.split_ascii_whitespace();
                words.by_ref().any(|word| word == "by") && words.next() == Some(&name)
            })
            .count()
    }

    /// Reads and drops the octets of a chunk that was refused.
    pub(super) async fn swallow(&mut self, size: u64) -> Flow {
        let (begun, total) = (Instant::now(), self.dialogue.house().limits.data_timeout);
        let mut got = 0_u64;
        while got < size {
            if self.wire.pending().is_empty() {
                match timeout_at(begun + patience(total, got, self.grace()).as_std(), self.wire.read_data(got)).await {
                    Ok(Ok(count)) if count > 0 => {}
                    Ok(_) => return Flow::Break(Outcome::Gone),
                    Err(_) => {
                        self.say(&mut self.dialogue.silent(Silence::Data)).await;
                        return Flow::Break(Outcome::Ended);
                    }
                }
            }
            let missing = usize::try_from(size.saturating_sub(got)).unwrap_or(usize::MAX);
            let taken = self.wire.pending().len().min(missing);
            self.wire.consume(taken);
            got = got.saturating_add(taken as u64);
        }
        Flow::Continue(())
    }
}

/// How long a message of which `got` octets have come may take in all.
fn patience(total: Span, got: u64, grace: Span) -> Span {
    let grace = grace.min(total);
    let earned = Span::millis(got.saturating_mul(1000) / DATA_RATE_BYTES);
    Span::millis(grace.as_millis().saturating_add(earned.as_millis())).min(total)
}
