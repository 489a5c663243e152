//! Encrypted PowerPoint files of the old format (MS-PPT §2.3.7): each persistent object by itself, with a key made of its
//! number; the directory of them stays in clear.

use super::super::super::bytes::{slice, u32_at};
use super::legacy::Legacy;

/// Edits that follow each other, and objects of one file.
const EDITS: usize = 100;
const OBJECTS: usize = 5000;

/// A persistent object: its number, and where it stands.
pub type Place = (u32, usize);

/// How the stream is encrypted, and the objects that are; `edit` is where its last edit stands (§2.3.2).
pub fn read(document: &[u8], edit: usize) -> Option<(Legacy, Vec<Place>)> {
    let (mut places, mut at, mut session): (Vec<Place>, usize, Option<u32>) = (Vec::new(), edit, None);
    for _ in 0..EDITS {
        // UserEditAtom (§2.3.3): the edit before it, the directory, the number of the encryption session.
        let (before, directory) = (u32_at(document, at + 16)?, u32_at(document, at + 20)?);
        if session.is_none() && u32_at(document, at + 4)? >= 0x20 {
            session = u32::try_from(u32_at(document, at + 36)?).ok();
        }
        let length = u32_at(document, directory.checked_add(4)?)?;
        list(slice(document, directory.checked_add(8)?, length), &mut places);
        if before == 0 || before >= at {
            break;
        }
        at = before;
    }
    let session = session?;
    let (_, start) = places.iter().find(|(number, _)| *number == session)?;
    let cover = Legacy::read(document.get(start.checked_add(8)?..)?)?;
    places.retain(|(number, _)| *number != session);
    Some((cover, places))
}

/// PersistDirectoryAtom (§2.3.4): runs of numbers, and an offset for each. The first offset of a number is the newest.
fn list(data: &[u8], places: &mut Vec<Place>) {
    let mut at = 0;
    while let Some(head) = u32_at(data, at).filter(|_| places.len() < OBJECTS) {
        let (first, count) = (head & 0xF_FFFF, head >> 20);
        at += 4;
        for number in first..first + count {
            let (Some(offset), Ok(number)) = (u32_at(data, at), u32::try_from(number)) else { return };
            at += 4;
            if places.len() < OBJECTS && !places.iter().any(|(known, _)| *known == number) {
                places.push((number, offset));
            }
        }
        if count == 0 {
            break;
        }
    }
}
