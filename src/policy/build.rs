//! The file to a checked, compiled Policy, or every problem at once.
