//! `luytre bypass`: the emergency switch. Relay and virus engines only, for a while.

use std::process::ExitCode;

use clap::Subcommand;

use super::place::{Asking, Trouble, ask, finish, needs_gateway, sudo};
use crate::gateway::control::{Reply, Request};
use crate::mail::Span;

pub type Args = Asking<Action>;

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Relay and virus engines only; no content rules, no points. / Chỉ chuyển thư và quét virus.
    On {
        /// It ends by itself after this time, like "2 h"; 24 hours at most.
        #[arg(long = "for", value_name = "TIME")]
        span: Span,
        /// Why; it stands in the record and in each message's receipt.
        #[arg(long)]
        reason: String,
    },
    /// Back to the full inspection now. / Kiểm tra đầy đủ trở lại.
    Off {
        /// Why; it is written down.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Whether it is on, by whom, until when. / Đang bật hay tắt.
    Status,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    finish("bypass", act(&args))
}

fn act(args: &Args) -> Result<(), Trouble> {
    let mut client = needs_gateway(&args.common.site()?.data)?;
    let request = match &args.action {
        Action::On { span, reason } => Request::BypassOn { span: *span, sudo: sudo(), reason: reason.clone() },
        Action::Off { reason } => Request::BypassOff { sudo: sudo(), reason: reason.clone() },
        Action::Status => Request::BypassStatus,
    };
    let value = match ask(&mut client, &request)? {
        Reply::Value { value } => value,
        other => return Err(Trouble::unexpected(&other)),
    };
    if args.common.json {
        println!("{value}");
        return Ok(());
    }
    let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    if value.get("on").and_then(serde_json::Value::as_bool) == Some(true) {
        let (by, until, reason) = (text("by"), text("until"), text("reason"));
        println!("on until {until}, by {by}: {reason}");
        println!("Mail is relayed after the virus engines only.");
    } else {
        println!("off");
    }
    Ok(())
}
