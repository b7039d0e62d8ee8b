//! Mutants that promote without evidence or leave a bad canary in production. The checker must catch each by the
//! invariant that it violates.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kanary::reconcile::turn::Decide;
use kanary_core::{
    ParsedKanary,
    api::{ManualVerdict, ManualVerdicts},
    decide,
    decision::Decision,
    observation::{Observation, Versions},
    status::Phase,
    validation::{Item, Outcome, Tally},
};
use serde_json::{Value, json};

use crate::{
    checker::Invariant::{self, Available, Exposed, Lost, Measured, Template, Traffic, Verdict},
    heard::Hears,
    kinds::{passes, traffic_fails, traffic_passes},
    mutants::{all_of, decides, fair, is_caught_in, tampers, with_spec},
    scenario::Scenario,
    target_kinds::creates_workload,
    trials::{bad_for_a_while, few_samples, nothing_is_measured, one_pod_bad},
    world::Wrong,
};

fn is_caught(wrong: &Wrong, expected: Invariant) {
    is_caught_in(Scenario::trial, wrong, &[expected]);
}

fn creates_canary(head: &http::request::Parts, body: &Value) -> bool {
    let is_canary = body["metadata"]["labels"]["kanary.k8s-operators.dev/iskanary"] == "true";
    creates_workload(head) && is_canary
}

/// The template in the body of a promotion.
fn promoted(body: &mut Value) -> Option<&mut Value> {
    let operations = body.as_array_mut()?.iter_mut();
    let mut sets = operations.filter(|operation| operation["op"] != "test" && operation["path"] == "/spec/template");
    Some(&mut sets.next()?["value"])
}

#[test]
fn a_canary_of_another_template_is_caught() {
    let wrong = tampers(|head, mut body| {
        if creates_canary(head, &body) {
            let container = &mut body["spec"]["template"]["spec"]["containers"][0];
            container["env"] = json!([{"name": "LOG", "value": "debug"}]);
        }
        vec![body]
    });
    is_caught(&wrong, Template);
}

#[test]
fn a_promotion_of_another_template_is_caught() {
    let wrong = tampers(|_, mut body| {
        if let Some(template) = promoted(&mut body) {
            template["spec"]["containers"][0]["env"] = json!([{"name": "LOG", "value": "debug"}]);
        }
        vec![body]
    });
    is_caught(&wrong, Template);
}

#[test]
fn a_canary_that_has_no_traffic_is_caught() {
    let wrong = tampers(|head, mut body| {
        if creates_canary(head, &body)
            && let Some(labels) = body["spec"]["template"]["metadata"]["labels"].as_object_mut()
        {
            labels.remove("app");
        }
        vec![body]
    });
    // The controller may itself notice that the canary is not what it created.
    is_caught_in(all_of(traffic_passes), &wrong, &[Traffic, Lost]);
}

#[test]
fn a_canary_with_traffic_that_it_should_not_have_is_caught() {
    let wrong = tampers(|head, mut body| {
        if creates_canary(head, &body) {
            let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let target = name.split("-kanary-").next().unwrap_or_default();
            body["spec"]["template"]["metadata"]["labels"]["app"] = json!(target);
        }
        vec![body]
    });
    is_caught_in(all_of(passes), &wrong, &[Traffic, Lost]);
}

#[test]
fn a_promotion_that_takes_the_traffic_from_the_target_is_caught() {
    let wrong = tampers(|_, mut body| {
        if let Some(labels) = promoted(&mut body).and_then(|template| template["metadata"]["labels"].as_object_mut()) {
            labels.remove("tier");
        }
        vec![body]
    });
    // With network faults, the replica may not know the Services.
    is_caught_in(fair(Scenario::trial), &wrong, &[Traffic]);
}

/// The Kanary with different counts of measurements.
fn with_tallies(kanary: &ParsedKanary, seen: &Observation, now: Timestamp, change: impl Fn(&mut Tally)) -> Decision {
    let mut seen = seen.clone();
    seen.tallies.iter_mut().for_each(change);
    decide(kanary, &seen, now)
}

#[test]
fn a_measurement_before_the_deadline_that_counts_for_one_at_it_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let deadline = canary.status.deadline.map(|deadline| deadline.min(now));
        with_tallies(canary, seen, now, |tally| {
            tally.last_check = tally
                .last_check
                .map(|at| deadline.map_or(at, |deadline| deadline.max(at)));
        })
    };
    is_caught(&decides(wrong), Measured);
}

#[test]
fn bad_measurements_that_are_forgiven_are_caught() {
    let wrong: Decide = |canary, seen, now| with_tallies(canary, seen, now, |tally| tally.bad = 0);
    is_caught_in(all_of(bad_for_a_while), &decides(wrong), &[Measured]);
}

#[test]
fn too_few_samples_are_caught() {
    let wrong: Decide = |canary, seen, now| {
        let canary = with_spec(canary, |spec| {
            for item in &mut spec.validation.items {
                if let Item::PromQl(query) = item {
                    (query.terms.min_samples, query.terms.interval) = (1, query.terms.interval * 3);
                }
            }
        });
        decide(&canary, seen, now)
    };
    is_caught_in(all_of(few_samples), &decides(wrong), &[Measured]);
}

/// A mutant that treats missing data as good data.
fn trusts_silence(kanary: &ParsedKanary, seen: &Observation, now: Timestamp) -> Decision {
    with_tallies(kanary, seen, now, |tally| {
        if let Some(last) = tally.last.as_mut().filter(|last| last.outcome == Outcome::NoData) {
            last.outcome = Outcome::Pass;
            tally.good += 1;
        }
    })
}

#[test]
fn success_on_no_data_is_caught_without_knowing_what_must_not_pass() {
    is_caught_in(Scenario::of, &decides(trusts_silence), &[Measured]);
}

#[test]
fn no_alerts_where_nothing_is_measured_are_caught() {
    is_caught_in(all_of(nothing_is_measured), &decides(trusts_silence), &[Measured]);
}

/// A mutant that applies `change` to every answer with several series.
fn hears(change: fn(&mut Vec<Value>)) -> Wrong {
    let hears: Hears = Arc::new(move |body| {
        let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        if let Some(series) = answer["data"]["result"].as_array_mut() {
            change(series);
        }
        answer.to_string().into_bytes()
    });
    Wrong {
        hears: Some(hears),
        ..Wrong::default()
    }
}

#[test]
fn a_pod_that_stands_for_all_is_caught() {
    let wrong = hears(|series| {
        let value = series.last().map(|series| series["value"].clone());
        for series in series {
            series["value"] = value.clone().unwrap_or_default();
        }
    });
    is_caught_in(all_of(one_pod_bad), &wrong, &[Measured]);
}

#[test]
fn an_ignored_refusal_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let canary = with_spec(canary, |spec| {
            spec.verdict = spec.verdict.filter(|word| *word != ManualVerdict::Invalid);
        });
        decide(&canary, seen, now)
    };
    is_caught(&decides(wrong), Verdict);
}

#[test]
fn a_verdict_of_a_former_run_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut canary = canary.clone();
        if let Some(verdicts) = &mut canary.status.verdicts {
            verdicts.stale = ManualVerdicts::default();
        }
        decide(&canary, seen, now)
    };
    is_caught(&decides(wrong), Verdict);
}

#[test]
fn time_in_which_the_canary_was_not_available_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut seen = seen.clone();
        let since = canary.status.available_since.or(canary.status.available_at);
        if let (Some(canary), Some(since)) = (&mut seen.canary, since)
            && canary.available_since.is_some()
        {
            canary.available_since = Some(since);
        }
        decide(canary, &seen, now)
    };
    is_caught(&decides(wrong), Available);
}

#[test]
fn a_canary_that_a_user_changed_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut seen = seen.clone();
        seen.pods.iter_mut().for_each(|pod| pod.edited = false);
        if let Some(canary) = &mut seen.canary {
            canary.versions = Versions::Untouched;
        }
        seen.created = None;
        decide(canary, &seen, now)
    };
    is_caught(&decides(wrong), Template);
}

#[test]
fn ignored_labels_are_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut seen = seen.clone();
        seen.pods.iter_mut().for_each(|pod| {
            pod.labels.remove("alert");
        });
        decide(canary, &seen, now)
    };
    is_caught(&decides(wrong), Verdict);
}

#[test]
fn a_failed_canary_that_stays_in_production_for_a_while_is_caught() {
    let wrong: Decide = |canary, seen, now| {
        let mut decision = decide(canary, seen, now);
        let over = canary
            .status
            .completed_at
            .filter(|_| Phase::of(&canary.status) == Phase::Failed);
        let later = over.map(|over| over + SignedDuration::from_secs(20));
        if let Some(later) = later.filter(|later| *later > now) {
            decision.actions.clear();
            decision.wake = Some(later);
        }
        decision
    };
    is_caught_in(all_of(traffic_fails), &decides(wrong), &[Exposed]);
}
