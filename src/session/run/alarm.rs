//! One timer for all waits of a session.
//!
//! A client that sends octet by octet would else have a timer put in and taken out for each. This one stays where it is
//! set while the moment it is for moves on; it is set anew when it rings too early, or would ring too late.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::{Instant, Sleep, sleep_until};

/// Made when somebody first waits.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

/// It was not done in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Late;

impl Alarm {
    /// What `work` gives, if it is done by `end`. Work that is done at once costs no timer, however late it is.
    pub async fn until<F: Future>(&mut self, end: Instant, work: F) -> Result<F::Output, Late> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(end)));
            if timer.deadline() > end {
                timer.as_mut().reset(end);
            }
            while timer.as_mut().poll(cx).is_ready() {
                if Instant::now() >= end {
                    return Poll::Ready(Err(Late));
                }
                timer.as_mut().reset(end);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_it_should_wherever_it_was_set_before() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(alarm.until(at(0), ready(1)).await, Ok(1), "what is done is done");
        assert!(alarm.0.is_none(), "and needs no timer");
        // Set for the tenth second, then moved on by each wait that ends before: once at a time.
        for seconds in 1..10 {
            let work = tokio::time::sleep_until(at(seconds));
            assert_eq!(alarm.until(at(10 + seconds), work).await, Ok(()));
        }
        assert_eq!(alarm.until(at(19), pending::<()>()).await, Err(Late));
        assert_eq!(start.elapsed().as_secs(), 19, "it was set for the eleventh second");
        let work = tokio::time::sleep_until(at(21));
        assert_eq!(alarm.until(at(100), work).await, Ok(()));
        assert_eq!(alarm.until(at(22), pending::<()>()).await, Err(Late));
        assert_eq!(start.elapsed().as_secs(), 22, "not only at the hundredth");
        assert_eq!(alarm.until(at(5), pending::<()>()).await, Err(Late), "long past");
        assert_eq!(alarm.until(at(30), pending::<()>()).await, Err(Late));
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}
