//! Dialling out: addresses in order, timeouts, TCP_NODELAY.
