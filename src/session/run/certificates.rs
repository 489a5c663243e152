//! Until when our certificates hold: a metric for alerts, and a word in the log at 60, 30 and 7 days.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Surroundings;
use crate::mail::{Span, Timestamp};
use crate::session::desk::Desk;
use crate::session::house::House;

/// How often it is said again.
const DAILY: Duration = Duration::from_secs(86_400);

/// Lets the metrics see what is in use.
pub fn publish<D: Desk>(around: &Surroundings<D>) {
    let houses = around.house.clone();
    around.metrics.certificates(Box::new(move || shown(&houses.borrow()).collect()));
}

/// Follows the configuration for ever.
pub async fn follow<D: Desk>(around: Arc<Surroundings<D>>) {
    let mut houses = around.house.clone();
    loop {
        let house = Arc::clone(&houses.borrow_and_update());
        warn(&house, around.clock.now());
        let tomorrow = Instant::now() + DAILY;
        if let Ok(Err(_)) = timeout_at(tomorrow, houses.changed()).await {
            // Nobody can change it any more; only the days go on.
            tokio::time::sleep_until(tomorrow).await;
        }
    }
}

/// Every certificate in use: its first name (else its file's), and its end.
fn shown(house: &House) -> impl Iterator<Item = (String, Timestamp)> {
    let acceptors = house.stations.iter().filter_map(|station| station.tls.as_ref());
    acceptors.flat_map(|acceptor| acceptor.certificates()).chain(&house.elsewhere).map(|held| {
        let file = || held.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        (held.names.first().cloned().unwrap_or_else(file), held.not_after)
    })
}

fn warn(house: &House, now: Timestamp) {
    for (certificate, until) in shown(house) {
        let days = until.since(now).as_seconds() / 86_400;
        if until <= now {
            tracing::error!(certificate, "a TLS certificate has ended: renew it");
        } else if until < now + Span::days(7) {
            tracing::error!(certificate, days, "a TLS certificate ends within a week: renew it now");
        } else if until < now + Span::days(30) {
            tracing::warn!(certificate, days, "a TLS certificate ends within 30 days: renew it");
        } else if until < now + Span::days(60) {
            tracing::info!(certificate, days, "a TLS certificate ends within 60 days");
        }
    }
}
