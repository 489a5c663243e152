//! Counters of the quarantine.
