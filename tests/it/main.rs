//! The one integration binary.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod crypto;
