//! The tree of MIME parts, limited in depth, count and size.
