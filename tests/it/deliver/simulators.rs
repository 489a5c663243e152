//! The servers that agencies really run, as scripted peers (DOMAIN §2.8): what they say word for word, and what they
//! cannot bear. A peer that is treated wrongly answers as the real one would, so the test fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use luytre::deliver::settings::Profile;

use crate::kit::peer::{Act, At, Moment, Peer, loopback_acceptor, say};

/// What happens to the one message of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meets {
    Clean,
    Refused,
    /// The 4xx this kind of server is known for.
    NotNow,
    TlsFailure,
    /// The line is cut behind the final dot, once.
    CutLink,
}

const EXCHANGE: &[&str] = &[
    "SIZE",
    "PIPELINING",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "STARTTLS",
    "X-ANONYMOUSTLS",
    "AUTH NTLM",
    "X-EXPS GSSAPI NTLM",
    "8BITMIME",
    "BINARYMIME",
    "CHUNKING",
    "XEXCH50",
    "XRDST",
    "XSHADOW",
];
const MDAEMON: &[&str] = &["8BITMIME", "DSN", "STARTTLS", "AUTH=LOGIN", "ETRN"];
const QMAIL: &[&str] = &["PIPELINING", "8BITMIME"];
const DOMINO: &[&str] = &["STARTTLS", "AUTH=LOGIN", "TLS", "DSN", "SIZE 52428800", "PIPELINING"];
const GENERIC: &[&str] = &["PIPELINING", "8BITMIME", "SIZE 50000000", "CHUNKING", "DSN", "STARTTLS"];

/// The server of `profile` under `meets`.
pub async fn start(profile: Profile, meets: Meets) -> Peer {
    let extensions = match profile {
        Profile::Exchange2007 | Profile::Exchange2010 => EXCHANGE,
        Profile::Mdaemon => MDAEMON,
        Profile::Qmail => QMAIL,
        Profile::Domino => DOMINO,
        Profile::Generic => GENERIC,
    };
    let plot = move |m: &Moment| fault(profile, meets, m).or_else(|| manner(profile, m));
    Peer::with(extensions, plot, false, Some(loopback_acceptor())).await
}

fn fault(profile: Profile, meets: Meets, m: &Moment) -> Option<Act> {
    let text = match (meets, m.at) {
        (Meets::Refused, At::Rcpt) if profile == Profile::Qmail => {
            "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
        }
        (Meets::Refused, At::Rcpt) => "550 5.1.1 User unknown",
        (Meets::NotNow, at) => match (profile, at) {
            (Profile::Exchange2007 | Profile::Exchange2010, At::Mail) => "452 4.3.1 Insufficient system resources",
            (Profile::Mdaemon, At::Rcpt) => "452 <a@y.vn>, Mailbox over quota",
            (Profile::Qmail, At::Dot) => "451 qqt failure (#4.3.0)",
            (Profile::Domino, At::Mail) => "412 4.3.2 Service not active",
            (Profile::Generic, At::Rcpt) => "451 4.7.1 Greylisted, try again in five minutes",
            _ => return None,
        },
        (Meets::TlsFailure, At::Handshake) => return Some(Act::Cut),
        (Meets::CutLink, At::Dot) if m.taken == 0 && m.connection == 1 => return Some(Act::Cut),
        _ => return None,
    };
    say(text)
}

/// What it says when all is well, and when it is not treated as it must be.
fn manner(profile: Profile, m: &Moment) -> Option<Act> {
    let upper = m.line.to_ascii_uppercase();
    match profile {
        Profile::Exchange2007 | Profile::Exchange2010 => match m.at {
            At::Banner => {
                say("220 ex1.agency.local Microsoft ESMTP MAIL Service ready at Sun, 22 Nov 2026 09:00:00 +0700")
            }
            // kb2398431: recipients in a group get each other's answers; such a conversation cannot be trusted.
            At::Mail | At::Rcpt | At::Data if m.behind => say("503 5.5.2 Send hello first"),
            At::Dot => say("250 2.6.0 <1@x.vn> [InternalId=4711, Hostname=ex1.agency.local] Queued mail for delivery"),
            _ => None,
        },
        Profile::Mdaemon => match m.at {
            At::Banner => say("220 altn.com ESMTP MDaemon 6.8.5; Sun, 22 Nov 2026 09:00:00 +0700"),
            At::Mail if upper.contains("SIZE=") => say("501 5.5.4 unknown parameter"),
            At::Mail => say("250 <from@x.vn>, Sender ok"),
            At::Rcpt => say("250 <a@y.vn>, Recipient ok"),
            At::Dot => say("250 Ok, message saved <Message-ID: 1@x.vn>"),
            _ => None,
        },
        Profile::Qmail => match m.at {
            At::Banner => say("220 qmail.agency.local ESMTP"),
            At::Mail | At::Rcpt
                if ["SIZE=", "RET=", "ENVID=", "NOTIFY=", "ORCPT="].iter().any(|p| upper.contains(p)) =>
            {
                say("555 syntax error (#5.5.4)")
            }
            At::Mail | At::Rcpt => say("250 ok"),
            At::Data => say("354 go ahead"),
            At::Dot => say("250 ok 1795302082 qp 4711"),
            _ => None,
        },
        Profile::Domino => match m.at {
            At::Banner => say("220 domino.agency.local ESMTP Service (Lotus Domino Release 8.5.3) ready"),
            At::Mail if upper.contains("BODY=") => say("501 Syntax error in parameters or arguments"),
            At::Dot => say("250 Message accepted for delivery"),
            _ => None,
        },
        Profile::Generic => None,
    }
}

/// MDaemon's SMTP Screen: the third unknown recipient or the twentieth RSET of a session ends it.
pub async fn screened_mdaemon() -> Peer {
    let seen: Arc<Mutex<HashMap<usize, (u32, u32)>>> = Arc::default();
    let plot = move |m: &Moment| {
        let mut seen = seen.lock().unwrap();
        let (bad, resets) = seen.entry(m.connection).or_default();
        match m.at {
            At::Rcpt if m.line.contains("<no") => {
                *bad += 1;
                if *bad >= 3 {
                    return Some(Act::SayAndCut("421 SMTP session terminated, too many bad recipients".to_owned()));
                }
                say("550 <no@y.vn>, Recipient unknown")
            }
            At::Rset => {
                *resets += 1;
                (*resets >= 20).then_some(Act::Cut)
            }
            _ => manner(Profile::Mdaemon, m),
        }
    };
    Peer::with(MDAEMON, plot, false, None).await
}
