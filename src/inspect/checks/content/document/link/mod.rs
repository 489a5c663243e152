//! Files that lead elsewhere or run something when they are opened: shell links, Internet shortcuts and their kin,
//! scripts, help files, calendars and cards, spreadsheets in text form, mailboxes.

mod encoded;
mod help;
mod mailbox;
mod script;
mod shell;
mod shortcut;
#[cfg(test)]
mod tests;

pub use help::{is_help, open as help};
pub use mailbox::{is_mailbox, open as mailbox};
pub use script::{is_script, open as script};
pub use shell::{is_shell_link, open as shell_link};
pub use shortcut::{is_shortcut, open as shortcut};

/// Programs that run what their arguments say.
const INTERPRETERS: &[&str] = &[
    "cmd",
    "powershell",
    "pwsh",
    "mshta",
    "rundll32",
    "regsvr32",
    "wscript",
    "cscript",
    "certutil",
    "bitsadmin",
    "msiexec",
    "forfiles",
    "conhost",
    "curl",
    "ftp",
    "ssh",
    "scp",
    "explorer",
    "msbuild",
    "installutil",
    "wmic",
    "schtasks",
    "hh",
    "control",
    "pcalua",
    "odbcconf",
    "cmstp",
    "bash",
    "wsl",
    "python",
    "finger",
    "msedge",
];

/// The interpreter that `command` names, if any.
fn interpreter(command: &str) -> Option<&'static str> {
    let lower = command.to_ascii_lowercase();
    let words = lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    let found: Vec<&str> = words.collect();
    INTERPRETERS.iter().find(|name| found.contains(*name)).copied()
}
