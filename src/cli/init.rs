//! `luytre init`: a few questions to a working configuration, and the DNS records that belong to it.
//! It writes one new file and never overwrites one.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{DEFAULT_CONFIG, dkim, say};
use crate::deliver::seal::{DkimPair, new_key};
use crate::mail::problem::Severity;
use crate::mail::{AgencyId, Domain, Language, Mailbox};
use crate::policy::run::examine;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Ask nothing: take the flags, and defaults for the rest.
    #[arg(long)]
    yes: bool,
    /// The agency's mail domain.
    #[arg(long)]
    domain: Option<String>,
    /// The agency's own mail server, host:port.
    #[arg(long, value_name = "HOST:PORT")]
    next_hop: Option<String>,
    /// Who gets reports and questions; default: postmaster@ the domain.
    #[arg(long, value_name = "ADDRESS")]
    postmaster: Option<String>,
    /// observe: tag only and watch; enforce: quarantine and refuse from the first day.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// vi or en.
    #[arg(long)]
    language: Option<String>,
    /// This gateway's own name; default: mx1. and the domain.
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Where mail and records are kept.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/luytre")]
    data_dir: PathBuf,
    /// Which defence before DATA is written down: off, or basic (bans, rates, greylisting of the suspicious). Take basic
    /// only where the log shows the real addresses of senders.
    #[arg(long, value_enum)]
    guard: Option<Defence>,
    /// Where mail from the Internet is listened for.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:25")]
    listen: std::net::SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Mode {
    Observe,
    Enforce,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Defence {
    Off,
    Basic,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    match set_up(&args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("luytre init: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What was answered, all of it checked.
struct Answers {
    language: Language,
    domain: Domain,
    hostname: Domain,
    next_hop: String,
    postmaster: Mailbox,
    mode: Mode,
    defence: Defence,
}

fn set_up(args: &Args) -> Result<String, String> {
    if args.config.exists() {
        return Err(format!("{} is there already; it is never overwritten", args.config.display()));
    }
    let interactive = !args.yes && io::stdin().is_terminal();
    let answers = ask(args, interactive, &mut io::stdin().lock())?;
    let (key, record) = signing_key(&answers)?;
    let key_path = PathBuf::from("keys").join(dkim::file_name(&answers.domain, SELECTOR));
    let folder = args.config.parent().unwrap_or(Path::new(""));
    write_new(&folder.join(&key_path), &key)?;
    write_new(&args.config, configuration(args, &answers, &key_path).as_bytes())?;
    let built = examine(&args.config);
    let mut out = String::new();
    for problem in &built.problems {
        let _ = writeln!(out, "{problem}");
    }
    if built.problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(format!("{} was written, but it needs your hand:\n{out}", args.config.display()));
    }
    let vi = format!("Đã ghi {}. Công bố các bản ghi DNS sau:", args.config.display());
    let en = format!("{} is written. Publish these DNS records:", args.config.display());
    let _ = writeln!(out, "{}\n", say(answers.language, &vi, &en));
    out.push_str(&records(&answers, &record));
    let config = args.config.display();
    let vi = format!("\nTiếp theo:  luytre doctor --config {config}  rồi  luytre serve --config {config}");
    let en = format!("\nNext:  luytre doctor --config {config}  then  luytre serve --config {config}");
    out.push_str(say(answers.language, &vi, &en));
    Ok(out)
}

/// Flags first; what no flag says is asked, or taken from the default.
fn ask(args: &Args, interactive: bool, input: &mut impl BufRead) -> Result<Answers, String> {
    let mut question = |flag: Option<&String>, text: &str, default: Option<&str>| -> Result<String, String> {
        if let Some(flag) = flag {
            return Ok(flag.clone());
        }
        if interactive {
            print!("{text}{} ", default.map(|d| format!(" [{d}]")).unwrap_or_default());
            io::stdout().flush().map_err(|e| e.to_string())?;
            let mut line = String::new();
            input.read_line(&mut line).map_err(|e| e.to_string())?;
            if !line.trim().is_empty() {
                return Ok(line.trim().to_owned());
            }
        }
        default.map(str::to_owned).ok_or_else(|| format!("{text} (no answer)"))
    };
    let language = question(args.language.as_ref(), "Ngôn ngữ / Language (vi, en)", Some("vi"))?;
    let language = match language.as_str() {
        "vi" => Language::Vi,
        "en" => Language::En,
        other => return Err(format!("--language {other}: vi or en")),
    };
    let text = say(language, "Tên miền thư của cơ quan (--domain)?", "The agency's mail domain (--domain)?");
    let domain: Domain = question(args.domain.as_ref(), text, None)?.parse().map_err(|e| format!("--domain: {e}"))?;
    let text =
        say(language, "Máy chủ thư của cơ quan, máy:cổng (--next-hop)?", "Its mail server, host:port (--next-hop)?");
    let mut next_hop = question(args.next_hop.as_ref(), text, None)?;
    if !next_hop.contains(':') {
        next_hop.push_str(":25");
    }
    let text = say(language, "Địa chỉ nhận báo cáo?", "Who gets reports?");
    let postmaster = question(args.postmaster.as_ref(), text, Some(&format!("postmaster@{domain}")))?;
    let postmaster = postmaster.parse().map_err(|e| format!("--postmaster: {e}"))?;
    let text = say(
        language,
        "observe: chỉ gắn nhãn, theo dõi; enforce: cách ly và từ chối ngay?",
        "observe: tag only and watch; enforce: quarantine and refuse now?",
    );
    let mode = choice("mode", args.mode, |flag| question(flag, text, Some("observe")))?;
    let text = say(
        language,
        "Phòng thủ trước DATA. basic: cấm, giới hạn tốc độ, greylist, nếu cổng thấy địa chỉ thật của máy gửi; off: tắt?",
        "Defence before DATA. basic: bans, rates, greylisting, where senders' real addresses are seen here; off: none?",
    );
    let defence = choice("guard", args.guard, |flag| question(flag, text, Some("off")))?;
    let text = say(language, "Tên của cổng thư này?", "This gateway's own name?");
    let hostname = question(args.hostname.as_ref(), text, Some(&format!("mx1.{domain}")))?;
    let hostname = hostname.parse().map_err(|e| format!("--hostname: {e}"))?;
    Ok(Answers { language, domain, hostname, next_hop, postmaster, mode, defence })
}

/// One of the words that a flag may be: the flag's, or what is answered.
fn choice<T: clap::ValueEnum>(
    name: &str,
    flag: Option<T>,
    question: impl FnOnce(Option<&String>) -> Result<String, String>,
) -> Result<T, String> {
    if let Some(flag) = flag {
        return Ok(flag);
    }
    let answer = question(None)?;
    T::from_str(&answer, true).map_err(|_| {
        let words: Vec<String> =
            T::value_variants().iter().filter_map(|v| v.to_possible_value()).map(|v| v.get_name().to_owned()).collect();
        format!("--{name} {answer}: {}", words.join(" or "))
    })
}

/// The name of the first DKIM key.
const SELECTOR: &str = "lt1";

/// A new DKIM key (PEM) and its DNS record as a line of a zone file.
fn signing_key(answers: &Answers) -> Result<(Vec<u8>, String), String> {
    let pem = new_key(false)?;
    let pair = DkimPair::parse(answers.domain.clone(), SELECTOR, &pem)?;
    let line = dkim::zone_line(&pair)?;
    Ok((pem, line))
}

/// The file: what was decided, and nothing that is a default.
fn configuration(args: &Args, answers: &Answers, key: &Path) -> String {
    let user = match nix::unistd::User::from_name("luytre") {
        Ok(Some(_)) => "user = \"luytre\"\n",
        _ => "",
    };
    let language = say(answers.language, "vi", "en");
    let (domain, hostname) = (&answers.domain, &answers.hostname);
    let data = text(&args.data_dir.to_string_lossy());
    format!(
        "# Written by luytre init. Every other setting has its default (see the luytre.toml that is shipped).\n\
         # Do luytre init ghi. Các thiết lập khác giữ giá trị mặc định.\n\
         hostname = \"{hostname}\"\n\
         data_dir = {data}\n\
         language = \"{language}\"\n\
         {user}\n\
         [[listener]]\n\
         address = \"{}\"\n\
         role = \"mx\"\n\n\
         [verdict]\n\
         observe = {}\n\n\
         {}\
         [[agency]]\n\
         id = \"{}\"\n\
         domains = [\"{domain}\"]\n\
         next_hops = [{{ address = {} }}]\n\n\
         # Signs the agency's outgoing mail (a listener with role = \"relay\" and networks of the agency's servers).\n\
         # Ký thư đi của cơ quan.\n\
         [[agency.dkim]]\n\
         domain = \"{domain}\"\n\
         selector = \"{SELECTOR}\"\n\
         key = {}\n",
        args.listen,
        answers.mode == Mode::Observe,
        defence(answers.defence),
        agency_id(domain),
        text(&answers.next_hop),
        text(&key.to_string_lossy()),
    )
}

/// `[guard]` as a start: numbers that an honest sender does not meet. Lists in DNS are for the operator to name: most ask
/// for a licence, or that they are asked from a resolver of one's own.
fn defence(of: Defence) -> String {
    let text = "# Defence before DATA; behind a firewall that hides addresses take this out (docs/en/defence.md).\n\
        # Phòng thủ trước DATA; sau tường lửa che địa chỉ thì bỏ mục này (docs/vi/defence.md).\n\
        [guard]\n\
        tarpit = \"5 s\"\n\n\
        [guard.rates]\n\
        connections = 120\n\
        address = 2000\n\
        network = 5000\n\
        recipient = 500\n\
        unknown = 100\n\n\
        [guard.ban]\n\
        after = 50.0\n\n\
        # [[guard.list]]\n\
        # zone = \"zen.spamhaus.org\"\n\
        # points = 6.0\n\n";
    // What is off still says where it is turned on.
    match of {
        Defence::Basic => text.to_owned(),
        Defence::Off => text
            .lines()
            .map(|l| if l.is_empty() || l.starts_with('#') { format!("{l}\n") } else { format!("# {l}\n") })
            .collect(),
    }
}

/// A TOML string.
fn text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// The first label of the domain, as far as it can be an id.
fn agency_id(domain: &Domain) -> AgencyId {
    let label: String =
        domain.as_str().split('.').next().unwrap_or_default().replace('_', "-").chars().take(40).collect();
    label.trim_start_matches('-').parse().unwrap_or_else(|_| "agency".parse().expect("the word is an id"))
}

/// What to publish, in the form of a zone file.
fn records(answers: &Answers, dkim: &str) -> String {
    let Answers { domain, hostname, postmaster, .. } = answers;
    format!(
        "{domain}.         IN MX  10 {hostname}.\n\
         {domain}.         IN TXT \"v=spf1 mx -all\"\n\
         _dmarc.{domain}.  IN TXT \"v=DMARC1; p=none; rua=mailto:{postmaster}\"\n\
         {dkim}\n\
         {hostname}.       IN A   <the address of this machine / địa chỉ của máy này>\n"
    )
}

/// Creates the file (and its folder), only if there is none; readable by owner and group.
fn write_new(path: &Path, contents: &[u8]) -> Result<(), String> {
    let told = |e: io::Error| format!("cannot write {}: {e}", path.display());
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(told)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map_err(told)?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(told)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Alone::parse_from([&["init"], words].concat()).args
    }

    #[test]
    fn answers_become_a_configuration_that_checks_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/luytre.toml");
        let shown = file.to_str().unwrap();
        let flags =
            ["--yes", "--config", shown, "--domain", "tttt.tinh.gov.vn", "--next-hop", "10.1.2.3", "--language", "en"];
        let printed = set_up(&args(&flags)).unwrap();
        assert!(printed.contains("tttt.tinh.gov.vn.         IN MX  10 mx1.tttt.tinh.gov.vn."), "{printed}");
        let policy = crate::policy::load(&file).unwrap();
        assert!(printed.contains("lt1._domainkey.tttt.tinh.gov.vn.  IN TXT ( \"v=DKIM1;"), "{printed}");
        let key = &policy.agencies[0].dkim[0];
        assert_eq!(key.selector, SELECTOR);
        assert!(key.key.ends_with("keys/lt1.tttt.tinh.gov.vn.pem"), "named as dkim new does: {}", key.key.display());
        assert!(policy.verdict.observe, "the first days are for watching");
        assert_eq!(policy.agencies[0].next_hops[0].address, "10.1.2.3:25");
        let again = set_up(&args(&flags)).unwrap_err();
        assert!(again.contains("never overwritten"), "{again}");
    }

    #[test]
    fn the_defence_is_written_down_off_or_on() {
        for (word, after) in [("off", 0.0), ("basic", 50.0)] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("luytre.toml");
            let shown = file.to_str().unwrap();
            let flags = ["--yes", "--config", shown, "--domain", "a.vn", "--next-hop", "10.1.2.3", "--guard", word];
            set_up(&args(&flags)).unwrap();
            let policy = crate::policy::load(&file).unwrap();
            assert_eq!(policy.guard.ban.after, after, "{word}");
            assert_eq!(policy.guard.rates.unknown, if after > 0.0 { 100 } else { 0 });
            assert!(std::fs::read_to_string(&file).unwrap().contains("zen.spamhaus.org"));
        }
    }

    #[test]
    fn at_most_seven_questions_are_asked() {
        let mut lines = io::Cursor::new("en\nb.vn\nmail.b.vn:2525\n\nenforce\nbasic\nmx.b.vn\nNOT READ\n");
        let answers = ask(&args(&[]), true, &mut lines).unwrap();
        assert_eq!(
            (answers.hostname.as_str(), answers.postmaster.to_string()),
            ("mx.b.vn", "postmaster@b.vn".to_owned())
        );
        assert!(answers.mode == Mode::Enforce && answers.language == Language::En);
        assert_eq!(answers.defence, Defence::Basic);
        let mut rest = String::new();
        lines.read_line(&mut rest).unwrap();
        assert_eq!(rest, "NOT READ\n");
        // Nobody who only presses Enter turns on what could refuse mail behind a firewall that hides addresses.
        let mut lines = io::Cursor::new("vi\nb.vn\nmail.b.vn\n\n\n\n\n");
        let answers = ask(&args(&[]), true, &mut lines).unwrap();
        assert!(answers.mode == Mode::Observe && answers.defence == Defence::Off);
        // A flag is an answer.
        let mut lines = io::Cursor::new("vi\nb.vn\nmail.b.vn\n\n\nmx.b.vn\n");
        let answers = ask(&args(&["--guard", "basic"]), true, &mut lines).unwrap();
        assert_eq!((answers.defence, answers.hostname.as_str()), (Defence::Basic, "mx.b.vn"));
        for wrong in ["vi\nb.vn\nmail.b.vn\n\nmaybe\n", "vi\nb.vn\nmail.b.vn\n\n\nstrong\n"] {
            let told = ask(&args(&[]), true, &mut io::Cursor::new(wrong)).map(|_| ()).unwrap_err();
            assert!(told.contains(" or ") && told.starts_with("--"), "{told}");
        }
    }

    #[test]
    fn rubbish_is_refused_before_anything_is_written() {
        for flags in [
            &["--domain", "a b"][..],
            &["--domain", "a.vn"],
            &["--domain", "a.vn", "--next-hop", "x:1", "--language", "fr"],
        ] {
            assert!(ask(&args(flags), false, &mut io::empty()).is_err(), "{flags:?}");
        }
        assert_eq!(agency_id(&Domain::parse("xn--tnh-mu-xya.gov.vn").unwrap()).as_str(), "xn--tnh-mu-xya");
        assert_eq!(agency_id(&Domain::parse("_x.vn").unwrap()).as_str(), "x");
    }
}
