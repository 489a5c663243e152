//! The file to a checked, compiled [`Policy`], or every problem at once.
//!
//! Relative paths are resolved by [`Files::resolve`]. Nothing here touches the disk: it asks a [`Disk`].

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::agencies::{self, Placed};
use super::compile::compile;
use super::file::{self, File};
use super::files::{Disk, Files, SHARED};
use super::place::Place;
use super::tree::{Document, Step};
use super::{Agency, Policy, Settings, guard, read, relations, sts, submission};
use crate::inspect::parked::{self, Parked};
use crate::mail::problem::Severity;
use crate::mail::{Domain, Language, Problem, Timestamp};

/// What was found: a policy unless there is an error among the problems. Problems are in the order of the files.
#[derive(Debug)]
pub struct Built {
    pub policy: Option<Policy>,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
    /// The language the problems are told in.
    pub language: Language,
    /// Files and folders that were looked at, also when there is no policy: mending one of them is a reason to try again.
    pub watched: Vec<PathBuf>,
    /// When the reading began.
    pub read_at: Timestamp,
}

/// Reads and checks everything that `config` leads to.
#[must_use]
pub fn build(config: &Path, disk: &dyn Disk) -> Built {
    let read_at = disk.now();
    let files = Files::new(disk, config);
    let mut problems = Vec::new();
    let mut language = Language::default();
    let policy = assemble(config, &files, &mut language, &mut problems);
    problems.sort_by(|a, b| {
        (a.file != config, &a.file, a.line, a.column).cmp(&(b.file != config, &b.file, b.line, b.column))
    });
    problems.dedup();
    let watched = files.watched();
    let policy = policy.filter(|_| problems.iter().all(|p| p.severity == Severity::Warning)).map(|mut policy| {
        policy.settings.hash = files.hash();
        policy.compiled.verdict.hash.clone_from(&policy.settings.hash);
        policy.settings.warnings.clone_from(&problems);
        policy.settings.watched.clone_from(&watched);
        policy.settings.read_at = read_at;
        policy
    });
    Built { policy, problems, language, watched, read_at }
}

fn assemble(config: &Path, files: &Files<'_>, told_in: &mut Language, problems: &mut Vec<Problem>) -> Option<Policy> {
    let mut main = open(config, files, None, problems)?;
    let language = language_of(&main);
    *told_in = language;
    let file: File = take(&mut main, language, problems).unwrap_or_default();
    let mut others = agency_files(files, language, problems);
    let parsed: Vec<Vec<file::Agency>> = others.iter_mut().map(|d| agencies_of(d, language, problems)).collect();

    let root = Place::root(&main, language);
    let mut placed: Vec<Placed<'_>> =
        file.agency.iter().enumerate().map(|(i, agency)| Placed { agency, place: root.to("agency").to(i) }).collect();
    for (document, list) in others.iter().zip(&parsed) {
        let top = Place::root(document, language);
        let bare = document.find(&[Step::from("agency")]).is_none();
        placed.extend(
            list.iter()
                .enumerate()
                .map(|(i, agency)| Placed { agency, place: if bare { top.clone() } else { top.to("agency").to(i) } }),
        );
    }
    relations::check(&file, &root, files, problems);
    agencies::check(&file, &root, &placed, files, problems);
    guard::check(&file, &root, files.disk().now(), problems);
    submission::check(&file, &root, &placed, files, problems);
    sts::check(&file, &root.to("http").to("mta_sts"), &placed, files, problems);
    let hostname = hostname(&file, &root, files, problems);
    let agencies = placed.iter().map(|p| finish(p.agency, &file, files)).collect();
    let settings = resolved(file, files, hostname?, agencies, config);
    let material = Material::gather(&settings, &root, files, problems);
    let compiled = compile(&settings, material, files.disk().now(), problems)?;
    Some(Policy { settings, compiled })
}

/// The files that rules and trust are compiled from, in a stable order.
#[derive(Debug, Default)]
pub struct Material {
    pub spam: Vec<(PathBuf, Vec<u8>)>,
    pub yara: Vec<(PathBuf, Vec<u8>)>,
    pub trust: Vec<(PathBuf, Vec<u8>)>,
    pub hashes: Vec<(PathBuf, Vec<u8>)>,
    pub passwords: Vec<(PathBuf, Vec<u8>)>,
    /// YARA rules that are not run.
    pub parked: Vec<Parked>,
}

impl Material {
    fn gather(settings: &Settings, root: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut load = |section: &str, key: &str, paths: &[PathBuf], extensions: &[&str]| {
            let place = root.to(section).to(key);
            let mut found = Vec::new();
            for (i, path) in paths.iter().enumerate() {
                let spot = if place.is_written() { place.to(i) } else { root.clone() };
                if let Err(error) = load_one(path, extensions, files, &mut found) {
                    let shown = path.display();
                    let problem = spot
                        .problem(format!("cannot read {shown}: {error}"), format!("không đọc được {shown}: {error}"));
                    // The default folder may be missing: a small site has no rules or trust of its own.
                    let problem = problem.help(root.say(
                        format!("looked for beside the configuration, above it, and in {SHARED}"),
                        format!("đã tìm cạnh tệp cấu hình, ở thư mục cha và trong {SHARED}"),
                    ));
                    let chosen = *path != files.resolve(&Path::new(section_folder(section)).join(key));
                    problems.push(if chosen { problem } else { problem.warning() });
                }
            }
            found
        };
        Self {
            spam: load("rules", "spam", &settings.rules.spam, &["toml"]),
            yara: load("rules", "yara", &settings.rules.yara, &["yar", "yara"]),
            hashes: load("rules", "hashes", &settings.rules.hashes, &["txt", "csv"]),
            trust: load(
                "smime",
                "trust",
                &with_pools(&settings.smime.trust, files),
                &["pem", "crt", "cer", "der", "crl"],
            ),
            passwords: load("rules", "passwords", &settings.rules.passwords, &["txt"]),
            parked: parked_rules(&settings.data_dir, files, problems),
        }
    }
}

/// The list below the data folder. One that cannot be read parks nothing: a slow rule parks itself again.
fn parked_rules(data: &Path, files: &Files<'_>, problems: &mut Vec<Problem>) -> Vec<Parked> {
    let folder = data.join(parked::FOLDER);
    let file = folder.join(parked::FILE);
    // Looked into also while it is empty or missing: what appears there is a change.
    if !files.list(&folder, &["toml"]).is_ok_and(|list| list.contains(&file)) {
        return Vec::new();
    }
    let read = files.read(&file).map_err(|error| error.to_string());
    let list = read.and_then(|bytes| parked::read(&String::from_utf8_lossy(&bytes)));
    list.unwrap_or_else(|why| {
        problems.push(Problem::new(file, format!("the list of parked rules cannot be read: {why}")).warning());
        Vec::new()
    })
}

/// Trust folders and the `pool` inside each, whose certificates help to build chains.
fn with_pools(paths: &[PathBuf], files: &Files<'_>) -> Vec<PathBuf> {
    let pools = paths.iter().map(|path| path.join("pool")).filter(|pool| files.disk().is_folder(pool));
    paths.iter().cloned().chain(pools).collect()
}

/// Where the defaults of a section stand: `rules/spam`, `certs/trust`.
fn section_folder(section: &str) -> &str {
    if section == "smime" { "certs" } else { section }
}

fn load_one(
    path: &Path,
    extensions: &[&str],
    files: &Files<'_>,
    found: &mut Vec<(PathBuf, Vec<u8>)>,
) -> std::io::Result<()> {
    let list = if files.disk().is_folder(path) { files.list(path, extensions)? } else { vec![path.to_owned()] };
    for file in list {
        let bytes = files.read(&file)?;
        found.push((file, bytes));
    }
    Ok(())
}

/// Reads and parses one file; `None` (and a problem) when it cannot be read at all.
fn open(path: &Path, files: &Files<'_>, language: Option<Language>, problems: &mut Vec<Problem>) -> Option<Document> {
    let vi = language == Some(Language::Vi);
    let bytes = match files.read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = if vi { "không đọc được" } else { "cannot be read" };
            problems.push(Problem::new(path, format!("{message}: {error}")));
            return None;
        }
    };
    let source = match String::from_utf8(bytes) {
        Ok(source) => source,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let readable = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let message = if vi { "tệp không phải UTF-8" } else { "the file is not UTF-8" };
            let help = if vi { "lưu lại với bảng mã UTF-8" } else { "save it with the encoding UTF-8" };
            problems.push(Problem::new(path, message).at_offset(&readable, at).help(help));
            return None;
        }
    };
    let (document, errors) = Document::parse(path, &source);
    problems.extend(errors);
    Some(document)
}

/// The setting `language`, read before anything else because problems are told in it.
fn language_of(document: &Document) -> Language {
    match document.find(&[Step::from("language")]).and_then(|n| n.text()) {
        Some("en") => Language::En,
        _ => Language::Vi,
    }
}

/// A struct out of a document; the document keeps the mended tree, so that relations see what the struct was made of.
fn take<T: DeserializeOwned>(document: &mut Document, language: Language, problems: &mut Vec<Problem>) -> Option<T> {
    let outcome = read::read(&document.root);
    for (fault, offset) in outcome.found {
        let (message, help) = fault.sentence(language);
        let mut problem = document.problem(offset, message);
        problem.help = help;
        problems.push(problem);
    }
    document.root = outcome.mended;
    outcome.value
}

/// `agencies/*.toml` beside the configuration file.
fn agency_files(files: &Files<'_>, language: Language, problems: &mut Vec<Problem>) -> Vec<Document> {
    let folder = files.base().join("agencies");
    if !files.disk().is_folder(&folder) {
        return Vec::new();
    }
    match files.list(&folder, &["toml"]) {
        Ok(list) => list.iter().filter_map(|path| open(path, files, Some(language), problems)).collect(),
        Err(error) => {
            problems.push(Problem::new(folder, error.to_string()));
            Vec::new()
        }
    }
}

/// The file is one agency; or, like the main file, a list of `[[agency]]`.
fn agencies_of(document: &mut Document, language: Language, problems: &mut Vec<Problem>) -> Vec<file::Agency> {
    if document.find(&[Step::from("agency")]).is_some() {
        return take::<file::Agencies>(document, language, problems).map(|a| a.agency).unwrap_or_default();
    }
    take::<file::Agency>(document, language, problems).into_iter().collect()
}

fn hostname(file: &File, root: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) -> Option<Domain> {
    let place = root.to("hostname");
    let name =
        if file.hostname.is_empty() { files.disk().hostname().unwrap_or_default() } else { file.hostname.clone() };
    let Ok(domain) = Domain::parse(&name) else {
        problems.push(
            place
                .problem(format!("\"{name}\" is no host name"), format!("\"{name}\" không phải tên máy"))
                .help(root.say("hostname = \"mx1.tinh.gov.vn\"", "hostname = \"mx1.tinh.gov.vn\"")),
        );
        return None;
    };
    if !domain.as_str().contains('.') {
        // RFC 5321 §2.3.5: a fully-qualified name is what other servers expect in the banner and in HELO.
        problems.push(
            place
                .problem(format!("{domain} is not a full host name"), format!("{domain} chưa phải tên máy đầy đủ"))
                .help(root.say("hostname = \"mx1.tinh.gov.vn\"", "hostname = \"mx1.tinh.gov.vn\""))
                .warning(),
        );
    }
    Some(domain)
}

/// One agency with its paths resolved and its verdict complete.
fn finish(agency: &file::Agency, file: &File, files: &Files<'_>) -> Agency {
    let mut agency = agency.clone();
    let resolve = |path: &mut PathBuf| *path = files.resolve(path);
    agency.recipients.path.iter_mut().for_each(resolve);
    if let Some(ldap) = &mut agency.recipients.ldap {
        ldap.ca.iter_mut().for_each(resolve);
        ldap.password_file.iter_mut().for_each(resolve);
    }
    agency.dkim.iter_mut().for_each(|k| resolve(&mut k.key));
    agency.smime.iter_mut().for_each(|s| {
        resolve(&mut s.certificate);
        resolve(&mut s.key);
    });
    Agency {
        verdict: agency.verdict.over(&file.verdict),
        name: if agency.name.is_empty() { agency.id.to_string() } else { agency.name },
        id: agency.id,
        domains: agency.domains,
        recipients: agency.recipients,
        aliases: agency.aliases,
        domain_aliases: agency.domain_aliases,
        always_bcc: agency.always_bcc,
        networks: agency.networks,
        shared_addresses: agency.shared_addresses,
        certificates: agency.certificates,
        next_hops: agency.next_hops,
        attachment: agency.attachment,
        dkim: agency.dkim,
        smime: agency.smime,
    }
}

fn resolved(file: File, files: &Files<'_>, hostname: Domain, agencies: Vec<Agency>, config: &Path) -> Settings {
    let resolve = |path: &mut PathBuf| *path = files.resolve(path);
    let File { mut listener, mut rules, mut smime, mut deliver, mut auth, mut http, mut engine, data_dir, .. } = file;
    for listener in &mut listener {
        for pair in listener.tls.iter_mut().chain(&mut listener.sni) {
            resolve(&mut pair.certificate);
            resolve(&mut pair.key);
        }
        listener.client_trust.iter_mut().for_each(resolve);
    }
    for pair in http.mta_sts.iter_mut().flat_map(|sts| [&mut sts.tls].into_iter().chain(&mut sts.sni)) {
        resolve(&mut pair.certificate);
        resolve(&mut pair.key);
    }
    if !auth.users.as_os_str().is_empty() {
        resolve(&mut auth.users);
    }
    rules.spam.iter_mut().for_each(resolve);
    rules.yara.iter_mut().for_each(resolve);
    rules.hashes.iter_mut().for_each(resolve);
    rules.passwords.iter_mut().for_each(resolve);
    smime.trust.iter_mut().for_each(resolve);
    let internet = &mut deliver.internet;
    let (mut quarantine, mut retro) = (file.quarantine, file.retro);
    retro.hashes.iter_mut().for_each(resolve);
    // An empty path stands for none.
    [&mut internet.roots, &mut internet.trust_anchors, &mut quarantine.key]
        .into_iter()
        .chain(engine.iter_mut().map(|engine| &mut engine.tls_ca))
        .filter(|path| !path.as_os_str().is_empty())
        .for_each(resolve);
    Settings {
        generation: 1,
        hash: String::new(),
        read_at: Timestamp::EPOCH,
        file: config.to_owned(),
        base_dir: files.base().to_owned(),
        hostname,
        // Not looked for elsewhere: it is made where it is missing.
        data_dir: if data_dir.is_absolute() { data_dir } else { files.base().join(data_dir) },
        language: file.language,
        user: file.user,
        group: file.group,
        listeners: listener,
        limits: file.limits,
        guard: file.guard,
        events: file.events,
        auth,
        outgoing: file.outgoing,
        dns: file.dns,
        inspect: file.inspect,
        rules,
        smime,
        protect: file.protect,
        verdict: file.verdict,
        attachments: file.attachments,
        dmarc: file.dmarc,
        deliver,
        quarantine,
        receipts: file.receipts,
        retro,
        http,
        log: file.log,
        engine,
        engines: file.engines,
        agencies,
        warnings: Vec::new(),
        watched: Vec::new(),
    }
}
