//! Rounds, deadlines, the pool of inspectors; a check that dies becomes a finding.
