//! What others do to the target, its pods and the Kanary in mid-run.

use serde_json::json;

use super::{
    cases::{assert_restored, message, reason},
    *,
};
use crate::status::{FAILED, ROLLED_BACK};

#[test]
fn a_template_of_somebody_else_is_taken_back_as_a_whole_and_stays_in_the_history() {
    for theirs in ["app:v3", "app:v2@sha256:1"] {
        let mut place = Place::new(3, 1);
        place.until_running();
        let mut other = stored(&version(2));
        other["spec"]["containers"][0]["image"] = json!(theirs);
        let now = place.now;
        place
            .set
            .as_mut()
            .unwrap()
            .edit(now, |set| set.template = other.clone());
        place.end();
        assert_eq!(reason(&place, FAILED), "TargetChanged");
        assert!(
            message(&place, FAILED).contains("kubectl rollout history"),
            "{:?}",
            place.status
        );
        assert_restored(&place);
        assert!(place.set().history.iter().any(|(template, _)| *template == other));
        assert!(
            place.stored().failed_templates.is_empty(),
            "the template is not to blame"
        );
    }
}

#[test]
fn a_template_of_somebody_else_is_taken_back_once_kubernetes_has_a_revision_of_it() {
    let mut place = Place::new(3, 1);
    place.until_running();
    let now = place.now;
    let set = place.set.as_mut().unwrap();
    set.edit(now, |set| set.template = stored(&version(3)));
    set.lags = true;
    place.settle();
    assert_eq!(place.set().template, stored(&version(3)));
    place.delete();
    place.settle();
    assert!(!place.gone);
    place.set.as_mut().unwrap().lags = false;
    place.end();
    assert!(place.gone);
    assert_eq!((place.set().images(), place.set().partition), (vec!["app:v1"; 3], 0));
}

/// As `kubectl rollout restart` does.
fn restart(template: &mut Value) {
    template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
}

#[test]
fn what_somebody_adds_to_the_template_of_the_run_rolls_out_without_that_template() {
    let mut place = Place::new(3, 1);
    place.until_running();
    let now = place.now;
    place.set.as_mut().unwrap().edit(now, |set| restart(&mut set.template));
    place.end();
    assert_eq!(reason(&place, FAILED), "TargetChanged");
    assert_eq!(place.set().images(), ["app:v1"; 3], "nothing proves v2");
    let mut wanted = stored(&v1());
    restart(&mut wanted);
    assert_eq!((&place.set().template, place.set().partition), (&wanted, 0));
    assert!(
        message(&place, ROLLED_BACK).contains("labels and annotations that somebody else has set"),
        "{:?}",
        place.status
    );
}

#[test]
fn a_run_whose_annotation_somebody_removes_is_taken_back_all_the_same() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.set.as_mut().unwrap().promoted_by = None;
    place.set.as_mut().unwrap().version += 1;
    place.end();
    assert_eq!(reason(&place, FAILED), "TargetChanged");
    assert_restored(&place);
}

#[test]
fn an_annotation_that_goes_before_anybody_has_seen_it_is_found_in_the_history() {
    let mut place = Place::new(3, 1);
    while place.set().promoted_by.is_none() {
        place.turn();
    }
    assert_eq!(place.stored().in_place.unwrap().template_hash, None);
    place.crash();
    place.set.as_mut().unwrap().promoted_by = None;
    place.set.as_mut().unwrap().version += 1;
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    assert_eq!(place.phase(), Phase::Failed);
    assert_restored(&place);
}

#[test]
fn an_annotation_that_the_history_has_from_an_earlier_run_is_told_by_the_partition() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    place.edit(&json!({"verdict": null, "retry": 2}));
    while place.set().partition == 0 {
        place.turn();
    }
    assert_eq!(place.stored().in_place.unwrap().template_hash, None);
    place.crash();
    place.set.as_mut().unwrap().promoted_by = None;
    place.set.as_mut().unwrap().version += 1;
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    assert_restored(&place);
}

#[test]
fn a_finalizer_that_somebody_removes_comes_back() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.metadata["finalizers"] = json!([]);
    place.version += 1;
    place.settle();
    assert_eq!(place.metadata["finalizers"], json!([names::IN_PLACE_FINALIZER]));
    place.delete();
    place.end();
    assert_restored(&place);
}

#[test]
fn a_copy_of_the_target_is_restored_like_the_target() {
    let mut place = Place::new(3, 1);
    place.until_running();
    let set = place.set.as_mut().unwrap();
    set.uid = "uid-copy".to_owned();
    set.generation = 1;
    set.version += 1;
    place.end();
    assert_eq!(reason(&place, FAILED), "TargetChanged");
    assert_restored(&place);
    assert_eq!(reason(&place, ROLLED_BACK), "TemplateRestored");
}

#[test]
fn a_target_that_is_scaled_to_zero_ends_the_run() {
    let mut place = Place::new(3, 1);
    place.until_running();
    let now = place.now;
    // Kubernetes forgets which template the pods below the partition had.
    let set = place.set.as_mut().unwrap();
    set.scale(now, 0);
    set.edit(now, |set| set.pods = vec![(set.template.clone(), now); 3]);
    assert_eq!(place.set().images(), ["app:v2"; 3]);
    place.end();
    assert_eq!(reason(&place, FAILED), "TargetChanged");
    assert!(
        message(&place, FAILED).contains("was scaled to 0"),
        "{:?}",
        place.status
    );
    assert_restored(&place);
}

#[test]
fn a_target_that_forgets_its_templates_ends_the_run_and_does_not_point_to_them() {
    for is_edited in [false, true] {
        let mut place = Place::new(3, 1);
        place.until_running();
        let now = place.now;
        place.set.as_mut().unwrap().edit(now, |set| {
            set.forgets = true;
            if is_edited {
                set.template = stored(&version(3));
            }
        });
        place.end();
        assert_eq!(reason(&place, FAILED), "TargetChanged");
        let told = message(&place, FAILED);
        assert!(
            told.contains("revisionHistoryLimit") && !told.contains("rollout history"),
            "{told}"
        );
        assert_restored(&place);
    }
}

#[test]
fn a_target_that_gets_another_strategy_says_what_is_left_to_do() {
    let mut place = Place::new(3, 1);
    place.until_running();
    let now = place.now;
    place.set.as_mut().unwrap().edit(now, |set| set.on_delete = true);
    place.end();
    assert!(
        message(&place, FAILED).contains("got the updateStrategy OnDelete"),
        "{:?}",
        place.status
    );
    assert!(message(&place, ROLLED_BACK).contains("ordinal 2"), "{:?}", place.status);
}

#[test]
fn a_run_that_comes_too_late_leaves_the_marks_of_another_one() {
    let mut place = Place::new(3, 1);
    while place.stored().in_place.is_none() {
        place.turn();
    }
    let (now, theirs) = (place.now, Some("uid-robin/0-1/in-place".to_owned()));
    place.set.as_mut().unwrap().edit(now, |set| {
        (set.template, set.partition) = (stored(&version(5)), 2);
        set.promoted_by.clone_from(&theirs);
    });
    place.end();
    assert_eq!(reason(&place, FAILED), "TargetChanged");
    assert_eq!((&place.set().promoted_by, place.set().partition), (&theirs, 2));
    assert_eq!(place.set().images(), ["app:v1", "app:v1", "app:v5"]);
}

#[test]
fn a_partition_of_somebody_else_is_taken_back_with_the_template() {
    for theirs in [1, 4] {
        let mut place = Place::new(4, 1);
        place.until_running();
        let now = place.now;
        place.set.as_mut().unwrap().edit(now, |set| set.partition = theirs);
        place.end();
        assert_eq!(reason(&place, FAILED), "TargetChanged");
        assert!(message(&place, FAILED).contains("got another partition"));
        assert_restored(&place);
    }
}

#[test]
fn a_target_that_is_put_back_by_hand_ends_the_run() {
    let mut place = Place::new(3, 1);
    place.until_running();
    let now = place.now;
    place.set.as_mut().unwrap().edit(now, |set| {
        (set.template, set.partition, set.promoted_by) = (stored(&v1()), 0, None);
    });
    let generation = place.set().generation;
    place.end();
    assert_eq!(reason(&place, FAILED), "TargetChanged");
    assert_eq!(place.set().generation, generation, "there is nothing to put back");
}

#[test]
fn a_copied_status_says_nothing_about_the_target_of_another_kanary() {
    let mut place = Place::new(3, 1);
    place.until_running();
    assert!(place.stored().in_place.is_some());
    place.metadata["uid"] = json!("uid-robin");
    assert_eq!(place.stored().in_place, None);
}

#[test]
fn a_run_in_place_and_one_beside_the_target_are_different_runs() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.edit(&json!({"scale": null, "paused": true}));
    place.settle();
    assert_eq!(place.set().images(), ["app:v1"; 3]);
    assert_eq!(place.stored().run_number(), 2);
    place.edit(&json!({"scale": {"inPlace": {"replicas": 1}}, "paused": false}));
    place.until_running();
    assert_eq!(place.stored().run_number(), 3);
    assert_eq!(place.set().images(), ["app:v1", "app:v1", "app:v2"]);
    place.edit(&json!({"verdict": "invalid"}));
    place.end();
    assert_restored(&place);
}
