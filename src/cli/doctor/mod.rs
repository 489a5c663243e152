//! `luytre doctor`: what is wrong here, one sentence each, with what to do. It changes nothing and starts nothing.

mod machine;
mod network;
mod outgoing;
mod records;

use std::path::PathBuf;
use std::process::ExitCode;

use super::{DEFAULT_CONFIG, say};
use crate::mail::Language;
use crate::mail::problem::Severity;
use crate::policy::run::examine;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Ask nothing of the network: no DNS, no connection to the agencies' servers.
    #[arg(long)]
    offline: bool,
    /// Print the DNS records to publish for every domain (MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT), and nothing else.
    #[arg(long)]
    records: bool,
}

/// How a finding weighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Weight {
    Good,
    /// Works, but look at it.
    Odd,
    /// Mail will not flow as meant.
    Bad,
}

/// A sentence in two languages.
struct Words {
    vi: String,
    en: String,
}

impl Words {
    fn new(vi: impl Into<String>, en: impl Into<String>) -> Self {
        Self { vi: vi.into(), en: en.into() }
    }
    fn none() -> Self {
        Self::new("", "")
    }
    fn in_language(&self, language: Language) -> &str {
        say(language, &self.vi, &self.en)
    }
}

/// What was found, in order.
struct Report {
    language: Language,
    lines: Vec<(Weight, String)>,
}

impl Report {
    const fn new(language: Language) -> Self {
        Self { language, lines: Vec::new() }
    }
    fn good(&mut self, what: &Words) {
        self.lines.push((Weight::Good, what.in_language(self.language).to_owned()));
    }
    /// Something to look at or to mend, and how.
    fn tell(&mut self, weight: Weight, what: &Words, remedy: &Words) {
        let (what, remedy) = (what.in_language(self.language), remedy.in_language(self.language));
        let line = if remedy.is_empty() { what.to_owned() } else { format!("{what} → {remedy}") };
        self.lines.push((weight, line));
    }
    fn worst(&self) -> Weight {
        self.lines.iter().map(|l| l.0).max().unwrap_or(Weight::Good)
    }
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let built = examine(&args.config);
    if let (true, Some(policy)) = (args.records, &built.policy) {
        print!("{}", records::all(policy));
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new(built.language);
    let errors = built.problems.iter().filter(|p| p.severity == Severity::Error).count();
    for problem in &built.problems {
        let weight = if problem.severity == Severity::Error { Weight::Bad } else { Weight::Odd };
        report.lines.push((weight, problem.to_string()));
    }
    if let Some(policy) = &built.policy {
        report.good(&Words::new(
            format!("cấu hình {} dùng được", args.config.display()),
            format!("the configuration {} is good", args.config.display()),
        ));
        machine::look(policy, &mut report);
        if !args.offline {
            network::look(policy, &mut report);
        }
    } else {
        report.tell(
            Weight::Bad,
            &Words::new(format!("cấu hình có {errors} lỗi"), format!("the configuration has {errors} errors")),
            &Words::new("sửa rồi chạy lại luytre doctor", "mend it and run luytre doctor again"),
        );
    }
    for (weight, line) in &report.lines {
        let mark = match weight {
            Weight::Good => "  ok ",
            Weight::Odd => "  !  ",
            Weight::Bad => " BAD ",
        };
        println!("{mark} {line}");
    }
    if report.worst() == Weight::Bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
