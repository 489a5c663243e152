//! Whether outgoing mail can be protected: DNSSEC through the configured name servers (DANE rests on it), the roots and
//! policies of MTA-STS.

use std::net::SocketAddr;
use std::path::Path;

use tokio::time::Instant;

use super::{Report, Weight, Words};
use crate::deliver::settings::Dnssec;
use crate::deliver::tlspolicy::sts;
use crate::env::dns::validator::{Validator, Wanted};
use crate::env::dns::{Dns, Options};
use crate::env::https;
use crate::env::tls::guard::Guard;
use crate::mail::Domain;
use crate::policy::Policy;

/// RFC 8461 §3.2.
const LARGEST: usize = 64 << 10;

pub async fn look(policy: &Policy, dns: &Dns, options: &Options, report: &mut Report) {
    if !policy.deliver.smart_host.is_empty() {
        let host = &policy.deliver.smart_host;
        report.good(&Words::new(
            format!("thư đi qua {host}: DANE và MTA-STS là việc của máy đó"),
            format!("outgoing mail goes through {host}: DANE and MTA-STS are its affair"),
        ));
        return;
    }
    dnssec(policy, options, report).await;
    if !policy.deliver.internet.mta_sts {
        report.tell(
            Weight::Odd,
            &Words::new("thư đi không theo MTA-STS", "outgoing mail does not heed MTA-STS"),
            &Words::new("đặt [deliver.internet] mta_sts = true", "set [deliver.internet] mta_sts = true"),
        );
        return;
    }
    let roots = &policy.deliver.internet.roots;
    match Guard::new(Some(roots.as_path()).filter(|path| !path.as_os_str().is_empty())) {
        Ok(guard) => {
            for domain in policy.agencies.iter().flat_map(|a| &a.domains) {
                own_policy(policy, dns, &guard, domain, report).await;
            }
        }
        Err(error) => report.tell(
            Weight::Bad,
            &Words::new(
                format!("không đọc được chứng thư gốc cho MTA-STS: {error}"),
                format!("the roots for MTA-STS cannot be read: {error}"),
            ),
            &Words::new("sửa [deliver.internet] roots", "mend [deliver.internet] roots"),
        ),
    }
}

async fn dnssec(policy: &Policy, options: &Options, report: &mut Report) {
    let settings = &policy.deliver.internet;
    let required = match settings.dnssec {
        Dnssec::Off => {
            report.tell(
                Weight::Odd,
                &Words::new("DNSSEC đang tắt: thư đi không có DANE", "DNSSEC is off: outgoing mail has no DANE"),
                &Words::new("đặt [deliver.internet] dnssec = \"auto\"", "set [deliver.internet] dnssec = \"auto\""),
            );
            return;
        }
        Dnssec::Auto => false,
        Dnssec::Required => true,
    };
    let anchors = Some(settings.trust_anchors.as_path()).filter(|path| !path.as_os_str().is_empty());
    // Asked as `auto` would, whatever is set: `required` takes the answer for granted.
    let usable = match Validator::new(options, Wanted::Auto, anchors.map(Path::to_owned)) {
        Ok(validator) => validator.is_usable().await,
        Err(error) => {
            let remedy = Words::new("sửa [deliver.internet] trust_anchors", "mend [deliver.internet] trust_anchors");
            report.tell(Weight::Bad, &Words::new(error.to_string(), error.to_string()), &remedy);
            return;
        }
    };
    if usable {
        report.good(&Words::new(
            "DNSSEC: máy chủ DNS chuyển chữ ký, DANE dùng được",
            "DNSSEC: the name servers pass signatures on, DANE works",
        ));
        return;
    }
    let (weight, so) = match required {
        true => (Weight::Bad, ("không thư nào đi được", "no mail leaves")),
        false => (Weight::Odd, ("thư đi không có DANE", "outgoing mail has no DANE")),
    };
    report.tell(
        weight,
        &Words::new(
            format!("DNSSEC: máy chủ DNS không chuyển chữ ký (hoặc giờ máy sai): {}", so.0),
            format!("DNSSEC: the name servers do not pass signatures on (or the clock is wrong): {}", so.1),
        ),
        &Words::new(
            "cài unbound trên máy này rồi đặt [dns] servers = [\"127.0.0.1:53\"]",
            "install unbound on this machine and set [dns] servers = [\"127.0.0.1:53\"]",
        ),
    );
}

/// What an agency's domain publishes for others, fetched as they fetch it: that shows as well whether we can fetch theirs.
async fn own_policy(policy: &Policy, dns: &Dns, guard: &Guard, domain: &Domain, report: &mut Report) {
    let texts = dns.txt(&format!("_mta-sts.{domain}")).await.unwrap_or_default();
    if sts::record_id(&texts).is_none() {
        report.good(&Words::new(
            format!("{domain} chưa công bố MTA-STS (luytre doctor --records)"),
            format!("{domain} publishes no MTA-STS policy yet (luytre doctor --records)"),
        ));
        return;
    }
    let fetched = fetch(policy, dns, guard, domain).await;
    match fetched {
        Ok(found) if found.mode == sts::Mode::None || found.names(policy.hostname.as_str()) => {
            report.good(&Words::new(
                format!("MTA-STS của {domain} lấy được và đúng"),
                format!("the MTA-STS policy of {domain} can be had and names this gateway"),
            ));
        }
        Ok(_) => report.tell(
            Weight::Bad,
            &Words::new(
                format!("MTA-STS của {domain} không có tên {}: nơi khác không gửi thư đến đây", policy.hostname),
                format!("the MTA-STS policy of {domain} does not name {}: others send no mail here", policy.hostname),
            ),
            &Words::new(format!("thêm dòng mx: {}", policy.hostname), format!("add a line mx: {}", policy.hostname)),
        ),
        Err(why) => report.tell(
            Weight::Odd,
            &Words::new(
                format!("không lấy được MTA-STS của {domain}: {why}"),
                format!("the MTA-STS policy of {domain} cannot be had: {why}"),
            ),
            &Words::new(
                "mở cổng 443 ra ngoài; kiểm tra chứng thư của trang đó",
                "let port 443 out; look at that site's certificate",
            ),
        ),
    }
}

async fn fetch(policy: &Policy, dns: &Dns, guard: &Guard, domain: &Domain) -> Result<sts::Policy, String> {
    let (host, port) = (format!("mta-sts.{domain}"), policy.deliver.internet.https_port);
    let found = dns.addresses(&host).await.map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let ask = https::Ask {
        host: &host,
        addresses: &addresses,
        port,
        path: "/.well-known/mta-sts.txt",
        limit_bytes: LARGEST,
        deadline: Instant::now() + super::network::PATIENCE,
    };
    let page = https::get(guard, ask).await.map_err(|error| error.to_string())?;
    sts::Policy::read(&page.body).map_err(str::to_owned)
}
