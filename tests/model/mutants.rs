//! Each mutant lacks one rule and violates the property that the rule protects. This shows that the rules are necessary
//! and the properties are not vacuous.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    ALL_FAULTS, Limits, Protocol, RIGHT, Rules,
    calm::MENDED,
    properties::{EPOCHS, ONCE, ONE_EFFECT, ONE_OWNER, STATUS},
};

const SMALL: Protocol = Protocol {
    limits: Limits { late: 1, ..ALL_FAULTS },
    ..Protocol::of(2, 1)
};

/// Asserts that a path from the initial state to a violation of the property exists.
fn is_lost(property: &'static str, rules: Rules) {
    let mutant = Protocol {
        rules,
        symmetric: false,
        calm: property == MENDED,
        ..SMALL
    };
    let found = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = mutant
        .checker()
        .finish_when(found)
        .target_state_count(3_000_000)
        .spawn_bfs()
        .join();
    let path = checker
        .discovery(property)
        .unwrap_or_else(|| panic!("no counterexample for: {property}"));
    println!("{property}: {} states, violated by", checker.unique_state_count());
    path.into_actions().iter().for_each(|action| println!("  {action:?}"));
}

/// The properties that a mutant violates in its complete state space.
fn lost(rules: Rules) -> BTreeSet<&'static str> {
    // Releases matter only to a mutant that releases incorrectly.
    let limits = Limits {
        releases: !rules.drains,
        ..SMALL.limits
    };
    let checker = Protocol { rules, limits, ..SMALL }.checker().spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.discoveries().into_keys().collect()
}

#[test]
fn a_mutant_that_patches_leases_without_version_has_two_owners() {
    let blind = Rules {
        lease_versions: false,
        ..RIGHT
    };
    is_lost(ONE_OWNER, blind);
    is_lost(EPOCHS, blind);
}

#[test]
fn a_mutant_that_lets_sessions_expire_by_the_wall_clock_has_two_owners() {
    is_lost(
        ONE_OWNER,
        Rules {
            monotonic_expiry: false,
            ..RIGHT
        },
    );
}

#[test]
fn a_mutant_that_counts_the_fence_from_a_read_has_two_owners() {
    is_lost(
        ONE_OWNER,
        Rules {
            fence_from_renewal: false,
            ..RIGHT
        },
    );
}

#[test]
fn a_mutant_that_promotes_before_the_verdict_is_recorded_promotes_without_one() {
    is_lost(
        ONCE,
        Rules {
            verdict_first: false,
            ..RIGHT
        },
    );
}

#[test]
fn a_mutant_that_promotes_without_test_promotes_twice() {
    is_lost(
        ONCE,
        Rules {
            template_tested: false,
            ..RIGHT
        },
    );
}

#[test]
fn a_mutant_that_takes_without_a_higher_epoch_gives_one_twice() {
    is_lost(
        EPOCHS,
        Rules {
            epoch_grows: false,
            ..RIGHT
        },
    );
}

#[test]
fn a_mutant_that_goes_on_with_a_shard_whose_release_was_not_answered_has_two_owners() {
    is_lost(
        ONE_OWNER,
        Rules {
            release_settled: false,
            ..RIGHT
        },
    );
}

#[test]
fn a_mutant_that_forgets_a_take_of_unknown_outcome_leaves_the_shard_without_owner() {
    is_lost(MENDED, Rules { adopts: false, ..RIGHT });
}

/// The mutant has two owners, but no wrong effect: the late write is like any write that timed out, and the same rules
/// stop it.
#[test]
fn a_mutant_that_releases_before_the_last_answer_has_two_owners_and_no_late_effect() {
    assert_eq!(lost(Rules { drains: false, ..RIGHT }), BTreeSet::from([ONE_OWNER]));
}

#[test]
fn a_mutant_that_writes_the_status_without_version_and_epoch_has_a_late_status() {
    let neither = Rules {
        status_versions: false,
        status_epochs: false,
        ..RIGHT
    };
    is_lost(STATUS, neither);
    is_lost(ONCE, neither);
}

/// Epoch in place of the version: statuses stay in order, but some effects are not status writes.
#[test]
fn a_mutant_that_writes_the_status_without_version_is_not_saved_by_the_epoch() {
    assert_eq!(
        lost(Rules {
            status_versions: false,
            ..RIGHT
        }),
        BTreeSet::from([ONE_EFFECT, ONCE])
    );
}

/// While clocks are right, only the owner has the current version.
#[test]
fn the_epoch_is_not_needed_while_clocks_are_right() {
    assert_eq!(
        lost(Rules {
            status_epochs: false,
            ..RIGHT
        }),
        BTreeSet::new()
    );
}

/// An owner that does not notice the end of its fence reads the current version and is taken for the owner; the epoch
/// detects that. A promotion carries no epoch, so effects may still be out of order: the old owner promotes what the new
/// owner has judged, or ends what the new owner promoted. But no effect happens twice or without a verdict.
#[test]
fn the_epoch_is_needed_when_a_clock_fails() {
    let failed = Rules {
        fence_checked: false,
        ..RIGHT
    };
    assert_eq!(lost(failed), BTreeSet::from([ONE_EFFECT]));
    is_lost(
        STATUS,
        Rules {
            status_epochs: false,
            ..failed
        },
    );
}
