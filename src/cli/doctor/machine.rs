//! The machine under the gateway: user, ports, disk, clock, kernel, certificates.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::unistd::User;

use super::{Report, Weight, Words};
use crate::env::tls::pair;
use crate::env::{Clock, jail};
use crate::mail::{ByteSize, Timestamp};
use crate::policy::Policy;
use crate::quarantine::run::keys::Source;

/// No clock is before the day this was written.
const BUILT: Timestamp = Timestamp::from_seconds(1_795_219_200);

pub fn look(policy: &Policy, report: &mut Report) {
    user(policy, report);
    let running = is_running(policy.http.address);
    ports(policy, running, report);
    data_folder(policy, report);
    quarantine_key(policy, report);
    clock(report);
    cage(report);
    certificates(policy, report);
}

fn user(policy: &Policy, report: &mut Report) {
    let name = &policy.user;
    if name.is_empty() {
        if nix::unistd::geteuid().is_root() {
            report.tell(
                Weight::Odd,
                &Words::new("cổng thư sẽ chạy với quyền root", "the gateway would run as root"),
                &Words::new("đặt user = \"luytre\"", "set user = \"luytre\""),
            );
        }
    } else if !matches!(User::from_name(name), Ok(Some(_))) {
        report.tell(
            Weight::Bad,
            &Words::new(format!("không có người dùng {name}"), format!("there is no user {name}")),
            &Words::new(format!("useradd --system {name}"), format!("useradd --system {name}")),
        );
    }
}

/// Whether a gateway answers on the monitoring address.
fn is_running(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) else { return false };
    let limit = Some(Duration::from_secs(1));
    let asked = stream.set_read_timeout(limit).is_ok()
        && stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: doctor\r\nConnection: close\r\n\r\n").is_ok();
    let mut answer = Vec::new();
    asked && stream.take(4096).read_to_end(&mut answer).is_ok() && answer.ends_with(b"alive\n")
}

fn ports(policy: &Policy, running: bool, report: &mut Report) {
    if running {
        report.good(&Words::new("cổng thư đang chạy", "the gateway is running"));
        return;
    }
    let wanted = policy.listeners.iter().map(|l| l.address).chain([policy.http.address]);
    let wanted = wanted.chain(policy.http.mta_sts.as_ref().map(|sts| sts.address));
    for address in wanted {
        match TcpListener::bind(address) {
            Ok(_) => report.good(&Words::new(format!("{address} còn trống"), format!("{address} is free"))),
            Err(error) if error.kind() == ErrorKind::AddrInUse => report.tell(
                Weight::Bad,
                &Words::new(
                    format!("{address} đã có chương trình khác dùng"),
                    format!("{address} is in use by another program"),
                ),
                &Words::new("ss -ltnp để xem là chương trình nào", "see which one with ss -ltnp"),
            ),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => report.tell(
                Weight::Odd,
                &Words::new(format!("không có quyền mở {address}"), format!("no right to open {address}")),
                &Words::new(
                    "chạy qua systemd (luytre.socket) hoặc với root",
                    "start it by systemd (luytre.socket) or as root",
                ),
            ),
            Err(error) => report.tell(
                Weight::Bad,
                &Words::new(
                    format!("không mở được {address}: {error}"),
                    format!("{address} cannot be opened: {error}"),
                ),
                &Words::new("máy có địa chỉ này không?", "does this machine have that address?"),
            ),
        }
    }
}

fn data_folder(policy: &Policy, report: &mut Report) {
    let folder = &policy.data_dir;
    let shown = folder.display();
    if !folder.is_dir() {
        report.tell(
            Weight::Odd,
            &Words::new(format!("chưa có thư mục {shown}"), format!("the folder {shown} is not there yet")),
            &Words::new(
                "systemd tạo nó khi khởi động lần đầu; chạy tay thì luytre serve tạo",
                "systemd makes it at the first start, luytre serve does when started by hand",
            ),
        );
        return;
    }
    if let Err(error) = tempfile_in(folder) {
        report.tell(
            Weight::Bad,
            &Words::new(format!("không ghi được vào {shown}: {error}"), format!("cannot write to {shown}: {error}")),
            &Words::new("kiểm tra chủ sở hữu và quyền của thư mục", "look at the folder's owner and mode"),
        );
    }
    match statvfs(folder) {
        Ok(disk) => {
            let free = ByteSize::bytes(disk.blocks_available().saturating_mul(disk.fragment_size()));
            let wanted = policy.limits.disk_free;
            let shown_free = free.as_u64() >> 20;
            let files = disk.files_available();
            if disk.files() > 0 && files < policy.limits.disk_free_files {
                report.tell(
                    Weight::Bad,
                    &Words::new(
                        format!("đĩa chỉ còn tạo được {files} tệp (inode): thư sẽ bị hoãn (452)"),
                        format!("only {files} more files (inodes) fit on the disk: mail will be put off (452)"),
                    ),
                    &Words::new("xoá bớt tệp nhỏ", "remove small files"),
                );
            }
            if free < wanted {
                report.tell(
                    Weight::Bad,
                    &Words::new(
                        format!("đĩa chỉ còn {shown_free} MiB, dưới mức {wanted}: thư sẽ bị hoãn (452)"),
                        format!("only {shown_free} MiB free, below {wanted}: mail will be put off (452)"),
                    ),
                    &Words::new("dọn đĩa", "make room"),
                );
            } else {
                report.good(&Words::new(
                    format!("{shown}: còn trống {shown_free} MiB"),
                    format!("{shown}: {shown_free} MiB free"),
                ));
            }
        }
        Err(error) => report.tell(
            Weight::Odd,
            &Words::new(format!("{shown}: {error}"), format!("{shown}: {error}")),
            &Words::none(),
        ),
    }
}

/// Who may read the key that held mail is sealed with, and whether it stands apart from what it seals.
fn quarantine_key(policy: &Policy, report: &mut Report) {
    use std::os::unix::fs::MetadataExt as _;
    let source = Source::find(&policy.quarantine.key, &policy.data_dir.join("quarantine"));
    let (path, shown) = (source.path(), source.path().display());
    let Ok(found) = std::fs::metadata(path) else {
        if !matches!(source, Source::Own(_)) {
            report.tell(
                Weight::Bad,
                &Words::new(
                    format!("không đọc được khóa cách ly {shown}"),
                    format!("the quarantine's key {shown} cannot be read"),
                ),
                &Words::new("đặt lại tệp khóa từ bản sao", "put it back from its copy"),
            );
        }
        return;
    };
    if found.mode() & 0o077 != 0 {
        report.tell(
            Weight::Bad,
            &Words::new(
                format!("người khác đọc được khóa cách ly {shown} ({:o})", found.mode() & 0o777),
                format!("others may read the quarantine's key {shown} (mode {:o})", found.mode() & 0o777),
            ),
            &Words::new(format!("chmod 600 {shown}"), format!("chmod 600 {shown}")),
        );
    }
    if path.starts_with(&policy.data_dir) {
        report.tell(
            Weight::Odd,
            &Words::new(
                format!("khóa cách ly {shown} nằm cạnh dữ liệu mà nó khóa: bản sao lưu của thư mục này mở được thư bị giữ"),
                format!("the quarantine's key {shown} lies beside what it seals: a backup of that folder opens held mail"),
            ),
            &Words::new(
                "giữ một bản sao khóa ở nơi khác; chuyển khóa ra ngoài bằng [quarantine] key hoặc LoadCredential= của systemd",
                "keep a copy of it elsewhere; move it out by [quarantine] key, or LoadCredential= of systemd",
            ),
        );
    } else {
        report.good(&Words::new(
            format!("khóa cách ly {shown}: hãy chắc chắn có bản sao ở nơi khác"),
            format!("the quarantine's key is {shown}; be sure that there is a copy of it elsewhere"),
        ));
    }
}

/// Whether a file can be made there; it is gone again at once.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)
}

fn clock(report: &mut Report) {
    let now = Clock::system().now();
    if now < BUILT {
        report.tell(
            Weight::Bad,
            &Words::new(format!("đồng hồ chỉ {now}: đã sai"), format!("the clock says {now}: it is wrong")),
            &Words::new("timedatectl set-ntp true", "timedatectl set-ntp true"),
        );
        return;
    }
    let kept = ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/var/lib/ntp/ntp.drift"];
    if kept.iter().any(|path| Path::new(path).exists()) {
        report.good(&Words::new("đồng hồ được đồng bộ", "the clock is kept in time"));
    } else {
        report.tell(
            Weight::Odd,
            &Words::new("không thấy dịch vụ đồng bộ giờ", "no time service was found"),
            &Words::new(
                "timedatectl set-ntp true (chữ ký và DKIM cần giờ đúng)",
                "timedatectl set-ntp true (signatures need the right time)",
            ),
        );
    }
}

/// What the inspectors' sandbox needs of the kernel.
fn cage(report: &mut Report) {
    // Asked of the kernel itself, in a thread of its own: the half cage holds for the thread that enters it.
    let closed = std::thread::spawn(jail::cage::close_files).join();
    if matches!(closed, Ok(Ok(true))) {
        report.good(&Words::new("nhân hệ điều hành có landlock", "the kernel has landlock"));
    } else {
        report.tell(
            Weight::Odd,
            &Words::new(
                "nhân không có landlock; bộ kiểm tra chỉ dựa vào seccomp",
                "the kernel has no landlock; inspectors rely on seccomp alone",
            ),
            &Words::new(
                "thêm lsm=landlock,… vào tham số khởi động (Debian 12 có sẵn)",
                "add lsm=landlock,… to the boot parameters (Debian 12 has it)",
            ),
        );
    }
}

fn certificates(policy: &Policy, report: &mut Report) {
    let now = Clock::system().now();
    for tls in policy.listeners.iter().filter_map(|l| l.tls.as_ref()) {
        let shown = tls.certificate.display();
        // What cannot be read was told by the configuration check.
        let Ok(facts) = std::fs::read(&tls.certificate).map_err(drop).and_then(|b| pair::certificate(&b).map_err(drop))
        else {
            continue;
        };
        // One that has ended was told there too.
        if facts.not_after > now {
            let days = facts.not_after.since(now).as_seconds() / 86_400;
            report.good(&Words::new(format!("{shown}: còn {days} ngày"), format!("{shown}: {days} days left")));
        }
        let hostname = policy.hostname.as_str();
        let covers = |name: &String| {
            let name = name.to_ascii_lowercase();
            let wildcard =
                name.strip_prefix("*.").zip(hostname.split_once('.')).is_some_and(|(base, (_, rest))| base == rest);
            name == hostname || wildcard
        };
        if !facts.names.iter().any(covers) {
            report.tell(
                Weight::Odd,
                &Words::new(
                    format!("{shown} là của {}, không phải {hostname}", facts.names.join(", ")),
                    format!("{shown} is for {}, not for {hostname}", facts.names.join(", ")),
                ),
                &Words::new("xin chứng thư có tên của cổng thư", "get one with the gateway's name"),
            );
        }
    }
}
