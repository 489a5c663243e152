//! `luytre init`
