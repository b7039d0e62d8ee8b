//! Mutants of the controller. The checker must catch each by the invariant that it violates.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};
use kanary::reconcile::turn::Decide;
use kanary_core::{
    ParsedKanary,
    api::AfterDeadline,
    decide,
    decision::{Action, Decision},
    observation::Observation,
    spec::Spec,
    status::{FAILED, Phase, SUCCEEDED},
    validation::Item,
};
use kanary_sim::network::Interceptor;
use serde_json::Value;

use crate::{
    asked,
    checker::Invariant::{
        self, Alive, Cost, Doubled, Early, Flip, Idle, Late, Limit, Lost, Measured, Orphan, Overruled, Owner, Proof,
        Trespass,
    },
    kinds::{Kind, passes},
    run,
    scenario::Scenario,
    target_kinds::creates_workload,
    world::Wrong,
};

/// Number of seeds in which the bug must show.
const SEEDS: u64 = 60;

/// The seed that showed the bug of a test when this was written, for those that need more than a few. It is tried first, and only
/// saves time: a change of the generator may make it another one.
const LIKELY: &[(&str, u64)] = &[
    ("a_canary_that_a_user_changed_is_caught", 3),
    ("a_promotion_that_takes_the_traffic_from_the_target_is_caught", 2),
    ("a_retained_canary_in_traffic_is_caught", 2),
    ("a_slot_that_is_not_put_back_is_caught", 2),
    ("a_verdict_of_a_former_run_is_caught", 6),
    ("ignored_labels_are_caught", 2),
    ("time_in_which_the_canary_was_not_available_is_caught", 5),
    ("two_replicas_of_one_name_are_caught", 5),
    ("writes_without_preconditions_are_caught", 8),
];

/// The entry of the running test, whose name is that of its thread.
fn likely() -> Option<u64> {
    let thread = std::thread::current();
    let test = thread.name()?;
    LIKELY
        .iter()
        .find_map(|(name, seed)| test.ends_with(name).then_some(*seed))
}

/// Runs seeds until one has a violation, which must be among `expected`.
fn is_caught(wrong: &Wrong, expected: &[Invariant]) {
    is_caught_in(Scenario::of, wrong, expected);
}

/// The same with other scenarios.
pub(crate) fn is_caught_in(scenario: impl Fn(u64) -> Scenario, wrong: &Wrong, expected: &[Invariant]) {
    is_caught_anew(scenario, || wrong.clone(), expected);
}

/// Scenarios with Kanaries of one kind, for a bug that shows only there.
pub(crate) fn all_of(kind: Kind) -> impl Fn(u64) -> Scenario {
    move |seed| Scenario::of_kinds(seed, &[kind])
}

/// Scenarios without network faults, for a bug whose effects network faults could cause as well.
pub(crate) fn fair(scenario: impl Fn(u64) -> Scenario) -> impl Fn(u64) -> Scenario {
    move |number| {
        let mut fair = (0..).map(&scenario).filter(|scenario| scenario.is_fair);
        fair.nth(usize::try_from(number).unwrap()).unwrap()
    }
}

/// The same for a bug with state, which starts anew for each seed. With `KANARY_HOSTILE=1`, scenarios with hostile users
/// must find it.
fn is_caught_anew(scenario: impl Fn(u64) -> Scenario, wrong: impl Fn() -> Wrong, expected: &[Invariant]) {
    for seed in likely().into_iter().chain(0..SEEDS) {
        let scenario = if asked("KANARY_HOSTILE").is_some() {
            Scenario::hostile(seed)
        } else {
            scenario(seed)
        };
        let outcome = run::run(scenario, &wrong());
        if outcome.violations.is_empty() {
            continue;
        }
        let broken = outcome.broken();
        println!("seed {seed} violates {broken:?}");
        let found = broken.iter().any(|invariant| expected.contains(invariant));
        assert!(
            found,
            "seed {seed} violates {broken:?} and not {expected:?}: {}",
            outcome.violations[0]
        );
        return;
    }
    panic!("no violation in {SEEDS} seeds");
}

pub(crate) fn decides(decide: Decide) -> Wrong {
    Wrong {
        decide,
        ..Wrong::default()
    }
}

pub(crate) fn tampers(
    interceptor: impl Fn(&http::request::Parts, Value) -> Vec<Value> + Send + Sync + 'static,
) -> Wrong {
    let interceptor: Interceptor = Arc::new(move |head, body| {
        let Ok(value) = serde_json::from_slice::<Value>(&body) else {
            return vec![body];
        };
        let bodies = interceptor(head, value).into_iter();
        bodies.map(|body| body.to_string().into()).collect()
    });
    Wrong {
        interceptor: Some(interceptor),
        ..Wrong::default()
    }
}

/// The Kanary with another spec.
pub(crate) fn with_spec(kanary: &ParsedKanary, change: impl FnOnce(&mut Spec)) -> ParsedKanary {
    let mut kanary = kanary.clone();
    change(Arc::make_mut(&mut kanary.spec));
    kanary
}

/// The target is written before the verdict is stored.
pub(crate) fn side_effect_first(kanary: &ParsedKanary, seen: &Observation, now: Timestamp) -> Decision {
    let due = kanary.status.deadline.is_some_and(|deadline| deadline <= now);
    let mut kanary = kanary.clone();
    if due && Phase::of(&kanary.status) == Phase::Running {
        let mut verdict = kanary.status.conditions[0].clone();
        (verdict.type_, verdict.status) = (SUCCEEDED.to_owned(), "True".to_owned());
        kanary.status.conditions.push(verdict);
    }
    decide(&kanary, seen, now)
}

#[test]
fn a_side_effect_before_the_verdict_is_caught() {
    is_caught(&decides(side_effect_first), &[Proof]);
}

#[test]
fn a_deadline_from_the_creation_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut seen = seen.clone();
        if let Some(canary) = &mut seen.canary
            && canary.available_since.is_some()
        {
            canary.available_since = Some(canary.created);
        }
        decide(canary, &seen, now)
    };
    is_caught(&decides(wrong), &[Early]);
}

#[test]
fn a_forgotten_warm_up_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let canary = with_spec(canary, |spec| spec.validation.initial_delay = std::time::Duration::ZERO);
        decide(&canary, seen, now)
    };
    is_caught(&decides(wrong), &[Early]);
}

#[test]
fn a_clock_that_is_not_the_clusters_is_caught() {
    let wrong: Decide = |canary, seen, now| decide(canary, seen, now + SignedDuration::from_secs(5));
    is_caught(&decides(wrong), &[Early]);
}

#[test]
fn success_on_no_data_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let untold = seen.tallies.iter().all(|tally| tally.good == 0);
        let canary = with_spec(canary, |spec| {
            let over = canary.status.deadline.is_some_and(|deadline| deadline <= now);
            for item in &mut spec.validation.items {
                if matches!(item, Item::PromQl(_)) && untold && over {
                    *item = Item::Manual {
                        status: None,
                        after_deadline: AfterDeadline::Valid,
                        ignored: None,
                    };
                }
            }
        });
        decide(&canary, seen, now)
    };
    is_caught(&decides(wrong), &[Proof, Measured]);
}

#[test]
fn an_ignored_change_of_the_target_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let canary = with_spec(canary, |spec| spec.promote_over_change = true);
        decide(&canary, seen, now)
    };
    is_caught(&decides(wrong), &[Overruled]);
}

#[test]
fn an_ignored_dry_run_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let canary = with_spec(canary, |spec| spec.dry_run = false);
        decide(&canary, seen, now)
    };
    is_caught(&decides(wrong), &[Proof]);
}

#[test]
fn a_forgotten_clean_up_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut decision = decide(canary, seen, now);
        if canary.status.completed_at.is_some() {
            decision.actions.clear();
        }
        decision
    };
    is_caught(&decides(wrong), &[Orphan]);
}

#[test]
fn a_retained_canary_in_traffic_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut decision = decide(canary, seen, now);
        decision
            .actions
            .retain(|action| !matches!(action, Action::Unlabel { .. }));
        decision
    };
    is_caught(&decides(wrong), &[Orphan]);
}

#[test]
fn a_verdict_that_is_taken_back_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut decision = decide(canary, seen, now);
        if Phase::of(&canary.status) == Phase::Failed {
            let mut status = canary.status.clone();
            status.conditions.retain(|condition| condition.type_ != FAILED);
            decision.status = Some(status);
        }
        decision
    };
    is_caught(&decides(wrong), &[Flip]);
}

#[test]
fn a_late_verdict_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut decision = decide(canary, seen, now - SignedDuration::from_secs(2));
        decision.wake = decision.wake.map(|wake| wake + SignedDuration::from_secs(2));
        decision
    };
    is_caught_in(fair(all_of(passes)), &decides(wrong), &[Late]);
}

#[test]
fn a_heartbeat_in_the_status_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut decision = decide(canary, seen, now);
        let second = SignedDuration::from_secs(1);
        if Phase::of(&canary.status) == Phase::Running && decision.status.is_none() && decision.needs.is_none() {
            let mut status = canary.status.clone();
            let beat = now.as_second().to_string();
            if status.report.duration != beat {
                status.report.duration = beat;
                decision.status = Some(status);
            }
            decision.wake = Some(now + second);
        }
        decision
    };
    is_caught(&decides(wrong), &[Cost, Idle, Lost]);
}

#[test]
fn a_verdict_that_never_comes_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut decision = decide(canary, seen, now);
        decision.wake = None;
        decision
    };
    is_caught(&decides(wrong), &[Lost, Late]);
}

#[test]
fn a_second_canary_is_caught() {
    let wrong = tampers(|head, body| {
        let mut twin = body.clone();
        let creates = creates_workload(head);
        if !creates {
            return vec![body];
        }
        let name = twin["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        twin["metadata"]["name"] = format!("{name}-2").into();
        vec![twin, body]
    });
    is_caught(&wrong, &[Doubled, Orphan, Proof]);
}

/// The Kanary is mistaken for its predecessor with the same name.
#[test]
fn a_kanary_that_was_recreated_and_is_left_alone_is_caught() {
    let wrong = || {
        let first = Mutex::new(BTreeMap::new());
        tampers(move |head, body| {
            let owner = body["metadata"]["ownerReferences"][0]["uid"].as_str();
            let creates = creates_workload(head);
            let Some(owner) = owner.filter(|_| creates) else {
                return vec![body];
            };
            let name = body["metadata"]["name"].to_string();
            let mut first = first.lock().unwrap();
            let known = first.entry(name).or_insert_with(|| owner.to_owned());
            let refused = *known != *owner;
            vec![if refused { serde_json::json!({}) } else { body }]
        })
    };
    is_caught_anew(Scenario::of, wrong, &[Lost]);
}

#[test]
fn a_write_to_more_than_the_template_is_caught() {
    let wrong = tampers(|_, mut body| {
        let sets = |body: &Value| {
            body.as_array()
                .is_some_and(|ops| ops.iter().any(|op| op["path"] == "/spec/template"))
        };
        if sets(&body)
            && let Some(operations) = body.as_array_mut()
        {
            operations.push(serde_json::json!({"op": "replace", "path": "/spec/replicas", "value": 9}));
        }
        vec![body]
    });
    is_caught(&wrong, &[Trespass]);
}

#[test]
fn writes_without_preconditions_are_caught() {
    let wrong = tampers(|_, mut body| {
        if let Some(operations) = body.as_array_mut() {
            operations.retain(|op| op["op"] != "test" && op["path"] != "/metadata/resourceVersion");
        }
        vec![body]
    });
    is_caught(&wrong, &[Overruled, Flip, Invariant::Backward, Doubled, Proof, Owner]);
}

#[test]
fn a_panic_that_the_controller_gets_over_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        assert_ne!(Phase::of(&canary.status), Phase::Succeeded, "a bug");
        decide(canary, seen, now)
    };
    is_caught(&decides(wrong), &[Alive]);
}

#[test]
fn a_run_that_does_not_wait_for_its_place_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut seen = seen.clone();
        let place = canary.status.place.as_ref();
        if let (Some(limited), Some(place)) = (&mut seen.place, place) {
            limited.granted = Some(place.requested_at);
        }
        decide(canary, &seen, now)
    };
    is_caught_in(Scenario::limited, &decides(wrong), &[Limit]);
}
