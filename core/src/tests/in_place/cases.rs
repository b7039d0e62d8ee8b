use serde_json::json;

use super::*;
use crate::{
    api::Reason,
    decision::ObjectKind,
    observation::Owned,
    status::{DEPLOYMENT_UPDATED, ERRORED, FAILED, ROLLED_BACK, RUNNING, find},
};

pub(super) fn reason(place: &Place, condition: &str) -> String {
    find(&place.stored(), condition).map_or_else(String::new, |condition| condition.reason.clone())
}

pub(super) fn message(place: &Place, condition: &str) -> String {
    find(&place.stored(), condition).map_or_else(String::new, |condition| condition.message.clone())
}

/// Asserts that the target is as it was before the run, and that nothing holds the Kanary.
pub(super) fn assert_restored(place: &Place) {
    let set = place.set();
    assert_eq!(
        (set.partition, &set.template),
        (0, &stored(&v1())),
        "{:#?}",
        place.writes
    );
    assert!(
        set.images().iter().all(|image| *image == "app:v1"),
        "{:?}",
        set.images()
    );
    assert_eq!(place.metadata["finalizers"], json!([]));
    assert_eq!(place.stored().in_place, None);
}

#[test]
fn the_autoscaler_of_a_former_canary_is_deleted_by_its_own_name() {
    let mut place = Place::new(5, 2);
    let kanary = place.kanary();
    let mut seen = place.seen(&kanary);
    seen.confirmed = true;
    seen.hpa = Some(Owned {
        uid: "uid-hpa".to_owned(),
        owner: Some(kanary.uid.clone()),
        scales: Some(kanary.spec.canary.key().into()),
        ..Owned::default()
    });
    in_place::complete(&kanary, &mut seen);
    let deleted = Action::Delete {
        object: ObjectKind::HorizontalPodAutoscaler,
        name: kanary.spec.canary.name.clone(),
        uid: "uid-hpa".to_owned(),
        unchanged: false,
    };
    assert_eq!(decide(&kanary, &seen, place.now).actions, [deleted]);
}

#[test]
fn the_highest_ordinals_run_the_template_and_the_others_follow_the_verdict() {
    let mut place = Place::new(5, 2);
    place.until_running();
    assert_eq!(place.set().images(), ["app:v1", "app:v1", "app:v1", "app:v2", "app:v2"]);
    assert_eq!(place.set().partition, 3);
    assert_eq!(place.kanary().status.report.scale, "inPlace");
    place.end();
    assert!(place.is(DEPLOYMENT_UPDATED), "{:?}", place.status);
    assert_eq!((place.set().images(), place.set().partition), (vec!["app:v2"; 5], 0));
    assert_eq!(place.set().generation, 3, "the target was changed twice");
    assert_eq!(place.metadata["finalizers"], json!([]));
    assert_eq!(place.stored().in_place, None);
}

#[test]
fn a_run_that_begins_within_a_second_is_not_said_to_have_replaced_its_pods() {
    let mut place = Place::new(3, 1);
    place.now += SignedDuration::from_millis(1500);
    place.until_running();
    let told = message(&place, RUNNING);
    assert!(told.contains("is judged until") && !told.contains("replaced"), "{told}");
}

#[test]
fn a_bad_verdict_gives_the_pods_their_former_template_back() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    assert!(place.is(FAILED));
    assert_eq!(reason(&place, ROLLED_BACK), "TemplateRestored");
    assert_restored(&place);
}

#[test]
fn a_pause_holds_and_a_verdict_against_the_run_counts_all_the_same() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.edit(&json!({"paused": true}));
    let before = place.set().clone();
    place.end();
    assert_eq!(
        (place.phase(), place.set().generation),
        (Phase::Running, before.generation)
    );
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    assert_restored(&place);
}

#[test]
fn a_deleted_kanary_stays_until_the_target_has_its_template_back() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.delete();
    place.end();
    assert!(place.gone, "{:#?}", place.writes);
    assert!(place.set().images().iter().all(|image| *image == "app:v1"));
    assert_eq!(place.set().partition, 0);
}

#[test]
fn a_partition_of_the_user_comes_back() {
    for verdict in ["valid", "invalid"] {
        let mut place = Place::new(5, 1);
        place.set.as_mut().unwrap().partition = 2;
        place.until_running();
        assert_eq!(place.set().partition, 4);
        place.edit(&json!({"verdict": verdict}));
        place.end();
        assert_eq!(place.set().partition, 2, "{verdict}");
        let v2 = place.set().images().iter().filter(|image| **image == "app:v2").count();
        assert_eq!(v2, if verdict == "valid" { 3 } else { 0 }, "{verdict}");
    }
}

#[test]
fn a_label_fails_a_run_whose_spec_was_edited_badly() {
    let mut place = Place::new(3, 1);
    let watch = json!([{"labelWatch": {"podInvalidationLabels": {"bad": "true"}}}]);
    place.edit(&json!({"validation": {"items": watch}}));
    place.until_running();
    place.edit(&json!({"scale": {"inPlace": {"replicas": -1}}, "rollout": {"onFailure": "nothing"}}));
    place.settle();
    assert!(place.is(ERRORED), "{:?}", place.status);
    place
        .set
        .as_mut()
        .unwrap()
        .labels
        .insert("bad".to_owned(), "true".to_owned());
    place.now += SignedDuration::from_secs(10);
    place.end();
    assert_eq!(reason(&place, FAILED), "LabelMatched");
    assert_restored(&place);
}

#[test]
fn a_spec_that_asks_for_no_run_in_place_any_more_takes_it_back() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.edit(&json!({"scale": null, "paused": true}));
    place.settle();
    assert_eq!(place.set().images(), ["app:v1"; 3]);
    assert_eq!(place.set().partition, 0);
    let stored = place.stored();
    assert_eq!((stored.in_place, stored.promoted_hash), (None, None));
}

#[test]
fn a_template_that_the_target_has_already_is_judged_on_the_pods_of_the_run() {
    for start in [0, 3] {
        let mut place = Place::new(3, 1);
        place.set.as_mut().unwrap().start = start;
        place.spec["template"]["spec"]["template"] = v1();
        place.until_running();
        assert_eq!(
            place.stored().validation_start_time,
            Some(t0()),
            "not since the pods are ready"
        );
        place.end();
        assert_eq!((place.phase(), place.set().partition), (Phase::DeploymentUpdated, 0));
    }
}

#[test]
fn the_partition_holds_while_an_autoscaler_changes_the_number_of_pods() {
    let mut place = Place::new(4, 1);
    place.until_running();
    for (replicas, images) in [
        (6, vec!["app:v1", "app:v1", "app:v1", "app:v2", "app:v2", "app:v2"]),
        (2, vec!["app:v1", "app:v1"]),
    ] {
        let now = place.now;
        place.set.as_mut().unwrap().scale(now, replicas);
        place.settle();
        assert_eq!(
            (place.phase(), place.set().partition),
            (Phase::Running, 3),
            "{replicas}"
        );
        assert_eq!(place.set().images(), images);
    }
    // Without a pod that runs the template, nothing passes.
    place.edit(&json!({"verdict": "valid"}));
    place.settle();
    assert_eq!(place.phase(), Phase::Running);
    let now = place.now;
    place.set.as_mut().unwrap().scale(now, 5);
    place.end();
    assert_eq!(place.set().images(), ["app:v2"; 5]);
}

#[test]
fn another_template_begins_after_the_first_one_is_taken_back() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.edit(&json!({"template": {"spec": {"template": version(3)}}}));
    place.until_running();
    assert_eq!(place.set().images(), ["app:v1", "app:v1", "app:v3"]);
    assert_eq!(place.set().generation, 4, "begun, taken back, begun again");
    place.end();
    assert_eq!(place.set().images(), ["app:v3"; 3]);
}

#[test]
fn a_spec_with_errors_takes_nothing_back() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.edit(&json!({"scale": {"inPlace": {"replicas": 0}}}));
    place.settle();
    assert_eq!(place.set().images(), ["app:v1", "app:v1", "app:v2"]);
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    assert_restored(&place);
}

#[test]
fn what_prevents_a_run_is_said_and_nothing_is_written() {
    type Change = fn(&mut Set);
    let cases: [(usize, i32, Change, Reason); 6] = [
        (2, 2, |_| {}, Reason::TooFewReplicas),
        (2, 7, |_| {}, Reason::TooFewReplicas),
        (3, 1, |set| set.on_delete = true, Reason::TargetOnDelete),
        (3, 2, |set| set.partition = 2, Reason::TargetPartitioned),
        (3, 1, |set| set.pods[0].0 = version(0), Reason::TargetRollingOut),
        (3, 1, |set| set.forgets = true, Reason::NoFormerTemplate),
    ];
    for (replicas, pods, change, why) in cases {
        let mut place = Place::new(replicas, pods);
        change(place.set.as_mut().unwrap());
        place.settle();
        assert_eq!(reason(&place, ERRORED), why.as_str(), "{:?}", place.status);
        assert_eq!(place.set().generation, 1);
        assert_eq!(place.stored().in_place, None);
    }
}

#[test]
fn a_target_whose_former_template_is_lost_keeps_what_it_has() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.set.as_mut().unwrap().history.remove(0);
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    assert_eq!(
        place.set().images(),
        ["app:v1", "app:v1", "app:v2"],
        "nothing else rolls out"
    );
    assert_eq!(reason(&place, ROLLED_BACK), "NoFormerTemplate");
    assert!(message(&place, ERRORED).contains("partition: 0"), "{:?}", place.status);
    // A user does what it says, and another run waits.
    place.edit(&json!({"verdict": null, "retry": 2}));
    place.settle();
    let now = place.now;
    let set = place.set.as_mut().unwrap();
    set.edit(now, |set| set.template = stored(&v1()));
    place.settle();
    assert_eq!((place.set().partition, place.set().images()), (2, vec!["app:v1"; 3]));
    place.set.as_mut().unwrap().edit(now, |set| set.partition = 0);
    place.until_running();
    assert_eq!(place.set().images(), ["app:v1", "app:v1", "app:v2"]);
}

#[test]
fn what_a_run_in_place_cannot_have_is_refused() {
    for (change, why) in [
        (
            json!({"scale": {"inPlace": {"replicas": 0}}}),
            "spec.scale.inPlace.replicas is 0",
        ),
        (
            json!({"statefulSetName": null, "deploymentName": "myapp"}),
            "only a StatefulSet",
        ),
        (
            json!({"serviceName": "svc", "traffic": {"source": "both"}}),
            "spec.traffic.source service or none",
        ),
        (
            json!({"serviceName": "svc", "traffic": {"source": "kanary-service"}}),
            "spec.traffic.source service or none",
        ),
        (
            json!({"rollout": {"onFailure": "retain"}}),
            "no canary that could be kept",
        ),
        (json!({"rollout": {"onTargetChange": "promote"}}), "onTargetChange"),
        (
            json!({"rollout": {"mode": "dry-run"}}),
            "a dry-run leaves the target alone",
        ),
        (
            json!({"validation": {"noUpdate": true}}),
            "a dry-run leaves the target alone",
        ),
        (json!({"scale": {"static": {"replicas": 1}}}), "keep one"),
    ] {
        let mut place = Place::new(3, 1);
        place.edit(&change);
        let problems = format!("{:?}", place.kanary().spec.problems);
        assert!(problems.contains(why), "{change}: {problems}");
    }
    let mut place = Place::new(3, 1);
    place.edit(&json!({"serviceName": "svc", "traffic": {"source": "service"}}));
    assert!(place.kanary().spec.is_sound(), "{:?}", place.kanary().spec.problems);
}
