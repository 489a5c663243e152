//! Delivery reports (RFC 3464).
