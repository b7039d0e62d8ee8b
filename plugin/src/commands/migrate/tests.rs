use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    api::{Kanary, KanaryKind},
    decide,
    observation::Observation,
    status::Phase,
};
use serde_json::{Value, json};

use super::{
    manifest,
    rewrite::rewrite,
    standing::{Settled, Standing},
};
use crate::check::Checker;

fn template() -> Value {
    json!({"spec": {
        "selector": {"matchLabels": {"app": "nginx"}},
        "template": {
            "metadata": {"creationTimestamp": null, "labels": {"app": "nginx"}},
            "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]},
        },
    }})
}

/// A Kanary as the operator of 2019 stored it, with its defaults.
fn stored(spec: &Value, status: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "kanary.k8s.io/v1alpha1", "kind": "KanaryDeployment",
        "metadata": {
            "name": "nginx", "namespace": "shop", "uid": "old", "resourceVersion": "7", "generation": 2,
            "labels": {"app": "nginx", "kanary.k8s-operators.dev/slot": "ac"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "shop"},
        },
        "spec": {
            "deploymentName": "nginx", "serviceName": "nginx", "schedule": "",
            "scale": {"static": {"replicas": 1}}, "traffic": {"source": "both"}, "template": template(),
        },
        "status": status,
    });
    kanary_sim::patch::merge(&mut object["spec"], spec);
    object
}

fn condition(name: &str) -> Value {
    json!({
        "type": name, "status": "True", "message": "told",
        "lastTransitionTime": "2019-09-01T16:42:00Z", "lastUpdateTime": "2019-09-01T16:42:00Z",
    })
}

/// A status of the operator of 2019.
fn of_2019(conditions: &[&str]) -> Value {
    let conditions: Vec<_> = conditions.iter().map(|name| condition(name)).collect();
    json!({"currentHash": "9e107d9d372bb6826bd81d3542a419d6", "conditions": conditions, "report": {"status": "x"}})
}

/// A part of a spec of 2019, what it becomes, and what is said about it.
fn forms() -> Vec<(Value, Value, &'static str)> {
    let manual = json!({"manual": {"statusAfterDeadline": "none"}});
    let query = json!({"query": "sum by (pod) (rate(up[1m]))", "podNamekey": "", "allPodsQuery": false});
    let with = |criterion: &Value| {
        let mut item = json!({"promQL": query});
        kanary_sim::patch::merge(&mut item["promQL"], criterion);
        json!({"validations": {"initialDelay": "1m0s", "items": [item]}})
    };
    vec![
        (json!({}), json!({}), ""),
        (
            json!({"validations": {"items": [{}]}}),
            json!({"validation": {"items": [{"manual": {}}]}}),
            "spec.validations is spec.validation now; spec.validation.items[0] is a manual item, as it was by default",
        ),
        (
            json!({"validation": {"items": [{"labelWatch": {}}]}, "validations": {"validationPeriod": "15m0s", "items": [manual]}}),
            json!({"validation": {"validationPeriod": "15m0s", "items": [manual]}}),
            "spec.validation is spec.validations of before, which the operator of 2019 followed where both are set",
        ),
        (
            json!({"validation": null, "items": [manual]}),
            json!({"validation": {"items": [manual]}}),
            "spec.items is spec.validation.items now",
        ),
        (
            json!({"validation": {"validationPeriod": "1m0s", "manual": {"statusAfterDeadline": "valid", "status": ""}}}),
            json!({"validation": {"validationPeriod": "1m0s", "items": [{"manual": {"statusAfterDeadline": "valid"}}]}}),
            "spec.validation.manual is an item of spec.validation.items now",
        ),
        (
            with(&json!({"continuousValueDeviation": {}})),
            json!({"validation": {"initialDelay": "1m0s", "items": [{"promQL": {
                "query": "sum by (pod) (rate(up[1m]))", "allPodsQuery": false, "prometheusService": "prometheus:9090",
                "continuousValueDeviation": {"maxDeviationPercent": 10},
            }}]}}),
            "spec.validations is spec.validation now; spec.validation.items[0].promQL.prometheusService is prometheus:9090, as it was \
             by default; spec.validation.items[0].promQL.continuousValueDeviation.maxDeviationPercent is 10, as it was by default",
        ),
        (
            json!({"scale": {"static": null, "hpa": {"minReplicas": 1}}}),
            json!({"scale": {"static": null, "hpa": {"minReplicas": 1, "maxReplicas": 10}}}),
            "spec.scale.hpa.maxReplicas is 10, as it was by default",
        ),
        (
            json!({"traffic": {"mirror": {"activate": true}}}),
            json!({"traffic": {"mirror": null}}),
            "spec.traffic.mirror.activate is left out: the operator of 2019 followed spec.traffic.source alone",
        ),
    ]
}

#[tokio::test]
async fn every_form_of_2019_is_rewritten_to_one_that_is_accepted_and_rewriting_it_again_changes_nothing() {
    let checker = Checker::new().unwrap();
    for (spec, expected, told) in forms() {
        let rewritten = rewrite(&stored(&spec, &Value::Null));
        let mut told_all = vec!["apiVersion is kanary.k8s-operators.dev/v1alpha1 now"];
        told_all.extend(Some(told).filter(|told| !told.is_empty()));
        assert_eq!(rewritten.changes.join("; "), told_all.join("; "));
        let mut wanted = json!({
            "apiVersion": "kanary.k8s-operators.dev/v1alpha1", "kind": "KanaryDeployment",
            "metadata": {"name": "nginx", "namespace": "shop", "labels": {"app": "nginx"}, "annotations": {"team": "shop"}},
            "spec": crate::manifests::tidy(stored(&json!({"schedule": null}), &Value::Null)["spec"].clone()),
        });
        kanary_sim::patch::merge(&mut wanted["spec"], &expected);
        assert_eq!(rewritten.kanary, wanted, "{told}");
        let report = checker.check(KanaryKind::Deployment, &rewritten.kanary).await;
        assert_eq!(report.problems, Vec::<String>::new(), "{told}");
        let again = rewrite(&rewritten.kanary);
        assert_eq!(again.changes, Vec::<String>::new());
        assert_eq!(again.kanary, rewritten.kanary);
    }
}

fn kanary(object: &Value) -> Kanary {
    serde_json::from_value(object.clone()).unwrap()
}

fn standing(object: &Value, has_canary: bool) -> Standing {
    Standing::of(&kanary(object), has_canary).unwrap()
}

fn settled(object: &Value, has_canary: bool) -> Settled {
    match standing(object, has_canary) {
        Standing::Settled(settled) => *settled,
        Standing::UnderWay(why) => panic!("{why}"),
    }
}

#[test]
fn a_run_that_goes_on_is_waited_for() {
    let spec = json!({});
    for (status, has_canary, why) in [
        (of_2019(&["Activated"]), true, "created its canary"),
        (of_2019(&["Activated", "Running"]), true, "judges its canary"),
        (of_2019(&["Succeeded"]), true, "has not been updated yet"),
        (Value::Null, true, "has not reported"),
        (
            json!({"observedGeneration": 2, "conditions": [condition("Running")]}),
            true,
            "",
        ),
        (
            json!({"observedGeneration": 2, "conditions": [condition("Succeeded")]}),
            false,
            "being removed",
        ),
        (
            json!({"observedGeneration": 2, "conditions": [condition("Failed")]}),
            true,
            "being removed",
        ),
    ] {
        match standing(&stored(&spec, &status), has_canary) {
            Standing::UnderWay(said) => assert!(said.contains(why), "{said}"),
            Standing::Settled(settled) => panic!("{status}: {settled:?}"),
        }
    }
    let mut deleted = stored(&spec, &of_2019(&["Failed"]));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T12:00:00Z");
    assert!(matches!(standing(&deleted, false), Standing::UnderWay(_)));
}

/// The successor of a Kanary, as the controller reads it after its migration.
fn successor(object: &Value, has_canary: bool) -> ParsedKanary {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let mut new = rewrite(&manifest(KanaryKind::OldDeployment, &kanary(object))).kanary;
    new["metadata"]["uid"] = json!("new");
    new["metadata"]["generation"] = json!(1);
    new["status"] = json!({"observedGeneration": 1, "epoch": 5});
    let parsed = |object: &Value| ParsedKanary::parse(KanaryKind::Deployment, &kanary(object)).unwrap();
    if let Some(status) = settled(object, has_canary).status(&parsed(&new), now) {
        new["status"] = serde_json::to_value(status).unwrap();
    }
    parsed(&new)
}

#[test]
fn a_run_that_has_ended_is_not_run_again_by_the_successor() {
    let now: Timestamp = "2026-01-01T13:00:00Z".parse().unwrap();
    let dry = json!({"validations": {"noUpdate": true, "items": [{"manual": {"status": "valid"}}]}});
    for (spec, condition, phase) in [
        (json!({}), "DeploymentUpdated", Phase::DeploymentUpdated),
        (json!({}), "Failed", Phase::Failed),
        (dry, "Succeeded", Phase::Succeeded),
    ] {
        let new = successor(&stored(&spec, &of_2019(&["Activated", condition])), true);
        assert_eq!(Phase::of(&new.status), phase);
        assert_eq!(new.status.report.status, phase.as_str());
        assert_eq!(new.status.epoch, Some(5), "the token is that of the successor");
        let decision = decide(&new, &Observation::default(), now);
        assert!(decision.actions.is_empty(), "{decision:?}");
        let next = decision.status.map_or(phase, |status| Phase::of(&status));
        assert_eq!(next, phase);
    }
}

#[test]
fn a_status_of_2019_without_conditions_says_nothing_about_a_run() {
    let object = stored(&json!({}), &of_2019(&[]));
    let outcome = settled(&object, false).outcome();
    assert_eq!(
        outcome,
        "the operator of 2019 reports no run and has no canary, and the new one runs its template"
    );
    let status = successor(&object, false).status;
    assert_eq!((status.current_hash, status.conditions.len()), (None, 0));
    assert!(matches!(standing(&object, true), Standing::UnderWay(_)));
    let outcome = settled(&stored(&json!({}), &Value::Null), false).outcome();
    assert_eq!(outcome, "its run has not begun, and the new one begins it");
}

#[test]
fn a_verdict_of_a_run_that_has_ended_does_not_count_for_the_next() {
    let spec = json!({"validations": {"items": [{"manual": {"status": "valid"}}]}});
    let new = successor(&stored(&spec, &of_2019(&["DeploymentUpdated"])), false);
    assert_eq!(
        new.status.verdicts.as_ref().map(|verdicts| verdicts.present.valid),
        Some(1)
    );
}

#[test]
fn the_status_of_this_controller_is_kept_also_of_a_run_that_has_not_begun() {
    let spec = json!({"retry": 2, "validation": {"items": [{"manual": {"status": "valid"}}]}});
    let status = json!({
        "observedGeneration": 2, "currentHash": "x", "retry": 2, "run": 3, "failedTemplates": ["y"],
        "currentTraffic": "none", "verdicts": {"present": {"valid": 1}, "stale": {"valid": 1}},
        "place": {"state": "Waiting", "requestedAt": "2026-01-01T12:00:00Z"}, "conditions": [condition("Scheduled")],
    });
    let new = successor(&stored(&spec, &status), false);
    assert_eq!((new.status.run, new.status.retry), (Some(3), Some(2)));
    assert_eq!(new.status.failed_templates, ["y"]);
    assert_eq!(new.status.place, None, "it asks for a place of its own");
    let stale = new.status.verdicts.map(|verdicts| verdicts.stale.valid);
    assert_eq!(stale, Some(1), "the old verdict still does not count");
}
