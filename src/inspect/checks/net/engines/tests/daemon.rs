//! A daemon that speaks one engine's protocol. What it answers depends on a word in the octets: EICAR, ENCRYPTED, ERROR,
//! LICENCE, LARGE; how it answers on SLOW, CUT, GARBAGE, SPLIT.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::super::settings::Kind;

pub struct Daemon {
    pub address: String,
    pub connections: Arc<AtomicUsize>,
    /// Most at one time.
    pub most: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
    blind: Arc<AtomicBool>,
    signatures: Arc<AtomicUsize>,
    hang_up: Arc<watch::Sender<()>>,
}

struct Session {
    kind: Kind,
    blind: Arc<AtomicBool>,
    signatures: Arc<AtomicUsize>,
}

type Line<'s> = BufReader<&'s mut (dyn Both + 's)>;
trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Both for S {}

impl Daemon {
    fn new(address: String) -> Self {
        Self {
            address,
            connections: Arc::default(),
            most: Arc::default(),
            now: Arc::default(),
            down: Arc::default(),
            blind: Arc::default(),
            signatures: Arc::new(AtomicUsize::new(27800)),
            hang_up: Arc::new(watch::Sender::new(())),
        }
    }

    pub async fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let daemon = Self::new(listener.local_addr().unwrap().to_string());
        let door = daemon.door();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                door.take(kind, stream);
            }
        });
        daemon
    }

    pub async fn start_unix(kind: Kind, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let daemon = Self::new(format!("unix:{}", path.display()));
        let door = daemon.door();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                door.take(kind, stream);
            }
        });
        daemon
    }

    /// The same daemon, for the task that accepts.
    fn door(&self) -> Self {
        Self {
            address: self.address.clone(),
            connections: Arc::clone(&self.connections),
            most: Arc::clone(&self.most),
            now: Arc::clone(&self.now),
            down: Arc::clone(&self.down),
            blind: Arc::clone(&self.blind),
            signatures: Arc::clone(&self.signatures),
            hang_up: Arc::clone(&self.hang_up),
        }
    }

    fn take(&self, kind: Kind, mut stream: impl Both + 'static) {
        if self.down.load(Ordering::SeqCst) {
            return;
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        let open = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        let session = Session { kind, blind: Arc::clone(&self.blind), signatures: Arc::clone(&self.signatures) };
        let (mut hang_up, now) = (self.hang_up.subscribe(), Arc::clone(&self.now));
        tokio::spawn(async move {
            let mut line: Line<'_> = BufReader::new(&mut stream);
            tokio::select! {
                _ = session.serve(&mut line) => {}
                _ = hang_up.changed() => {}
            }
            now.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Closes every connection; new ones are welcome.
    pub fn hang_up(&self) {
        self.hang_up.send_replace(());
    }
    pub fn stop(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.hang_up();
    }
    pub fn resume(&self) {
        self.down.store(false, Ordering::SeqCst);
    }
    /// Finds nothing any more.
    pub fn blind(&self) {
        self.blind.store(true, Ordering::SeqCst);
    }
    pub fn new_signatures(&self) {
        self.signatures.fetch_add(1, Ordering::SeqCst);
    }
}

impl Session {
    async fn serve(&self, line: &mut Line<'_>) -> io::Result<()> {
        match self.kind {
            Kind::Clamd => self.clamd(line).await,
            Kind::Icap => self.icap(line).await,
            Kind::KasperskyScanEngine => self.http(line).await,
            Kind::Sssp => self.sssp(line).await,
            Kind::Fprot => {
                let words = read_line(line).await?;
                let size = words.strip_prefix("SCAN STREAM mail SIZE ").unwrap().parse().unwrap();
                let octets = exactly(line, size).await?;
                assert_eq!(exactly(line, 1).await?, b"\n");
                self.say(line, &octets, "").await
            }
            _ => self.files(line).await,
        }
    }

    /// Those that read a file, whose name a line tells.
    async fn files(&self, line: &mut Line<'_>) -> io::Result<()> {
        let greeting = match self.kind {
            Kind::KasperskyAveserver => "201 Kaspersky aveserver\r\n",
            Kind::Avg => "220-AVG7 Anti-Virus daemon\r\n220 ready\r\n",
            Kind::Avast => "220 Welcome to avast! Virus scanning daemon\r\n",
            Kind::Savapi => "100 SAVAPI:3.1\n",
            _ => "",
        };
        line.write_all(greeting.as_bytes()).await?;
        if self.kind == Kind::Savapi {
            assert_eq!(read_line(line).await?, "SET PRODUCT 11906");
            line.write_all(b"100 PRODUCT:11906\n").await?;
        }
        let (start, end) = match self.kind {
            Kind::KasperskyAveserver => ("SCAN bPQRSTUW ", "\r\n"),
            Kind::KasperskyKlms => ("nSCAN ", "\n"),
            Kind::Savapi => ("SCAN ", "\n"),
            _ => ("SCAN ", "\r\n"),
        };
        loop {
            let command = raw_line(line).await?;
            let path = command.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).unwrap().to_owned();
            let octets = std::fs::read(&path).unwrap();
            self.say(line, &octets, &path).await?;
            if self.kind == Kind::KasperskyKlms {
                return Ok(());
            }
        }
    }

    async fn clamd(&self, line: &mut Line<'_>) -> io::Result<()> {
        for number in 0_u32.. {
            let mut command = Vec::new();
            if line.read_until(0, &mut command).await? == 0 {
                return Ok(());
            }
            match command.as_slice() {
                b"zIDSESSION\0" => assert_eq!(number, 0),
                // One that does not take descriptors.
                b"zFILDES\0" => {
                    line.write_all(format!("{number}: UNKNOWN COMMAND\0").as_bytes()).await?;
                    return Ok(());
                }
                b"zVERSION\0" => {
                    let base = self.signatures.load(Ordering::SeqCst);
                    let answer = format!("{number}: ClamAV 1.4.3/{base}/Sat Nov 21 09:41:02 2026\0");
                    line.write_all(answer.as_bytes()).await?;
                }
                b"zINSTREAM\0" => {
                    let mut octets = Vec::new();
                    loop {
                        let length = usize::try_from(line.read_u32().await?).unwrap();
                        if length == 0 {
                            break;
                        }
                        octets.extend(exactly(line, length).await?);
                    }
                    self.say(line, &octets, &number.to_string()).await?;
                }
                other => panic!("{:?}", String::from_utf8_lossy(other)),
            }
        }
        Ok(())
    }

    async fn sssp(&self, line: &mut Line<'_>) -> io::Result<()> {
        line.write_all(b"OK SSSP/1.0\r\n").await?;
        assert_eq!(raw_line(line).await?, "SSSP/1.0\n");
        line.write_all(b"ACC 4A3BC8D5/1\r\n").await?;
        loop {
            let command = raw_line(line).await?;
            let size = command.strip_prefix("SCANDATA ").unwrap().trim_end().parse().unwrap();
            line.write_all(b"ACC 4A3BC8D5/2\r\n").await?;
            let octets = exactly(line, size).await?;
            self.say(line, &octets, "").await?;
        }
    }

    async fn http(&self, line: &mut Line<'_>) -> io::Result<()> {
        let head = section(line).await?;
        assert!(head.starts_with("POST /scanmemory HTTP/1.1\r\n") && head.contains("X-KAV-ProtocolVersion: 1\r\n"));
        let octets = exactly(line, number_after(&head, "Content-Length: ").unwrap()).await?;
        self.say(line, &octets, "").await
    }

    async fn icap(&self, line: &mut Line<'_>) -> io::Result<()> {
        loop {
            let head = section(line).await?;
            if head.starts_with("OPTIONS icap://127.0.0.1/avscan ICAP/1.0\r\n") {
                let options = "ICAP/1.0 200 OK\r\nMethods: RESPMOD, REQMOD\r\nAllow: 204\r\nPreview: 1024\r\n\
                               ISTag: \"v1\"\r\nEncapsulated: null-body=0\r\n\r\n";
                line.write_all(options.as_bytes()).await?;
                continue;
            }
            assert!(head.starts_with("RESPMOD icap://127.0.0.1/avscan ICAP/1.0\r\n"), "{head}");
            let http = exactly(line, number_after(&head, "res-body=").unwrap()).await?;
            assert!(http.starts_with(b"GET http://") && http.ends_with(b"\r\n\r\n"));
            let (mut octets, ieof) = chunks(line).await?;
            assert!(octets.len() <= number_after(&head, "Preview: ").unwrap(), "a preview is no longer than announced");
            if !ieof {
                line.write_all(b"ICAP/1.0 100 Continue\r\n\r\n").await?;
                octets.extend(chunks(line).await?.0);
            }
            self.say(line, &octets, "").await?;
        }
    }

    /// The answer about `octets`, as the octets say it should come.
    async fn say(&self, line: &mut Line<'_>, octets: &[u8], of: &str) -> io::Result<()> {
        let has = |word: &str| memchr::memmem::find(octets, word.as_bytes()).is_some();
        if has("SLOW") {
            std::future::pending::<()>().await;
        }
        if has("GARBAGE") {
            line.write_all(b"\xff\xfe\x01 neither this nor that\r\n\0\r\n\r\n").await?;
            return Err(io::ErrorKind::Other.into());
        }
        let what = ["ERROR", "LICENCE", "LARGE", "ENCRYPTED", "EICAR"].into_iter().find(|word| has(word));
        let what = what.filter(|what| *what != "EICAR" || !self.blind.load(Ordering::SeqCst));
        let answer = answer(self.kind, what.unwrap_or_default(), of);
        if has("CUT") {
            line.write_all(&answer.as_bytes()[..answer.len() / 2]).await?;
            return Err(io::ErrorKind::Other.into());
        }
        if has("SPLIT") {
            for octet in answer.as_bytes() {
                line.write_all(&[*octet]).await?;
                line.flush().await?;
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        line.write_all(answer.as_bytes()).await
    }
}

/// Byte for byte what the daemon of a kind says (DOMAIN §2.6, §2.7).
fn answer(kind: Kind, what: &str, of: &str) -> String {
    match kind {
        Kind::Clamd | Kind::KasperskyKlms => {
            let (start, end) =
                if kind == Kind::Clamd { (format!("{of}: stream"), "\0") } else { (of.to_owned(), "\n") };
            match what {
                "EICAR" => format!("{start}: Eicar-Test FOUND{end}"),
                "ENCRYPTED" => format!("{start}: Heuristics.Encrypted.Zip FOUND{end}"),
                "LARGE" => format!("INSTREAM size limit exceeded. ERROR{end}"),
                "LICENCE" => format!("{start}: License has expired ERROR{end}"),
                "ERROR" => format!("{start}: Can't allocate memory ERROR{end}"),
                _ => format!("{start}: OK{end}"),
            }
        }
        Kind::KasperskyAveserver => match what {
            "EICAR" => format!("322 Eicar-Test {of}\r\n230 infected\r\n"),
            "LICENCE" => "531 license expired\r\n".to_owned(),
            "" => "220 clean\r\n".to_owned(),
            _ => "520 cannot scan\r\n".to_owned(),
        },
        Kind::KasperskyScanEngine => {
            let (code, body) = match what {
                "EICAR" => ("200 OK", "DETECT Eicar-Test"),
                "ENCRYPTED" => ("200 OK", "NON_SCANNED (PASSWORD PROTECTED)"),
                "LARGE" => ("413 Payload Too Large", ""),
                "LICENCE" => ("200 OK", "NON_SCANNED (LICENSE EXPIRED)"),
                "ERROR" => ("200 OK", "SERVER_ERROR"),
                _ => ("200 OK", "CLEAN"),
            };
            format!("HTTP/1.1 {code}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        Kind::Avg => match what {
            "EICAR" => format!("403-File '{of}', 'Virus identified Eicar-Test'\r\n403 done\r\n"),
            "LICENCE" => "555 license expired\r\n".to_owned(),
            "" => "200 ok\r\n".to_owned(),
            _ => "406 cannot scan\r\n".to_owned(),
        },
        Kind::Sssp => match what {
            "EICAR" => "VIRUS Eicar-Test /mail\r\nDONE OK 0203 Virus found during virus scan\r\n\r\n".to_owned(),
            "ENCRYPTED" => "FAIL 0212 /mail\r\nDONE OK 0212 File is encrypted\r\n\r\n".to_owned(),
            "LARGE" => "REJ 4\r\n".to_owned(),
            "LICENCE" => "DONE FAIL 0222 License expired\r\n\r\n".to_owned(),
            "ERROR" => "DONE FAIL 021F Corrupt\r\n\r\n".to_owned(),
            _ => "DONE OK 0000 The function call succeeded\r\n\r\n".to_owned(),
        },
        Kind::Fprot => match what {
            "EICAR" => "1 <infected: Eicar-Test> mail\n".to_owned(),
            "LICENCE" => "32 <license expired> mail\n".to_owned(),
            "" => "0 <clean> mail\n".to_owned(),
            _ => "4 <error> mail\n".to_owned(),
        },
        Kind::Savapi => match what {
            "EICAR" => format!("310 {of} <<< Eicar-Test ; virus ; Contains code\n319 infected\n"),
            "LICENCE" => "450 license expired\n".to_owned(),
            "" => "200 clean\n".to_owned(),
            _ => "350 error\n".to_owned(),
        },
        Kind::Avast => match what {
            "EICAR" => format!("210 SCAN DATA\r\n{of}\t[L]\tEicar-Test\r\n200 SCAN OK\r\n"),
            "LICENCE" => "466 License expired\r\n".to_owned(),
            "" => format!("210 SCAN DATA\r\n{of}\t[+]\r\n200 SCAN OK\r\n"),
            _ => format!("210 SCAN DATA\r\n{of}\t[E]\tcannot\r\n200 SCAN OK\r\n"),
        },
        Kind::Icap | Kind::Command => icap(what),
    }
}

fn icap(what: &str) -> String {
    let head = match what {
        "EICAR" => "200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;",
        "ENCRYPTED" => "200 OK\r\nX-Infection-Found: Type=2; Resolution=0; Threat=Encrypted archive;",
        "LARGE" => "413 Request entity too large",
        "LICENCE" => "539 Aborted - No AV scanning license",
        "ERROR" => "500 Server error",
        _ => "204 Unmodified",
    };
    let page = "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n";
    if head.starts_with("200") {
        let at = page.len();
        return format!(
            "ICAP/1.0 {head}\r\nISTag: \"v1\"\r\nEncapsulated: res-hdr=0, res-body={at}\r\n\r\n{page}4\r\npage\r\n0\r\n\r\n"
        );
    }
    format!("ICAP/1.0 {head}\r\nISTag: \"v1\"\r\nEncapsulated: null-body=0\r\n\r\n")
}

async fn raw_line(line: &mut Line<'_>) -> io::Result<String> {
    let mut text = String::new();
    if line.read_line(&mut text).await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(text) }
}

async fn read_line(line: &mut Line<'_>) -> io::Result<String> {
    Ok(raw_line(line).await?.trim_end().to_owned())
}

/// Lines up to an empty one.
async fn section(line: &mut Line<'_>) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let next = raw_line(line).await?;
        if next == "\r\n" {
            return Ok(text);
        }
        text.push_str(&next);
    }
}

fn number_after(text: &str, before: &str) -> Option<usize> {
    let rest = text.split_once(before)?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

async fn exactly(line: &mut Line<'_>, length: usize) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; length];
    line.read_exact(&mut octets).await?;
    Ok(octets)
}

/// A body in chunks; true when it ended with `ieof`.
async fn chunks(line: &mut Line<'_>) -> io::Result<(Vec<u8>, bool)> {
    let mut octets = Vec::new();
    loop {
        let head = read_line(line).await?;
        let length = usize::from_str_radix(head.split(';').next().unwrap(), 16).unwrap();
        if length > 0 {
            octets.extend(exactly(line, length).await?);
        }
        assert_eq!(raw_line(line).await?, "\r\n");
        if length == 0 {
            return Ok((octets, head.contains("ieof")));
        }
    }
}
