//! Deliberate mistakes: a spool that makes one of them must be found out within a few histories.

use super::super::super::fault::Fault;
use super::{Nature, history};

fn caught(fault: Fault) {
    // What only shows behind a failing disk is looked for there.
    let nature = match fault {
        Fault::CacheBelieved => Nature::Deadly,
        Fault::FailedSyncIgnored | Fault::CarryForgotten | Fault::MovedBeforeCarry => Nature::Rough,
        Fault::FailedSegmentTrusted | Fault::VoidsForgotten => Nature::Steady,
        Fault::StartNotSynced => Nature::Restless,
        _ => Nature::Fair,
    };
    let found = (1..=60).find_map(|seed| history(seed, nature, Some(fault)).err());
    println!("{fault:?}: {}", found.expect("the campaign does not notice this mistake"));
}

macro_rules! mutants {
    ($($name:ident: $fault:ident,)*) => {
        $(
            #[test]
            fn $name() {
                caught(Fault::$fault);
            }
        )*
    };
}

mutants! {
    mutant_without_sync_is_caught: SyncLeftOut,
    mutant_that_answers_before_the_sync_is_caught: AnswerBeforeSync,
    mutant_that_ignores_a_failed_sync_is_caught: FailedSyncIgnored,
    mutant_that_trusts_a_failed_segment_is_caught: FailedSegmentTrusted,
    mutant_that_forgets_what_is_void_is_caught: VoidsForgotten,
    mutant_that_forgets_what_a_failed_segment_was_told_is_caught: CarryForgotten,
    mutant_that_moves_mail_before_what_is_carried_is_caught: MovedBeforeCarry,
    mutant_that_leaves_a_segment_unsynced_is_caught: SealNotSynced,
    mutant_that_does_not_sync_the_folder_is_caught: FolderNotSynced,
    mutant_that_does_not_sync_at_a_start_is_caught: StartNotSynced,
    mutant_that_believes_the_cache_after_a_failed_sync_is_caught: CacheBelieved,
    mutant_that_ignores_checksums_is_caught: ChecksumIgnored,
    mutant_that_believes_a_torn_tail_is_caught: TailBelieved,
    mutant_that_reuses_a_segment_before_its_mail_is_safe_is_caught: ReusedTooEarly,
    mutant_that_frees_before_it_moves_is_caught: FreedBeforeMoved,
    mutant_that_frees_out_of_order_is_caught: FreedOutOfOrder,
    mutant_that_does_not_sync_what_it_frees_is_caught: BlankNotSynced,
    mutant_that_moves_mail_without_its_state_is_caught: StateLeftBehind,
    mutant_that_takes_an_earlier_life_for_its_own_is_caught: NonceKept,
    mutant_that_gives_keys_twice_is_caught: KeysForgotten,
}
