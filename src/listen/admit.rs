//! Limits per address as arithmetic: no socket, no clock of its own.
