use kanary_core::api::KanaryKind;
use serde_json::{Value, json};

use super::*;
use crate::run::tests::{condition, kanary};

fn found(edit: &Value) -> Found {
    let parsed = kanary(edit);
    let mut spec = json!({});
    kanary_sim::patch::merge(&mut spec, &edit["spec"]);
    let object = serde_json::from_value(json!({"metadata": {"name": "batman"}, "spec": spec})).unwrap();
    assert_eq!(parsed.key.kind, KanaryKind::Deployment);
    Found { object, parsed }
}

fn running(validation: &Value, also: &Value) -> Found {
    let mut edit = json!({
        "spec": {"validation": validation},
        "status": {"conditions": [condition("Running", "Validating")]},
    });
    kanary_sim::patch::merge(&mut edit, also);
    found(&edit)
}

fn manual(status: Option<&str>) -> Value {
    json!({"manual": {"status": status}})
}

#[test]
fn promote_gives_its_verdict_to_every_manual_item_and_to_no_other() {
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"a": "b"}}});
    let items = json!({"items": [watch, manual(None), manual(Some("valid")), manual(None)]});
    let Plan::Edit(edit) = by_items(&running(&items, &json!({}))).unwrap() else {
        panic!("it is an edit");
    };
    let paths: Vec<_> = edit.operations.iter().map(|op| op["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "/spec/validation/items/1/manual/status",
            "/spec/validation/items/3/manual/status"
        ]
    );
    assert!(
        edit.done.contains("manual[1], manual[2], manual[3] are `valid`"),
        "{}",
        edit.done
    );
}

#[test]
fn without_a_manual_item_promote_overrules_nothing_by_itself() {
    let items = json!({"items": [{"labelWatch": {"podInvalidationLabels": {"a": "b"}}}]});
    let error = by_items(&running(&items, &json!({}))).unwrap_err().to_string();
    assert!(
        error.contains("no manual item") && error.contains("--overrule"),
        "{error}"
    );
    let state = json!({"status": {"items": [{"name": "promQL[0]", "state": "NoData"}]}});
    let Plan::Edit(edit) = overruling(&running(&items, &state)).unwrap() else {
        panic!("it is an edit");
    };
    assert_eq!(edit.operations[0]["path"], "/spec/verdict");
    assert!(edit.done.contains("although promQL[0] is NoData"), "{}", edit.done);
}

#[test]
fn the_item_that_a_kanary_has_by_default_is_written_down() {
    for (validation, path) in [
        (json!(null), "/spec/validation"),
        (json!({"validationPeriod": "1h"}), "/spec/validation/items"),
    ] {
        let Plan::Edit(edit) = by_items(&running(&validation, &json!({}))).unwrap() else {
            panic!("it is an edit");
        };
        assert_eq!(edit.operations[0]["path"], path);
    }
}

#[test]
fn a_verdict_of_an_earlier_run_is_taken_back_before_it_is_given_again() {
    let stale = json!({"status": {"verdicts": {"stale": {"valid": 1}}}});
    let items = json!({"items": [manual(None), manual(Some("valid"))]});
    let Plan::Renew(first, then) = by_items(&running(&items, &stale)).unwrap() else {
        panic!("it takes two edits");
    };
    assert_eq!(
        first.operations,
        [json!({"op": "remove", "path": "/spec/validation/items/1/manual/status"})]
    );
    assert_eq!(then.operations.len(), 2);
    let stale = json!({"spec": {"verdict": "invalid"}, "status": {"verdicts": {"stale": {"verdict": "invalid"}}}});
    let plan = aborting(&running(&json!({}), &stale)).unwrap();
    assert!(matches!(plan, Plan::Renew(..)), "{plan:?}");
    let given = json!({"spec": {"verdict": "invalid"}});
    let plan = aborting(&running(&json!({}), &given)).unwrap();
    assert!(matches!(plan, Plan::Nothing(_)), "{plan:?}");
}

#[test]
fn a_run_that_is_over_takes_no_verdict() {
    let ended = |name: &str, reason: &str| {
        let status = json!({"conditions": [condition(name, reason)], "completedAt": "2026-01-01T00:10:00Z"});
        running(&json!({}), &json!({"status": status}))
    };
    let failed = ended("Failed", "PromQLFailed");
    let error = by_items(&failed).unwrap_err().to_string();
    assert!(error.contains("is over") && error.contains("retry batman"), "{error}");
    assert!(matches!(aborting(&failed).unwrap(), Plan::Nothing(_)));
    let promoted = ended("DeploymentUpdated", "TargetRolledOut");
    assert!(matches!(overruling(&promoted).unwrap(), Plan::Nothing(_)));
    let error = aborting(&promoted).unwrap_err().to_string();
    assert!(error.contains("rollout undo deployment/myapp"), "{error}");
    let mut promoted = promoted;
    promoted.parsed.key.kind = KanaryKind::CanaryDeployment;
    let error = aborting(&promoted).unwrap_err().to_string();
    assert!(
        error.contains("the former image or template in its spec") && !error.contains("undo"),
        "{error}"
    );
}

#[test]
fn a_version_that_the_controller_has_not_seen_is_not_promoted_but_may_be_aborted() {
    let edited = running(&json!({}), &json!({"metadata": {"generation": 4}}));
    let error = by_items(&edited).unwrap_err().to_string();
    assert!(error.contains("generation 4"), "{error}");
    assert!(matches!(aborting(&edited).unwrap(), Plan::Edit(_)));
    let invalid = running(&json!({}), &json!({"spec": {"traffic": {"source": "service"}}}));
    assert!(overruling(&invalid).unwrap_err().to_string().contains("serviceName"));
    assert!(matches!(aborting(&invalid).unwrap(), Plan::Edit(_)));
}

#[test]
fn the_answer_says_what_the_run_still_waits_for() {
    let items = json!({"items": [manual(None), {"promQL": {
        "prometheusService": "p:9090", "query": "up{pod=~\"{{ pods }}\"}", "valueInRange": {}}}]});
    let status = json!({"spec": {"paused": true}, "status": {"items": [{"name": "promQL[1]", "state": "NoData"}]}});
    let Plan::Edit(edit) = by_items(&running(&items, &status)).unwrap() else {
        panic!("it is an edit");
    };
    for part in ["promQL[1] is NoData", "is paused", "updates Deployment myapp"] {
        assert!(edit.done.contains(part), "{}", edit.done);
    }
}

#[test]
fn what_an_abort_does_is_about_the_kind_of_canary() {
    for (scale, said) in [
        (json!({"static": {"replicas": 1}}), "the canary leaves its Services"),
        (
            json!({"inPlace": {"replicas": 1}}),
            "that run the template get the former one back",
        ),
    ] {
        let set =
            json!({"spec": {"targetRef": {"kind": "StatefulSet", "name": "db"}, "deploymentName": "", "scale": scale}});
        let found = running(&json!({}), &set);
        assert!(found.parsed.spec.is_sound(), "{:?}", found.parsed.spec.problems);
        let Plan::Edit(edit) = aborting(&found).unwrap() else {
            panic!("it is an edit");
        };
        assert!(edit.done.contains(said), "{}", edit.done);
    }
}
