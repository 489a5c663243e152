//! What encrypted archives are tried with: words that the message itself offers as its password, in Vietnamese and in
//! English, then a list of the operator's and the passwords that everybody uses (THREATS Z-04). Bounded in number; the
//! time is the budget's. The words are never written to a finding or a log.

use std::collections::HashSet;

/// Words of the message that are tried, and of the lists.
const WORDS: usize = 200;
const LISTED: usize = 1000;
/// Words of letters, notes and names inside the message that are tried beside them.
const LEARNED: usize = 200;
/// A password is of so many characters.
const LENGTH: std::ops::RangeInclusive<usize> = 1..=64;
/// So much of the text is looked at.
const TEXT: usize = 64 << 10;
/// Words behind a marker that may be the password: "mật khẩu để mở tệp là abc123".
const BEHIND: usize = 8;

/// Passwords that senders of samples and of malware use by habit.
const COMMON: &[&str] = &[
    "infected",
    "malware",
    "virus",
    "1234",
    "12345",
    "123456",
    "12345678",
    "123456789",
    "123",
    "1111",
    "0000",
    "888888",
    "666666",
    "password",
    "pass",
    "admin",
    "abc123",
    "abc@123",
    "123@abc",
    "qwerty",
    "matkhau",
    "mk123",
    "123456a",
    "Abc@123",
    "Aa@123456",
    "Aa123456",
    "Admin@123",
    "Vietnam",
    "vietnam",
];

/// What a password is announced with, without accents, lower case. The longer ones come first.
const MARKERS: &[&str] = &[
    "mat khau",
    "ma giai nen",
    "ma mo khoa",
    "ma bao mat",
    "ma bao ve",
    "ma mo",
    "ma pin",
    "password",
    "passcode",
    "passphrase",
    "pass word",
    "pass",
    "pwd",
    "psw",
    "mk",
    "pw",
    "key",
    "code",
    "pin",
];

/// Candidates, the likeliest first, without repetition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Passwords {
    /// What is called a password, or stands in quotation marks or brackets.
    sure: Vec<String>,
    /// Any other word of the message.
    words: Vec<String>,
    listed: Vec<String>,
    /// How many came from texts inside the message.
    learned: usize,
}

impl Passwords {
    /// From the decoded subject and the texts of a message, and the operator's list.
    #[must_use]
    pub fn gather(texts: &[&str], listed: &[String]) -> Self {
        let mut found = Found::default();
        let (sure, words) = found.read(texts, WORDS);
        let common = COMMON.iter().map(|word| (*word).to_owned());
        let mut list = Vec::new();
        for word in listed.iter().cloned().chain(common).take(LISTED) {
            if found.seen.insert(word.clone()) || !(sure.contains(&word) || words.contains(&word)) {
                list.push(word);
            }
        }
        Self { sure, words, listed: list, learned: 0 }
    }

    /// These and no others.
    #[must_use]
    pub fn listed(words: &[String]) -> Self {
        Self { listed: words.to_vec(), ..Self::default() }
    }

    /// From texts that came to light since: letters and notes inside the message, names of archives. They never push
    /// out what the letter itself says.
    pub fn learn(&mut self, texts: &[&str]) {
        let Some(room) = LEARNED.checked_sub(self.learned).filter(|room| *room > 0) else { return };
        let mut found = Found { seen: self.iter().map(str::to_owned).collect(), ..Found::default() };
        let (sure, words) = found.read(texts, room);
        self.learned += sure.len() + words.len();
        self.sure.extend(sure);
        self.words.extend(words);
    }

    /// In the order they are to be tried.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.sure.iter().chain(&self.words).chain(&self.listed).map(String::as_str)
    }
}

#[derive(Default)]
struct Found {
    list: Vec<String>,
    seen: HashSet<String>,
}

impl Found {
    /// What is called a password in these texts, and their other words; at most so many together.
    fn read(&mut self, texts: &[&str], most: usize) -> (Vec<String>, Vec<String>) {
        texts.iter().for_each(|text| marked(upto(text, TEXT), self));
        texts.iter().for_each(|text| quoted(upto(text, TEXT), self));
        let mut sure = std::mem::take(&mut self.list);
        sure.truncate(most);
        for text in texts {
            let words = || upto(text, TEXT).split_whitespace();
            // A word with a digit or a sign in it is a password before one of letters alone is.
            let odd = |word: &&str| !word.chars().all(char::is_alphabetic);
            words().filter(odd).for_each(|word| self.word(word));
            words().filter(|word| !odd(word)).for_each(|word| self.word(word));
        }
        let mut words = std::mem::take(&mut self.list);
        words.truncate(most - sure.len());
        (sure, words)
    }
    fn add(&mut self, word: &str) {
        if LENGTH.contains(&word.chars().count()) && self.list.len() < 4 * WORDS && self.seen.insert(word.to_owned()) {
            self.list.push(word.to_owned());
        }
    }
    /// A word as it stands, and without the signs that end a sentence or set it off.
    fn word(&mut self, word: &str) {
        const AROUND: [char; 25] = [
            '"', '\'', '`', '“', '”', '‘', '’', '«', '»', '(', ')', '[', ']', '{', '}', '<', '>', ',', ';', ':', '.',
            '*', '_', '=', '…',
        ];
        let bare = word.trim_matches(AROUND);
        // "(abc123)." is abc123; "abc123!" may be either, so both.
        self.add(bare);
        self.add(bare.trim_end_matches(['!', '?']));
        if bare != word {
            self.add(word.trim_end_matches([',', ';', '.']));
            self.add(word);
        }
        date(bare, self);
    }
}

/// The words behind each marker, and the rest of its line.
fn marked(text: &str, found: &mut Found) {
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let plain = fold(line);
        for marker in MARKERS {
            for (at, _) in plain.match_indices(marker) {
                let before = plain.get(..at).and_then(|head| head.chars().next_back());
                if before.is_some_and(char::is_alphanumeric) {
                    continue;
                }
                let skip = plain.get(..at + marker.len()).map_or(0, |head| head.chars().count());
                let rest: String = line.chars().skip(skip).collect();
                behind(&rest, found);
                // "Mật khẩu:" alone on its line.
                if rest.trim_matches(|c: char| !c.is_alphanumeric()).is_empty() {
                    let next = lines.iter().skip(number + 1).find(|line| !line.trim().is_empty());
                    next.into_iter().for_each(|line| behind(line, found));
                }
            }
        }
    }
}

fn behind(rest: &str, found: &mut Found) {
    if let Some((_, value)) = rest.split_once([':', '=']).filter(|(head, _)| head.split_whitespace().count() <= BEHIND)
    {
        value.split_whitespace().take(1).for_each(|word| found.word(word));
        found.add(value.trim());
        found.add(value.trim().trim_end_matches(['.', ',', ';']));
    }
    // "… là abc123", "… is abc123": what follows comes before the words between.
    let words: Vec<&str> = rest.split_whitespace().collect();
    let verb = words.iter().take(BEHIND).position(|word| matches!(&*fold(word), "la" | "is" | "la:" | "is:"));
    if let Some(value) = verb.and_then(|at| words.get(at + 1)) {
        found.word(value);
    }
    words.iter().take(BEHIND).for_each(|word| found.word(word));
}

/// What stands in quotation marks or brackets.
fn quoted(text: &str, found: &mut Found) {
    const PAIRS: [(char, char); 8] =
        [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’'), ('«', '»'), ('(', ')'), ('[', ']')];
    for (open, close) in PAIRS {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((inside, behind)) = after.split_once(close) else { break };
            if LENGTH.contains(&inside.chars().count()) && !inside.contains('\n') {
                found.add(inside.trim());
                rest = behind;
            } else {
                rest = after;
            }
        }
    }
}

/// A date is a usual password without its signs too: 22/11/2026 as 22112026.
fn date(word: &str, found: &mut Found) {
    let digits: String = word.chars().filter(char::is_ascii_digit).collect();
    let signs = word.chars().filter(|c| matches!(c, '/' | '-' | '.')).count();
    if signs == 2 && (4..=8).contains(&digits.len()) && digits.len() + signs == word.chars().count() {
        found.add(&digits);
    }
}

/// Lower case, without Vietnamese accents; as many characters as before.
fn fold(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    let base = |c: char| match c {
        'đ' | 'Đ' => 'd',
        c => std::iter::once(c).nfd().next().unwrap_or(c).to_lowercase().next().unwrap_or(c),
    };
    text.chars().map(base).collect()
}

fn upto(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, password: &str) -> Option<usize> {
        Passwords::gather(&[text], &[]).iter().position(|word| word == password)
    }

    /// THREATS Z-04: the ways in which people here, and attackers, write a password into a letter.
    #[test]
    fn passwords_are_found_however_they_are_announced() {
        for (text, password) in [
            ("Mật khẩu: abc123", "abc123"),
            ("mat khau la Abc@123.", "Abc@123"),
            ("MẬT KHẨU GIẢI NÉN: 2026VN", "2026VN"),
            ("Pass: 1234", "1234"),
            ("pass la hoso2026", "hoso2026"),
            ("pass giải nén file là vanphong!", "vanphong!"),
            ("The password for the attached file is \"S3cret pass\".", "S3cret pass"),
            ("Password - infected9", "infected9"),
            ("Mk: 22/11/2026", "22112026"),
            ("Mã mở: “Hà Nội 2026”", "Hà Nội 2026"),
            ("Kính gửi anh,\nMật khẩu:\n  qwe-789\nTrân trọng", "qwe-789"),
            ("mật khẩu mở tệp đính kèm là (tochuc@99)", "tochuc@99"),
            ("pw=zz11", "zz11"),
            ("Dùng mã giải nén VNPT2026 nhé", "VNPT2026"),
        ] {
            let at = place(text, password);
            assert!(at.is_some_and(|at| at < 40), "{text:?}: {at:?} {:?}", Passwords::gather(&[text], &[]));
        }
    }

    #[test]
    fn what_is_tried_is_bounded() {
        let long: String = (0..10_000).map(|n| format!("word{n} ")).collect();
        let listed: Vec<String> = (0..5000).map(|n| format!("list{n}")).collect();
        let all = Passwords::gather(&[&long], &listed);
        assert_eq!(all.iter().count(), WORDS + LISTED);
        let unique: HashSet<&str> = all.iter().collect();
        assert_eq!(unique.len(), WORDS + LISTED);
    }

    #[test]
    fn words_of_the_message_come_before_the_lists() {
        let all = Passwords::gather(&["hello"], &["mine".to_owned()]);
        let all: Vec<&str> = all.iter().collect();
        assert_eq!(all.get(..3), Some(&["hello", "mine", "infected"][..]));
    }

    /// What the letter calls a password is tried before any word of a note beside the archive, and what the note calls
    /// one before any other word.
    #[test]
    fn notes_inside_the_message_are_learned_from() {
        let mut all = Passwords::gather(&["pass: thu1\nxin chao"], &["mine".to_owned()]);
        all.learn(&["mk la ghichu2 cam on", "hoso (3333)"]);
        let long: String = (0..10_000).map(|n| format!("word{n} ")).collect();
        all.learn(&[&long]);
        all.learn(&[&long, "pass: late"]);
        let list: Vec<&str> = all.iter().collect();
        let at = |word: &str| list.iter().position(|w| *w == word);
        assert_eq!(at("thu1"), Some(0), "{list:?}");
        assert!(at("ghichu2") < at("chao") && at("3333") < at("chao") && at("word0") < at("mine"), "{list:?}");
        assert!(at("late").is_none() && list.len() <= WORDS + LEARNED + COMMON.len() + 1);
    }
}
