//! `luytre quarantine`
