//! Counters of the spool.
