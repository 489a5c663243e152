//! `luytre inspector`
