//! Structured logs on standard output: text for people, JSON for collectors.

use tracing_subscriber::EnvFilter;

use crate::policy::file::{Log, LogFormat};

/// Starts logging for the process. `LUYTRE_LOG` overrides the level (`debug`, `luytre::deliver=trace`).
pub fn start(log: Log) {
    let filter = EnvFilter::try_from_env("LUYTRE_LOG").unwrap_or_else(|_| EnvFilter::new(log.level.as_str()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    // A second start in one process (tests) keeps the first.
    let _ = match log.format {
        LogFormat::Json => builder.json().with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text => builder.try_init(),
    };
}
