//! Writes records; serves /metrics, /healthz and /readyz.
