//! Each defence is taken away, and what it defends is lost: so it is needed, and the properties are not empty.

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

/// Some way from the beginning to a state that lacks the property.
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
        .unwrap_or_else(|| panic!("no counterexample of: {property}"));
    println!("{property}: {} states, lost by", checker.unique_state_count());
    path.into_actions().iter().for_each(|action| println!("  {action:?}"));
}

/// What a mutant has lost, when all its states are gone through.
fn lost(rules: Rules) -> BTreeSet<&'static str> {
    // A release matters to the mutant only that releases in a wrong way.
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

/// Two owners, but no harm: the late write is one as any that has timed out, and meets the same defences.
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

/// The epoch in the place of the version: statuses keep their order, but an effect is not always a status.
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

/// While clocks are right, who has a version at hand is the one that may write.
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

/// An owner that does not notice the end of its fence reads the present version, and so passes for the owner: this is
/// what the epoch is for. A promotion carries no epoch, so effects may still come out of order: it promotes what the new
/// owner has judged, or ends what the new owner promoted. But nothing is done twice, or without a verdict.
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
