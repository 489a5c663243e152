//! The dialogues of the vectors and of the wire protocol suite, byte for byte against the whole gateway.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::site;
use crate::kit::gateway::testdata;
use crate::kit::script::{Delivered, Script, check};
use crate::talk::{certificate, read_scripts, vector};

/// Gateways that play side by side; each has an agency's server of its own, so that messages can be counted.
const GATEWAYS: usize = 4;

#[test]
fn dialogues_find_nothing() {
    let Some(folder) = testdata("attacks") else { return };
    let mut scripts: Vec<Script> = read_scripts(&folder.join("smtp")).into_iter().map(|(script, _)| script).collect();
    if let Some(path) = testdata("smtp/vectors.json") {
        scripts.extend(super::json(&path)["vectors"].as_array().unwrap().iter().map(vector));
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for number in 0..GATEWAYS {
            let (next, failures, scripts) = (&next, &failures, scripts.as_slice());
            let folder = folder.as_path();
            scope.spawn(move || play(number, folder, scripts, next, failures));
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("dialogues: {} played, {} failures", scripts.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn play(number: usize, folder: &Path, scripts: &[Script], next: &AtomicUsize, failures: &Mutex<Vec<String>>) {
    let (site, _dns) = site(&format!("dialogues-{number}"), folder);
    let tls = certificate(site.folder.path());
    let listener = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\ntls = {{ certificate = \"{}\", key = \"{}\" }}\n\n",
        tls.certificate.display(),
        tls.key.display()
    );
    let hop = site.sink.address();
    let site = site
        .listeners(&listener)
        .limits("pregreet = \"300 ms\"\n")
        .section("[[agency]]\nid = \"rcpt\"\ndomains = [\"rcpt.test\"]\n")
        .section(&format!("next_hops = [{{ address = \"{}\", tls = \"none\" }}]\n\n", hop));
    let gateway = site.start();
    while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
        let before = site.sink.taken().len();
        let since = || -> Vec<Delivered> {
            let taken = site.sink.taken().split_off(before);
            let delivered =
                |t: crate::kit::sink::Taken| Delivered { sender: t.mail_from, recipients: t.rcpt_to, raw: t.data };
            taken.into_iter().map(delivered).collect()
        };
        let found = check(script, gateway.address("mx"), &since);
        failures.lock().unwrap().extend(found.into_iter().map(|f| format!("{}: {f}", script.name)));
    }
}
