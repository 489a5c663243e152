//! Quantum, the third coding of cabinets: an arithmetic code over models that adapt, of literals and of matches in a
//! window. Written down nowhere by its maker; the tables are those that every reader of cabinets has.

/// Octets of one block at most.
const FRAME: usize = 32 << 10;
/// A model is scaled down above this.
const FULL: u16 = 3800;

const LENGTHS: [(usize, usize); 27] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 1),
    (8, 1),
    (10, 1),
    (12, 1),
    (14, 2),
    (18, 2),
    (22, 2),
    (26, 2),
    (30, 3),
    (38, 3),
    (46, 3),
    (54, 3),
    (62, 4),
    (78, 4),
    (94, 4),
    (110, 4),
    (126, 5),
    (158, 5),
    (190, 5),
    (222, 5),
    (254, 0),
];

pub(super) struct Quantum {
    window: Vec<u8>,
    at: usize,
    literals: [Model; 4],
    /// Distances of matches of three, of four and of more octets.
    distances: [Model; 3],
    lengths: Model,
    selector: Model,
}

impl Quantum {
    /// `None` when the window is of no known size.
    pub(super) fn new(power: usize) -> Option<Self> {
        if !(10..=21).contains(&power) {
            return None;
        }
        let slots = 2 * power;
        Some(Self {
            window: vec![0; 1 << power],
            at: 0,
            literals: [0_usize, 64, 128, 192].map(|first| Model::new(first, 64)),
            distances: [24, 36, 42].map(|most| Model::new(0, slots.min(most))),
            lengths: Model::new(0, 27),
            selector: Model::new(0, 7),
        })
    }

    /// The `size` octets of one block; `None` when the block is damaged.
    pub(super) fn block(&mut self, block: &[u8], size: usize) -> Option<Vec<u8>> {
        let size = size.min(FRAME);
        let mut code = Code::new(block)?;
        let mut out = Vec::with_capacity(size);
        while out.len() < size {
            let selector = code.symbol(&mut self.selector)?;
            if let Some(model) = self.literals.get_mut(selector) {
                let octet = u8::try_from(code.symbol(model)?).ok()?;
                self.put(octet, &mut out);
                continue;
            }
            let length = match selector {
                4 => 3,
                5 => 4,
                _ => {
                    let (base, extra) = *LENGTHS.get(code.symbol(&mut self.lengths)?)?;
                    base + code.bits(extra)? + 5
                }
            };
            let slot = code.symbol(self.distances.get_mut(selector - 4)?)?;
            let distance = distance(slot, &mut code)?;
            if distance > self.window.len() || out.len() + length > size {
                return None;
            }
            for _ in 0..length {
                let from = (self.at + self.window.len() - distance) % self.window.len();
                let octet = *self.window.get(from)?;
                self.put(octet, &mut out);
            }
        }
        Some(out)
    }

    fn put(&mut self, octet: u8, out: &mut Vec<u8>) {
        if let Some(place) = self.window.get_mut(self.at) {
            *place = octet;
        }
        self.at = (self.at + 1) % self.window.len();
        out.push(octet);
    }
}

/// Slots of 0, 1, 2, 3, then two for each power of two, as in Deflate.
fn distance(slot: usize, code: &mut Code<'_>) -> Option<usize> {
    let extra = (slot / 2).saturating_sub(1);
    let base = if slot < 4 { slot } else { (2 | slot & 1) << extra };
    Some(base + code.bits(extra)? + 1)
}

/// Symbols with the sums of the counts behind them; the last has none.
struct Model {
    symbols: Vec<(usize, u16)>,
    /// Halvings until the symbols are sorted anew.
    halvings: u8,
}

impl Model {
    fn new(first: usize, length: usize) -> Self {
        let sums = (0..=length).map(|n| (first + n, u16::try_from(length - n).unwrap_or_default()));
        Self { symbols: sums.collect(), halvings: 4 }
    }

    fn sum(&self, at: usize) -> u16 {
        self.symbols.get(at).map_or(0, |(_, sum)| *sum)
    }

    /// Counts everything up to `at`, exclusive, once more.
    fn count(&mut self, at: usize) {
        self.symbols.iter_mut().take(at).for_each(|(_, sum)| *sum += 8);
        if self.sum(0) > FULL {
            self.scale();
        }
    }

    fn scale(&mut self) {
        self.halvings -= 1;
        let mut behind = 0;
        if self.halvings > 0 {
            for (_, sum) in self.symbols.iter_mut().rev().skip(1) {
                *sum = (*sum >> 1).max(behind + 1);
                behind = *sum;
            }
            return;
        }
        self.halvings = 50;
        let last = self.symbols.len().saturating_sub(1);
        for at in 0..last {
            let next = self.sum(at + 1);
            if let Some((_, sum)) = self.symbols.get_mut(at) {
                *sum = (*sum - next + 1) >> 1;
            }
        }
        // By counts, the order of equals as a sort by selection leaves it: readers must agree on it.
        for at in 0..last {
            for other in at + 1..last {
                if self.sum(at) < self.sum(other) {
                    self.symbols.swap(at, other);
                }
            }
        }
        for (_, sum) in self.symbols.iter_mut().rev().skip(1) {
            *sum += behind;
            behind = *sum;
        }
    }
}

/// The arithmetic decoder over the bits of one block, high ones first.
struct Code<'d> {
    data: &'d [u8],
    bit: usize,
    low: u16,
    high: u16,
    now: u16,
}

impl<'d> Code<'d> {
    fn new(data: &'d [u8]) -> Option<Self> {
        let mut code = Self { data, bit: 0, low: 0, high: 0xFFFF, now: 0 };
        code.now = u16::try_from(code.bits(16)?).ok()?;
        Some(code)
    }

    /// Zeros behind the end, as many as a decoder may have to look ahead.
    fn bits(&mut self, count: usize) -> Option<usize> {
        let mut sum = 0;
        for _ in 0..count {
            if self.bit > (self.data.len() + 4) * 8 {
                return None;
            }
            let octet = self.data.get(self.bit / 8).copied().unwrap_or_default();
            sum = sum << 1 | usize::from(octet >> (7 - self.bit % 8) & 1);
            self.bit += 1;
        }
        Some(sum)
    }

    fn symbol(&mut self, model: &mut Model) -> Option<usize> {
        let (low, high, now) = (u32::from(self.low), u32::from(self.high), u32::from(self.now));
        let (range, total) = (high.checked_sub(low)? + 1, u32::from(model.sum(0)));
        let place = ((now.checked_sub(low)? + 1).checked_mul(total)? - 1) / range;
        let behind = model.symbols.iter().skip(1).position(|(_, sum)| u32::from(*sum) <= place)? + 1;
        let symbol = model.symbols.get(behind - 1)?.0;
        self.high = u16::try_from(low + u32::from(model.sum(behind - 1)) * range / total - 1).ok()?;
        self.low = u16::try_from(low + u32::from(model.sum(behind)) * range / total).ok()?;
        model.count(behind);
        while (self.low ^ self.high) & 0x8000 == 0 || (self.low & 0x4000 != 0 && self.high & 0x4000 == 0) {
            if (self.low ^ self.high) & 0x8000 != 0 {
                self.now ^= 0x4000;
                self.low &= 0x3FFF;
                self.high |= 0x4000;
            }
            (self.low, self.high) = (self.low << 1, self.high << 1 | 1);
            self.now = self.now << 1 | u16::try_from(self.bits(1)?).ok()?;
        }
        Some(symbol)
    }
}
