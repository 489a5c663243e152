//! Child processes that parse hostile bytes: started from our own binary, locked in, fed by memory, killed at a
//! deadline (DESIGN §3).
//!
//! The child gets one socket as its standard input, an empty environment and nothing else. It locks itself in
//! ([`cage`]) before it sees the first message. Bytes travel as sealed memory files ([`memory`]), so neither side can
//! change them under the other; words travel as length-framed records ([`wire`]).

pub mod cage;
mod child;
mod handle;
mod map;
pub mod memory;
pub mod probe;
pub mod wire;

#[cfg(test)]
mod tests;

pub use child::{Child, Launcher};

/// What went wrong with a child process.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    #[error("the process could not be started: {0}")]
    Start(std::io::Error),
    #[error("the connection to the process broke: {0}")]
    Link(#[from] std::io::Error),
    #[error("the process ended")]
    Ended,
    #[error("the process sent something that is no answer")]
    Nonsense,
}
