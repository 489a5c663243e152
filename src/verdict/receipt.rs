//! What was decided and why, for people and for the record.
