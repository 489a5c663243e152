//! Web console over quarantine, deliver, report and policy. Not built yet: issue after issue 5.
