//! `luytre smime`
