//! rar of every generation (1.3 to 7), by a reader in safe Rust that takes limits for everything: headers, window,
//! workspace, octets, and a signal to stop. What is encrypted is tried with the message's passwords; what stays closed,
//! or begins in another volume, is listed by name.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::rc::Rc;

use rars::{
    Archive, ArchiveMember, ArchiveReadOptions, ArchiveReader, ErrorKind, ExtractionDecision, ExtractionErrorAction,
    ReadCancellation,
};

use super::super::Object;
use super::{Budget, Member, Report, Stop, WINDOW};

/// Headers of one archive: more files than any mail may unpack to.
const HEADERS: u64 = 1 << 16;
const HEADER_BYTES: u64 = 8 << 20;
/// A password costs two to this many rounds of a hash at most: eight times what WinRAR itself asks for. One attempt
/// cannot be interrupted, and an archive that asks for more is made to keep us busy.
const ROUNDS: u8 = 18;
/// Window, models and what is held back for filters: as much of this as there is.
const WORKSPACES: [usize; 4] = [3 * WINDOW, 2 * WINDOW, WINDOW, WINDOW / 4];

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    read(&object.data, budget, report)
}

/// The members of the archive in `data`, at its start or behind a program.
pub(super) fn read(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let words: Vec<String> = budget.passwords.iter().map(str::to_owned).collect();
    let (archive, password) = match parse(data, None, budget) {
        Ok(archive) => (archive, None),
        Err(ErrorKind::PasswordRequired | ErrorKind::BadPassword) => {
            let tried = words.iter().take_while(|_| budget.may_guess() && names_rounds(data) <= ROUNDS);
            let opened = tried.filter_map(|word| Some((parse(data, Some(word), budget).ok()?, word.clone()))).next();
            let Some((archive, word)) = opened else {
                report.unknown("archive.encrypted", "the list of names is encrypted");
                return Vec::new();
            };
            report.say("archive.password_in_text", "the rar opens with a word of the message");
            (archive, Some(word))
        }
        Err(kind) => {
            closed(kind, "the rar header", report);
            return Vec::new();
        }
    };
    let before = budget.clone();
    let taken = extract(&archive, password.as_deref(), budget, report);
    if password.is_some() || !taken.encrypted {
        return taken.members;
    }
    for word in words.iter().take_while(|_| before.may_guess() && rounds(&archive) <= ROUNDS) {
        // Tried in silence, on the budget as it was: only one of the attempts counts.
        let (mut trial, mut unsaid) = (before.clone(), Vec::new());
        let again = extract(&archive, Some(word), &mut trial, &mut Report::new("", &mut unsaid));
        if again.opened {
            *budget = trial;
            report.say("archive.password_in_text", "the rar opens with a word of the message");
            return again.members;
        }
    }
    report.unknown("archive.encrypted", "members are encrypted");
    taken.members
}

/// The rounds that the encryption header of a RAR 5 archive asks for (RAR 5.0 archive format, "Archive encryption
/// header"): signature, checksum, then numbers of seven bits an octet.
fn names_rounds(data: &[u8]) -> u8 {
    let Some(mut rest) = data.strip_prefix(b"Rar!\x1a\x07\x01\0").and_then(|d| d.get(4..)) else { return 0 };
    // Length, type, flags, version, flags.
    for _ in 0..5 {
        let end = rest.iter().position(|b| b & 0x80 == 0).unwrap_or(rest.len());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    rest.first().copied().unwrap_or(u8::MAX)
}

/// The rounds that its members ask for.
fn rounds(archive: &Archive) -> u8 {
    let files = archive.as_rar50().into_iter().flat_map(|archive| archive.files());
    files.filter_map(|file| Some(file.encryption.as_ref()?.kdf_count)).max().unwrap_or_default()
}

fn parse(data: &[u8], password: Option<&str>, budget: &Budget) -> Result<Archive, ErrorKind> {
    if budget.is_late() {
        return Err(ErrorKind::Cancelled);
    }
    let options = ArchiveReadOptions::with_optional_password(password.map(str::as_bytes))
        .with_max_header_count(HEADERS)
        .with_max_header_bytes(HEADER_BYTES);
    ArchiveReader::read_with_options(data, options).map_err(|error| error.kind())
}

fn closed(kind: ErrorKind, what: &str, report: &mut Report<'_>) {
    match kind {
        ErrorKind::UnsupportedFormat | ErrorKind::UnsupportedFeature => {
            report.unknown("archive.unsupported", &format!("{what:?} is of a kind that cannot be opened"));
        }
        ErrorKind::ResourceLimit | ErrorKind::Cancelled => drop(report.stopped(Stop::Full, what)),
        ErrorKind::PasswordRequired | ErrorKind::BadPassword => {
            report.unknown("archive.encrypted", &format!("{what:?} is encrypted"));
        }
        _ => report.unknown("archive.malformed", &format!("{what:?} cannot be read")),
    }
}

#[derive(Default)]
struct Taken {
    members: Vec<Member>,
    /// Some member asked for a password.
    encrypted: bool,
    /// An encrypted member was unpacked, and its checksum was right.
    opened: bool,
}

/// Takes the octets of one member, as many as fit, and stops the reader when time or room is over.
struct Sink {
    out: Rc<RefCell<Vec<u8>>>,
    stop: Rc<Cell<Stop>>,
    budget: Budget,
    dense: usize,
    cancel: ReadCancellation,
}

impl Write for Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut out = self.out.borrow_mut();
        let length = out.len().saturating_add(octets.len());
        let stop = if length > self.dense {
            Stop::Bomb
        } else if length > self.budget.bytes() || self.budget.is_late() || out.try_reserve(octets.len()).is_err() {
            Stop::Full
        } else {
            out.extend_from_slice(octets);
            return Ok(octets.len());
        };
        self.stop.set(stop);
        self.cancel.cancel();
        Err(io::Error::other("over the limit"))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One pass over the members, in their order.
struct Pass<'p, 'f> {
    budget: &'p mut Budget,
    report: &'p mut Report<'f>,
    taken: Taken,
    solid: bool,
    password: bool,
    out: Rc<RefCell<Vec<u8>>>,
    stop: Rc<Cell<Stop>>,
    cancel: ReadCancellation,
    /// The member that is being written, and whether it is encrypted.
    open: Option<(String, bool)>,
    packed: u64,
}

impl Pass<'_, '_> {
    /// Puts the member away whose octets came last. `sound`: to its end, with the right checksum.
    fn close(&mut self, sound: bool) {
        let Some((name, encrypted)) = self.open.take() else { return };
        let data = std::mem::take(&mut *self.out.borrow_mut());
        self.taken.opened |= encrypted && sound && self.stop.get() == Stop::End;
        let stop = if self.budget.take(data.len()) { self.stop.get() } else { Stop::Full };
        self.report.stopped(stop, &name);
        if !sound && stop == Stop::End {
            self.report.unknown("archive.malformed", &format!("{name:?} cannot be unpacked to its end"));
        }
        // Octets under a wrong password are noise.
        let data = if encrypted && !sound { Vec::new() } else { data };
        self.taken.members.push(Member { name, data });
    }

    fn list(&mut self, name: String) {
        if self.budget.take(0) {
            self.taken.members.push(Member { name, data: Vec::new() });
        } else {
            self.report.stopped(Stop::Full, &name);
            self.cancel.cancel();
        }
    }

    fn decide(&mut self, member: &ArchiveMember) -> ExtractionDecision {
        self.close(true);
        let (meta, name) = (&member.meta, name(member));
        self.packed = self.packed.saturating_add(meta.packed_size);
        self.report.check_name(&name);
        if meta.is_directory {
            return ExtractionDecision::Skip;
        }
        if meta.is_redirection {
            self.report.say("archive.link", &format!("{name:?} is a link"));
            return ExtractionDecision::Skip;
        }
        if self.budget.is_late() || self.budget.files() == 0 {
            self.report.stopped(Stop::Full, &name);
            return ExtractionDecision::Stop;
        }
        let split = meta.is_split_before || meta.is_split_after;
        if split {
            self.report.unknown("archive.volume", &format!("{name:?} goes over several volumes"));
        }
        self.taken.encrypted |= meta.is_encrypted;
        if split || (meta.is_encrypted && !self.password) {
            self.list(name);
            // What depends on a member that cannot be read cannot be read either.
            return if self.solid { ExtractionDecision::Stop } else { ExtractionDecision::Skip };
        }
        self.stop.set(Stop::End);
        self.open = Some((name, meta.is_encrypted));
        let packed = if self.solid { self.packed } else { meta.packed_size };
        ExtractionDecision::Extract(Box::new(Sink {
            out: Rc::clone(&self.out),
            stop: Rc::clone(&self.stop),
            budget: self.budget.clone(),
            dense: self.budget.dense(usize::try_from(packed).unwrap_or(usize::MAX)),
            cancel: self.cancel.clone(),
        }))
    }
}

/// The members of an archive in volumes, which come in their order.
pub(super) fn volumes(volumes: &[&[u8]], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let words: Vec<String> = budget.passwords.iter().map(str::to_owned).collect();
    let first = volumes.first().copied().unwrap_or_default();
    let before = budget.clone();
    let (members, ended) = joined(volumes, None, budget, report);
    let kind = match ended {
        Ok(()) => return members,
        Err(kind) => kind,
    };
    if !matches!(kind, ErrorKind::PasswordRequired | ErrorKind::BadPassword) {
        closed(kind, "the rar in volumes", report);
        return members;
    }
    let rounds = parse(first, None, budget).map_or_else(|_| names_rounds(first), |archive| rounds(&archive));
    for word in words.iter().take_while(|_| before.may_guess() && rounds <= ROUNDS) {
        let (mut trial, mut unsaid) = (before.clone(), Vec::new());
        let (members, ended) = joined(volumes, Some(word), &mut trial, &mut Report::new("", &mut unsaid));
        if ended.is_ok() {
            *budget = trial;
            report.say("archive.password_in_text", "the rar opens with a word of the message");
            return members;
        }
    }
    report.unknown("archive.encrypted", "the volumes are encrypted");
    members
}

/// One attempt at all volumes. What was read before an error is kept.
fn joined(
    volumes: &[&[u8]],
    password: Option<&str>,
    budget: &mut Budget,
    report: &mut Report<'_>,
) -> (Vec<Member>, Result<(), ErrorKind>) {
    let archives: Result<Vec<Archive>, ErrorKind> = volumes.iter().map(|data| parse(data, password, budget)).collect();
    let archives = match archives {
        Ok(archives) => archives,
        Err(kind) => return (Vec::new(), Err(kind)),
    };
    let (cancel, packed) = (ReadCancellation::new(), volumes.iter().map(|data| data.len()).sum());
    let (out, stop): (Rc<RefCell<Vec<u8>>>, _) = (Rc::default(), Rc::new(Cell::new(Stop::End)));
    let (mut members, mut open): (Vec<Member>, Option<String>) = (Vec::new(), None);
    let mut put_away = |open: Option<String>, budget: &mut Budget, report: &mut Report<'_>| {
        let Some(name) = open else { return };
        let data = std::mem::take(&mut *out.borrow_mut());
        let stop = if budget.take(data.len()) { stop.get() } else { Stop::Full };
        report.stopped(stop, &name);
        members.push(Member { name, data });
    };
    let options = options(password, &cancel, budget);
    let ended = rars::extract_volumes_to_with_options(&archives, options, |meta| {
        put_away(open.take(), budget, report);
        let name = String::from_utf8_lossy(&meta.name).into_owned();
        report.check_name(&name);
        if budget.is_late() || budget.files() == 0 {
            stop.set(Stop::Full);
            report.stopped(Stop::Full, &name);
            return Err(rars::Error::InvalidHeader("over the limit"));
        }
        if meta.is_directory {
            return Ok(Box::new(io::sink()));
        }
        open = Some(name);
        Ok(Box::new(Sink {
            out: Rc::clone(&out),
            stop: Rc::clone(&stop),
            budget: budget.clone(),
            dense: budget.dense(packed),
            cancel: cancel.clone(),
        }))
    });
    put_away(open, budget, report);
    // A limit was told where it was met.
    let ended = if stop.get() == Stop::End { ended.map_err(|error| error.kind()) } else { Ok(()) };
    (members, ended)
}

fn options<'p>(password: Option<&'p str>, cancel: &'p ReadCancellation, budget: &Budget) -> ArchiveReadOptions<'p> {
    let workspace = WORKSPACES.into_iter().find(|bytes| budget.has_room(*bytes)).unwrap_or_default();
    ArchiveReadOptions::with_optional_password(password.map(str::as_bytes))
        .with_cancellation(cancel)
        .with_rar50_dictionary_size_limit(WINDOW as u64)
        .with_max_reader_workspace_bytes(workspace as u64)
        .with_max_total_output_bytes(budget.bytes() as u64)
}

fn name(member: &ArchiveMember) -> String {
    match member.decoded_name(None) {
        Ok(name) => String::from_utf8_lossy(&name).into_owned(),
        Err(_) => String::from_utf8_lossy(&member.meta.name).into_owned(),
    }
}

fn extract(archive: &Archive, password: Option<&str>, budget: &mut Budget, report: &mut Report<'_>) -> Taken {
    let cancel = ReadCancellation::new();
    let options = options(password, &cancel, budget);
    let solid = archive.members().any(|member| member.is_solid());
    let (out, stop) = (Rc::default(), Rc::new(Cell::new(Stop::End)));
    let pass = RefCell::new(Pass {
        budget,
        report,
        taken: Taken::default(),
        solid,
        password: password.is_some(),
        out,
        stop,
        cancel: cancel.clone(),
        open: None,
        packed: 0,
    });
    let ended = archive.extract_with_control_and_errors(
        options,
        |member| Ok(pass.borrow_mut().decide(member)),
        |_, error| {
            let mut pass = pass.borrow_mut();
            let kind = error.kind();
            // A wrong password is known by the first member that has one.
            let wrong = pass.password && pass.open.as_ref().is_some_and(|(_, encrypted)| *encrypted);
            if matches!(kind, ErrorKind::UnsupportedFeature | ErrorKind::UnsupportedFormat | ErrorKind::ResourceLimit) {
                if let Some((name, _)) = pass.open.clone() {
                    closed(kind, &name, pass.report);
                }
                let name = pass.open.take().map(|(name, _)| name);
                pass.out.borrow_mut().clear();
                name.into_iter().for_each(|name| pass.list(name));
            } else {
                pass.close(false);
            }
            let over = pass.stop.get() != Stop::End;
            Ok(if wrong || over { ExtractionErrorAction::Abort } else { ExtractionErrorAction::Continue })
        },
    );
    let mut pass = pass.into_inner();
    match ended {
        Ok(_) => pass.close(true),
        Err(error) => {
            if pass.open.is_none() && pass.stop.get() == Stop::End && password.is_none() {
                closed(error.kind(), "the rar", pass.report);
            }
            pass.close(false);
        }
    }
    rest(archive, &mut pass);
    pass.taken
}

/// Members that the pass did not come to are seen by their names.
fn rest(archive: &Archive, pass: &mut Pass<'_, '_>) {
    let files = archive.members().filter(|m| !m.meta.is_directory && !m.meta.is_redirection);
    let unseen: Vec<ArchiveMember> = files.skip(pass.taken.members.len()).collect();
    for member in unseen {
        pass.taken.encrypted |= member.meta.is_encrypted;
        if !pass.budget.take(0) {
            break;
        }
        pass.taken.members.push(Member { name: name(&member), data: Vec::new() });
    }
}
