<<<<<<< HEAD
//! The one integration binary: whole-program tests, and the tests that read the source.

mod config;
mod tidy;
=======
//! The one integration binary.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod crypto;
>>>>>>> crypto
