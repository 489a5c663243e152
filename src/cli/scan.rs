//! `luytre scan`
