//! What several covers have in common.

use aes::cipher::KeyInit;
use hmac::Mac;

/// PBKDF2 (RFC 8018 §5.2): fills `out`.
pub(super) fn pbkdf2<M: Mac + KeyInit + Clone>(password: &[u8], salt: &[u8], rounds: u32, out: &mut [u8]) {
    let Ok(keyed) = <M as KeyInit>::new_from_slice(password) else { return };
    let length = M::output_size();
    for (number, block) in (1_u32..).zip(out.chunks_mut(length)) {
        let mut mac = keyed.clone();
        mac.update(salt);
        mac.update(&number.to_be_bytes());
        let mut last = mac.finalize().into_bytes();
        let mut sum = last.clone();
        for _ in 1..rounds {
            let mut mac = keyed.clone();
            mac.update(&last);
            last = mac.finalize().into_bytes();
            sum.iter_mut().zip(&last).for_each(|(s, l)| *s ^= l);
        }
        block.iter_mut().zip(&sum).for_each(|(place, octet)| *place = *octet);
    }
}
