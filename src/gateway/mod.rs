//! Builds the stages, connects them, starts, drains; serves the control socket.

pub mod control;
pub mod privileges;
pub mod sockets;
