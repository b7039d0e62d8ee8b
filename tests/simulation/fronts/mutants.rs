//! Controllers with bugs that show only with front ends. The judge must catch each.

use std::time::Duration;

use kanary::reconcile::turn::Decide;
use kanary_core::{
    api::AfterDeadline,
    decide,
    decision::{Action, KeepWhat},
    observation::KeptFound,
    status::{FAILED, Phase},
    validation::Item,
};
use serde_json::json;

use super::{SEEDS, Sort, Sorts, violations};
use crate::{
    mutants::{decides, side_effect_first, with_spec},
    world::Wrong,
};

/// Asserts that a mutant has a violation that contains one of `expected`.
fn assert_caught(sorts: Sorts, wrong: &Wrong, expected: &[&str]) {
    let mut others = Vec::new();
    let is_caught = (0..SEEDS * 3).any(|seed| {
        let found = violations(seed, sorts, wrong);
        let is_it = |violation: &String| expected.iter().any(|text| violation.contains(text));
        let caught = found.iter().any(is_it);
        others.extend(found.into_iter().filter(|violation| !is_it(violation)));
        caught
    });
    assert!(is_caught, "nobody noticed {expected:?}: {others:?}");
}

#[test]
fn a_version_that_passes_without_data_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let is_untold = seen.tallies.iter().all(|tally| tally.good == 0);
        let is_over = kanary.status.deadline.is_some_and(|deadline| deadline <= now);
        let kanary = with_spec(kanary, |spec| {
            for item in spec.validation.items.iter_mut().filter(|_| is_untold && is_over) {
                *item = Item::Manual {
                    status: None,
                    after_deadline: AfterDeadline::Valid,
                    ignored: None,
                };
            }
        });
        decide(&kanary, seen, now)
    };
    assert_caught(Sorts::Only(Sort::App), &decides(wrong), &["passes, but must not"]);
    assert_caught(Sorts::Only(Sort::Tracks), &decides(wrong), &["passes, but must not"]);
}

#[test]
fn a_target_that_is_written_before_the_verdict_is_stored_is_caught() {
    assert_caught(
        Sorts::Only(Sort::App),
        &decides(side_effect_first),
        &["the target gets"],
    );
}

#[test]
fn a_stable_deployment_that_gets_what_is_still_judged_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut kanary = kanary.clone();
        let template = kanary.spec.template.pod_template().to_string();
        let is_judged = Phase::of(&kanary.status) == Phase::Running;
        let passed = &mut kanary.status.latest_successful_deployment_snapshot;
        if let Some(passed) = passed.as_mut().filter(|_| is_judged) {
            passed.template = template;
        }
        decide(&kanary, seen, now)
    };
    assert_caught(Sorts::Only(Sort::Tracks), &decides(wrong), &["the target gets"]);
}

#[test]
fn a_forgotten_delay_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let kanary = with_spec(kanary, |spec| {
            (spec.validation.initial_delay, spec.validation.period) = (Duration::ZERO, Duration::ZERO);
        });
        decide(&kanary, seen, now)
    };
    assert_caught(Sorts::Only(Sort::Tracks), &decides(wrong), &["was available for"]);
}

#[test]
fn an_edit_that_is_not_put_back_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        let is_edit = |action: &Action| matches!(action, Action::Keep(keep) if keep.what == KeepWhat::Patch);
        decision.actions.retain(|action| !is_edit(action));
        decision
    };
    assert_caught(
        Sorts::Only(Sort::App),
        &decides(wrong),
        &["in the end: /spec", "the number of pods"],
    );
}

#[test]
fn an_object_of_somebody_else_that_is_taken_over_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut seen = seen.clone();
        let uid = kanary.uid.clone();
        for found in seen.kept.iter_mut().flat_map(|kept| kept.objects.values_mut()) {
            if let KeptFound::There(object) = found {
                let object = std::sync::Arc::make_mut(object);
                object["metadata"]["ownerReferences"] = json!([{"uid": uid, "controller": true}]);
            }
        }
        decide(kanary, &seen, now)
    };
    assert_caught(Sorts::Only(Sort::App), &decides(wrong), &["belongs to somebody else"]);
}

#[test]
fn a_failed_version_that_stays_in_the_canary_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        if Phase::of(&kanary.status) == Phase::Failed {
            decision.actions.retain(|action| !matches!(action, Action::Update(_)));
        }
        decision
    };
    assert_caught(
        Sorts::Only(Sort::Tracks),
        &decides(wrong),
        &["the version of the canary"],
    );
}

#[test]
fn a_secondary_that_is_removed_while_it_gets_requests_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        let mut failed = kanary.status.conditions.iter();
        if failed.any(|condition| condition.type_ == FAILED && condition.status == "True") {
            let mut seen = seen.clone();
            seen.route = None;
            decision.actions.extend(decide(kanary, &seen, now).actions);
            decision
                .actions
                .retain(|action| !matches!(action, Action::SetRoute { .. }));
        }
        decision
    };
    assert_caught(
        Sorts::Only(Sort::App),
        &decides(wrong),
        &["is removed while it gets", "/spec/http/0/route"],
    );
}
