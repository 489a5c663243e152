//! An example for every command, in one place: shown at the end of its help. A test walks all commands and demands one of
//! each, parses it, and demands a sentence in both languages for the command and a help text for each of its arguments.

use clap::Command;

/// Commands as they are typed behind `luytre`, and what somebody would really say.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("serve", &["luytre serve --config /etc/luytre/luytre.toml"]),
    ("check", &["luytre check --config /etc/luytre/luytre.toml", "luytre check --json"]),
    (
        "scan",
        &[
            "luytre scan --config config/luytre.toml --json tests/corpus/*.eml",
            "luytre scan --ip 192.0.2.7 --from an@partner.example message.eml",
        ],
    ),
    ("engine", &["luytre engine", "luytre engine --json"]),
    ("rules", &["luytre rules test rules/spam"]),
    ("rules test", &["luytre rules test rules/spam"]),
    ("rules list", &["luytre rules list rules/spam", "luytre rules list --json rules/spam"]),
    ("rules unpark", &["luytre rules unpark default.slow_macro", "luytre rules unpark --all"]),
    ("rules replay", &["luytre rules replay --old rules/spam --new /tmp/new mail/"]),
    (
        "rules rate",
        &["luytre rules rate --ham good/ --bad bad/", "luytre rules rate --full --ham good/ --bad bad/ --verbose"],
    ),
    ("queue", &["luytre queue list --json"]),
    ("queue list", &["luytre queue list", "luytre queue list --host mail.agency.gov.vn --older-than '4 h'"]),
    ("queue show", &["luytre queue show 01KAN5QF3W8Z5T2D9H6X0V7RBM", "luytre queue show 17"]),
    ("queue retry", &["luytre queue retry 01KAN5QF3W8Z5T2D9H6X0V7RBM", "luytre queue retry --agency so-tttt"]),
    (
        "queue hold",
        &["luytre queue hold 01KAN5QF3W8Z5T2D9H6X0V7RBM", "luytre queue hold --release 01KAN5QF3W8Z5T2D9H6X0V7RBM"],
    ),
    (
        "queue remove",
        &["luytre queue remove 01KAN5QF3W8Z5T2D9H6X0V7RBM", "luytre queue remove --from '<>' --older-than '2 days'"],
    ),
    ("queue flush", &["luytre queue flush", "luytre queue flush --host mail.agency.gov.vn"]),
    ("quarantine", &["luytre quarantine list --since '7 days'"]),
    (
        "quarantine list",
        &[
            "luytre quarantine list --kind malware --since '7 days'",
            "luytre quarantine list --from xau.vn --finding archive.encrypted --until 2026-11-21 --json",
        ],
    ),
    (
        "quarantine show",
        &[
            "luytre quarantine show 01KAN5QF3W8Z5T2D9H6X0V7RBM-0",
            "luytre quarantine show --raw --reason 'ticket 41' 01KAN5QF3W8Z5T2D9H6X0V7RBM-0",
        ],
    ),
    (
        "quarantine release",
        &[
            "luytre quarantine release 01KAN5QF3W8Z5T2D9H6X0V7RBM-0 --reason 'asked the sender by telephone'",
            "luytre quarantine release 01KAN5QF3W8Z5T2D9H6X0V7RBM-0 --to attt@tttt.tinh.gov.vn --reason 'to be analysed'",
        ],
    ),
    ("quarantine remove", &["luytre quarantine remove 01KAN5QF3W8Z5T2D9H6X0V7RBM-0 --reason 'spam'"]),
    ("quarantine key", &["luytre quarantine key list"]),
    ("quarantine key list", &["luytre quarantine key list"]),
    ("quarantine key new", &["luytre quarantine key new"]),
    ("quarantine key rotate", &["luytre quarantine key rotate --reason 'an officer has left'"]),
    ("bypass", &["luytre bypass status"]),
    ("bypass on", &["luytre bypass on --for '2 h' --reason 'a rule holds everything'"]),
    ("bypass off", &["luytre bypass off --reason 'the rule is mended'"]),
    ("bypass status", &["luytre bypass status --json"]),
    ("retro", &["luytre retro", "luytre retro --since '3 days' --hashes new-campaign.txt --json"]),
    ("receipt", &["luytre receipt 01KAN5QF3W8Z5T2D9H6X0V7RBM"]),
    ("log", &["luytre log search --to an@tttt.tinh.gov.vn"]),
    (
        "log search",
        &[
            "luytre log search --to an@tttt.tinh.gov.vn --since 2026-11-21",
            "luytre log search --action quarantine --since 2026-11-21T08:00 --json",
        ],
    ),
    ("log audit", &["luytre log audit --since 2026-11-21", "luytre log audit --what quarantine --json"]),
    ("log verify", &["luytre log verify"]),
    ("log tlsrpt", &["luytre log tlsrpt --day 2026-11-21 --domain example.vn"]),
    ("dkim", &["luytre dkim new --domain tttt.tinh.gov.vn --selector lt2026 --out /etc/luytre/keys"]),
    (
        "dkim new",
        &[
            "luytre dkim new --domain tttt.tinh.gov.vn --selector lt2026 --out /etc/luytre/keys",
            "luytre dkim new --domain tttt.tinh.gov.vn --selector lt2026ed --algorithm ed25519 --out /etc/luytre/keys",
        ],
    ),
    (
        "dkim show",
        &["luytre dkim show --key keys/lt2026.tttt.tinh.gov.vn.pem --domain tttt.tinh.gov.vn --selector lt2026"],
    ),
    ("smime", &["luytre smime verify --trust certs/trust message.eml"]),
    ("smime show", &["luytre smime show --trust certs/trust message.eml", "luytre smime show certs/so-tttt.pem"]),
    ("smime verify", &["luytre smime verify --trust certs/trust message.eml"]),
    ("user", &["luytre user add xa-a@tttt.tinh.gov.vn --agency so-tttt --users /etc/luytre/users"]),
    ("user add", &["luytre user add xa-a@tttt.tinh.gov.vn --agency so-tttt --users /etc/luytre/users"]),
    ("user passwd", &["luytre user passwd xa-a@tttt.tinh.gov.vn"]),
    ("user remove", &["luytre user remove xa-a@tttt.tinh.gov.vn"]),
    ("user list", &["luytre user list"]),
    ("init", &["luytre init", "luytre init --yes --domain tttt.tinh.gov.vn --next-hop 10.1.2.3:25"]),
    ("doctor", &["luytre doctor --config /etc/luytre/luytre.toml", "luytre doctor --records"]),
    ("demo", &["luytre demo --once"]),
];

/// The same commands, each with its examples at the end of its help.
#[must_use]
pub fn shown(command: Command) -> Command {
    below(command, "")
}

/// The commands below `path`; no deeper than they were written.
fn below(command: Command, path: &str) -> Command {
    command.mut_subcommands(|sub| {
        let path = if path.is_empty() { sub.get_name().to_owned() } else { format!("{path} {}", sub.get_name()) };
        let sub = below(sub, &path);
        match EXAMPLES.iter().find(|(name, _)| *name == path) {
            Some((_, lines)) => sub.after_help(format!("Example:  {}", lines.join("\n          "))),
            None => sub,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Command, EXAMPLES, shown};
    use crate::cli::Cli;

    /// Every command that people may type, with its path.
    fn walk(command: &Command, path: &str, see: &mut dyn FnMut(&str, &Command)) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name());
            see(path.trim_start(), sub);
            walk(sub, &path, see);
        }
    }

    /// What a shell makes of the line.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![];
        for (place, piece) in line.split('\'').enumerate() {
            if place % 2 == 1 {
                words.push(piece.to_owned());
            } else {
                words.extend(piece.split_whitespace().map(str::to_owned));
            }
        }
        words
    }

    #[test]
    fn every_command_says_what_it_does_in_both_languages_and_shows_an_example() {
        let (cli, mut seen) = (shown(Cli::command()), vec![]);
        walk(&cli, "", &mut |path, command| {
            seen.push(path.to_owned());
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.contains(" / "), "{path} says in one language only: {about:?}");
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains(&format!("Example:  luytre {path}")), "{path} has no example:\n{help}");
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path}: {} is not explained", argument.get_id());
            }
        });
        assert!(seen.len() > 30, "{seen:?}");
        for (path, _) in EXAMPLES {
            assert!(seen.iter().any(|known| known == path), "there is no command {path}");
        }
    }

    #[test]
    fn every_example_is_understood() {
        for (path, lines) in EXAMPLES {
            for line in *lines {
                assert!(line.starts_with(&format!("luytre {path}")), "{line} is no example of {path}");
                if let Err(error) = Cli::try_parse_from(words(line)) {
                    panic!("{line}\n{error}");
                }
            }
        }
    }
}
