//! Room for as many open files as there may be connections: shells and old unit files leave 1,024.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// For everything that is no client: next hops, inspectors, the spool, files of messages under way, DNS.
const OTHERS: u64 = 2048;

/// Raises the limit of this process to what `connections` need, as far as it may. Call before privileges are given up.
/// Connections that find no descriptor wait in the kernel (`listen::run::accept`), so a limit that stays low is told and
/// refuses nobody by itself.
pub fn raise(connections: usize) {
    let wanted = (connections as u64).saturating_add(OTHERS);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= wanted {
        return;
    }
    let lifted = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted));
    let reached = lifted.map(|()| wanted).or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match reached {
        Ok(limit) if limit >= wanted => tracing::info!(limit, "the limit of open files was raised"),
        Ok(limit) => short(limit, wanted),
        Err(_) => short(soft, wanted),
    }
}

fn short(limit: rlim_t, wanted: u64) {
    tracing::warn!(
        limit,
        wanted,
        "too few open files for limits.connections: set LimitNOFILE in the unit, or ulimit -n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_as_far_as_it_may_and_never_lowered() {
        let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        raise(0);
        raise(usize::try_from(hard.saturating_sub(OTHERS)).unwrap_or(usize::MAX).min(1_000));
        let (after, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(after >= before && after >= hard.min(1_000 + OTHERS), "{before} {after} {hard}");
    }
}
