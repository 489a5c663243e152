//! `luytre dkim`
