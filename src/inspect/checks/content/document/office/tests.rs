//! Small documents made here: each hostile class is found, its harmless twin is not.
