//! What differs if the target is a StatefulSet.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::input::{self, Input};
use crate::{
    api::{Reason, WorkloadKind, WorkloadRef},
    decide,
    decision::{Action, Decision, ObjectKind},
    observation::{Claims, SetView},
    status::{ERRORED, STALLED, find},
};

/// A case about the StatefulSet `myapp`.
fn of_set(yaml: &str, view: SetView) -> Input {
    let yaml = yaml.replace("\n        ", "\n");
    let mut input = input::read(&format!(
        "spec: {{deploymentName: null, statefulSetName: myapp}}\n{yaml}"
    ));
    if let Some(target) = &mut input.seen.target {
        target.set = Some(Box::new(view));
    }
    input
}

fn decided(input: &Input) -> Decision {
    decide(&input.kanary, &input.seen, input.now)
}

/// Reason and message of a condition in the status that is to be written.
fn said(decision: &Decision, condition: &str) -> (String, String) {
    let status = decision.status.as_ref().unwrap();
    let condition = find(status, condition).unwrap();
    (condition.reason.clone(), condition.message.clone())
}

fn created(decision: &Decision) -> &Value {
    let canary = decision.actions.iter().find_map(|action| match action {
        Action::Create {
            object: ObjectKind::Workload(WorkloadKind::StatefulSet),
            manifest,
            ..
        } => Some(manifest),
        _ => None,
    });
    canary.unwrap()
}

#[test]
fn the_canary_is_a_stateful_set_that_shows_changes_and_deletes_its_volumes() {
    let decision = decided(&of_set("seen: {target: {}}", SetView::default()));
    let canary = created(&decision);
    assert_eq!(
        (&canary["apiVersion"], &canary["kind"]),
        (&json!("apps/v1"), &json!("StatefulSet"))
    );
    assert_eq!(canary["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    assert_eq!(
        canary["spec"]["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Delete", "whenScaled": "Delete"})
    );
}

#[test]
fn a_canary_behind_the_production_service_is_no_member_of_the_headless_one() {
    let view = SetView {
        service: "members".into(),
        ..SetView::default()
    };
    let labels = "{app: myapp, role: member}";
    let mut input = input::read(&format!(
        "spec: {{deploymentName: null, statefulSetName: myapp, serviceName: myapp-svc, traffic: {{source: service}},
                template: {{spec: {{template: {{metadata: {{labels: {labels}}}}}}}}}}}
seen: {{target: {{podLabels: {labels}}}, service: {{}}, services: {{members: {labels}}}}}"
    ));
    input.seen.target.as_mut().unwrap().set = Some(Box::new(view));
    let decision = decided(&input);
    let labels = &created(&decision)["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        (&labels["app"], &labels["role"]),
        (&json!("myapp"), &Value::Null),
        "{labels:#}"
    );
}

/// A case about the StatefulSet `myapp`, whose pods have volumes.
fn with_volumes(yaml: &str, scale: &Value) -> Input {
    let mut input = of_set(yaml, SetView::default());
    let mut object = json!({"metadata": {"name": "batman", "namespace": "shop", "uid": input::UID}});
    object["spec"] = json!({"statefulSetName": "myapp", "scale": scale, "template": {"spec": {
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
        "template": {"metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": [{}]}},
    }}});
    let object = serde_json::from_value(object).unwrap();
    let status = std::mem::take(&mut input.kanary.status);
    input.kanary = crate::ParsedKanary::parse(crate::api::KanaryKind::Deployment, &object).unwrap();
    input.kanary.status = status;
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"volumeMode": "Filesystem"}}]).to_string();
    input.seen.target.as_mut().unwrap().set.as_mut().unwrap().claims = claims.into();
    input
}

#[test]
fn volumes_of_an_earlier_canary_are_not_given_to_the_next() {
    let mut input = with_volumes("seen: {target: {}}", &json!(null));
    assert_eq!(decided(&input).needs, Some(crate::decision::Need::Claims));
    input.seen.claims = Some(Claims {
        earlier: vec!["data-myapp-kanary-batman-0".to_owned()],
        others: Vec::new(),
    });
    let decision = decided(&input);
    assert_eq!(decision.actions, []);
    let (reason, message) = said(&decision, ERRORED);
    assert_eq!(reason, Reason::VolumesRemain.as_str());
    assert!(message.contains("data-myapp-kanary-batman-0"), "{message}");
    assert!(decision.wake.is_some());
    input.seen.claims = Some(Claims::default());
    created(&decided(&input));
}

#[test]
fn volumes_of_others_are_not_given_to_a_canary_that_would_delete_them() {
    let mut input = with_volumes("seen: {target: {}}", &json!(null));
    let others = Some(Claims {
        earlier: Vec::new(),
        others: vec!["data-myapp-kanary-batman-7".to_owned()],
    });
    input.seen.claims.clone_from(&others);
    let decision = decided(&input);
    assert_eq!(decision.actions, []);
    let (reason, message) = said(&decision, ERRORED);
    assert_eq!(reason, Reason::NameTaken.as_str());
    assert!(message.contains("data-myapp-kanary-batman-7"), "{message}");
    assert!(decision.wake.is_some(), "the claim is looked for again");
}

#[test]
fn an_empty_name_is_no_other_target() {
    // A template of Helm without a value: the target must not become a Deployment with the name of the Kanary.
    let mut input = input::read("spec: {deploymentName: null, statefulSetName: ''}\nseen: {target: null}");
    let decision = decided(&input);
    assert_eq!(decision.actions, []);
    let (reason, message) = said(&decision, ERRORED);
    assert_eq!(reason, Reason::InvalidSpec.as_str());
    assert!(message.contains("spec.statefulSetName is empty"), "{message}");
    input = input::read("spec: {deploymentName: ''}\nseen: {target: null}");
    assert!(input.kanary.spec.is_sound(), "2019 wrote it so");
}

#[test]
fn the_names_of_claims_are_those_that_kubernetes_gives() {
    let input = with_volumes("seen: {target: {}}", &json!(null));
    let spec = input.kanary.spec.as_ref();
    let takes = |claim: &str| crate::workload::would_take(&spec.canary, &spec.template, claim);
    assert!(takes("data-myapp-kanary-batman-0"));
    assert!(takes("data-myapp-kanary-batman-12"));
    for other in [
        "data-myapp-0",
        "data-myapp-kanary-batman-",
        "data-myapp-kanary-batman-a",
        "data-myapp-kanary-batman-a-0",
        "old-data-myapp-kanary-batman-0",
        "data-myapp-kanary-batman-0-backup",
    ] {
        assert!(!takes(other), "{other}");
    }
}

#[test]
fn a_kind_that_is_off_is_reported_and_nothing_is_done() {
    for status in [
        "",
        "status: {phase: Running}",
        "status: {phase: Succeeded}",
        "status: {phase: DeploymentUpdated}",
    ] {
        let mut input = of_set(status, SetView::default());
        (input.seen.target, input.seen.canary, input.seen.kind_is_off) = (None, None, true);
        let decision = decided(&input);
        assert_eq!(
            (decision.actions.as_slice(), decision.needs),
            (&[][..], None),
            "{status}"
        );
        let (reason, message) = said(&decision, ERRORED);
        assert_eq!(reason, Reason::TargetKindDisabled.as_str());
        assert!(message.contains("--target-kinds=StatefulSet"), "{message}");
    }
}

#[test]
fn a_target_that_its_user_rolls_out_is_waited_for_without_a_deadline() {
    let view = SetView {
        on_delete: true,
        ..SetView::default()
    };
    let yaml = "
        status: {phase: Succeeded}
        seen: {target: {promotedBy: this, rolledOut: false}, canary: {available: +0s}}";
    let mut input = of_set(yaml, view);
    let target = input.seen.target.as_ref().unwrap();
    input.seen.promotion = crate::observation::Promotion::Done {
        at: Some(input.now),
        template_hash: target.template_hash.clone(),
    };
    input.now += SignedDuration::from_hours(24);
    let decision = decided(&input);
    assert_eq!(decision.actions, [], "the canary stays");
    let (reason, message) = said(&decision, STALLED);
    assert_eq!(reason, Reason::TargetOnDelete.as_str());
    assert!(
        message.starts_with("StatefulSet myapp was updated and does not replace its pods"),
        "{message}"
    );
}

#[test]
fn a_kanary_stays_with_the_kind_that_its_status_reports() {
    let yaml = "
        status: {phase: Scheduled}
        seen: {}";
    let mut object = json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u"},
        "spec": {"targetRef": {"kind": "Deployment", "name": "myapp"}, "template": {"spec": {}}},
        "status": {"report": {"deployment": "StatefulSet/myapp"}},
    });
    let parsed = |object: &Value| {
        let object = serde_json::from_value(object.clone()).unwrap();
        crate::ParsedKanary::parse(crate::api::KanaryKind::Deployment, &object).unwrap()
    };
    let set = WorkloadRef::new(WorkloadKind::StatefulSet, "myapp");
    assert_eq!(of_set(yaml, SetView::default()).kanary.spec.target, set);
    let other = parsed(&object);
    assert_eq!(other.spec.target, set);
    assert!(!other.spec.is_sound());
    object["spec"]["targetRef"]["kind"] = json!("StatefulSet");
    object["spec"]["template"]["spec"] = json!({"template": {"spec": {"containers": [{}]}}});
    assert!(parsed(&object).spec.is_sound());
    object["spec"]["deploymentName"] = json!("myapp");
    let two = parsed(&object);
    assert_eq!(two.spec.target, set);
    let why = &two.spec.problems[0].message;
    assert!(
        why.contains("two targets, StatefulSet myapp and Deployment myapp"),
        "{why}"
    );
}
