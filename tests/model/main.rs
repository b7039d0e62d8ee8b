//! The lease protocol, as a model whose states are all gone through (ARCHITECTURE.md describes the protocol).
//!
//! Replicas hold sessions and shards by leases, and write verdicts and promotions. A request that passed all checks is
//! under way until it is executed, which may be much later, when its sender is deposed, or dead; it may be lost, and so
//! may its answer. Replicas are paused (they just take no step), killed, and started again, at any time; fences end at
//! any time. There is no clock: that a session expires later than its holder's fence, is all that is known of time.
//!
//! Nothing that the protocol counts is bounded: versions are modelled as "still the present one", and boots and epochs,
//! which are only compared, are counted anew in every state. So a run of any length, with any number of restarts and
//! handovers, is among those that are checked. What is bounded:
//!
//! - two replicas and one shard, all faults: *two* requests at the same time that no one waits for any more (timed out,
//!   or of a dead sender, or a seize); those that are waited for are as many as replicas send. Each mutant fails
//!   with one of them.
//! - three replicas and one shard, two replicas and two shards: two requests under way, one of them late; no release.
//! - three replicas and two shards: three requests under way, none of them late (so sessions end by restarts, and not
//!   by seizes); no release. Shards share nothing but the sessions.
//! - three replicas and two shards, all faults, many requests: random walks of fixed seed.
//!
//! A read is one step with the sending of what is decided by it. It may be old when the request arrives, which is what
//! versions are for; and of what is not versioned (is a session dead? is there a verdict?) only what stays true is used.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

mod api;
mod calm;
mod mutants;
mod properties;
mod protocol;
mod state;
mod walk;

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};
use walk::Walker;

/// What the protocol rests on. All are true in the right one.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Rules {
    /// Leases are written by PUT with the resourceVersion that was read.
    lease_versions: bool,
    /// A session expires on the observer's monotonic clock, TTL after its last change.
    monotonic_expiry: bool,
    /// The fence is counted from a renewal's sending, and from nothing else.
    fence_from_renewal: bool,
    /// A replica writes inside the fence only.
    fence_checked: bool,
    /// A take makes the epoch one higher.
    epoch_grows: bool,
    /// A shard is released when its last write was answered (or has timed out).
    drains: bool,
    /// A release is repeated until it is answered.
    release_settled: bool,
    /// Who reads that a lease names its session owns the shard, though it never heard of the take's success.
    adopts: bool,
    /// A promotion follows a verdict that was read.
    verdict_first: bool,
    /// A promotion tests that the template is as it was read.
    template_tested: bool,
    /// A status is written with the resourceVersion that was read.
    status_versions: bool,
    /// The API server refuses a status of a lower epoch.
    status_epochs: bool,
}

const RIGHT: Rules = Rules {
    lease_versions: true,
    monotonic_expiry: true,
    fence_from_renewal: true,
    fence_checked: true,
    epoch_grows: true,
    drains: true,
    release_settled: true,
    adopts: true,
    verdict_first: true,
    template_tested: true,
    status_versions: true,
    status_epochs: true,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Requests under way at the same time ...
    under_way: usize,
    /// ... of which so many are no more waited for.
    late: usize,
    kills: bool,
    releases: bool,
}

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Protocol {
    replicas: usize,
    shards: usize,
    rules: Rules,
    limits: Limits,
    symmetric: bool,
    story: bool,
    calm: bool,
    counted: bool,
}

/// Nothing is held back.
const ALL_FAULTS: Limits = Limits {
    under_way: usize::MAX,
    late: 2,
    kills: true,
    releases: true,
};

impl Protocol {
    const fn of(replicas: usize, shards: usize) -> Self {
        let (symmetric, story, calm, counted) = (true, false, false, false);
        Self {
            replicas,
            shards,
            rules: RIGHT,
            limits: ALL_FAULTS,
            symmetric,
            story,
            calm,
            counted,
        }
    }

    /// Goes through all states.
    fn check(self) {
        let checker = self.checker().spawn_bfs().join();
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        println!(
            "{states} states, {steps} steps between them, depth {}",
            checker.max_depth()
        );
        checker.assert_properties();
    }
}

#[test]
fn at_most_one_replica_has_an_effect_on_a_slot() {
    Protocol::of(2, 1).check();
}

/// All faults, but no replica gives a shard away by itself; so many calls under way, and so many that are carried out late.
fn check_faults(replicas: usize, shards: usize, under_way: usize, late: usize) {
    let limits = Limits {
        under_way,
        late,
        releases: false,
        ..ALL_FAULTS
    };
    Protocol {
        limits,
        ..Protocol::of(replicas, shards)
    }
    .check();
}

#[test]
fn at_most_one_of_three_replicas_has_an_effect_on_a_slot() {
    check_faults(3, 1, 2, 1);
}

#[test]
fn at_most_one_replica_has_an_effect_on_each_of_two_slots() {
    check_faults(2, 2, 2, 1);
}

#[test]
fn at_most_one_of_three_replicas_has_an_effect_on_each_of_two_slots() {
    check_faults(3, 2, 3, 0);
}

#[test]
fn no_slot_stays_without_owner_while_a_healthy_replica_lives() {
    let limits = Limits { late: 1, ..ALL_FAULTS };
    Protocol {
        limits,
        calm: true,
        ..Protocol::of(2, 1)
    }
    .check();
}

#[test]
fn random_walks_of_three_replicas_with_two_slots_find_no_second_effect() {
    let limits = Limits {
        under_way: 8,
        late: 4,
        ..ALL_FAULTS
    };
    let model = Protocol {
        limits,
        symmetric: false,
        story: true,
        calm: true,
        counted: true,
        ..Protocol::of(3, 2)
    };
    let walks = model.checker().target_max_depth(400).target_state_count(100_000);
    let checker = walks
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_simulation(7, Walker)
        .join();
    println!("{} states, depth {}", checker.state_count(), checker.max_depth());
    let found: BTreeSet<_> = checker.discoveries().into_keys().collect();
    assert_eq!(
        found,
        BTreeSet::from(properties::STORY),
        "only what must happen sometimes does"
    );
}

#[test]
fn seizes_handovers_and_late_writes_happen() {
    let limits = Limits {
        under_way: 3,
        late: 1,
        ..ALL_FAULTS
    };
    let model = Protocol {
        limits,
        story: true,
        ..Protocol::of(2, 1)
    };
    let all = HasDiscoveries::AllOf(BTreeSet::from(properties::STORY));
    let checker = model.checker().finish_when(all).spawn_bfs().join();
    checker.assert_properties();
}
