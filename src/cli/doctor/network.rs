//! The world around the gateway: DNS answers, what the agencies' domains publish, the agencies' servers.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Report, Weight, Words};
use crate::deliver::profile::Traits;
use crate::deliver::settings::{NextHop, TlsMode};
use crate::env::dns::{Dns, DnsError, Options};
use crate::env::tls::client::Connector;
use crate::mail::{Domain, KeyPin};
use crate::policy::Policy;

/// For a connection, and for each answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A server's answer to EHLO is short.
const MOST_LINES: usize = 100;

pub fn look(policy: &Policy, report: &mut Report) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report.tell(Weight::Bad, &Words::new(error.to_string(), error.to_string()), &Words::none());
            return;
        }
    };
    engines(policy, report);
    runtime.block_on(async {
        names(policy, report).await;
        for agency in &policy.agencies {
            for hop in &agency.next_hops {
                next_hop(hop, policy.hostname.as_str(), report).await;
            }
        }
    });
}

/// Each virus engine is asked now, and one whose signatures are old is named.
fn engines(policy: &Policy, report: &mut Report) {
    const OLD: i64 = 3 * 86_400;
    let standings = match super::super::engines::ask_here(policy) {
        Ok(standings) => standings,
        Err(why) => {
            report.tell(Weight::Bad, &Words::new(why.clone(), why), &Words::none());
            return;
        }
    };
    for engine in standings {
        let (id, version) = (&engine.id, &engine.version);
        if !engine.answers {
            let why = engine.last_trouble.clone().unwrap_or_default();
            report.tell(
                Weight::Bad,
                &Words::new(
                    format!("động cơ diệt virus {id} không trả lời: {why}"),
                    format!("the virus engine {id} does not answer: {why}"),
                ),
                &Words::new(
                    "khởi động lại nó; kiểm tra giấy phép và địa chỉ",
                    "start it; look at its licence and address",
                ),
            );
        } else if let Some(days) = engine.signature_age.filter(|age| *age > OLD).map(|age| age / 86_400) {
            report.tell(
                Weight::Odd,
                &Words::new(
                    format!("mẫu virus của {id} đã cũ {days} ngày"),
                    format!("{id}: signatures are {days} days old"),
                ),
                &Words::new("xem trình cập nhật của nó (freshclam…)", "look at its updater (freshclam, ...)"),
            );
        } else {
            report.good(&Words::new(
                format!("động cơ {id} trả lời {version}"),
                format!("the engine {id} answers {version}"),
            ));
        }
    }
}

async fn names(policy: &Policy, report: &mut Report) {
    let options = Options { servers: policy.dns.servers.clone(), timeout: policy.dns.timeout, ..Options::default() };
    let dns = match Dns::new(&options) {
        Ok(dns) => dns,
        Err(error) => {
            let remedy = Words::new("đặt [dns] servers", "set [dns] servers");
            report.tell(Weight::Bad, &Words::new(error.to_string(), error.to_string()), &remedy);
            return;
        }
    };
    let host = policy.hostname.as_str();
    match dns.addresses(host).await {
        Ok(found) if !found.is_empty() => {
            let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            report.good(&Words::new(format!("DNS: {host} là {list}"), format!("DNS: {host} is {list}")));
        }
        Err(error) if !error.is_void() => {
            report.tell(
                Weight::Bad,
                &Words::new(format!("DNS không trả lời: {error}"), format!("DNS does not answer: {error}")),
                &Words::new(
                    "kiểm tra /etc/resolv.conf hoặc [dns] servers",
                    "look at /etc/resolv.conf or [dns] servers",
                ),
            );
            return;
        }
        _ => report.tell(
            Weight::Bad,
            &Words::new(format!("DNS không có địa chỉ của {host}"), format!("DNS has no address for {host}")),
            &Words::new("thêm bản ghi A", "publish an A record"),
        ),
    }
    for domain in policy.agencies.iter().flat_map(|a| &a.domains) {
        exchanger(&dns, domain, host, report).await;
    }
    super::outgoing::look(policy, &dns, &options, report).await;
}

/// Whether mail for the domain comes here.
async fn exchanger(dns: &Dns, domain: &Domain, host: &str, report: &mut Report) {
    match dns.mx(domain.as_str()).await {
        Ok(records) if records.iter().any(|mx| mx.host.eq_ignore_ascii_case(host)) => {
            report.good(&Words::new(format!("MX của {domain} trỏ về đây"), format!("the MX of {domain} points here")));
        }
        Ok(records) => {
            let others = records.iter().map(|mx| mx.host.as_str()).collect::<Vec<_>>().join(", ");
            report.tell(
                Weight::Odd,
                &Words::new(
                    format!("MX của {domain} trỏ về {others}, chưa về {host}"),
                    format!("the MX of {domain} is {others}, not {host} yet"),
                ),
                &Words::new("đổi bản ghi MX khi đã sẵn sàng", "change the MX record when you are ready"),
            );
        }
        Err(error) if error.is_void() => report.tell(
            Weight::Odd,
            &Words::new(format!("{domain} chưa có bản ghi MX"), format!("{domain} has no MX record")),
            &Words::new(format!("{domain}. IN MX 10 {host}."), format!("{domain}. IN MX 10 {host}.")),
        ),
        Err(error) => unanswered(&error, report),
    }
}

fn unanswered(error: &DnsError, report: &mut Report) {
    let remedy = Words::new("thử lại sau", "try again later");
    report.tell(Weight::Odd, &Words::new(error.to_string(), error.to_string()), &remedy);
}

/// Connects as a delivery would: banner, EHLO, TLS where it is offered and wanted.
async fn next_hop(hop: &NextHop, hostname: &str, report: &mut Report) {
    let address = &hop.address;
    match greet(hop, hostname).await {
        Ok(Greeting::Secured(version, _)) => {
            report.good(&Words::new(format!("{address} trả lời, {version}"), format!("{address} answers, {version}")));
        }
        Ok(Greeting::Plain) if hop.tls == TlsMode::None => {
            report.good(&Words::new(format!("{address} trả lời"), format!("{address} answers")));
        }
        Ok(Greeting::Plain) if hop.tls == TlsMode::Required => report.tell(
            Weight::Bad,
            &Words::new(
                format!("{address} không có STARTTLS nhưng tls = \"required\""),
                format!("{address} has no STARTTLS, but tls = \"required\""),
            ),
            &Words::new(
                "bật TLS ở máy chủ, hoặc tls = \"opportunistic\"",
                "switch TLS on there, or set tls = \"opportunistic\"",
            ),
        ),
        Ok(Greeting::Plain) => report.tell(
            Weight::Odd,
            &Words::new(format!("{address} trả lời, không mã hóa được"), format!("{address} answers, without TLS")),
            &Words::none(),
        ),
        Err(Trouble::Tls(why)) => report.tell(
            if hop.tls == TlsMode::Required { Weight::Bad } else { Weight::Odd },
            &Words::new(format!("{address}: TLS không thành: {why}"), format!("{address}: no TLS: {why}")),
            &remedy(hop, hostname).await,
        ),
        Err(Trouble::Line(why)) => report.tell(
            Weight::Bad,
            &Words::new(
                format!("máy chủ {address} không nhận thư được: {why}"),
                format!("{address} cannot take mail: {why}"),
            ),
            &Words::new(
                "thư sẽ chờ trong hàng đợi; kiểm tra máy chủ và tường lửa",
                "mail will wait in the queue; look at the server and the firewall",
            ),
        ),
    }
}

/// What helps where TLS failed: the pin of the key, when it is only that nobody vouches for it.
async fn remedy(hop: &NextHop, hostname: &str) -> Words {
    if hop.tls == TlsMode::Required {
        let trusting = NextHop { tls: TlsMode::Opportunistic, tls_pins: Vec::new(), ..hop.clone() };
        if let Ok(Greeting::Secured(_, Some(pin))) = greet(&trusting, hostname).await {
            return Words::new(
                format!("nếu chắc đó là máy chủ của mình: tls_pins = [\"{pin}\"]"),
                format!("if you are sure that this is your server: tls_pins = [\"{pin}\"]"),
            );
        }
    }
    Words::new(
        "xem chứng thư và phiên bản TLS của máy chủ đó, và profile",
        "look at that server's certificate and TLS version, and at the profile",
    )
}

enum Greeting {
    Plain,
    /// With the version of TLS and the key that was shown.
    Secured(&'static str, Option<KeyPin>),
}

enum Trouble {
    Line(String),
    Tls(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Line(why)
    }
}

async fn greet(hop: &NextHop, hostname: &str) -> Result<Greeting, Trouble> {
    let late = |_| "no answer in time".to_owned();
    let connected = timeout(PATIENCE, TcpStream::connect(&hop.address)).await.map_err(late)?;
    let mut stream = BufReader::new(connected.map_err(|e| e.to_string())?);
    expect(&answer(&mut stream).await?, "220")?;
    let lines = ask(&mut stream, &format!("EHLO {hostname}")).await?;
    expect(&lines, "250")?;
    let offered = |line: &String| line.get(4..).is_some_and(|l| l.trim().eq_ignore_ascii_case("STARTTLS"));
    if hop.tls == TlsMode::None || !lines.iter().skip(1).any(offered) {
        // Whether it hears QUIT makes no difference.
        let _ = stream.write_all(b"QUIT\r\n").await;
        return Ok(Greeting::Plain);
    }
    expect(&ask(&mut stream, "STARTTLS").await?, "220")?;
    // RFC 3207 §5: bytes that came before the handshake are an injection.
    if !stream.buffer().is_empty() {
        return Err(Trouble::Tls("bytes follow its answer to STARTTLS".to_owned()));
    }
    let profile = hop.profile.traits();
    let traits = Traits { legacy_tls: hop.tls_legacy.unwrap_or(profile.legacy_tls), ..profile };
    let trust = traits.trust(hop.tls, !hop.tls_pins.is_empty());
    let host = hop.address.rsplit_once(':').map_or(hop.address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
    let connector = Connector::new(None).map_err(|e| Trouble::Tls(e.to_string()))?;
    let handshake = timeout(PATIENCE, connector.start(stream.into_inner(), host, trust)).await.map_err(late)?;
    let link = handshake.map_err(|e| Trouble::Tls(e.to_string()))?;
    let pin = link.key_digest().map(KeyPin::new);
    if !hop.tls_pins.is_empty() && !pin.is_some_and(|pin| hop.tls_pins.contains(&pin)) {
        let shown = pin.map_or_else(|| "no certificate".to_owned(), |pin| pin.to_string());
        return Err(Trouble::Tls(format!("its key is none of tls_pins; it is {shown}")));
    }
    Ok(Greeting::Secured(link.tls_version().unwrap_or("TLS"), pin))
}

/// A command and its reply.
async fn ask(stream: &mut BufReader<TcpStream>, command: &str) -> Result<Vec<String>, String> {
    stream.write_all(format!("{command}\r\n").as_bytes()).await.map_err(|e| e.to_string())?;
    answer(stream).await
}

fn expect(lines: &[String], code: &str) -> Result<(), String> {
    let first = lines.first().map_or("", String::as_str);
    if first.starts_with(code) { Ok(()) } else { Err(format!("it says \"{}\"", first.escape_debug())) }
}

/// One reply, all its lines (RFC 5321 §4.2.1).
async fn answer(stream: &mut BufReader<TcpStream>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    while lines.len() < MOST_LINES {
        let mut line = Vec::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut *stream, 1024);
        let read = timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await;
        match read {
            Ok(Ok(0)) => return Err("the connection was closed".to_owned()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("no answer in time".to_owned()),
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let more = text.get(3..4) == Some("-");
        lines.push(text);
        if !more {
            return Ok(lines);
        }
    }
    Err("its answer does not end".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::mail::Language;

    /// A server that says `banner`, then `ehlo` to whatever comes.
    async fn server(banner: &'static str, ehlo: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(banner.as_bytes()).await.unwrap();
            let mut heard = [0; 64];
            let _ = stream.read(&mut heard).await;
            let _ = stream.write_all(ehlo.as_bytes()).await;
        });
        address
    }

    async fn verdict(address: String, tls: TlsMode) -> (Weight, String) {
        let hop: NextHop = toml::from_str(&format!("address = \"{address}\"")).unwrap();
        let mut report = Report::new(Language::En);
        next_hop(&NextHop { tls, ..hop }, "mx1.test", &mut report).await;
        report.lines.remove(0)
    }

    #[tokio::test]
    async fn next_hops_are_asked_as_a_delivery_would() {
        // It offers STARTTLS and then does not go through with it.
        let liar = server("220 hub ESMTP\r\n", "250-hub\r\n250-STARTTLS\r\n250 SIZE 1000\r\n").await;
        assert_eq!(verdict(liar, TlsMode::Required).await.0, Weight::Bad);
        let plain = server("220 hub ESMTP\r\n", "250-hub\r\n250-STARTTLS\r\n250 SIZE 1000\r\n").await;
        assert_eq!(verdict(plain, TlsMode::None).await.0, Weight::Good);
        let plain = server("220 hub ESMTP\r\n", "250 hub\r\n").await;
        assert_eq!(verdict(plain, TlsMode::Required).await.0, Weight::Bad);
        let plain = server("220 hub ESMTP\r\n", "250 hub\r\n").await;
        assert_eq!(verdict(plain, TlsMode::Opportunistic).await.0, Weight::Odd);
        let busy = server("421 too busy\r\n", "").await;
        let (weight, line) = verdict(busy, TlsMode::None).await;
        assert!(weight == Weight::Bad && line.contains("421 too busy"), "{line}");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(verdict(silent.to_string(), TlsMode::None).await.0, Weight::Bad);
    }
}
