//! What must outlive a kill: acknowledged mail, a message in an inspector, connections during a restart.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use luytre::gateway::control::client::Client as Control;
use luytre::gateway::control::{Reply, Request};

use crate::kit::client::Client;
use crate::kit::gateway::{Gateway, luytre};
use crate::kit::site::{Site, letter};

/// Rounds of the kill test; `LUYTRE_KILL_ROUNDS` sets another number (`make campaign` runs 200).
fn rounds() -> usize {
    std::env::var("LUYTRE_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(50)
}

/// Messages that may be on their way to the next hop at one moment.
const WIRE: usize = 32;

/// The subjects that got 250, and a bell for whoever waits for more of them.
#[derive(Default)]
struct Ledger {
    book: Mutex<Book>,
    bell: Condvar,
}

#[derive(Default)]
struct Book {
    subjects: Vec<String>,
    senders: usize,
}

impl Ledger {
    fn write(&self, subject: String) {
        self.book.lock().unwrap().subjects.push(subject);
        self.bell.notify_all();
    }
    fn subjects(&self) -> Vec<String> {
        self.book.lock().unwrap().subjects.clone()
    }
    fn len(&self) -> usize {
        self.book.lock().unwrap().subjects.len()
    }
    /// Waits for `count` subjects; false when nobody sends any more.
    fn wait_for(&self, count: usize) -> bool {
        let idle = |book: &mut Book| book.subjects.len() < count && book.senders > 0;
        self.bell.wait_while(self.book.lock().unwrap(), idle).unwrap().subjects.len() >= count
    }
}

/// Starts a sender: see [`press`].
fn sender(
    address: std::net::SocketAddr,
    name: String,
    ledger: &Arc<Ledger>,
    stop: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    ledger.book.lock().unwrap().senders += 1;
    let (ledger, stop) = (Arc::clone(ledger), Arc::clone(stop));
    std::thread::spawn(move || {
        // A panic of the sender counts as its end too.
        struct End<'a>(&'a Ledger);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.book.lock().unwrap_or_else(std::sync::PoisonError::into_inner).senders -= 1;
                self.0.bell.notify_all();
            }
        }
        let _end = End(&ledger);
        press(address, &name, &ledger, &stop);
    })
}

/// Sends numbered letters until the connection breaks; every subject that got 250 goes into the ledger.
fn press(address: std::net::SocketAddr, name: &str, ledger: &Ledger, stop: &AtomicBool) {
    let Ok(mut client) = Client::connect_as(address, "198.51.100.10") else { return };
    if client.say("EHLO load.partner.example").is_err() {
        return;
    }
    for n in 0.. {
        let subject = format!("{name}-{n}");
        match client.deliver("ketoan@partner.example", &["an@agency.test"], &letter(&subject, "x")) {
            Ok(answer) if answer.code == 250 => ledger.write(subject),
            Ok(answer) if answer.code >= 500 => panic!("trouble of ours must be 4xx: {}", answer.text),
            Ok(_) => {}
            Err(_) => return,
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The promise: kill -9 under load, and every message that got 250 arrives.
fn kill_rounds(name: &str, delivery: &str, rounds: usize) {
    let site = Site::new(name);
    let hop = format!("{{ address = \"{}\", tls = \"none\", delivery = \"{delivery}\" }}", site.sink.address());
    let site = site.next_hop(&hop).section("[deliver]\nretry_first = \"1 s\"\nretry_max = \"1 s\"\n\n");
    let config = site.write();
    let ledger = Arc::<Ledger>::default();
    // How many messages the next hop had at each kill.
    let mut kills = Vec::new();
    for round in 0..rounds {
        let gateway = Gateway::start(&config);
        let address = gateway.address("mx");
        let stop = Arc::new(AtomicBool::new(false));
        let before = ledger.len();
        let senders: Vec<_> = (0..4).map(|s| sender(address, format!("r{round}s{s}"), &ledger, &stop)).collect();
        // The moment of the kill is counted in messages, so that a slow machine is killed under load too.
        ledger.wait_for(before + 5 + round * 7 % 60);
        gateway.kill();
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().for_each(|s| s.join().unwrap());
        kills.push(site.sink.taken().len());
    }
    let gateway = Gateway::start(&config);
    let sent = ledger.subjects();
    assert!(sent.len() >= rounds, "the load was real: {}", sent.len());
    let taken = site.sink.wait_until("every acknowledged message", |taken| {
        let there: std::collections::HashSet<String> = taken.iter().filter_map(|t| t.header("Subject")).collect();
        sent.iter().all(|s| there.contains(s))
    });
    let mut copies = BTreeMap::<String, Vec<usize>>::new();
    for (place, t) in taken.iter().enumerate() {
        copies.entry(t.header("Subject").unwrap_or_default()).or_default().push(place);
    }
    let twice: Vec<_> = copies.iter().filter(|(_, places)| places.len() > 1).collect();
    for (subject, places) in &twice {
        // The one reason: the next hop had it, and the kill came before that was written down. What was on the wire at
        // the kill may be counted a moment after it.
        let apart = places.windows(2).all(|two| kills.iter().any(|kill| two[0] < kill + WIRE && *kill <= two[1]));
        assert!(apart, "{subject} came twice without a kill in between: {places:?}, kills at {kills:?}");
    }
    println!(
        "{name}: {rounds} rounds, {} acknowledged, 0 lost, {} delivered once more because the kill came between the next \
         hop's 250 and our record of it",
        sent.len(),
        twice.len()
    );
    drop(gateway);
}

#[test]
fn kill_9_under_load_loses_nothing_queued() {
    kill_rounds("kill-queued", "queued", rounds());
}

#[test]
fn kill_9_under_load_loses_nothing_cut_through() {
    kill_rounds("kill-cut", "cut-through", rounds().div_ceil(5));
}

#[test]
fn kill_9_of_an_inspector_is_only_a_retry() {
    let site = Site::new("kill-inspector");
    let gateway = site.start();
    let address = gateway.address("mx");
    let stop = Arc::new(AtomicBool::new(false));
    let ledger = Arc::<Ledger>::default();
    let sender = sender(address, "i".to_owned(), &ledger, &stop);
    for wanted in [5, 15, 25, 35] {
        assert!(ledger.wait_for(wanted), "a killed inspector must not end the session:\n{}", gateway.log());
        let children = children(gateway.pid());
        assert!(!children.is_empty(), "the gateway runs inspectors");
        for pid in children {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    let sent = ledger.len();
    assert_eq!(site.sink.wait_for_count(sent).len(), sent, "each message arrives once");
    assert!(gateway.metric("luytre_inspector_restarts_total") >= 1.0);
}

pub fn children(pid: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |t: std::fs::DirEntry| std::fs::read_to_string(t.path().join("children")).unwrap_or_default();
    tasks
        .flatten()
        .flat_map(|t| read(t).split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Plays systemd: holds the listening socket and hands it to each new gateway, so that none is refused in between.
#[test]
fn a_restart_refuses_no_connection() {
    let site = Site::new("restart");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let text = std::fs::read_to_string(site.write()).unwrap().replacen("127.0.0.1:0", &address.to_string(), 1);
    let config = site.folder.write("luytre.toml", text);
    let start = || {
        let fd = socket.as_raw_fd();
        let mut command = Command::new("bash");
        command
            .args(["-c", "exec 3<&\"$1\"; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$2\" serve --config \"$3\"", "bash"])
            .arg(fd.to_string())
            .arg(env!("CARGO_BIN_EXE_luytre"))
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        inheritable(&socket);
        command.process_group(0).spawn().unwrap()
    };
    let mut first = start();
    let mut client = Client::connect_as(address, "198.51.100.10").unwrap();
    client.say("EHLO a.example").unwrap();
    assert_eq!(client.deliver("a@partner.example", &["an@agency.test"], &letter("truoc", "x")).unwrap().code, 250);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(first.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    // While the old one stops and before the new one runs: the kernel still accepts.
    let waiting = std::thread::spawn(move || {
        Client::connect_as(address, "198.51.100.10").map(|mut c| c.say("EHLO b.example").unwrap().code)
    });
    first.wait().unwrap();
    let mut second = start();
    let answered = waiting.join().unwrap();
    let code = answered.unwrap_or_else(|_| {
        // The old process may have taken this very connection and closed it with 421; the next one is served.
        Client::connect_as(address, "198.51.100.10").unwrap().say("EHLO b.example").unwrap().code
    });
    assert!(matches!(code, 250 | 421), "{code}");
    let mut client = Client::connect_as(address, "198.51.100.10").unwrap();
    client.say("EHLO c.example").unwrap();
    assert_eq!(client.deliver("a@partner.example", &["an@agency.test"], &letter("sau", "x")).unwrap().code, 250);
    second.kill().unwrap();
    second.wait().unwrap();
}

fn inheritable(socket: &std::net::TcpListener) {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
}

#[test]
fn a_reload_takes_new_rules_and_keeps_the_old_ones_when_they_are_broken() {
    let site = Site::new("reload");
    let rules = site.folder.write("own/rules.toml", "");
    let text = std::fs::read_to_string(site.write()).unwrap();
    let text = text.replace("/rules/spam\"]", &format!("/rules/spam\", \"{}\"]", rules.display()));
    let config = site.folder.write("luytre.toml", text);
    let gateway = Gateway::start(&config);
    let send = || {
        let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
        client.say("EHLO a.example").unwrap();
        client.deliver("a@partner.example", &["an@agency.test"], &letter("thu", "cum tu rat la ky quac")).unwrap()
    };
    assert_eq!(send().code, 250);
    let rule = "[[rule]]\nid = \"LA_KY_QUAC\"\nscore = 40.0\nmode = \"enforce\"\n\
        description = { vi = \"cụm từ thử\", en = \"test phrase\" }\nwhen = { in = [\"body\"], words = [\"la ky quac\"] }\n\
        [[test]]\nrule = \"LA_KY_QUAC\"\nhits = [{ body = \"cum tu rat la ky quac\" }]\nmisses = [{ body = \"chao anh\" }]\n";
    std::fs::write(&rules, rule).unwrap();
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    gateway.wait_for_line("that it reloaded", |l| l.contains("\"reloaded\""));
    assert_eq!(send().code, 550, "{}", gateway.log());

    std::fs::write(&rules, "[[rule]\n").unwrap();
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    gateway.wait_for_line("that it kept the old policy", |l| l.contains("the old policy stays"));
    assert_eq!(send().code, 550);
    assert!(gateway.metric("luytre_policy_reloads_total{outcome=\"refused\"}") >= 1.0);
}

#[test]
fn mail_that_nobody_can_look_at_is_put_off_counted_and_on_record() {
    let site = Site::new("no-inspector").inspect("workers = 1\ndeadline = \"1 s\"\n");
    let program = site.folder.path().join("luytre");
    let built = env!("CARGO_BIN_EXE_luytre");
    std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(drop)).unwrap();
    let gateway = Gateway::spawn_from(&program, &site.write());
    gateway.wait_for_line("ready", |line| line.contains("\"ready\""));
    // No new one can be started, and the one there is dies.
    std::fs::remove_file(&program).unwrap();
    for pid in children(gateway.pid()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        // Its files are closed before it counts as dead; until then it would seem to take a message, and die of it.
        let lives = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        while lives() {
            std::thread::yield_now();
        }
    }
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO a.example").unwrap();
    let answer = client.deliver("a@partner.example", &["an@agency.test"], &letter("thu", "x")).unwrap();
    assert!(answer.code == 451 && answer.text.contains("4.3.2"), "{}", answer.text);
    let id = crate::kit::gateway::receipt_id(&answer.text).expect("the reply names its record");
    let (code, text, error) = luytre(&["receipt", &id, "--config", gateway.config.to_str().unwrap()]);
    assert!(code == 0 && text.contains("an@agency.test") && text.contains("451 4.3.2"), "{text}{error}");
    let deferred = "luytre_messages_total{action=\"defer\",agency=\"so-tttt\",direction=\"in\"}";
    assert_eq!(gateway.metric(deferred), 1.0);
}

#[test]
fn a_policy_that_the_inspectors_refuse_is_not_in_force_and_status_says_so() {
    let site = Site::new("refused-reload");
    // The program's file goes away: no new inspector can be started, and the old ones go on.
    let program = site.folder.path().join("luytre");
    let built = env!("CARGO_BIN_EXE_luytre");
    std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(drop)).unwrap();
    let rules = site.folder.write("own/rules.toml", "");
    let text = std::fs::read_to_string(site.write()).unwrap();
    let text = text.replace("/rules/spam\"]", &format!("/rules/spam\", \"{}\"]", rules.display()));
    let gateway = Gateway::spawn_from(&program, &site.folder.write("luytre.toml", text));
    gateway.wait_for_line("ready", |line| line.contains("\"ready\""));
    std::fs::remove_file(&program).unwrap();
    let ask = |request: &Request| Control::connect(&site.folder.path().join("data")).unwrap().unwrap().ask(request);
    let status = || match ask(&Request::Status).unwrap() {
        Reply::Value { value } => value,
        other => panic!("{other:?}"),
    };
    let before = status();
    assert!(before["generation"] == 1 && before["refused"].is_null(), "{before}");

    std::fs::write(&rules, "# another policy\n").unwrap();
    let Reply::Failed { why } = ask(&Request::Reload).unwrap() else { panic!("it cannot be taken") };
    assert!(why.contains("the inspectors cannot use it"), "{why}");
    let after = status();
    assert_eq!((&after["generation"], &after["hash"]), (&before["generation"], &before["hash"]));
    let refused = &after["refused"];
    assert!(refused["why"][0].as_str().unwrap().contains("the inspectors cannot use it"), "{after}");
    assert!(refused["hash"].is_string() && refused["hash"] != after["hash"], "{after}");
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO a.example").unwrap();
    let answer = client.deliver("a@partner.example", &["an@agency.test"], &letter("thu", "x")).unwrap();
    let receipt = gateway.receipt(&crate::kit::gateway::receipt_id(&answer.text).unwrap()).unwrap();
    assert_eq!(receipt.policy, before["hash"].as_str().unwrap(), "the old one judged it");

    // The files are again what is in force: nothing is refused any more.
    std::fs::write(&rules, "").unwrap();
    assert!(matches!(ask(&Request::Reload).unwrap(), Reply::Value { .. }));
    assert!(status()["refused"].is_null());
}

#[test]
fn it_runs_as_its_own_user_once_the_ports_are_bound() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can change its user");
        return;
    }
    let site = Site::in_temp("user").top("user = \"nobody\"\n");
    let gateway = site.start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let uid = status.lines().find(|l| l.starts_with("Uid:")).unwrap();
    assert!(uid.split_whitespace().skip(1).all(|id| id != "0"), "{uid}");
    for child in children(gateway.pid()) {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        assert!(!status.contains("Uid:\t0"), "inspectors run as it too");
    }
    let config = gateway.config.to_str().unwrap();
    let (code, _, error) = luytre(&["queue", "list", "--config", config]);
    assert_eq!(code, 0, "{error}");
}
