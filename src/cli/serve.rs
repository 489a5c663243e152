//! `luytre serve`
