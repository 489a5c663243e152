//! Memory of many strangers that must not grow: what was seen longest ago is forgotten first.

use std::collections::HashMap;

/// Makes room in a map that is full: the half goes whose `at` is lower, and all that stand level with the last of it.
pub fn forget_older_half<K, V, S, T: Ord + Copy>(map: &mut HashMap<K, V, S>, at: impl Fn(&V) -> T) {
    let mut all: Vec<T> = map.values().map(&at).collect();
    if all.is_empty() {
        return;
    }
    let middle = all.len() / 2;
    let (_, median, _) = all.select_nth_unstable(middle);
    let median = *median;
    map.retain(|_, value| at(value) > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_half_stays() {
        let mut map: HashMap<u32, u32> = (0..100).map(|n| (n, n)).collect();
        forget_older_half(&mut map, |n| *n);
        assert_eq!((map.len(), map.keys().min()), (49, Some(&51)));
        let mut level: HashMap<u32, u32> = (0..100).map(|n| (n, 7)).collect();
        forget_older_half(&mut level, |n| *n);
        forget_older_half(&mut level, |n| *n);
        assert!(level.is_empty(), "there is room in any case");
    }
}
