//! Counters of the inspectors.
