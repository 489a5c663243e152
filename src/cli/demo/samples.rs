//! The demo's mail: written for it, each message with the verdict it must get.
//! EICAR is put together at run time, so that no scanner trips over this file or the binary.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The agency of the demo.
pub const AGENCY: &str = "tinh-mau.test";
/// The partner that signs what it sends.
pub const FINANCE_DOMAIN: &str = "so-tai-chinh.example";

/// Which listener a sample is sent to, and how it is finished before sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the Internet, as it is.
    In,
    /// From the Internet over STARTTLS.
    InTls,
    /// From the Internet, DKIM-signed by its domain first.
    InDkim,
    /// From the Internet, S/MIME-signed first; `Altered` changes a word afterwards.
    InSmime,
    InSmimeAltered,
    /// From the agency's own server, outward.
    Out,
}

/// One message of the demo and what must become of it.
pub struct Sample {
    pub name: &'static str,
    pub vi: &'static str,
    pub way: Way,
    pub client: &'static str,
    pub helo: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub message: Vec<u8>,
    /// The reply code of the session.
    pub code: u16,
    /// `deliver`, `tag`, `quarantine`, `reject`.
    pub action: &'static str,
    /// A finding that the receipt must name; empty: none is asked for.
    pub because: &'static str,
}

const PARTNER: (&str, &str) = ("203.0.113.20", "mail.doitac.example");
const FINANCE: (&str, &str) = ("203.0.113.10", "mail.so-tai-chinh.example");
const STRANGER: (&str, &str) = ("198.51.100.66", "mx.nguoi-la.example");

impl Sample {
    /// Text that stands in the header of every copy of it.
    #[must_use]
    pub fn marker(&self) -> String {
        let head = String::from_utf8_lossy(&self.message);
        head.split("Message-ID: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or_default().to_owned()
    }
}

/// All samples in the order they are sent.
pub fn all() -> Vec<Sample> {
    let mut all = Vec::new();
    all.extend(clean());
    all.extend(forged());
    all.extend(malware());
    all.extend(unwanted());
    all.extend(signed());
    all.extend(protocol());
    all.extend(outgoing());
    all
}

fn clean() -> Vec<Sample> {
    let report = letter(
        "Phòng Kế hoạch <kehoach@doitac.example>",
        "Báo cáo tiến độ quý III",
        "Kính gửi anh An,\n\nTôi gửi anh báo cáo tiến độ quý III của dự án số hóa hồ sơ.\nĐề nghị anh cho ý kiến trước thứ Sáu.\n\nTrân trọng,\nLê Minh",
    );
    let invitation = letter(
        "Sở Tài chính <vanphong@so-tai-chinh.example>",
        "Giấy mời họp giao ban tháng 11",
        "Kính mời anh/chị dự họp giao ban lúc 8 giờ ngày 25/11 tại phòng họp số 2.\n\nNơi nhận: như trên; Lưu: VT.",
    );
    vec![
        Sample {
            code: 250,
            action: "deliver",
            because: "spf.pass",
            ..base("clean letter", "thư sạch", PARTNER, "kehoach@doitac.example", report.clone())
        },
        Sample {
            way: Way::InTls,
            code: 250,
            action: "deliver",
            because: "spf.pass",
            ..base("the same over STARTTLS", "thư sạch, qua STARTTLS", PARTNER, "kehoach@doitac.example", report)
        },
        Sample {
            way: Way::InDkim,
            code: 250,
            action: "deliver",
            because: "dmarc.pass",
            ..base(
                "DKIM-signed, p=reject domain",
                "thư có chữ ký DKIM",
                FINANCE,
                "vanphong@so-tai-chinh.example",
                invitation,
            )
        },
    ]
}

fn forged() -> Vec<Sample> {
    let bank = letter(
        "Ngân hàng <hotro@nganhang.example>",
        "Thông báo số dư",
        "Quý khách vui lòng xem số dư tài khoản trong tệp đính kèm.",
    );
    let shop = letter("Cửa hàng <sales@cuahang.example>", "Đơn hàng của bạn", "Đơn hàng của bạn đã được gửi.");
    let own = letter(
        "Giám đốc Sở <giamdoc@tinh-mau.test>",
        "Chuyển khoản gấp",
        "Anh chuyển giúp tôi 200 triệu vào tài khoản này ngay chiều nay, đừng nói với ai.",
    );
    vec![
        Sample {
            code: 550,
            action: "reject",
            because: "dmarc.reject",
            ..base(
                "forged From of a p=reject domain",
                "giả mạo tên miền có p=reject",
                STRANGER,
                "hotro@nganhang.example",
                bank,
            )
        },
        Sample {
            code: 250,
            action: "quarantine",
            because: "dmarc.quarantine",
            ..base(
                "forged From of a p=quarantine domain",
                "giả mạo tên miền có p=quarantine",
                STRANGER,
                "sales@cuahang.example",
                shop,
            )
        },
        Sample {
            code: 550,
            action: "reject",
            because: "from.own-domain",
            ..base("our own domain from outside", "giả mạo chính cơ quan", STRANGER, "giamdoc@tinh-mau.test", own)
        },
    ]
}

fn malware() -> Vec<Sample> {
    let eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    let nested = zip("trong.zip", &zip("hoadon.com", eicar.as_bytes()));
    let program =
        [b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0".as_slice(), &[0; 44], b"\x40\0\0\0PE\0\0", &[0; 200]].concat();
    let with = |name: &str, kind: &str, bytes: &[u8]| {
        attached("Kế toán <ketoan@doitac.example>", "Hóa đơn tháng 11", "Gửi anh hóa đơn tháng 11.", name, kind, bytes)
    };
    vec![
        Sample {
            code: 250,
            action: "quarantine",
            because: "malware.eicar",
            ..base(
                "EICAR in a base64 part",
                "mã độc thử EICAR",
                PARTNER,
                "ketoan@doitac.example",
                with("hoadon.txt", "text/plain", eicar.as_bytes()),
            )
        },
        Sample {
            code: 250,
            action: "quarantine",
            because: "malware.eicar",
            ..base(
                "EICAR in a zip in a zip",
                "EICAR trong zip lồng nhau",
                PARTNER,
                "ketoan@doitac.example",
                with("hoadon.zip", "application/zip", &nested),
            )
        },
        Sample {
            code: 550,
            action: "reject",
            because: "attachment.executable",
            ..base(
                "a program called hoadon.pdf",
                "chương trình giả làm PDF",
                PARTNER,
                "ketoan@doitac.example",
                with("hoadon.pdf", "application/pdf", &program),
            )
        },
    ]
}

fn unwanted() -> Vec<Sample> {
    let phish = letter(
        "Quản trị hệ thống <admin@nguoi-la.example>",
        "Hộp thư của bạn sắp đầy",
        "Hộp thư của bạn đã vượt quá hạn mức dung lượng. Tài khoản email sẽ bị khóa trong vòng 24 giờ.\n\
         Vui lòng xác minh tài khoản và mật khẩu tại đây: http://webmail-tinhmau-gov.top/login\n\nQuản trị viên hệ thống thư điện tử",
    );
    let advert = letter(
        "Khuyến mãi lớn <sale@vuon-rau.example>",
        "Giảm giá 50% duy nhất hôm nay",
        "KHUYẾN MÃI KHỦNG! Ưu đãi giảm sốc 50%, số lượng có hạn, quà tặng kèm miễn phí.\nĐặt hàng ngay, giá gốc 500.000đ chỉ còn 250.000đ. Liên hệ ngay hotline!",
    );
    vec![
        Sample {
            code: 550,
            action: "reject",
            because: "VN_",
            ..base(
                "phishing for a mailbox password",
                "lừa đảo chiếm hộp thư",
                STRANGER,
                "admin@nguoi-la.example",
                phish,
            )
        },
        Sample {
            code: 250,
            action: "tag",
            because: "VN91_",
            ..base(
                "advertising without label or opt-out",
                "quảng cáo không nhãn",
                ("203.0.113.30", "mail.vuon-rau.example"),
                "sale@vuon-rau.example",
                advert,
            )
        },
    ]
}

fn signed() -> Vec<Sample> {
    let text = plain(
        "Sở Tài chính <vanphong@so-tai-chinh.example>",
        "Dự toán đã ký số",
        "Kinh gui anh An,\n\nSo tien duyet la 100 trieu dong.\n\nTran trong.",
    );
    let sample = |name, vi, way, action, because| Sample {
        way,
        code: 250,
        action,
        because,
        ..base(name, vi, FINANCE, "vanphong@so-tai-chinh.example", text.clone())
    };
    vec![
        sample("S/MIME-signed, intact", "thư ký số hợp lệ", Way::InSmime, "deliver", "smime.valid"),
        sample("S/MIME-signed, then altered", "thư ký số bị sửa", Way::InSmimeAltered, "quarantine", "smime.altered"),
    ]
}

fn protocol() -> Vec<Sample> {
    let plain = letter("Kế hoạch <kehoach@doitac.example>", "Hỏi thăm", "Chào anh.");
    let smuggled = {
        let mut raw = letter("Kế hoạch <kehoach@doitac.example>", "Thư thứ nhất", "Nội dung.");
        raw.extend_from_slice(b"\n.\nMAIL FROM:<giamdoc@tinh-mau.test>\r\nRCPT TO:<an@tinh-mau.test>\r\nDATA\r\nSubject: lau\r\n\r\nlau\r\n");
        raw
    };
    let to = |to, sample| Sample { to, ..sample };
    vec![
        to(
            "khongco@tinh-mau.test",
            Sample {
                code: 550,
                action: "reject",
                because: "",
                ..base(
                    "unknown recipient",
                    "người nhận không có thật",
                    PARTNER,
                    "kehoach@doitac.example",
                    plain.clone(),
                )
            },
        ),
        to(
            "ai@noi-khac.example",
            Sample {
                code: 550,
                action: "reject",
                because: "",
                ..base("relay attempt", "nhờ chuyển tiếp", PARTNER, "kehoach@doitac.example", plain)
            },
        ),
        Sample {
            code: 550,
            action: "reject",
            because: "",
            ..base("bare-LF smuggler", "buôn lậu thư bằng LF trần", PARTNER, "kehoach@doitac.example", smuggled)
        },
    ]
}

fn outgoing() -> Vec<Sample> {
    let text = letter(
        "Nguyễn Văn An <an@tinh-mau.test>",
        "Trả lời công văn 219/GM-UBND",
        "Kính gửi quý đơn vị,\n\nChúng tôi đã nhận được giấy mời và sẽ dự họp.\n\nTrân trọng,\nAn",
    );
    vec![Sample {
        way: Way::Out,
        to: "kehoach@doitac.example",
        code: 250,
        action: "deliver",
        because: "",
        ..base(
            "outgoing: S/MIME and DKIM signed by us",
            "thư đi: ký S/MIME và DKIM",
            ("127.0.0.1", "exchange.tinh-mau.test"),
            "an@tinh-mau.test",
            text,
        )
    }]
}

fn base(
    name: &'static str,
    vi: &'static str,
    client: (&'static str, &'static str),
    from: &'static str,
    message: Vec<u8>,
) -> Sample {
    Sample {
        name,
        vi,
        way: Way::In,
        client: client.0,
        helo: client.1,
        from,
        to: "an@tinh-mau.test",
        message,
        code: 0,
        action: "",
        because: "",
    }
}

/// RFC 2047 for a text that is not ASCII.
fn encoded(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { format!("=?UTF-8?B?{}?=", BASE64.encode(text)) }
}

fn head(from: &str, subject: &str) -> String {
    let (name, address) = from.split_once(" <").unwrap_or(("", from));
    let id = subject.bytes().fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let domain = address.trim_end_matches('>').rsplit('@').next().unwrap_or("example");
    format!(
        "From: {} <{address}\r\nTo: <an@{AGENCY}>\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{id}@{domain}>\r\nMIME-Version: 1.0\r\n",
        encoded(name),
        encoded(subject),
        crate::env::Clock::system().now().rfc5322(),
    )
}

fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// The text as quoted-printable would be too plain to read in the demo's folder; base64 lines are what Outlook sends.
fn letter(from: &str, subject: &str, body: &str) -> Vec<u8> {
    format!(
        "{}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        head(from, subject),
        lines(&BASE64.encode(crlf(body)))
    )
    .into_bytes()
}

/// ASCII as it is, so that one word can be changed afterwards.
fn plain(from: &str, subject: &str, body: &str) -> Vec<u8> {
    format!("{}Content-Type: text/plain; charset=us-ascii\r\n\r\n{}\r\n", head(from, subject), crlf(body)).into_bytes()
}

fn attached(from: &str, subject: &str, body: &str, name: &str, kind: &str, bytes: &[u8]) -> Vec<u8> {
    format!(
        "{}Content-Type: multipart/mixed; boundary=\"tre\"\r\n\r\n--tre\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--tre\r\nContent-Type: {kind}; name=\"{name}\"\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--tre--\r\n",
        head(from, subject),
        lines(&BASE64.encode(crlf(body))),
        lines(&BASE64.encode(bytes)),
    )
    .into_bytes()
}

fn lines(base64: &str) -> String {
    let mut out = String::with_capacity(base64.len() + base64.len() / 38 + 2);
    for (i, c) in base64.chars().enumerate() {
        if i > 0 && i % 76 == 0 {
            out.push_str("\r\n");
        }
        out.push(c);
    }
    out.push_str("\r\n");
    out
}

/// A zip with one deflated file.
fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let written = writer
        .start_file(name, zip::write::SimpleFileOptions::default())
        .map_err(std::io::Error::other)
        .and_then(|()| writer.write_all(bytes));
    written.and_then(|()| writer.finish().map_err(std::io::Error::other)).expect("a zip in memory").into_inner()
}
