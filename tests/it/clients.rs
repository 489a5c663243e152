//! Other people's programs log in on a relay listener, inside TLS, and send: libraries, swaks, and three mail servers.
//! From here no address vouches for anybody, so what arrives came by its account.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kit::mta::{Kind, Mta};
use crate::peers::Postfix;
use crate::submission::{relay, with_account};
use crate::talk::{ACCOUNT, Gate};

fn gate() -> (tempfile::TempDir, Gate) {
    let folder = tempfile::tempdir().unwrap();
    let gate = relay(folder.path(), |listener| listener, with_account());
    (folder, gate)
}

/// Runs a program to its end; `None`, with a word, where it is not installed.
fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    let Ok(output) = command.output() else {
        println!("skipped: {program} is not installed");
        return None;
    };
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {text}");
    Some(text)
}

/// What a script is told: where to send, and as whom.
fn told(address: SocketAddr) -> [(&'static str, String); 3] {
    [("PORT", address.port().to_string()), ("NAME", ACCOUNT.0.to_owned()), ("PASSWORD", ACCOUNT.1.to_owned())]
}

fn python(program: &str, script: &str, address: SocketAddr) -> Option<String> {
    let told = told(address);
    let environment: Vec<(&str, &str)> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
    run(program, &["-c", script], &environment)
}

const SMTPLIB: &str = "
import os, smtplib, ssl
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
name, password = os.environ['NAME'], os.environ['PASSWORD']
def connect():
    s = smtplib.SMTP('127.0.0.1', int(os.environ['PORT'])); s.ehlo()
    assert not s.has_extn('auth'), 'AUTH is offered in clear'
    s.starttls(context=context); s.ehlo()
    assert s.esmtp_features['auth'].split() == ['PLAIN', 'LOGIN'], s.esmtp_features
    return s
for method in ['PLAIN', 'LOGIN']:
    s = connect()
    s.user, s.password = name, password
    assert s.auth(method.lower(), getattr(s, 'auth_' + method.lower()))[0] == 235
    s.sendmail('alice@agency.test', ['user@outside.example'], 'Subject: python\\r\\n\\r\\n.\\r\\nhi\\r\\n')
    try:
        s.sendmail('x@rcpt.test', ['user@outside.example'], 'x')
        raise SystemExit('sent for another agency')
    except smtplib.SMTPSenderRefused as refused:
        assert refused.smtp_code == 550
    s.quit()
s = connect()
try:
    s.login(name, 'wrong')
    raise SystemExit('a wrong password was taken')
except smtplib.SMTPAuthenticationError as refused:
    assert refused.smtp_code in (535, 421), refused
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_smtplib_logs_in_by_each_mechanism() {
    let (_folder, gate) = gate();
    if python("python3", SMTPLIB, gate.address()).is_some() {
        let sink = gate.desk.sink();
        assert_eq!(sink.len(), 2);
        assert!(sink.iter().all(|m| m.sender == "alice@agency.test" && m.raw.ends_with(b"\r\n\r\n.\r\nhi\r\n")));
    }
}

const AIOSMTPLIB: &str = "
import asyncio, os
from email.message import EmailMessage
try:
    import aiosmtplib
except ImportError:
    print('skipped: aiosmtplib is not installed'); raise SystemExit(0)
def letter(n):
    m = EmailMessage(); m['From'] = 'alice@agency.test'; m['To'] = 'user@outside.example'; m['Subject'] = 'aio %d' % n
    m.set_content('.\\n..\\nKính gửi ' * 2000); return m
async def main():
    port = int(os.environ['PORT'])
    where = dict(hostname='127.0.0.1', port=port, start_tls=True, validate_certs=False, timeout=120)
    login = dict(username=os.environ['NAME'], password=os.environ['PASSWORD'])
    await asyncio.gather(*[aiosmtplib.send(letter(n), **where, **login) for n in range(8)])
    try:
        await aiosmtplib.send(letter(9), **where)
        raise SystemExit('sent without an account')
    except aiosmtplib.SMTPSenderRefused as refused:
        assert refused.code == 550
    print('sent 8')
asyncio.run(main())
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiosmtplib_sends_side_by_side() {
    let (_folder, gate) = gate();
    match python("/usr/bin/python3", AIOSMTPLIB, gate.address()) {
        Some(text) if text.contains("sent 8") => assert_eq!(gate.desk.sink().len(), 8),
        Some(text) => println!("{text}"),
        None => {}
    }
}

const NODEMAILER: &str = "
const nodemailer = require('nodemailer');
const auth = { user: process.env.NAME, pass: process.env.PASSWORD };
const base = { host: '127.0.0.1', port: Number(process.env.PORT), requireTLS: true, name: 'unit.example',
  tls: { rejectUnauthorized: false } };
const text = '.\\n..dots\\n' + 'x'.repeat(2000) + '\\n';
const letter = (n) => ({ from: 'alice@agency.test', to: ['user@outside.example', 'other@outside.example'],
  subject: 'node ' + n, text, attachments: [{ filename: 'kính gửi.bin', content: Buffer.alloc(200000, n) }],
  dsn: { id: 'id+' + n, return: 'headers', notify: ['failure', 'delay'], recipient: 'user@outside.example' } });
(async () => {
  for (const authMethod of ['PLAIN', 'LOGIN']) {
    const pool = nodemailer.createTransport({ ...base, auth, authMethod, pool: true, maxConnections: 2 });
    await pool.verify();
    await Promise.all([1, 2, 3, 4].map((n) => pool.sendMail(letter(n))));
    pool.close();
  }
  const refused = async (options, code) => {
    try { await nodemailer.createTransport(options).sendMail(letter(9)); }
    catch (error) { if (error.responseCode === code) return; throw error; }
    throw new Error('this should not have been sent');
  };
  await refused({ ...base, auth: { ...auth, pass: 'wrong' } }, 535);
  await refused(base, 550);
})().catch((error) => { console.error(error); process.exit(1); });
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodemailer_logs_in_and_sends_over_a_pool() {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/node/node_modules");
    if !modules.join("nodemailer").exists() {
        println!("skipped: nodemailer is not there; tests/setup.sh fetches it where Node is installed");
        return;
    }
    let (_folder, gate) = gate();
    let told = told(gate.address());
    let mut environment: Vec<(&str, &str)> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
    environment.push(("NODE_PATH", modules.to_str().unwrap()));
    if run("node", &["-e", NODEMAILER], &environment).is_some() {
        let sink = gate.desk.sink();
        assert_eq!(sink.len(), 8);
        assert!(sink.iter().all(|message| message.recipients.len() == 2 && message.raw.len() > 200_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaks_logs_in_by_each_mechanism_and_only_inside_tls() {
    let (_folder, gate) = gate();
    let server = gate.address().to_string();
    let mail = ["--server", &server, "--from", "alice@agency.test", "--to", "user@outside.example"];
    for mechanism in ["PLAIN", "LOGIN"] {
        let login = ["-tls", "--auth", mechanism, "--auth-user", ACCOUNT.0, "--auth-password", ACCOUNT.1];
        let Some(text) = run("swaks", &[&mail[..], &login].concat(), &[]) else { return };
        assert!(text.contains("235 2.7.0"), "{text}");
    }
    let clear = ["--auth", "PLAIN", "--auth-user", ACCOUNT.0, "--auth-password", ACCOUNT.1];
    let output = Command::new("swaks").args([&mail[..], &clear].concat()).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && !text.contains("AUTH PLAIN A"), "no password was said aloud: {text}");
    assert_eq!(gate.desk.sink().len(), 2);
}

/// Gives five letters to a server that must log in to send them on, and waits until they are here.
fn through(server: SocketAddr, gate: &Gate, log: impl Fn() -> String) {
    for n in 0..5 {
        let mut client = crate::kit::client::Client::connect(server).unwrap();
        client.say("EHLO inside.agency.test").unwrap();
        let letter = format!("From: alice@agency.test\r\nTo: user@outside.example\r\nSubject: {n}\r\n\r\n..\r\nhi\r\n");
        let answer = client.deliver("alice@agency.test", &["user@outside.example"], letter.as_bytes()).unwrap();
        assert_eq!(answer.code, 250, "{answer:?}");
    }
    assert!(gate.desk.wait_for(5), "{} came: {}", gate.desk.sink().len(), log());
    let sink = gate.desk.sink();
    assert!(sink.iter().all(|m| m.sender == "alice@agency.test" && m.raw.ends_with(b"\r\n\r\n..\r\nhi\r\n")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exim_and_opensmtpd_log_in_to_send() {
    for kind in [Kind::Exim, Kind::OpenSmtpd] {
        let (_folder, gate) = gate();
        let Some(server) = Mta::logging_in(kind, gate.address(), ACCOUNT) else { continue };
        through(server.address, &gate, || server.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postfix_logs_in_to_send() {
    let there = PathBuf::from("/usr/sbin/postfix").exists() && nix::unistd::geteuid().is_root();
    if !there {
        println!("skipped: needs postfix and root");
        return;
    }
    let (_folder, gate) = gate();
    let postfix = Postfix::logging_in(gate.address(), ACCOUNT);
    through(postfix.address, &gate, || postfix.log());
}
