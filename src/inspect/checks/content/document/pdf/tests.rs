//! Small files made here.
