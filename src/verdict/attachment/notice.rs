//! The notice that stands in the place of what was taken out: what it was, why, and how to get it. In both languages.

use super::Ruled;
use crate::mail::MailId;

/// Names in one notice; what more was taken out is counted.
const MOST_NAMES: usize = 100;

/// The text. Names in it come from a stranger: without controls, and cut.
#[must_use]
pub fn text(id: MailId, removed: &[Ruled]) -> String {
    let shown = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut list: String = removed
        .iter()
        .take(MOST_NAMES)
        .map(|line| {
            let name: String = line.name.chars().filter(|c| shown(*c)).take(120).collect();
            let name = if name.is_empty() { line.path.clone() } else { name };
            format!("  - {name}  ({})\r\n", line.rule)
        })
        .collect();
    if let Some(more @ 1..) = removed.len().checked_sub(MOST_NAMES) {
        list.push_str(&format!("  - ... +{more}\r\n"));
    }
    format!(
        "Tệp đính kèm sau đã được gỡ khỏi thư này theo chính sách của cơ quan:\r\n\r\n{list}\r\n\
         Thư gốc được giữ nguyên vẹn trong khu cách ly với mã {id}.\r\n\
         Nếu cần tệp này cho công việc, hãy gửi mã trên cho cán bộ công nghệ thông tin của cơ quan.\r\n\r\n\
         ----\r\n\r\n\
         These attachments were taken out of this message by your agency's policy:\r\n\r\n{list}\r\n\
         The original message is kept in the quarantine under the id {id}.\r\n\
         If you need the file for your work, give that id to your agency's IT officer.\r\n"
    )
}
