//! `luytre smime`: whose signature a message carries, and whether it may be believed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::env::Clock;
use crate::inspect::checks::auth;
use crate::inspect::checks::content::smime::{self, TrustMaterial, TrustStore};
use crate::inspect::{SmimeFact, SmimeStatus};
use crate::mail::header::Headers;
use crate::mail::mime::{self, Limits};
use crate::mail::problem::Severity;

/// S/MIME signatures and certificates.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Shows the certificates of a signed message (.eml) or of a PEM or DER file, with a verdict on each. / Xem chứng
    /// thư.
    Show {
        /// The message, or the certificates
        file: PathBuf,
        /// Files or folders of trusted certificates
        #[arg(long, default_value = "certs/trust")]
        trust: Vec<PathBuf>,
    },
    /// Verifies signed messages; exit code 0 only if every one is valid. / Kiểm tra chữ ký.
    Verify {
        /// Signed messages
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Files or folders of trusted certificates
        #[arg(long, default_value = "certs/trust")]
        trust: Vec<PathBuf>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let outcome = match args.command {
        Command::Show { file, trust } => load(&trust).and_then(|store| show(&file, &store)),
        Command::Verify { files, trust, json } => load(&trust).and_then(|store| verify(&files, &store, json)),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("luytre smime: {message}");
        ExitCode::from(2)
    })
}

fn load(paths: &[PathBuf]) -> Result<TrustStore, String> {
    let (material, problems) = smime::run::load(paths);
    for problem in &problems {
        eprintln!("luytre smime: {problem}");
    }
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err("the trusted certificates are not usable; name them with --trust (installed: /usr/share/luytre/certs/trust)".into());
    }
    Ok(TrustStore::from_der(&material))
}

fn show(file: &Path, store: &TrustStore) -> Result<ExitCode, String> {
    let bytes = read(file)?;
    let mut certificates = TrustMaterial::default();
    if certificates.add(&bytes, false).is_ok() {
        for line in smime::describe_certificates(&certificates.anchors, store, Clock::system().now()) {
            println!("{line}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", text(file, &examine(&bytes, store)));
    Ok(ExitCode::SUCCESS)
}

fn verify(files: &[PathBuf], store: &TrustStore, json: bool) -> Result<ExitCode, String> {
    let mut all_valid = true;
    for file in files {
        let fact = examine(&read(file)?, store);
        all_valid &= fact.status == SmimeStatus::Valid;
        if json {
            let object = serde_json::json!({ "file": file, "smime": fact });
            println!("{object}");
        } else {
            print!("{}", text(file, &fact));
        }
    }
    Ok(if all_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|e| format!("{}: {e}", file.display()))
}

fn examine(bytes: &[u8], store: &TrustStore) -> SmimeFact {
    let raw = with_crlf(bytes);
    let tree = mime::parse(&raw, &Limits::default());
    let from = auth::from::read(&Headers::parse(&raw)).mailbox;
    smime::examine(&raw, &tree, store, from.as_ref(), Clock::system().now()).0
}

/// Files are often kept with LF; on the wire, and under a signature, lines end with CRLF (RFC 8551 §3.1.1).
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut last = 0;
    for byte in bytes {
        if *byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        last = *byte;
    }
    out
}

fn text(file: &Path, fact: &SmimeFact) -> String {
    let mut out = format!("{}: {} ({})", file.display(), fact.status, in_vietnamese(fact.status));
    if !fact.detail.is_empty() {
        out.push_str(&format!(": {}", fact.detail.escape_debug()));
    }
    if fact.encrypted {
        out.push_str("; encrypted");
    }
    out.push('\n');
    for signer in &fact.signers {
        out.push_str(&format!(
            "  {} [{}]\n    issued by {}, serial {}\n    {} to {}, {}: {}\n",
            signer.subject.escape_debug(),
            signer.addresses.join(", ").escape_debug(),
            signer.issuer.escape_debug(),
            signer.serial,
            signer.not_before,
            signer.not_after,
            signer.digest,
            signer.status
        ));
    }
    out
}

/// The words of DOMAIN §3 for people.
const fn in_vietnamese(status: SmimeStatus) -> &'static str {
    match status {
        SmimeStatus::None => "không có chữ ký",
        SmimeStatus::Valid => "hợp lệ",
        SmimeStatus::Altered => "không hợp lệ, nội dung bị sửa",
        SmimeStatus::Modified => "bị sửa sau khi ký",
        SmimeStatus::Expired => "hết hạn",
        SmimeStatus::Revoked => "đã thu hồi",
        SmimeStatus::UnknownRevocation => "không rõ thu hồi",
        SmimeStatus::Untrusted => "không rõ nơi cấp",
        SmimeStatus::WrongSender => "khác địa chỉ người gửi",
        SmimeStatus::Weak => "thuật toán yếu",
        SmimeStatus::Partial => "chỉ ký một phần",
        SmimeStatus::Malformed => "chữ ký sai định dạng",
        SmimeStatus::Unverifiable => "không kiểm tra được",
    }
}
