//! Randomness as a value that is handed around; tests seed it and print the seed.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, RngExt, SeedableRng, TryRng};

use crate::mail::{MailId, Timestamp};

/// A source of random numbers. Cheap to clone; clones of a seeded one share its sequence.
#[derive(Clone, Debug)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    /// Seeded by the kernel.
    #[must_use]
    pub fn system() -> Self {
        let mut seed = [0_u8; 32];
        // The kernel's generator does not fail once it is up; before that a gateway has no business running.
        SysRng.try_fill_bytes(&mut seed).expect("the kernel gives random bytes");
        Self(Arc::new(Mutex::new(StdRng::from_seed(seed))))
    }

    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.with(|rng| rng.random_range(0..bound)) }
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        self.with(|rng| rng.fill_bytes(bytes));
    }

    /// A fresh message id.
    #[must_use]
    pub fn mail_id(&self, now: Timestamp) -> MailId {
        MailId::new(now, self.with(|rng| rng.random::<u128>()))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
