//! `luytre rules`
