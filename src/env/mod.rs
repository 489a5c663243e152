//! The doors: the only ways out of the process. Time, randomness, disk, DNS, network, TLS, threads and child
//! processes are reached through here, so that tests can turn the clock, seed the dice and cut the power.

pub mod clock;
pub mod dice;
pub mod disk;
pub mod dns;
pub mod https;
pub mod jail;
pub mod ldap;
pub mod net;
pub mod pool;
pub mod program;
pub mod talk;
pub mod tls;
pub mod vault;

pub use clock::Clock;
pub use dice::Dice;
pub use dns::Dns;
