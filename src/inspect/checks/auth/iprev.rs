//! Reverse DNS confirmed forward (RFC 8601 §2.7.3).

use std::net::IpAddr;

use crate::env::Dns;
use crate::inspect::AuthResult;

/// Names of an address that are looked up; an honest one has one.
const MOST_NAMES: usize = 5;

/// The result, the name that led back (or the first one there is), and a reason.
pub async fn check(dns: &Dns, client: IpAddr) -> (AuthResult, Option<String>, String) {
    let client = client.to_canonical();
    let names = match dns.names(client).await {
        Ok(names) => names,
        Err(error) if error.is_void() => return (AuthResult::PermError, None, "the address has no name".to_owned()),
        Err(error) => return (AuthResult::TempError, None, error.to_string()),
    };
    let mut trouble = None;
    for name in names.iter().take(MOST_NAMES) {
        let found = match client {
            IpAddr::V4(v4) => dns.ipv4(name).await.map(|list| list.contains(&v4)),
            IpAddr::V6(v6) => dns.ipv6(name).await.map(|list| list.contains(&v6)),
        };
        match found {
            Ok(true) => return (AuthResult::Pass, Some(name.clone()), String::new()),
            Ok(false) => {}
            Err(error) if error.is_void() => {}
            Err(error) => trouble = Some(error.to_string()),
        }
    }
    let name = names.into_iter().next();
    match trouble {
        Some(why) => (AuthResult::TempError, name, why),
        None => (AuthResult::Fail, name, "no name of the address leads back to it".to_owned()),
    }
}
