//! What a report says to people: what happened to the message and what they can do, in both languages.

use std::fmt::Write as _;

use super::{Item, Kind, Report, clean};
use crate::mail::Language;

/// The subject, the operator's language first.
#[must_use]
pub fn subject(kind: Kind, language: Language) -> String {
    let (vi, en) = match kind {
        Kind::Failed => ("Thư không gửi được", "Undelivered mail"),
        Kind::Delayed => ("Thư gửi bị chậm", "Delayed mail"),
        Kind::Relayed => ("Thư đã được chuyển đi", "Mail was passed on"),
    };
    match language {
        Language::Vi => format!("{vi} / {en}"),
        Language::En => format!("{en} / {vi}"),
    }
}

/// The part for people.
#[must_use]
pub fn text(report: &Report<'_>) -> String {
    let taken = report.original.meta.received_at.rfc5322();
    let until = report.until.rfc5322();
    let (vi, en) = match report.kind {
        Kind::Failed => (
            format!(
                "Thư của bạn nhận lúc {taken} không đến được người nhận dưới đây. Hệ thống sẽ không gửi lại nữa; \
                 hãy sửa theo lý do nêu bên dưới rồi gửi thư mới."
            ),
            format!(
                "Your message of {taken} could not be delivered to the recipients below. It will not be tried again; \
                 see the reason below, and send a new message."
            ),
        ),
        Kind::Delayed => (
            format!(
                "Thư của bạn nhận lúc {taken} chưa đến được người nhận dưới đây. Hệ thống tiếp tục gửi lại đến {until}; \
                 bạn không cần gửi lại."
            ),
            format!(
                "Your message of {taken} has not reached the recipients below yet. It will be tried until {until}; you \
                 need not send it again."
            ),
        ),
        Kind::Relayed => (
            format!(
                "Thư của bạn nhận lúc {taken} đã được chuyển cho máy chủ của người nhận dưới đây. Máy chủ đó không báo \
                 lại khi thư đến hộp thư, nên đây là báo cáo cuối cùng."
            ),
            format!(
                "Your message of {taken} was passed on to the server of the recipients below. That server sends no \
                 reports of its own, so this is the last you will hear."
            ),
        ),
    };
    let mut list = String::new();
    for item in report.items {
        // Writing into memory does not fail.
        let _ = write!(list, "  <{}>\r\n", item.recipient.mailbox);
        if report.kind != Kind::Relayed {
            let (vi, en) = meaning(item);
            let (first, second) = in_order(report.language, vi, en);
            let _ = write!(list, "    {first}\r\n    {second}\r\n    {}\r\n", clean(item.said));
        }
    }
    let (first, second) = in_order(report.language, vi.as_str(), en.as_str());
    format!("{first}\r\n\r\n{second}\r\n\r\n{list}\r\n-- \r\n{} ({})\r\n", report.hostname, report.original.meta.id)
}

const fn in_order<'a>(language: Language, vi: &'a str, en: &'a str) -> (&'a str, &'a str) {
    match language {
        Language::Vi => (vi, en),
        Language::En => (en, vi),
    }
}

/// What a status code (RFC 3463 §3) means for somebody who writes letters.
fn meaning(item: &Item<'_>) -> (&'static str, &'static str) {
    let detail = item.status.split_once('.').map_or("", |(_, rest)| rest);
    match detail {
        "1.0" | "1.1" | "1.3" | "1.6" => ("Không có hộp thư này.", "There is no such mailbox."),
        "1.2" => ("Tên miền của người nhận không tồn tại.", "The recipient's domain does not exist."),
        "1.10" => ("Tên miền của người nhận không nhận thư.", "The recipient's domain takes no mail."),
        "2.1" => ("Hộp thư đã bị khóa.", "The mailbox is disabled."),
        "2.2" => ("Hộp thư đã đầy.", "The mailbox is full."),
        "2.3" | "3.4" => ("Thư quá lớn.", "The message is too large."),
        "4.6" => ("Thư bị chuyển vòng quanh giữa các máy chủ.", "The message goes in a circle between servers."),
        "6.7" => (
            "Máy chủ của người nhận không hỗ trợ địa chỉ có dấu.",
            "The recipient's server does not support addresses beyond ASCII.",
        ),
        detail if detail.starts_with("4.") => {
            ("Không liên lạc được với máy chủ của người nhận.", "The recipient's server could not be reached.")
        }
        detail if detail.starts_with("6.") => {
            ("Máy chủ của người nhận không nhận nội dung này.", "The recipient's server does not take this content.")
        }
        detail if detail.starts_with("7.") => (
            "Máy chủ của người nhận từ chối vì lý do an toàn hoặc chính sách.",
            "The recipient's server refused it for security or policy reasons.",
        ),
        _ => ("Máy chủ của người nhận không nhận thư này.", "The recipient's server did not take the message."),
    }
}
