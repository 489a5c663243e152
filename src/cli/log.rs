//! `luytre log`
