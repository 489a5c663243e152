//! `luytre check`
