//! Sends every message of the manifest as its `env` says, and judges what became of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::judge::{Fate, Problem, judge};
use super::not_yet::NOT_YET;
use super::{json, site, texts};
use crate::kit::client::{Answer, Client};
use crate::kit::dns::Dns;
use crate::kit::gateway::{Gateway, receipt_id, testdata};
use crate::kit::sink::Sink;

/// Both listeners believe the PROXY header of the tests; the relay is at another address of loopback, because a
/// listener is known by the address it is configured with.
const LISTENERS: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\nproxy_networks = [\"127.0.0.1/32\"]\n\n\
    [[listener]]\naddress = \"127.0.0.2:0\"\nrole = \"relay\"\nproxy_networks = [\"127.0.0.1/32\"]\n\n";

#[test]
fn every_vector_gets_what_it_deserves() {
    let Some(folder) = testdata("attacks") else { return };
    let manifest = json(&folder.join("manifest.json"));
    let vectors = manifest["vectors"].as_array().unwrap();
    let (site, dns) = site("attacks", &folder);
    let site = site.listeners(LISTENERS);
    let gateway = site.start();
    let stage = Stage { gateway: &gateway, sink: &site.sink, dns: &dns, folder: &folder };
    // Where DNS questions are counted, nobody else may be asking.
    let (alone, rest): (Vec<_>, Vec<_>) = vectors.iter().partition(|v| !v["expect"]["auth"]["dns_max"].is_null());
    let failures = Mutex::new(Vec::new());
    let play = |vector: &Value, counts: bool| {
        let id = vector["id"].as_str().unwrap().to_owned();
        let found = stage.play(vector, counts).into_iter().map(|problem| (id.clone(), problem));
        failures.lock().unwrap().extend(found);
    };
    alone.iter().for_each(|vector| play(vector, true));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(vector) = rest.get(next.fetch_add(1, Ordering::Relaxed)) {
                    play(vector, false);
                }
            });
        }
    });
    settle(vectors.len(), failures.into_inner().unwrap());
    assert_eq!(Client::connect_as(gateway.address("mx"), "192.0.2.10").unwrap().say("QUIT").unwrap().code, 221);
    let crashes: Vec<String> = gateway
        .get("/metrics")
        .lines()
        .filter(|l| l.starts_with("luytre_inspector_restarts_total"))
        .map(str::to_owned)
        .collect();
    println!("{}", crashes.join("\n"));
    assert!(crashes.iter().all(|l| l.ends_with(" 0")), "an inspector died");
}

/// Prints every problem; fails on those that are not expected, and on expected ones that are gone.
fn settle(total: usize, mut failures: Vec<(String, Problem)>) {
    failures.sort_by(|a, b| a.0.cmp(&b.0));
    let known = |id: &str, about: &str| NOT_YET.iter().find(|(n, a, _)| *n == id && *a == about);
    let bad: BTreeSet<&str> = failures.iter().map(|(id, _)| id.as_str()).collect();
    println!("attack vectors: {} of {total} as expected", total - bad.len());
    let mut unexpected = 0;
    for (id, problem) in &failures {
        match known(id, problem.about) {
            Some((_, _, why)) => println!("  not yet {id}: {}: {} ({why})", problem.about, problem.what),
            None => {
                unexpected += 1;
                println!("  FAILED {id}: {}: {}", problem.about, problem.what);
            }
        }
    }
    let gone = NOT_YET.iter().filter(|(n, a, _)| !failures.iter().any(|(id, p)| id == n && p.about == *a));
    let gone: Vec<_> = gone.map(|(id, about, _)| format!("{id}: {about}")).collect();
    assert!(gone.is_empty(), "these work now and must leave NOT_YET: {gone:?}");
    assert_eq!(unexpected, 0, "vectors failed, listed above");
}

/// What the vectors are played on.
struct Stage<'a> {
    gateway: &'a Gateway,
    sink: &'a Sink,
    dns: &'a Dns,
    folder: &'a Path,
}

impl Stage<'_> {
    fn play(&self, vector: &Value, counts: bool) -> Vec<Problem> {
        let raw = std::fs::read(self.folder.join(vector["file"].as_str().unwrap())).unwrap();
        let before = self.dns.queries();
        let answer = match send(self.gateway.address(vector["listener"].as_str().unwrap()), &vector["env"], &raw) {
            Ok(answer) => answer,
            Err(error) => return vec![Problem::new("action", format!("no answer: {error}"))],
        };
        let queries = counts.then(|| self.dns.queries() - before);
        judge(vector, &raw, &self.fate(answer, queries))
    }

    /// Everything that can be seen of the message from outside.
    fn fate(&self, answer: Answer, queries: Option<u64>) -> Fate {
        let id = receipt_id(&answer.text);
        let taken = self.sink.taken().into_iter().find(|t| t.header("X-Luytre-Receipt") == id);
        let receipt = id.and_then(|id| self.gateway.receipt(&id));
        Fate { answer, queries, taken, receipt }
    }
}

fn send(address: SocketAddr, env: &Value, raw: &[u8]) -> std::io::Result<Answer> {
    let text = |key: &str| env[key].as_str().unwrap();
    let mut client = Client::connect_as(address, text("ip"))?;
    let hello = client.say(&format!("EHLO {}", text("helo")))?;
    if hello.code != 250 {
        return Ok(hello);
    }
    client.deliver_with(text("mail_from"), env["smtputf8"] == true, &texts(&env["rcpt_to"]), raw)
}
