//! Segments to what to resume.
