//! What is held, why, until when, who may release it: pure decisions over entries.
