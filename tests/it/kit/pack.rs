//! A made-up YARA pack as vendors write them: texts, hexadecimal strings with gaps, expressions, counts and offsets, modules.
//! The same number gives the same rules on every machine. The bench reads this file too.

use std::fmt::Write as _;

const SOUNDS: [&str; 24] = [
    "an", "bot", "cry", "dro", "ex", "fil", "gen", "hook", "in", "jak", "key", "lok", "mal", "nir", "ob", "pwd", "quo",
    "ren", "sys", "tro", "ul", "vir", "win", "zip",
];

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
    fn pick(&mut self, list: &[&'static str]) -> &'static str {
        let at = self.below(list.len() as u64);
        list.get(usize::try_from(at).unwrap_or(0)).copied().unwrap_or_default()
    }
    fn word(&mut self) -> String {
        let length = 2 + self.below(3);
        (0..length).map(|_| self.pick(&SOUNDS)).collect()
    }
    fn hex(&mut self, octets: u64) -> String {
        let mut text = String::new();
        for at in 0..octets {
            match self.below(12) {
                0 if at > 4 && at + 1 < octets => text.push_str("?? "),
                1 if at > 4 && at + 1 < octets => text.push_str("[2-6] "),
                _ => {
                    let _ = write!(text, "{:02X} ", self.below(256));
                }
            }
        }
        text
    }
}

/// `count` rules in one file.
pub fn realistic(count: usize, seed: u64) -> String {
    let mut text = "import \"pe\"\nimport \"math\"\n".to_owned();
    for number in 0..count {
        let chance = &mut Chance(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let _ = write!(
            text,
            "rule family_{number:05} : made_up {{\n  meta:\n    description = \"{} {number}\"\n    score = {}\n  strings:\n",
            chance.word(),
            1 + chance.below(5)
        );
        let strings = 2 + chance.below(4);
        for at in 0..strings {
            let _ = match chance.below(10) {
                0..=4 => {
                    let modifier = chance.pick(&["", " nocase", " wide ascii", " fullword", " ascii"]);
                    writeln!(
                        text,
                        "    $s{at} = \"{}\\\\{}-{}\"{modifier}",
                        chance.word(),
                        chance.word(),
                        chance.below(90_000) + 10_000
                    )
                }
                5..=7 => writeln!(text, "    $s{at} = {{ {}}}", chance.hex(10)),
                _ => writeln!(
                    text,
                    "    $s{at} = /{}[a-z0-9]{{2,12}}\\.{}(exe|dll|js)/",
                    chance.word() + &chance.word(),
                    chance.word()
                ),
            };
        }
        let condition = match chance.below(10) {
            0..=3 => "any of them".to_owned(),
            4..=5 => "filesize < 2MB and 2 of them".to_owned(),
            6 => "uint16(0) == 0x5A4D and any of them".to_owned(),
            7 => "#s0 > 1 or 2 of them".to_owned(),
            8 => "for any of them : ( $ in (0..4096) )".to_owned(),
            _ => "pe.is_pe and pe.number_of_sections > 2 and all of them".to_owned(),
        };
        let _ = write!(text, "  condition:\n    {condition}\n}}\n");
    }
    text
}
