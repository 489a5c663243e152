//! What engines say of themselves, and what is remembered because of it; ICAP by the method that is wanted.

use super::*;

/// Whether the second of two questions about the same octets was answered from memory.
async fn remembers(settings: settings::Engine) -> (bool, Vec<String>) {
    let (engines, _, _) = engines(&[settings], &settings::Engines::default());
    engines.tend().await;
    assert_eq!(ask(&engines, b"hello").await.0[0].outcome, Ok(Answer::Clean));
    (ask(&engines, b"hello").await.0[0].remembered, engines.versions())
}

#[tokio::test]
async fn every_protocol_with_a_word_for_it_is_asked_for_the_version() {
    for (kind, version) in [
        (Kind::Clamd, "e ClamAV 1.4.3/27800/Sat Nov 21 09:41:02 2026"),
        (Kind::Icap, "e \"v1\""),
        (Kind::KasperskyScanEngine, "e bases 21.11.2026 27800 GMT"),
        (Kind::Avast, "e VPS 27800 VPS OK"),
    ] {
        let daemon = Daemon::start(kind).await;
        assert_eq!(remembers(engine("e", kind, &daemon.address)).await, (true, vec![version.to_owned()]), "{kind:?}");
    }
    let avg = Daemon::start(Kind::Avg).await;
    let (remembered, versions) = remembers(engine("e", Kind::Avg, &avg.address)).await;
    assert!(remembered && versions[0].contains("Virus Database: Version 271.8.0/27800 2026-11-21"), "{versions:?}");
}

#[tokio::test]
async fn without_a_version_nothing_is_remembered_unless_a_program_knows_it() {
    for kind in [Kind::Sssp, Kind::Fprot, Kind::FprotHttp, Kind::Savapi, Kind::KasperskyAveserver, Kind::KasperskyKlms]
    {
        let daemon = Daemon::start(kind).await;
        let silent = engine("e", kind, &daemon.address);
        assert_eq!(remembers(silent.clone()).await, (false, Vec::new()), "{kind:?}");
        for (script, version) in [("echo; echo ' bases 7 '; echo more", Some("e bases 7")), ("echo 7; exit 1", None)] {
            let version_command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
            let told = settings::Engine { version_command, ..silent.clone() };
            let known: Vec<String> = version.map(str::to_owned).into_iter().collect();
            assert_eq!(remembers(told).await, (version.is_some(), known), "{kind:?}: {script}");
        }
    }
}

#[tokio::test]
async fn a_version_that_a_program_tells_counts_for_more_than_what_an_answer_bears() {
    let daemon = Daemon::start(Kind::Icap).await;
    let version_command = ["/bin/echo", "ClamAV 1.4.3/27800/Sat Nov 21 09:41:02 2026"].map(str::to_owned).to_vec();
    let told = settings::Engine { version_command, ..engine("e", Kind::Icap, &daemon.address) };
    let (engines, _, metrics) = engines(&[told], &settings::Engines::default());
    engines.tend().await;
    ask(&engines, b"hello").await;
    assert_eq!(engines.versions(), ["e ClamAV 1.4.3/27800/Sat Nov 21 09:41:02 2026"]);
    assert_eq!(metrics.signature_age.with_label_values(&["e"]).get(), 48_020);
    let relative = settings::Engine { version_command: vec!["echo".to_owned()], ..engine("e", Kind::Icap, "h:1") };
    assert_eq!(door::Door::open(&relative).unwrap_err().key, "version_command");
}

#[tokio::test]
async fn rfc3507_4_8_reqmod_is_asked_where_it_is_wanted() {
    let daemon = Daemon::start(Kind::Icap).await;
    for method in [settings::Method::Reqmod, settings::Method::Respmod] {
        let wanted = settings::Engine { method: Some(method), ..engine("e", Kind::Icap, &daemon.address) };
        let (engines, _, _) = engines(&[wanted], &settings::Engines::default());
        assert_eq!(ask(&engines, b"hello").await.0[0].outcome, Ok(Answer::Clean), "{method:?}");
        // Longer than the preview.
        let mut message = vec![b'x'; 5000];
        message.extend_from_slice(b"EICAR");
        let found = Ok(Answer::Infected("Eicar-Test".to_owned()));
        assert_eq!(ask(&engines, &message).await.0[0].outcome, found, "{method:?}");
    }
}

#[tokio::test]
async fn tls_is_for_engines_on_other_machines() {
    let pin: crate::mail::KeyPin = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    let base = || engine("e", Kind::Icap, "127.0.0.1:1");
    for (settings, key) in [
        (settings::Engine { tls_pins: vec![pin], ..base() }, "tls_pins"),
        (settings::Engine { tls_ca: "/ca.pem".into(), ..base() }, "tls_ca"),
        (settings::Engine { tls: true, tls_ca: "/no/such/ca.pem".into(), ..base() }, "tls_ca"),
        (settings::Engine { tls: true, address: "unix:/x".into(), ..base() }, "tls"),
        (settings::Engine { tls: true, kind: Kind::Avg, ..base() }, "tls"),
    ] {
        assert_eq!(door::Door::open(&settings).unwrap_err().key, key);
    }
}
