//! Lanes: who may run, who is called.

use super::*;

fn lane() -> LaneKey {
    LaneKey::Domain(Domain::parse("y.vn").unwrap())
}

#[test]
fn threats_r_06_a_lane_opens_by_one_with_each_success_and_shuts_at_once() {
    let mut lanes = Lanes::default();
    assert!(lanes.enter(&lane(), JobKey(1)));
    for job in 2..=10 {
        assert!(!lanes.enter(&lane(), JobKey(job)), "one message asks first");
    }
    assert_eq!(lanes.leave(&lane(), Went::Well, 4), [JobKey(2), JobKey(3)], "the oldest first");
    assert!(lanes.enter(&lane(), JobKey(2)) && lanes.enter(&lane(), JobKey(3)));
    assert_eq!(lanes.leave(&lane(), Went::Well, 4), [JobKey(4), JobKey(5)]);
    assert!(lanes.enter(&lane(), JobKey(4)) && lanes.enter(&lane(), JobKey(5)));
    assert!(lanes.leave(&lane(), Went::Badly, 4).is_empty(), "trouble calls nobody");
    assert!(!lanes.enter(&lane(), JobKey(11)), "and narrows the lane");
}

#[test]
fn a_lane_is_never_wider_than_its_limit() {
    let mut lanes = Lanes::default();
    for job in 0..100 {
        assert!(lanes.enter(&lane(), JobKey(job)));
        lanes.leave(&lane(), Went::Well, 4);
    }
    let running = (100..200).filter(|job| lanes.enter(&lane(), JobKey(*job))).count();
    assert_eq!(running, 4);
}

#[test]
fn one_full_lane_leaves_the_others_free() {
    let mut lanes = Lanes::default();
    for job in 0..10_000 {
        lanes.enter(&lane(), JobKey(job));
    }
    assert!(lanes.enter(&LaneKey::Domain(Domain::parse("z.vn").unwrap()), JobKey(10_001)));
}

#[test]
fn a_shut_lane_has_one_job_that_asks() {
    let mut lanes = Lanes::default();
    assert!(lanes.park(&lane(), JobKey(5)));
    assert!(!lanes.park(&lane(), JobKey(3)));
    assert_eq!(lanes.call(&lane()), [JobKey(3)]);
}
