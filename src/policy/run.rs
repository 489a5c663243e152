//! Load, watch, swap: a bad file changes nothing.
