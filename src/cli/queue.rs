//! `luytre queue`
