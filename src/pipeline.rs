//! One function that is the list of stages: read it first.
