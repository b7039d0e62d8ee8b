//! A model of the lease protocol whose states are explored exhaustively (ARCHITECTURE.md describes the protocol).
//!
//! Replicas hold sessions and shards by Leases, and write verdicts and promotions. A request that passed all checks is in
//! flight until it is executed, which may be much later, after its sender was deposed or died. Requests and responses may
//! be lost. Replicas are paused (they take no step), killed and restarted at any time; fences end at any time. The model
//! has no clock: it only knows that a session expires after its holder's fence has ended.
//!
//! The protocol's counters are unbounded: versions are modelled as "still the current one", and boots and epochs, which
//! are only compared, are renumbered in every state. The check therefore covers runs of any length, with any number of
//! restarts and handovers. The limits are:
//!
//! - two replicas and one shard, all faults: *two* simultaneous requests whose sender no longer waits (because of a
//!   timeout or its death, or because it is a seize); requests whose sender waits are not limited. Each mutant fails with
//!   one of them.
//! - three replicas and one shard, two replicas and two shards: two requests in flight, one of them late; no release.
//! - three replicas and two shards: three requests in flight, none of them late (so sessions end by restarts and not by
//!   seizes); no release. Shards share only the sessions.
//! - three replicas and two shards, all faults, many requests: random walks with a fixed seed.
//!
//! A read happens in the same step as the request that it leads to. It may be outdated when the request arrives; resource
//! versions protect against that. Of unversioned state (is a session dead? is there a verdict?) the protocol uses only
//! facts that stay true.

#![cfg(test)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
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

/// The rules that the protocol relies on. All are true in the real protocol; a mutant sets one to false.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent switch")]
pub(crate) struct Rules {
    /// Leases are written by PUT with the resourceVersion that was read.
    lease_versions: bool,
    /// A session expires when its Lease has not changed for the TTL on the observer's monotonic clock.
    monotonic_expiry: bool,
    /// The fence starts when a renewal is sent; nothing else extends it.
    fence_from_renewal: bool,
    /// A replica writes only within its fence.
    fence_checked: bool,
    /// A take increments the epoch.
    epoch_grows: bool,
    /// A shard is released only after its last write was answered (or timed out).
    drains: bool,
    /// A release is repeated until it is answered.
    release_settled: bool,
    /// A replica that reads its own session in a shard's Lease owns the shard, even if it never received the response to
    /// its take.
    adopts: bool,
    /// A promotion follows a verdict that was read.
    verdict_first: bool,
    /// A promotion tests that the template is unchanged since it was read.
    template_tested: bool,
    /// A status is written with the resourceVersion that was read.
    status_versions: bool,
    /// The API server refuses a status with a lower epoch.
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
    /// Maximum number of requests in flight ...
    under_way: usize,
    /// ... and how many of them may be late, that is, without a waiting sender.
    late: usize,
    kills: bool,
    releases: bool,
}

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent switch")]
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

/// No fault is excluded.
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

    /// Explores all states.
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

/// All faults except voluntary releases, with these limits on requests in flight and on late requests.
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
        "exactly the required events are reachable"
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
