//! The TLS server as `openssl` sees it from outside, in the manner of testssl: protocols, ciphers, curves, signatures,
//! compression, renegotiation, resumption (RFC 9325).

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use luytre::mail::Span;
use luytre::session::house::Submission;

use crate::submission::relay;

/// `openssl s_client` against the gate; what it printed, and whether a session came about.
fn s_client(address: SocketAddr, arguments: &[&str]) -> Option<(bool, String)> {
    let mut child = Command::new("openssl")
        .args(["s_client", "-starttls", "smtp", "-crlf", "-ign_eof", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    // A client that was refused has hung up before it reads this.
    let _ = child.stdin.take()?.write_all(b"quit\n");
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some((text.contains("221 2.0.0"), text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc9325_the_protocols_and_ciphers_of_today_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let gate = relay(folder.path(), |l| l, Submission::default());
    let cases: [(&[&str], bool); 13] = [
        (&["-tls1_3"], true),
        (&["-tls1_2"], true),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], true),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], true),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "3DES:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "RC4:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"], false),
        (&["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], false),
    ];
    for (arguments, expected) in cases {
        let Some((secured, text)) = s_client(gate.address(), arguments) else {
            println!("skipped: openssl is not installed");
            return;
        };
        assert_eq!(secured, expected, "{arguments:?}: {text}");
        if secured {
            assert!(text.contains("Compression: NONE"), "{text}");
        }
    }
    // Each failed handshake is an event that says why.
    let (registry, desk) = (gate.registry.clone(), std::sync::Arc::clone(&gate.desk));
    assert_eq!(gate.front.drain(Span::minutes(1)).await.cut, 0);
    let told = desk.noticed.lock().unwrap().clone();
    let why = |cause: &str| told.iter().filter(|(kind, text)| *kind == "tls" && text.starts_with(cause)).count();
    assert!(why("version") >= 2 && why("cipher") >= 2, "{told:?}");
    assert_eq!(why("ours"), 0, "{told:?}");
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("luytre_tls_handshakes_failed_total{cause=\"version\"}"), "{text}");
    assert!(text.contains("luytre_tls_sessions_total{side=\"server\",version=\"TLSv1.3\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc5077_a_client_that_comes_again_resumes_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let gate = relay(folder.path(), |l| l, Submission::default());
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder.path().join(format!("session{version}"));
        let file = session.to_str().unwrap();
        let Some((_, first)) = s_client(gate.address(), &[version, "-sess_out", file]) else {
            println!("skipped: openssl is not installed");
            return;
        };
        assert!(first.contains("New, TLS"), "{version}: {first}");
        let (_, second) = s_client(gate.address(), &[version, "-sess_in", file]).unwrap();
        assert!(second.contains("Reused, TLS"), "{version}: {second}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc9325_4_2_curves_and_signatures_that_are_strong_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let gate = relay(folder.path(), |l| l, Submission::default());
    let cases: [(&[&str], bool); 11] = [
        (&["-tls1_3", "-curves", "X25519"], true),
        (&["-tls1_3", "-curves", "P-256"], true),
        (&["-tls1_3", "-curves", "P-384"], true),
        (&["-tls1_2", "-curves", "P-256"], true),
        (&["-tls1_3", "-curves", "P-521"], false),
        (&["-tls1_2", "-curves", "P-521", "-cipher", "ECDHE"], false),
        (&["-tls1_2", "-curves", "brainpoolP256r1:secp224r1", "-cipher", "ECDHE:@SECLEVEL=0"], false),
        (&["-tls1_2", "-sigalgs", "ECDSA+SHA256"], true),
        (&["-tls1_2", "-sigalgs", "ECDSA+SHA1:RSA+SHA1", "-cipher", "DEFAULT:@SECLEVEL=0"], false),
        // A client that fell back on its own is told so (RFC 7507).
        (&["-tls1_2", "-fallback_scsv"], false),
        (&["-tls1_3", "-fallback_scsv"], true),
    ];
    for (arguments, expected) in cases {
        let Some((secured, text)) = s_client(gate.address(), arguments) else {
            println!("skipped: openssl is not installed");
            return;
        };
        assert_eq!(secured, expected, "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc9325_3_5_nobody_negotiates_anew() {
    let folder = tempfile::tempdir().unwrap();
    let gate = relay(folder.path(), |l| l, Submission::default());
    let child = Command::new("openssl")
        .args(["s_client", "-starttls", "smtp", "-tls1_2", "-connect", &gate.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: openssl is not installed");
        return;
    };
    // It reads this when the handshake is over; its input stays open, for at the end of it openssl leaves.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"R\n").unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    let mut seen = String::new();
    child.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
    let _ = child.wait();
    assert!(seen.contains("Secure Renegotiation IS supported"), "RFC 5746: {seen}");
    assert!(told.contains("RENEGOTIATING") || seen.contains("RENEGOTIATING"), "{seen}{told}");
    assert!(told.to_lowercase().contains("no renegotiation"), "{seen}{told}");
}
