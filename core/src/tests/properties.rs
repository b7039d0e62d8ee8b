//! The invariants of ARCHITECTURE.md, for arbitrary specs, statuses and observations.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    arbitrary::{anything, outcome},
    arbitrary_spec,
    input::{self, T0, parse, t0, template},
    model::{Event, Model},
};
use crate::{
    ParsedKanary,
    api::{AfterDeadline, Kanary, KanaryKind, ManualVerdict, ManualVerdicts},
    decide,
    decision::{Action, Decision},
    hash,
    observation::{Observation, Service, Workload},
    spec::Spec,
    status::{self, Phase},
    validation::{Item, Outcome, Tally},
};

/// `PROPTEST_CASES` increases the number of cases for longer runs.
fn config() -> ProptestConfig {
    let everyday = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    ProptestConfig {
        cases: everyday.cases.max(1200),
        ..everyday
    }
}

/// A version of a Kanary with this generation, whose status reports these names of the run.
fn version(spec: &Value, generation: i64, (target, service): (&str, &str)) -> Kanary {
    serde_json::from_value(json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": input::UID, "generation": generation},
        "spec": spec, "status": {"report": {"deployment": target, "service": service}},
    }))
    .unwrap()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_spec_parsed_after_another_is_the_same_as_parsed_alone(
        specs in [arbitrary_spec::spec(), arbitrary_spec::spec()], is_edited in any::<bool>(), has_generation in any::<bool>(),
        names in [any_of_names(), any_of_names()],
    ) {
        let [spec, other] = specs;
        let edited = if is_edited { &other } else { &spec };
        let former = version(&spec, 1, names[0]);
        let next = version(edited, if is_edited && has_generation { 2 } else { 1 }, names[1]);
        let former = ParsedKanary::parse(KanaryKind::Deployment, &former).unwrap();
        let alone = ParsedKanary::parse(KanaryKind::Deployment, &next).unwrap();
        let after = ParsedKanary::parse_after(Some(&former), KanaryKind::Deployment, &next).unwrap();
        prop_assert_eq!(format!("{:?}", after), format!("{:?}", alone));
        let shares = Arc::ptr_eq(&after.spec, &former.spec);
        prop_assert_eq!(shares, (edited == &spec) && next.metadata.generation == Some(1) && names[0] == names[1]);
    }

    #[test]
    fn decide_is_pure_and_total((canary, seen, now) in anything()) {
        let decision = decide(&canary, &seen, now);
        let again = decide(&canary.clone(), &seen.clone(), now);
        prop_assert_eq!(&decision, &again);
        prop_assert!(decision.wake.is_none_or(|wake| wake > now), "a wake in the past: {:?}", decision);
        if let Some(status) = decision.status {
            prop_assert_ne!(&status, &canary.status, "a status that says nothing new");
            prop_assert!(status.failed_templates.len() <= 24);
        }
    }

    #[test]
    fn the_verdict_is_written_ahead((canary, seen, now) in anything()) {
        let mut model = model(canary, seen);
        model.now = now;
        let decision = model.decision();
        let spec = &model.kanary.spec;
        if !spec.is_sound() {
            // To be scaled to 0 is a way out of production.
            let scales = |action: &Action| matches!(action, Action::ScaleCanary { replicas, .. } if *replicas > 0);
            let makes = |action: &Action| matches!(action, Action::Create { .. }) || scales(action);
            prop_assert!(!decision.actions.iter().any(makes), "a spec that is not sound makes something");
        }
        let read = &model.kanary.status;
        prop_assert!(!model.kanary.deleting || !touches_target(&decision), "it is being deleted");
        if touches_target(&decision) {
            prop_assert!(!spec.is_sound() || read.current_hash.as_ref() == Some(&spec.template_hash));
            let failed = status::find(read, status::FAILED).filter(|failed| failed.status == "True");
            let rolls_back = failed.is_some_and(|failed| failed.reason == "TargetNotAvailable");
            let may = spec.is_sound() && !spec.dry_run && !spec.paused;
            let promotes = Phase::of(read) == Phase::Succeeded && may && read.completed_at.is_none();
            prop_assert!(promotes || rolls_back, "the target is touched in {:?}", Phase::of(read));
            prop_assert!(decision.status.is_none(), "a verdict and its consequence in one decision");
        }
        let passes = decision.status.as_ref().is_some_and(|next| Phase::of(next) == Phase::Succeeded);
        if passes && Phase::of(read) != Phase::Succeeded {
            prop_assert_eq!(Phase::of(read), Phase::Running);
            prop_assert!(spec.is_sound() && !spec.paused && !model.kanary.deleting);
            prop_assert!(!touches_target(&decision));
            let next = decision.status.unwrap();
            let created = status::find(&next, status::SUCCEEDED).is_some_and(|c| c.reason == "TargetCreated");
            prop_assert!(created || is_available(&model.seen), "a canary that is not available passed");
            let stale = next.verdicts.as_ref().map(|verdicts| verdicts.stale.clone()).unwrap_or_default();
            let by_word = spec.verdict == Some(ManualVerdict::Valid) && stale.verdict != Some(ManualVerdict::Valid);
            prop_assert!(created || by_word || items_agree(&model, spec, &stale, next.deadline), "the items do not agree");
        }
    }

    #[test]
    fn times_stay_and_phases_go_forward_whatever_happens_on_the_way(
        source in prop::sample::select(vec!["none", "service", "both"]),
        delay in prop::sample::select(vec!["0s", "20s"]),
        events in prop::collection::vec(event(), 1..24),
    ) {
        let mut model = fresh(&json!({
            "traffic": {"source": source},
            "validation": {"initialDelay": delay, "validationPeriod": "1m", "items": [{"labelWatch": {"podInvalidationLabels": {"bad": "true"}}}]},
        }));
        for event in events {
            model.rest();
            model.happens(&event);
            model.rest();
            one_of_reconciling_and_stalled(&model);
        }
    }

    #[test]
    fn quiescence((canary, seen, now) in anything(), outcome in outcome()) {
        let mut model = model(canary, seen);
        model.now = now;
        model.outcome = outcome;
        model.rest();
    }
}

fn any_of_names() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop_oneof![Just(("", "")), Just(("myapp", "svc")), Just(("other", "svc"))]
}

fn touches_target(decision: &Decision) -> bool {
    let touches = |action: &Action| matches!(action, Action::SetTemplate(_));
    decision.actions.iter().any(touches)
}

fn is_available(seen: &Observation) -> bool {
    seen.canary
        .as_ref()
        .is_some_and(|canary| canary.available_since.is_some() && !canary.deleting)
}

/// An external event during a run.
fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..40_i64).prop_map(Event::Passes),
        1 => any::<bool>().prop_map(Event::Paused),
        1 => any::<bool>().prop_map(Event::CanaryAvailable),
        1 => any::<bool>().prop_map(Event::ServiceThere),
        1 => any::<bool>().prop_map(Event::TargetThere),
        1 => Just(Event::CanaryDeleted),
        1 => Just(Event::TemplateEdited),
        2 => prop::sample::select(vec![None, Some(ManualVerdict::Valid), Some(ManualVerdict::Valid), Some(ManualVerdict::Invalid)]).prop_map(Event::Verdict),
        1 => (1..200_u64).prop_map(Event::Period),
        1 => any::<bool>().prop_map(Event::Mistake),
        1 => any::<bool>().prop_map(Event::Traffic),
    ]
}

/// kstatus: a run in progress is either reconciling or stalled, never both. A run that has ended is not reconciling.
fn one_of_reconciling_and_stalled(model: &Model) {
    let status = &model.kanary.status;
    let [reconciling, stalled] = [status::RECONCILING, status::STALLED].map(|kind| status::is_true(status, kind));
    assert!(!(reconciling && stalled), "{status:#?}");
    if status.completed_at.is_some() {
        assert!(!reconciling, "{status:#?}");
    } else if !status.conditions.is_empty() {
        if !model.kanary.spec.paused {
            assert!(reconciling || stalled, "{status:#?}");
        } else if Phase::of(status) < Phase::Succeeded {
            // A promoted target is already rolling out.
            assert!(!reconciling, "{status:#?}");
        }
    }
}

/// Whether every item agrees, determined without the code under test.
fn items_agree(model: &Model, spec: &Spec, stale: &ManualVerdicts, deadline: Option<jiff::Timestamp>) -> bool {
    let due = deadline.is_some_and(|deadline| deadline <= model.now);
    let bad = |labels: &crate::labels::Labels| labels.contains_key("bad");
    let seen = &model.seen;
    spec.validation
        .items
        .iter()
        .enumerate()
        .all(|(index, item)| match item {
            Item::Manual {
                after_deadline, status, ..
            } => match status {
                Some(ManualVerdict::Valid) if stale.valid == 0 => true,
                Some(ManualVerdict::Invalid) if stale.invalid == 0 => false,
                _ => due && *after_deadline == AfterDeadline::Valid,
            },
            Item::LabelWatch { pods, deployment } => {
                (pods.is_none() || !seen.pods.iter().any(|pod| bad(&pod.labels)))
                    && (deployment.is_none() || !seen.canary.as_ref().is_some_and(|canary| bad(&canary.labels)))
            }
            Item::PromQl(_) | Item::Metric(_) => {
                let terms = item.terms().expect("it is measured");
                let nothing = Tally::default();
                let tally = seen.tallies.get(index).unwrap_or(&nothing);
                let last = tally.last.as_ref().map(|sample| sample.outcome);
                let enough = tally.good >= terms.min_samples && tally.bad <= terms.failure_limit;
                last == Some(Outcome::Pass) && enough && tally.errors < terms.error_limit
            }
            Item::Unreadable(_) => false,
        })
}

fn model(kanary: ParsedKanary, seen: Observation) -> Model {
    Model {
        kanary,
        seen,
        now: t0(),
        writes: Vec::new(),
        start_up: Some(jiff::SignedDuration::from_secs(5)),
        outcome: Outcome::Pass,
        gone: None,
        valid_for: None,
        is_whole: false,
    }
}

/// A Kanary that was just created, in a healthy cluster.
fn fresh(spec: &Value) -> Model {
    let mut whole = json!({
        "deploymentName": "myapp", "serviceName": "svc",
        "template": {"spec": {"template": {"metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": [{}]}}}},
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let target = Workload {
        uid: "uid-myapp".to_owned(),
        created: t0(),
        replicas: 3,
        rolled_out: true,
        template_hash: hash::of(&template("t1")),
        available_since: Some(t0()),
        ..Workload::default()
    };
    let seen = Observation {
        target: Some(target),
        service: Some(Service {
            name: "svc".to_owned(),
            selector: [("app".to_owned(), "myapp".to_owned())].into(),
            ports: vec![json!({"port": 80})],
            ..Service::default()
        }),
        ..Observation::default()
    };
    Model {
        is_whole: true,
        ..model(parse(&whole, None, &Value::Null), seen)
    }
}

/// Every combination of traffic, scale, delay and schedule, with and without a target.
fn all_runs(item: &Value) -> Vec<(String, Model)> {
    let schedule = input::relative("+1h").unwrap().to_string();
    let mut all = Vec::new();
    for source in ["none", "service", "kanary-service", "both"] {
        for scale in [
            json!({}),
            json!({"percent": {"value": 50}}),
            json!({"hpa": {"maxReplicas": 3}}),
        ] {
            for delay in ["0s", "20s"] {
                for schedule in ["", T0, &schedule] {
                    for has_target in [true, false] {
                        let mut model = fresh(&json!({
                            "traffic": {"source": source}, "scale": scale, "schedule": schedule,
                            "validation": {"initialDelay": delay, "validationPeriod": "1m", "items": [item]},
                        }));
                        if !has_target {
                            model.seen.target = None;
                        }
                        let name = format!("{source} {scale} delay {delay} schedule {schedule:?} target {has_target}");
                        all.push((name, model));
                    }
                }
            }
        }
    }
    all
}

fn writes_until(model: &Model, end: &str) -> usize {
    let place = model.writes.iter().position(|write| write == end);
    place.unwrap_or_else(|| panic!("no {end}: {:#?}", model.writes)) + 1
}

#[test]
fn a_run_that_goes_well_takes_seven_writes_at_most() {
    for item in [
        json!({"manual": {"statusAfterDeadline": "valid"}}),
        json!({"labelWatch": {"podInvalidationLabels": {"bad": "true"}}}),
        json!({"promQL": {"prometheusService": "p:9090", "query": "up", "boolean": {}}}),
    ] {
        for (name, mut model) in all_runs(&item) {
            model.run(|_| ());
            let writes = writes_until(&model, "status DeploymentUpdated");
            assert!(writes <= 7, "{writes} writes with {name}: {:#?}", model.writes);
            assert!(model.seen.canary.is_none() && model.seen.kanary_service.is_none());
            assert_eq!(model.seen.autoscalers().count(), 0);
            assert!(model.seen.target.is_some_and(|target| target.rolled_out));
        }
    }
}

#[test]
fn a_run_that_fails_takes_five_writes_at_most() {
    for item in [
        json!({"manual": {"statusAfterDeadline": "invalid"}}),
        json!({"promQL": {"prometheusService": "p:9090", "query": "up", "boolean": {}}}),
    ] {
        for (name, mut model) in all_runs(&item)
            .into_iter()
            .filter(|(_, model)| model.seen.target.is_some())
        {
            model.outcome = Outcome::Fail;
            model.run(|_| ());
            let writes = writes_until(&model, "status Failed");
            assert!(writes <= 5, "{writes} writes with {name}: {:#?}", model.writes);
            assert!(model.seen.canary.is_none() && model.seen.kanary_service.is_none());
            assert_eq!(model.seen.autoscalers().count(), 0);
            assert_eq!(model.seen.target.unwrap().template_hash, hash::of(&template("t1")));
        }
    }
}

#[test]
fn a_run_whose_pods_never_start_takes_five_writes_at_most() {
    for (name, mut model) in all_runs(&json!({"manual": {}})) {
        model.start_up = None;
        model.run(|_| ());
        let writes = writes_until(&model, "status Failed");
        assert!(writes <= 5, "{writes} writes with {name}: {:#?}", model.writes);
    }
}
