//! The ciphers that documents are encrypted with: RC4, and AES in chained and single blocks.

use aes::cipher::{Array, BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};

/// RC4: the same call opens and closes. Without a key nothing is done.
pub fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    if key.is_empty() {
        return data.to_vec();
    }
    let mut state: Vec<u8> = (0..=255).collect();
    let at = |state: &[u8], i: usize| state.get(i).copied().unwrap_or(0);
    let mut j = 0;
    for (i, k) in (0..256).zip(key.iter().cycle()) {
        j = (j + usize::from(at(&state, i)) + usize::from(*k)) % 256;
        state.swap(i, j);
    }
    let (mut i, mut j) = (0, 0);
    data.iter()
        .map(|byte| {
            i = (i + 1) % 256;
            j = (j + usize::from(at(&state, i))) % 256;
            state.swap(i, j);
            byte ^ at(&state, (usize::from(at(&state, i)) + usize::from(at(&state, j))) % 256)
        })
        .collect()
}

/// AES-CBC by the length of the key, whole blocks in place; `None` for a key or vector of no known length.
pub fn cbc(key: &[u8], vector: &[u8], data: &mut [u8]) -> Option<()> {
    match key.len() {
        16 => chained::<cbc::Decryptor<Aes128>>(key, vector, data),
        24 => chained::<cbc::Decryptor<Aes192>>(key, vector, data),
        32 => chained::<cbc::Decryptor<Aes256>>(key, vector, data),
        _ => None,
    }
}

fn chained<C: BlockModeDecrypt + KeyIvInit>(key: &[u8], vector: &[u8], data: &mut [u8]) -> Option<()> {
    let mut cipher = C::new_from_slices(key, vector).ok()?;
    for block in data.chunks_exact_mut(16) {
        cipher.decrypt_block(<&mut Array<u8, _>>::try_from(block).ok()?);
    }
    Some(())
}

/// AES, each block by itself.
pub fn ecb(key: &[u8], data: &mut [u8]) -> Option<()> {
    match key.len() {
        16 => single::<Aes128>(key, data),
        24 => single::<Aes192>(key, data),
        32 => single::<Aes256>(key, data),
        _ => None,
    }
}

fn single<C: BlockCipherDecrypt + KeyInit>(key: &[u8], data: &mut [u8]) -> Option<()> {
    let cipher = C::new_from_slice(key).ok()?;
    for block in data.chunks_exact_mut(16) {
        cipher.decrypt_block(<&mut Array<u8, _>>::try_from(block).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // RFC 6229 §2, the key of 40 bits.
        assert_eq!(rc4(&[1, 2, 3, 4, 5], &[0; 4]), [0xb2, 0x39, 0x63, 0x05]);
        // FIPS 197 appendix C.1.
        let key: Vec<u8> = (0..16).collect();
        let mut block = *b"\x69\xc4\xe0\xd8\x6a\x7b\x04\x30\xd8\xcd\xb7\x80\x70\xb4\xc5\x5a";
        let mut again = block;
        ecb(&key, &mut block).unwrap();
        cbc(&key, &[0; 16], &mut again).unwrap();
        let plain: Vec<u8> = (0..16).map(|i| i * 0x11).collect();
        assert_eq!((&block[..], &again[..]), (&plain[..], &plain[..]));
        assert_eq!(ecb(&key[..5], &mut block), None);
    }
}
