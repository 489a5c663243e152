//! `luytre demo`
