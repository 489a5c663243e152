//! Any scanner that is a program: a template of arguments (no shell), an octet string in a file of a random name, a map
//! of exit codes, a pattern for the name. A code that nobody mapped is an error, never "clean".

use regex::Regex;

use super::{Answer, Trouble};

/// A program and how to read it.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program and its arguments; `{file}` stands for the file, `{folder}` for its folder.
    pub words: Vec<String>,
    pub clean: Vec<i32>,
    pub infected: Vec<i32>,
    /// A find where the exit code does not tell; its first group is the name.
    pub pattern: Option<Regex>,
    /// Whom it runs as; empty: as the gateway.
    pub user: String,
}

/// What a preset fills in: the words of [`Command`] for a scanner that many have (DOMAIN §2.6).
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    pub name: &'static str,
    pub words: &'static [&'static str],
    pub clean: &'static [i32],
    pub infected: &'static [i32],
    pub pattern: &'static str,
}

/// Presets by name, for `preset = "…"`.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "clamscan",
        words: &["/usr/bin/clamscan", "--no-summary", "--infected", "--alert-exceeds-max=yes", "{file}"],
        clean: &[0],
        infected: &[1],
        pattern: r"(?m): (\S+) FOUND$",
    },
    Preset {
        name: "kavscanner",
        words: &["/opt/kaspersky/kav4fs/bin/kav4fs-kavscanner", "-i0", "-xn", "-xp", "-mn", "-R", "-ePASBME", "{file}"],
        clean: &[0, 10, 15],
        infected: &[5, 20, 21, 25],
        pattern: r"(?m)(?:INFECTED|infected:|WARNING|SUSPICION|SUSPICIOUS) (\S+)",
    },
    Preset {
        name: "aveclient",
        words: &["/usr/bin/aveclient", "-p", "/var/run/aveserver", "-s", "{file}"],
        clean: &[0, 3, 6, 8],
        infected: &[],
        pattern: r"(?m)(?:INFECTED|SUSPICION|SUSPICIOUS) (\S+)",
    },
    Preset {
        name: "avgscan",
        words: &["/usr/bin/avgscan", "-a", "--arc", "{file}"],
        clean: &[0],
        infected: &[],
        pattern: r"(?m)(?:Virus identified|Virus found|Trojan horse) (\S+)",
    },
    Preset {
        name: "avastcmd",
        words: &["/usr/bin/avastcmd", "-a", "-i", "-n", "-t=A", "{file}"],
        clean: &[0],
        infected: &[1],
        pattern: r"(?m)\[infected by:?\s+([^\]\n]+)\]",
    },
    Preset {
        name: "drweb",
        words: &["/usr/bin/drweb", "-path={file}", "-al", "-go", "-ot", "-cn", "-upn", "-ok-"],
        clean: &[0, 32],
        infected: &[1, 9, 33],
        pattern: r"(?m)infected (?:with|by)(?: virus)? (\S+)",
    },
    Preset {
        name: "uvscan",
        words: &["/usr/local/bin/uvscan", "--secure", "-rv", "--mime", "--summary", "--noboot", "{file}"],
        clean: &[0],
        infected: &[13],
        pattern: r"(?mi)(?:found the|found trojan or variant) (\S+)",
    },
    Preset {
        name: "ikarus",
        words: &["/usr/local/bin/ikarus", "{file}"],
        clean: &[0],
        infected: &[40],
        pattern: r"(?m)Signature (.+?) found",
    },
    Preset {
        name: "sweep",
        words: &["/usr/local/bin/sweep", "-nb", "-f", "-all", "-rec", "-ss", "-sc", "-archive", "{file}"],
        clean: &[0, 2],
        infected: &[3],
        pattern: r"(?m)Virus .*?'(.+?)' found",
    },
];

impl Command {
    /// The words with the file's path in them.
    #[must_use]
    pub fn words_for(&self, file: &str) -> Vec<String> {
        let folder = file.rsplit_once('/').map_or(".", |(folder, _)| folder);
        self.words.iter().map(|word| word.replace("{file}", file).replace("{folder}", folder)).collect()
    }

    /// What the program said. `code` is none when a signal ended it.
    pub fn read(&self, code: Option<i32>, output: &str) -> Result<Answer, Trouble> {
        let named = self.pattern.as_ref().and_then(|pattern| pattern.captures(output));
        let name = named.as_ref().map(|groups| {
            let name = groups.get(1).map_or("", |group| group.as_str()).trim();
            if name.is_empty() { "unnamed".to_owned() } else { Trouble::shown(name) }
        });
        let Some(code) = code else { return Err(Trouble::Error("it was ended by a signal".to_owned())) };
        if let Some(name) = &name {
            return Ok(Answer::Infected(name.clone()));
        }
        if self.infected.contains(&code) {
            return Ok(Answer::Infected("unnamed".to_owned()));
        }
        if self.clean.contains(&code) {
            return Ok(Answer::Clean);
        }
        let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(Trouble::error(format!("exit code {code}: {last}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(name: &str) -> Command {
        let preset = PRESETS.iter().find(|p| p.name == name).unwrap();
        Command {
            words: preset.words.iter().map(|w| (*w).to_owned()).collect(),
            clean: preset.clean.to_vec(),
            infected: preset.infected.to_vec(),
            pattern: Some(Regex::new(preset.pattern).unwrap()),
            user: String::new(),
        }
    }

    #[test]
    fn every_preset_names_what_its_scanner_prints() {
        for (name, code, output, virus) in [
            ("clamscan", 1, "/x/a: Win.Test.EICAR_HDB-1 FOUND\n", "Win.Test.EICAR_HDB-1"),
            ("kavscanner", 25, "/x/a INFECTED EICAR-Test-File\n", "EICAR-Test-File"),
            ("kavscanner", 4, "/x/a infected: EICAR-Test-File\n", "EICAR-Test-File"),
            ("aveclient", 4, "/x/a INFECTED EICAR-Test-File\n", "EICAR-Test-File"),
            ("avgscan", 5, "/x/a  Virus identified EICAR_Test\n", "EICAR_Test"),
            ("avastcmd", 1, "/x/a [infected by: EICAR Test]\n", "EICAR Test"),
            ("drweb", 1, "/x/a infected with EICAR Test File\n", "EICAR"),
            ("uvscan", 13, "/x/a ... Found the EICAR test file", "EICAR"),
            ("ikarus", 40, "Signature EICAR-ANTIVIRUS found", "EICAR-ANTIVIRUS"),
            ("sweep", 3, ">>> Virus 'EICAR-AV-Test' found in file /x/a\n", "EICAR-AV-Test"),
        ] {
            let command = preset(name);
            assert_eq!(command.read(Some(code), output), Ok(Answer::Infected(virus.to_owned())), "{name}");
            assert_eq!(command.read(Some(0), "/x/a OK\n"), Ok(Answer::Clean), "{name}");
            assert!(command.read(Some(77), "").is_err(), "{name}: a code nobody mapped");
            assert!(command.read(None, "").is_err(), "{name}: a signal");
        }
        assert_eq!(PRESETS.len(), 9);
    }

    #[test]
    fn an_error_that_speaks_of_the_licence_is_told_apart() {
        let lapsed = preset("avgscan").read(Some(2), "License has expired\n");
        assert!(matches!(lapsed, Err(Trouble::Licence(_))), "{lapsed:?}");
    }

    #[test]
    fn the_file_goes_in_as_one_word() {
        let command = Command {
            words: vec!["s".to_owned(), "-path={file}".to_owned(), "{folder}".to_owned()],
            ..preset("ikarus")
        };
        assert_eq!(command.words_for("/t/x y"), ["s", "-path=/t/x y", "/t"]);
    }
}
