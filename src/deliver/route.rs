//! Recipient to destinations, in order; next-hop profiles.
