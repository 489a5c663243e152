//! Child processes: start sandboxed, hand over memory, kill at a deadline.
