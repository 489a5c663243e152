//! What the demo prints: one line a sample, Vietnamese and English, and what to try next.

use std::net::SocketAddr;
use std::path::Path;

use super::Outcome;
use super::samples::Sample;

/// One line of the table, printed as soon as it is known.
pub fn row(number: usize, sample: &Sample, outcome: &Outcome) {
    let mark = if outcome.wrong.is_empty() { "ok " } else { "BAD" };
    let lock = if outcome.encrypted { " (TLS)" } else { "" };
    let because = outcome.because.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    println!(
        "{mark} {number:2}  {:<44} {} {:<10} {because}",
        format!("{}{lock}", sample.name),
        outcome.code,
        outcome.action
    );
    println!("        {}", sample.vi);
    if !outcome.also.is_empty() {
        println!("        {}", outcome.also);
    }
    if !outcome.wrong.is_empty() {
        println!("        not expected: {}", outcome.wrong);
    }
}

/// The last lines; whether all went as expected.
#[must_use]
pub fn summary(outcomes: &[Outcome], agency: usize, internet: usize) -> bool {
    let bad = outcomes.iter().filter(|o| !o.wrong.is_empty()).count();
    println!(
        "\n{} messages, {} as expected; {agency} arrived at the agency's server, {internet} went out to the Internet.",
        outcomes.len(),
        outcomes.len() - bad
    );
    bad == 0
}

/// Commands that look at what just happened.
pub fn hints(config: &Path, http: SocketAddr) {
    let config = config.display();
    println!("\nTry / Thử:");
    println!("  luytre quarantine list --config {config}");
    println!("  luytre log search --config {config} --action reject");
    println!("  luytre receipt --config {config} ID        # why a message got what it got");
    println!("  curl http://{http}/metrics");
}
