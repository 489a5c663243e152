//! TLS as a client: opportunistic, required, pinned; old versions only for the destination that needs them.
