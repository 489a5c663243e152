//! What outgoing mail by MX is made of: the validating resolver, the trusted roots, what is kept in the data folder.

use std::path::Path;
use std::sync::Arc;

use super::{StartError, dns_options};
use crate::deliver::settings::Dnssec;
use crate::deliver::tlspolicy;
use crate::deliver::{Internet, InternetParts};
use crate::env::disk::Disk;
use crate::env::dns::validator::{Validator, Wanted};
use crate::env::tls::guard::Guard;
use crate::env::{Clock, Dns};
use crate::policy::Policy;
use crate::report::metrics::Registry;

/// Built once, at the start: new trust anchors and roots take a restart, as new name servers do.
pub(super) fn open(
    policy: &Policy,
    disk: &Arc<dyn Disk>,
    dns: &Dns,
    clock: &Clock,
    registry: &Registry,
) -> Result<Internet, StartError> {
    let settings = &policy.deliver.internet;
    let metrics = tlspolicy::Metrics::new(registry).map_err(|e| StartError::part("metrics", e))?;
    let guard = Guard::new(named(&settings.roots)).map_err(|e| StartError::part("deliver.internet.roots", e))?;
    let parts = InternetParts {
        disk: Arc::clone(disk),
        data_dir: &policy.data_dir,
        dns: dns.clone(),
        clock: clock.clone(),
        validator: validator(policy)?,
        guard,
        metrics,
    };
    Internet::open(parts).map_err(|e| StartError::part("outgoing mail", e))
}

fn validator(policy: &Policy) -> Result<Option<Validator>, StartError> {
    let settings = &policy.deliver.internet;
    let wanted = match settings.dnssec {
        Dnssec::Off => return Ok(None),
        Dnssec::Auto => Wanted::Auto,
        Dnssec::Required => Wanted::Required,
    };
    let anchors = named(&settings.trust_anchors).map(Path::to_owned);
    let made = Validator::new(&dns_options(policy), wanted, anchors);
    made.map(Some).map_err(|e| StartError::part("deliver.internet.dnssec", e))
}

/// A path that was written, or none.
fn named(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}
