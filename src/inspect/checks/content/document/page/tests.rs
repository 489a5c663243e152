//! Small pages made here.
