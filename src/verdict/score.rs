//! Weights and thresholds.
