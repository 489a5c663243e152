//! Counters of the quarantine.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::Kind;

/// What operators see of held mail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    messages: IntGaugeVec,
    bytes: IntGauge,
    index_up: IntGauge,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let messages = IntGaugeVec::new(
            Opts::new(
                "luytre_quarantine_messages",
                "Messages in the quarantine, by why they are held; released ones count until they expire.",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(messages.clone()))?;
        let bytes = IntGauge::new("luytre_quarantine_bytes", "Octets of the messages in the quarantine.")?;
        registry.register(Box::new(bytes.clone()))?;
        let index_up = IntGauge::new(
            "luytre_quarantine_index_up",
            "1 when the quarantine's search index answers, 0 when lists are read from the files.",
        )?;
        registry.register(Box::new(index_up.clone()))?;
        for kind in Kind::ALL {
            messages.with_label_values(&[kind.word()]).set(0);
        }
        Ok(Self { messages, bytes, index_up })
    }

    pub(super) fn came(&self, kind: Kind, bytes: u64) {
        self.messages.with_label_values(&[kind.word()]).inc();
        self.bytes.add(i64::try_from(bytes).unwrap_or(0));
    }

    pub(super) fn went(&self, kind: Kind, bytes: u64) {
        self.messages.with_label_values(&[kind.word()]).dec();
        self.bytes.sub(i64::try_from(bytes).unwrap_or(0));
    }

    pub(super) fn set(&self, kind: Kind, count: i64) {
        self.messages.with_label_values(&[kind.word()]).set(count);
    }

    pub(super) fn set_bytes(&self, bytes: i64) {
        self.bytes.set(bytes);
    }

    pub(super) fn index(&self, up: bool) {
        self.index_up.set(i64::from(up));
    }
}
