//! Fetches the facts the relay decision needs.
