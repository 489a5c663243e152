//! Counters of delivery.
