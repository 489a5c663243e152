//! `luytre doctor`
