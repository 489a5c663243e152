//! What must be true of attachment rules: names that can be counted by, no two alike, none that says nothing.

use super::place::Place;
use crate::mail::Problem;
use crate::verdict::attachment::settings::{Do, Rule};

pub fn check(rules: &[Rule], place: &Place<'_>, problems: &mut Vec<Problem>) {
    for (i, rule) in rules.iter().enumerate() {
        let here = place.to(i);
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (rule.name.is_empty() || rule.name.len() > 40 || !rule.name.chars().all(good)) && here.to("name").is_sound()
        {
            problems.push(
                here.to("name")
                    .problem(
                        format!("\"{}\" is no name of a rule", rule.name),
                        format!("\"{}\" không phải tên quy tắc", rule.name),
                    )
                    .help(here.say(
                        "lower case, digits and hyphens: name = \"macros-from-outside\"",
                        "chữ thường, số và dấu gạch nối: name = \"macro-tu-ngoai\"",
                    )),
            );
        } else if rules.iter().take(i).any(|other| other.name == rule.name) {
            problems.push(here.to("name").problem(
                format!("there is a rule \"{}\" already", rule.name),
                format!("đã có quy tắc \"{}\"", rule.name),
            ));
        }
        for (j, digest) in rule.sha256.iter().enumerate() {
            if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                problems.push(here.to("sha256").to(j).problem(
                    format!("\"{digest}\" is no SHA-256: 64 hexadecimal digits"),
                    format!("\"{digest}\" không phải SHA-256: 64 chữ số thập lục phân"),
                ));
            }
        }
        for (j, kind) in rule.types.iter().enumerate() {
            if !kind.contains('/') {
                problems.push(
                    here.to("type")
                        .to(j)
                        .problem(format!("\"{kind}\" is no media type"), format!("\"{kind}\" không phải kiểu nội dung"))
                        .help(here.say(
                            "like \"application/pdf\" or \"image/*\"",
                            "ví dụ \"application/pdf\" hoặc \"image/*\"",
                        )),
                );
            }
        }
        let none =
            Rule { name: String::new(), action: Do::default(), observe: false, ..rule.clone() } == Rule::default();
        if none && rule.action > Do::Tag && here.is_sound() {
            problems.push(
                here.problem(
                    format!("rule \"{}\" has no condition: it holds of every attachment", rule.name),
                    format!("quy tắc \"{}\" không có điều kiện: áp dụng cho mọi tệp đính kèm", rule.name),
                )
                .warning(),
            );
        }
        unreachable(rules, i, &here, problems);
    }
}

/// A rule behind one that holds of everything never decides.
fn unreachable(rules: &[Rule], i: usize, here: &Place<'_>, problems: &mut Vec<Problem>) {
    let Some(rule) = rules.get(i) else { return };
    let covers = |other: &&Rule| {
        let all = Rule { name: String::new(), action: Do::default(), observe: false, ..(*other).clone() };
        let same = Rule { name: String::new(), action: Do::default(), observe: false, ..rule.clone() };
        all == Rule::default() || all == same
    };
    if let Some(other) = rules.iter().take(i).find(covers) {
        problems.push(
            here.problem(
                format!("rule \"{}\" never decides: \"{}\" before it holds of the same parts", rule.name, other.name),
                format!("quy tắc \"{}\" không bao giờ được dùng: \"{}\" ở trên đã áp dụng", rule.name, other.name),
            )
            .warning(),
        );
    }
}
