//! Replicas that violate the rules of sharing, each of which the checker must catch, and a replica that has trouble
//! following them.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use http::Method;
use jiff::SignedDuration;
use kanary_core::api::names::SLOT;
use serde_json::json;

use crate::{
    checker::Invariant::{Alive, Lost, Owner},
    mutants::{is_caught_in, tampers},
    run,
    scenario::Scenario,
    world::Wrong,
};

#[test]
fn a_replica_that_hears_nothing_of_leases_stops_before_others_go_on() {
    for seed in 0..2 {
        let outcome = run::run(Scenario::without_leases(seed), &Wrong::default());
        let stories: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(stories.is_empty(), "seed {seed}: {}", stories.join("\n"));
    }
}

/// The effect of a clock that stops during a suspend: the replica's fence never ends.
#[test]
fn a_fence_by_a_clock_that_stands_still_is_caught() {
    let stopped = |seed| {
        let mut scenario = Scenario::without_leases(seed);
        scenario.sharing[0].stops = Some(Duration::from_secs(55));
        scenario
    };
    is_caught_in(stopped, &Wrong::default(), &[Owner]);
}

#[test]
fn a_controller_that_does_not_see_the_other_replicas_is_caught() {
    let beside = |seed| {
        let mut scenario = Scenario::of(seed);
        if !scenario.sharing.is_empty() {
            scenario.skews.push(SignedDuration::ZERO);
        }
        scenario
    };
    is_caught_in(beside, &Wrong::default(), &[Owner]);
}

/// The older process ends, and until it notices, both act.
#[test]
fn two_replicas_of_one_name_are_caught() {
    let twins = |seed| {
        let mut scenario = Scenario::of(seed);
        if let [first, second, ..] = &mut scenario.sharing[..] {
            second.identity.clone_from(&first.identity);
        }
        scenario
    };
    is_caught_in(twins, &Wrong::default(), &[Alive, Owner]);
}

#[test]
fn epochs_that_do_not_grow_are_caught() {
    let wrong = tampers(|_, mut body| {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        if name.starts_with("kanary-shard-") {
            body["spec"]["leaseTransitions"] = json!(1);
        }
        vec![body]
    });
    is_caught_in(Scenario::of, &wrong, &[Owner]);
}

#[test]
fn a_status_with_an_epoch_of_no_replica_is_caught() {
    let wrong = tampers(|_, mut body| {
        for operation in body.as_array_mut().into_iter().flatten() {
            if let Some(epoch) = operation["value"]["epoch"].as_i64() {
                operation["value"]["epoch"] = json!(epoch + 1);
            }
        }
        vec![body]
    });
    is_caught_in(Scenario::of, &wrong, &[Owner]);
}

#[test]
fn a_canary_in_the_slot_of_another_is_caught() {
    let wrong = tampers(|head, mut body| {
        if head.method == Method::POST && body["metadata"]["labels"][SLOT].is_string() {
            body["metadata"]["labels"][SLOT] = json!("zz");
        }
        vec![body]
    });
    is_caught_in(Scenario::of, &wrong, &[Owner]);
}

/// The label is set only once.
#[test]
fn a_slot_that_is_not_put_back_is_caught() {
    let given = Mutex::new(BTreeSet::new());
    let wrong = tampers(move |head, body| {
        let is_label = head.method == Method::PATCH && body["metadata"]["labels"][SLOT].is_string();
        let uid = body["metadata"]["uid"].to_string();
        if is_label && !given.lock().unwrap().insert(uid) {
            return vec![json!({})];
        }
        vec![body]
    });
    is_caught_in(Scenario::of, &wrong, &[Owner, Lost]);
}
