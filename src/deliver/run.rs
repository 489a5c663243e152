//! Cut-through, the durable queue, limits per destination, attempts.
