//! The power cut at every operation of keeping, marking, adding to a mailing, taking away and sealing anew.

use std::path::Path;
use std::sync::Arc;

use super::super::store::{Keep, Store};
use super::super::{Deed, HeldKey, Kind, What};
use super::{NOW, held, parcel};
use crate::env::Dice;
use crate::env::disk::{Simulated, Trouble};
use crate::env::vault::{Keys, MasterKey};
use crate::mail::Parcel;

const DIR: &str = "/d/quarantine";

/// The same keys again, as a restart reads them.
fn again(keys: &Keys) -> Keys {
    Keys::parse(&keys.text()).unwrap()
}

fn keep(parcel: &Parcel) -> Keep {
    Keep { parcel: parcel.clone(), held: held(parcel, Kind::Spam), original: "Subject: as it came\r\n\r\n".into() }
}

/// What was acknowledged: it must be there whenever the power goes.
#[derive(Default)]
struct Ledger {
    kept: Vec<(HeldKey, Parcel)>,
    released: Vec<HeldKey>,
    /// Taken away; it may still be there when the power goes too early, never half.
    removed: Vec<HeldKey>,
}

impl Ledger {
    fn check(&self, disk: &Simulated, dice: &Dice, keys: &Keys, seed: u64) -> usize {
        let all = disk.take_cuts();
        for cut in &all {
            let disk = Arc::new(cut.after_power_cut(dice));
            let store = Store::open(disk, Path::new(DIR), again(keys)).unwrap();
            for folder in store.folders().unwrap() {
                store.sweep(&folder).unwrap();
            }
            for (key, sent) in self.kept.iter().filter(|(key, _)| !self.removed.contains(key)) {
                let (entry, found) = store.parcel(*key).unwrap_or_else(|error| panic!("seed {seed}: {key}: {error}"));
                assert_eq!((&found.parcel.head, &found.parcel.body), (&sent.head, &sent.body), "seed {seed}");
                assert_eq!(&found.original[..], b"Subject: as it came\r\n\r\n");
                assert!(
                    entry.released.is_some() || !self.released.contains(key),
                    "seed {seed}: a release is forgotten"
                );
            }
            // Whatever else has its name is whole: half a message never has one.
            for folder in store.folders().unwrap() {
                for file in store.keys(&folder).unwrap() {
                    for stored in store.entries(file).unwrap() {
                        store.parcel(stored.entry.key).unwrap();
                    }
                }
            }
        }
        all.len()
    }
}

#[test]
fn r02_power_cut_at_every_operation_of_holding_releasing_and_removing() {
    let mut cuts = 0;
    for seed in 0..25 {
        let (disk, dice) = (Simulated::new(seed), Dice::seeded(seed));
        let mut keys = Keys::of(MasterKey::generate().unwrap());
        let store = Store::open(Arc::new(disk.clone()), Path::new(DIR), again(&keys)).unwrap();
        disk.record_cuts();
        let mut ledger = Ledger::default();
        for number in 0..6 {
            let sent = parcel(number, "x");
            if dice.below(5) == 0 {
                disk.fail(disk.operations() + 1 + dice.below(5), Trouble::Broken);
            }
            let stored = store.write(&keep(&sent));
            cuts += ledger.check(&disk, &dice, &keys, seed);
            ledger.kept.extend(stored.map(|stored| (stored.entry.key, sent)));
            let Some((last, first)) = ledger.kept.last().cloned() else { continue };
            match dice.below(4) {
                0 => {
                    let deed = Deed { by: "lan".into(), reason: "y".repeat(700), at: NOW, ..Deed::default() };
                    let marked = store.mark(last, &deed);
                    cuts += ledger.check(&disk, &dice, &keys, seed);
                    ledger.released.extend(marked.map(|stored| stored.entry.key));
                }
                1 => {
                    let other = Parcel { body: first.body.clone(), ..parcel(number + 100, "once more") };
                    let added = store.add(last, &keep(&other));
                    cuts += ledger.check(&disk, &dice, &keys, seed);
                    ledger.kept.extend(added.ok().flatten().map(|stored| (stored.entry.key, other)));
                }
                2 => {
                    ledger.removed.push(last);
                    let _ = store.remove(last, &Deed { what: What::Removed, ..Deed::default() });
                    cuts += ledger.check(&disk, &dice, &keys, seed);
                }
                _ => {
                    keys = keys.rotated(MasterKey::generate().unwrap());
                    store.use_keys(again(&keys));
                    let _ = store.renew(last);
                    cuts += ledger.check(&disk, &dice, &keys, seed);
                }
            }
        }
    }
    println!("{cuts} power cuts over 25 seeds: nothing lost");
    assert!(cuts > 1000, "{cuts}");
}
