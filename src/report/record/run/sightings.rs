//! Digests that new mail has shown to be malware, on their way to whoever looks for them in the record. Bounded; the mail
//! path never waits: what does not fit is found by the next look at everything.

use tokio::sync::mpsc;

use crate::report::record::retro::{Condemned, condemned_in};
use crate::verdict::receipt::Receipt;

/// Messages whose digests may wait.
const WAITING: usize = 1000;

/// The end that mail tells. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sightings(mpsc::Sender<Condemned>);

impl Sightings {
    /// And the end that is listened to.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Condemned>) {
        let (send, receive) = mpsc::channel(WAITING);
        (Self(send), receive)
    }

    /// A message was judged.
    pub fn tell(&self, receipt: &Receipt) {
        self.tell_of(condemned_in(receipt));
    }

    /// These were found otherwise.
    pub fn tell_of(&self, condemned: Condemned) {
        if !condemned.is_empty() {
            // Full, or nobody listens while the gateway stops.
            let _ = self.0.try_send(condemned);
        }
    }
}
