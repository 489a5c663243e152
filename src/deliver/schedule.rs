//! When to try again, when to give up.
