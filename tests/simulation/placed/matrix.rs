//! A controller that is killed at each write of a run in place.

use super::{deleted, is_in_place, removed};
use crate::{
    case::Case,
    kinds::{self, Kind},
    matrix::{case, survives},
    target_kinds::TargetKind,
};

fn in_place(kind: Kind) -> Case {
    let mut rng = fastrand::Rng::with_seed(1);
    let case = case(kind);
    let case = if is_in_place(&case) {
        case
    } else {
        case.on(&mut rng, TargetKind::in_place())
    };
    assert!(is_in_place(&case));
    case
}

#[test]
fn a_success_in_place_survives_a_crash_at_every_write() {
    survives(&in_place(kinds::passes));
}

#[test]
fn a_deletion_in_place_survives_a_crash_at_every_write() {
    survives(&in_place(deleted));
}

#[test]
fn a_run_that_goes_on_beside_its_target_survives_a_crash_at_every_write() {
    survives(&in_place(removed));
}
