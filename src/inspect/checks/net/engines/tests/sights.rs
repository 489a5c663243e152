//! Who is shown what: whole messages, parts by level, backups.

use super::*;
use crate::inspect::{Outgoing, OutgoingKind, Released, WantsParts};

/// Parts as an inspector hands them out, each of its level.
fn released(parts: &[(WantsParts, &str)]) -> Released {
    let (mut items, mut bytes) = (Vec::new(), Vec::new());
    for (number, (level, text)) in parts.iter().enumerate() {
        items.push(Outgoing {
            kind: OutgoingKind::Part,
            level: *level,
            offset: bytes.len() as u64,
            length: text.len() as u64,
            sha256: String::new(),
            path: number.to_string(),
        });
        bytes.extend_from_slice(text.as_bytes());
    }
    Released::new(items, bytes.into()).unwrap()
}

fn seeing(id: &str, daemon: &Daemon, sees: Sees) -> settings::Engine {
    settings::Engine { sees: Some(sees), ..engine(id, Kind::Clamd, &daemon.address) }
}

fn shown(rows: &[Row]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row.engine.as_str(), row.path.as_str())).collect()
}

const LEVELS: [(WantsParts, &str); 4] = [
    (WantsParts::Hidden, "secret"),
    (WantsParts::Attached, "report"),
    (WantsParts::Opened, "member"),
    (WantsParts::All, "letter"),
];

#[tokio::test]
async fn each_engine_sees_its_own_levels_though_another_wants_more() {
    let daemon = Daemon::start(Kind::Clamd).await;
    for (sees, paths, whole) in [
        (Sees::Message, &[][..], true),
        (Sees::Both, &["0"], true),
        (Sees::Attachments, &["0", "1"], false),
        (Sees::All, &["0", "1", "2"], true),
        (Sees::Parts, &["0", "1", "2", "3"], false),
    ] {
        let list = [seeing("a", &daemon, sees), seeing("z", &daemon, Sees::Parts)];
        let (engines, _, _) = engines(&list, &settings::Engines::default());
        let inquiry = engines.open();
        assert_eq!(inquiry.wants(), WantsParts::All);
        let rows = inquiry.parts(&released(&LEVELS)).await;
        let seen: Vec<&str> = shown(&rows).into_iter().filter(|(id, _)| *id == "a").map(|(_, path)| path).collect();
        assert_eq!(seen, paths, "{sees:?}");
        let message = Bytes::from_static(b"letter");
        assert_eq!(shown(&inquiry.whole(&message).await).contains(&("a", "")), whole, "{sees:?}");
        assert_eq!(shown(&inquiry.whole_besides(&message).await).contains(&("a", "")), !whole, "{sees:?}");
    }
}

#[tokio::test]
async fn a_backup_of_other_sight_is_shown_what_the_primary_was_and_nothing_before() {
    let (first, second) = (Daemon::start(Kind::Clamd).await, Daemon::start(Kind::Clamd).await);
    let backup = settings::Engine { role: Role::Backup, ..seeing("backup", &second, Sees::Both) };
    let list = [seeing("first", &first, Sees::Attachments), backup.clone()];
    let (engines, _, _) = engines(&list, &settings::Engines::default());
    let inquiry = engines.open();
    assert_eq!(inquiry.wants(), WantsParts::Attached, "a backup wants nothing of its own");
    assert!(inquiry.whole(&Bytes::from_static(b"letter")).await.is_empty());
    assert_eq!(second.connections.load(Ordering::SeqCst), 0, "the primary is well: nobody asks the backup");
    let rows = inquiry.parts(&released(&[(WantsParts::Attached, "an ERROR")])).await;
    assert_eq!(shown(&rows), [("backup", "0"), ("first", "0")]);
    let alone = super::engines(&[backup], &settings::Engines::default()).0.open();
    assert_eq!(shown(&alone.whole(&Bytes::from_static(b"letter")).await), [("backup", "")], "there is nobody else");
}
