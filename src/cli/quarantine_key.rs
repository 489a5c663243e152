//! `luytre quarantine key`: the master keys of held mail. A key itself is shown by `new` only.

use clap::Subcommand;
use serde_json::Value;

use super::place::{Site, Trouble, ask, needs_gateway, sudo};
use crate::env::vault::MasterKey;
use crate::gateway::control::{Reply, Request};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The key file and the names of the keys in it. / Tệp khóa và tên các khóa.
    List,
    /// Print a new key, a line for a key file or a systemd credential. / In một khóa mới.
    New,
    /// Seal everything with a new key. / Đổi khóa và mã hóa lại toàn bộ.
    Rotate {
        /// Why; it is written down.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub fn run(args: &Args, site: &Site, json: bool) -> Result<(), Trouble> {
    match &args.action {
        Action::New => {
            let key = MasterKey::generate().map_err(|error| Trouble::Said(error.to_string()))?;
            println!("{} # {}", key.line(), key.id());
            Ok(())
        }
        Action::List => match ask(&mut needs_gateway(&site.data)?, &Request::QuarantineKeys)? {
            Reply::Value { value } if json => {
                println!("{value}");
                Ok(())
            }
            Reply::Value { value } => {
                let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                println!("{}", text("file"));
                let none = Vec::new();
                let keys = value.get("keys").and_then(Value::as_array).unwrap_or(&none);
                for (n, key) in keys.iter().enumerate() {
                    let use_of = if n == 0 { "seals" } else { "opens what it sealed" };
                    println!("{}  {use_of}", key.as_str().unwrap_or_default());
                }
                Ok(())
            }
            other => Err(Trouble::unexpected(&other)),
        },
        Action::Rotate { reason } => {
            let request = Request::QuarantineRotate { sudo: sudo(), reason: reason.clone() };
            match ask(&mut needs_gateway(&site.data)?, &request)? {
                Reply::Done { count } => {
                    if json {
                        println!("{}", serde_json::json!({ "sealed": count }));
                    } else {
                        println!("{count} files were sealed anew");
                    }
                    Ok(())
                }
                other => Err(Trouble::unexpected(&other)),
            }
        }
    }
}
