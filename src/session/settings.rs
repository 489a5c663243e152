//! `[limits]`, the part that the session and intake hold; `[auth]` and `[outgoing]`, what relay listeners ask for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::listen::settings::Stress;
use crate::mail::{ByteSize, Span};

/// Bounds of one session and one message. Each default has its reason in THREATS §2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub message: ByteSize,
    pub header: ByteSize,
    pub header_fields: usize,
    pub line: ByteSize,
    pub command: ByteSize,
    pub recipients: usize,
    pub received: usize,
    pub errors: u32,
    pub junk_commands: u32,
    pub command_timeout: Span,
    pub data_timeout: Span,
    /// A session may last so long from its beginning, and again from each message taken.
    pub session_timeout: Span,
    pub connections: usize,
    pub connections_per_address: usize,
    /// Of one network (an IPv4 /24, an IPv6 /48); at least what one address may have, 0: as many as come.
    pub connections_per_network: usize,
    /// Pause before the banner in which a client must stay silent (early talkers); 0 switches it off.
    pub pregreet: Span,
    pub mime_depth: usize,
    pub mime_parts: usize,
    pub archive_depth: usize,
    pub archive_files: usize,
    pub archive_bytes: ByteSize,
    pub archive_ratio: u64,
    /// For unpacking all of a message; never more than half of what is left of its deadline.
    pub archive_time: Span,
    /// CPU time of one YARA rule for one message; a rule that takes more is parked. 0: none ever is.
    pub rule_time: Span,
    /// Address space of an inspector process, everything in it together: program, rules, stack, heap, message.
    pub inspector_memory: ByteSize,
    pub dkim_signatures: usize,
    /// DNS queries a message may cause.
    pub dns_queries: u32,
    /// Free space below which MAIL FROM gets 452.
    pub disk_free: ByteSize,
    /// Files that can still be made below which MAIL FROM gets 452 (inodes); 0: not looked at.
    pub disk_free_files: u64,
    /// Memory for all messages in flight together; past it reading stops.
    pub memory: ByteSize,
    pub stress: Stress,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: ByteSize::mib(25),
            header: ByteSize::kib(256),
            header_fields: 2000,
            line: ByteSize::kib(64),
            command: ByteSize::kib(2),
            recipients: 100,
            received: 100,
            errors: 20,
            junk_commands: 100,
            command_timeout: Span::seconds(60),
            data_timeout: Span::minutes(30),
            // Nobody who has mail needs an hour to hand over one letter; a trickle of commands would keep a place for days.
            session_timeout: Span::hours(1),
            connections: 20_000,
            connections_per_address: 20,
            // Mail services send from many addresses of one network; one percent of the places at most.
            connections_per_network: 200,
            pregreet: Span::millis(300),
            mime_depth: 32,
            mime_parts: 2000,
            archive_depth: 8,
            archive_files: 2000,
            archive_bytes: ByteSize::mib(100),
            archive_ratio: 200,
            // Honest archives of 25 MiB take a second; a message may cost 10 s in all.
            archive_time: Span::seconds(5),
            // A rule that looks at 25 MiB octet by octet takes half of it.
            rule_time: Span::seconds(2),
            inspector_memory: ByteSize::mib(512),
            dkim_signatures: 8,
            dns_queries: 40,
            disk_free: ByteSize::gib(1),
            // A held message, a receipt file, a segment are one each; some hundreds may be under way.
            disk_free_files: 1000,
            memory: ByteSize::mib(512),
            stress: Stress::default(),
        }
    }
}

/// `[auth]`: who may log in on relay listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The file of `luytre user`; empty: AUTH is not offered.
    pub users: PathBuf,
    /// Wrong passwords of an account or from an address after which it is locked.
    pub failures: u32,
    /// How long it stays locked after the last of them.
    pub lock: Span,
}

impl Default for Auth {
    fn default() -> Self {
        // A person mistypes three or four times; a machine with an old password tries every few minutes.
        Self { users: PathBuf::new(), failures: 10, lock: Span::minutes(15) }
    }
}

/// `[outgoing]`: how much leaves through relay listeners, counted in recipients an hour; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outgoing {
    /// An account, a client certificate or a client's address.
    pub sender_recipients: u64,
    /// One sender domain, whoever sends.
    pub domain_recipients: u64,
    /// So many times its usual hour is told as sudden; 0: never.
    pub sudden: u32,
}

impl Default for Outgoing {
    fn default() -> Self {
        // An agency's whole server is one sender; a department's circular has hundreds of recipients.
        Self { sender_recipients: 5000, domain_recipients: 10_000, sudden: 10 }
    }
}
