//! Rates and greylisting as arithmetic over counters.
