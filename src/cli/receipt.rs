//! `luytre receipt`
