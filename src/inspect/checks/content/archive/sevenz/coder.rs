//! The coders of a folder, put together to one reader: the last output first, then what feeds it. A folder has at most
//! eight coders, which bounds how deep that goes.

use std::io::Read;

use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use lzma_rust2::Lzma2Reader;
use lzma_rust2::filter::bcj::BcjReader;
use lzma_rust2::filter::bcj2::Bcj2Reader;
use lzma_rust2::filter::delta::DeltaReader;
use sha2::{Digest as _, Sha256};

use super::super::bytes::le;
use super::super::{Budget, Stop, WINDOW, stream};
use super::header::{Coder, Folder};

/// Why a folder cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Closed {
    /// A coder that is not known here.
    Unsupported,
    Malformed,
    /// It is encrypted, and no password was given.
    NoPassword,
}

type Source<'d> = Box<dyn Read + 'd>;

/// What a folder is read with.
pub(super) struct Inputs<'d> {
    pub(super) folder: &'d Folder,
    /// The packed streams of this folder, in the order of `folder.packed`.
    pub(super) packed: Vec<&'d [u8]>,
    pub(super) password: Option<&'d Key>,
    pub(super) budget: &'d Budget,
}

impl<'d> Inputs<'d> {
    pub(super) fn reader(&self) -> Result<Source<'d>, Closed> {
        let last = self.folder.last().ok_or(Closed::Malformed)?;
        self.output(last, self.folder.coders.len())
    }

    /// The reader of one output stream; `left` bounds a chain that bites its own tail.
    fn output(&self, output: usize, left: usize) -> Result<Source<'d>, Closed> {
        let left = left.checked_sub(1).ok_or(Closed::Malformed)?;
        let (mut first_input, mut first_output) = (0, 0);
        for coder in &self.folder.coders {
            if output < first_output + coder.outputs {
                if coder.outputs != 1 {
                    return Err(Closed::Unsupported);
                }
                let inputs = (first_input..first_input + coder.inputs)
                    .map(|input| self.input(input, left))
                    .collect::<Result<Vec<_>, _>>()?;
                let size = self.folder.sizes.get(output).copied().unwrap_or_default();
                return self.decode(coder, inputs, size);
            }
            first_input += coder.inputs;
            first_output += coder.outputs;
        }
        Err(Closed::Malformed)
    }

    fn input(&self, input: usize, left: usize) -> Result<Source<'d>, Closed> {
        if let Some((_, from)) = self.folder.bonds.iter().find(|(to, _)| *to == input) {
            return self.output(*from, left);
        }
        let place = self.folder.packed.iter().position(|n| *n == input).ok_or(Closed::Malformed)?;
        Ok(Box::new(*self.packed.get(place).ok_or(Closed::Malformed)?))
    }

    fn decode(&self, coder: &Coder, mut inputs: Vec<Source<'d>>, size: u64) -> Result<Source<'d>, Closed> {
        if *coder.method == [3, 3, 1, 0x1B] {
            let reader = Bcj2Reader::try_new(inputs, size).map_err(|_| Closed::Malformed)?;
            return Ok(Box::new(reader));
        }
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else { return Err(Closed::Unsupported) };
        let properties = &*coder.properties;
        // Coders stand in a row, each with a window of its own.
        if !self.budget.has_room(WINDOW) {
            return Err(Closed::Unsupported);
        }
        let window = |declared: usize| declared.min(WINDOW).min(usize::try_from(size).unwrap_or(WINDOW).max(4096));
        Ok(match &*coder.method {
            [0] => input,
            [3, 1, 1] => {
                let (Some(first), Some(declared)) = (properties.first(), le(properties, 1, 4)) else {
                    return Err(Closed::Malformed);
                };
                Box::new(stream::lzma_raw(input, *first, declared, size).ok_or(Closed::Malformed)?)
            }
            [0x21] => {
                let declared = lzma2_window(*properties.first().ok_or(Closed::Malformed)?).ok_or(Closed::Malformed)?;
                let window = u32::try_from(window(declared)).unwrap_or(4096);
                Box::new(Lzma2Reader::new(input, window, None))
            }
            [3, 4, 1] => {
                let (order, memory) = (properties.first().copied().unwrap_or_default(), le(properties, 1, 4));
                let memory = memory.filter(|m| *m <= 4 * WINDOW).ok_or(Closed::Malformed)?;
                if !self.budget.has_room(memory) {
                    return Err(Closed::Unsupported);
                }
                let memory = u32::try_from(memory).map_err(|_| Closed::Malformed)?;
                let reader = ppmd_rust::Ppmd7Decoder::new(input, u32::from(order), memory);
                Box::new(reader.map_err(|_| Closed::Malformed)?)
            }
            [4, 1, 8] => Box::new(flate2::read::DeflateDecoder::new(input)),
            [4, 1, 9] => Box::new(deflate64::Deflate64Decoder::new(input)),
            [4, 2, 2] => Box::new(bzip2::read::MultiBzDecoder::new(input)),
            // Their writers cut the octets into frames, with frames to be skipped before each.
            [4, 0xF7, 0x11, 1] => self.framed(input, stream::zstd)?,
            [4, 0xF7, 0x11, 4] => self.framed(input, stream::lz4)?,
            [3] => Box::new(DeltaReader::new(input, usize::from(properties.first().copied().unwrap_or(0)) + 1)),
            [3, 3, 1, 3] | [4] => Box::new(BcjReader::new_x86(input, 0)),
            [3, 3, 2, 5] | [5] => Box::new(BcjReader::new_ppc(input, 0)),
            [3, 3, 4, 1] | [6] => Box::new(BcjReader::new_ia64(input, 0)),
            [3, 3, 5, 1] | [7] => Box::new(BcjReader::new_arm(input, 0)),
            [3, 3, 7, 1] | [8] => Box::new(BcjReader::new_arm_thumb(input, 0)),
            [3, 3, 8, 5] | [9] => Box::new(BcjReader::new_sparc(input, 0)),
            [0xA] => Box::new(BcjReader::new_arm64(input, 0)),
            [0xB] => Box::new(BcjReader::new_riscv(input, 0)),
            [2, 3, 2] => Box::new(Swap { input, width: 2 }),
            [2, 3, 4] => Box::new(Swap { input, width: 4 }),
            [6, 0xF1, 7, 1] => self.uncover(properties, input, size)?,
            _ => return Err(Closed::Unsupported),
        })
    }

    fn framed(
        &self,
        mut input: Source<'d>,
        unpack: fn(&[u8], &Budget) -> (Vec<u8>, Stop),
    ) -> Result<Source<'d>, Closed> {
        let mut packed = Vec::new();
        let most = self.budget.bytes() as u64;
        input.by_ref().take(most).read_to_end(&mut packed).map_err(|_| Closed::Malformed)?;
        Ok(Box::new(std::io::Cursor::new(unpack(&packed, self.budget).0)))
    }

    /// AES-256 in CBC mode. The octets under it are the archive's own, so that all of them fit into memory.
    fn uncover(&self, properties: &[u8], mut input: Source<'d>, size: u64) -> Result<Source<'d>, Closed> {
        let cover = Cover::read(properties).ok_or(Closed::Malformed)?;
        let key = self.password.ok_or(Closed::NoPassword)?.derived(&cover).ok_or(Closed::Unsupported)?;
        let mut octets = Vec::new();
        let most = self.budget.bytes() as u64;
        input.by_ref().take(most).read_to_end(&mut octets).map_err(|_| Closed::Malformed)?;
        let mut cipher =
            cbc::Decryptor::<aes::Aes256>::new_from_slices(&key, &cover.vector).map_err(|_| Closed::Malformed)?;
        for block in octets.chunks_exact_mut(16) {
            if let Ok(block) = <&mut aes::cipher::Array<u8, _>>::try_from(block) {
                cipher.decrypt_block(block);
            }
        }
        octets.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(Box::new(std::io::Cursor::new(octets)))
    }
}

/// Octets of each group of two or four in the other order; what is left at the end stays.
struct Swap<'d> {
    input: Source<'d>,
    width: usize,
}

impl Read for Swap<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        // Readers take thousands of octets at once; one that does not gets them as they are.
        let whole = out.len() / self.width * self.width;
        let room = if whole == 0 { out } else { out.get_mut(..whole).unwrap_or_default() };
        let mut got = 0;
        while let Some(rest) = room.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest)? {
                0 => break,
                more => got += more,
            }
        }
        room.get_mut(..got).unwrap_or_default().chunks_exact_mut(self.width).for_each(<[u8]>::reverse);
        Ok(got)
    }
}

fn lzma2_window(property: u8) -> Option<usize> {
    match property {
        40 => Some(usize::try_from(u32::MAX).ok()?),
        0..=39 => Some((2 | usize::from(property & 1)) << (property / 2 + 11)),
        _ => None,
    }
}

/// The properties of the AES coder.
struct Cover {
    /// Two to this many rounds; 63: none.
    power: u32,
    salt: Vec<u8>,
    vector: [u8; 16],
}

impl Cover {
    fn read(properties: &[u8]) -> Option<Self> {
        let first = *properties.first()?;
        let mut cover = Self { power: u32::from(first & 0x3F), salt: Vec::new(), vector: [0; 16] };
        if first & 0xC0 == 0 {
            return Some(cover);
        }
        let second = *properties.get(1)?;
        let salt = usize::from(first >> 7) + usize::from(second >> 4);
        let vector = usize::from(first >> 6 & 1) + usize::from(second & 15);
        cover.salt = properties.get(2..2 + salt)?.to_vec();
        let given = properties.get(2 + salt..2 + salt + vector)?;
        cover.vector.iter_mut().zip(given).for_each(|(place, octet)| *place = *octet);
        Some(cover)
    }
}

/// Rounds, salt and the key they gave.
type Derived = (u32, Vec<u8>, [u8; 32]);

/// A password, and the key it gave last: all folders of an archive share one salt as a rule.
pub(super) struct Key {
    password: Vec<u8>,
    known: std::cell::RefCell<Option<Derived>>,
}

/// Rounds that 7-Zip itself uses, and some more: what is above is made to keep us busy.
const POWER: u32 = 20;

impl Key {
    pub(super) fn new(password: &str) -> Self {
        let password = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        Self { password, known: std::cell::RefCell::new(None) }
    }

    fn derived(&self, cover: &Cover) -> Option<[u8; 32]> {
        if let Some((power, salt, key)) = &*self.known.borrow()
            && (*power, salt) == (cover.power, &cover.salt)
        {
            return Some(*key);
        }
        let seed = [cover.salt.as_slice(), &self.password].concat();
        let mut key = [0; 32];
        if cover.power == 0x3F {
            key.iter_mut().zip(&seed).for_each(|(place, octet)| *place = *octet);
        } else if cover.power <= POWER {
            // Hashed in runs of many rounds: one call a round costs more than the hash.
            let mut hash = Sha256::new();
            let rounds = 1_u64 << cover.power;
            let mut run = Vec::with_capacity((seed.len() + 8) * 64);
            for round in 0..rounds {
                run.extend_from_slice(&seed);
                run.extend_from_slice(&round.to_le_bytes());
                if round % 64 == 63 || round + 1 == rounds {
                    hash.update(&run);
                    run.clear();
                }
            }
            key.iter_mut().zip(hash.finalize()).for_each(|(place, octet)| *place = octet);
        } else {
            return None;
        }
        *self.known.borrow_mut() = Some((cover.power, cover.salt.clone(), key));
        Some(key)
    }
}

impl Folder {
    pub(super) fn is_encrypted(&self) -> bool {
        self.coders.iter().any(|coder| *coder.method == [6, 0xF1, 7, 1])
    }
}
