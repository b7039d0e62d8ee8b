//! Cases.

use serde_json::json;

use super::{CANARY, Cluster, Object, STABLE};
use crate::{
    api::{Tracks, names},
    decide,
    decision::Decision,
    observation::Workload,
    status::{Phase, find},
    tests::input::UID,
    validation::Outcome,
};

#[test]
fn the_target_is_created_only_after_the_canary_has_passed() {
    let mut cluster = Cluster::new("v1");
    cluster.settle();
    assert_eq!(cluster.take_writes(), ["shop-canary: v1 x1"]);
    cluster.roll_out();
    cluster.pass(59);
    assert_eq!((cluster.decide().checks, cluster.take_writes()), (vec![], vec![]));
    cluster.pass(1);
    cluster.measure(Outcome::Pass);
    assert_eq!(cluster.take_writes(), ["shop-stable: v1 x3"]);
    assert_eq!(cluster.phase(), Phase::Succeeded);
    cluster.roll_out();
    assert_eq!(cluster.phase(), Phase::DeploymentUpdated);
    assert_eq!(cluster.take_writes(), [""; 0]);
}

#[test]
fn pods_have_the_labels_of_their_track_and_a_selector_that_runs_do_not_change() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Pass);
    let stable = &cluster.objects[STABLE];
    let expected = [("app", "shop"), ("track", "stable")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(stable.seen.pod_labels, expected.into());
    assert_eq!(stable.spec["selector"], cluster.tracked.selector);
    let canary = &cluster.objects[CANARY];
    assert_eq!(
        (&*canary.seen.pod_labels["app"], &*canary.seen.pod_labels["track"]),
        ("shop", "canary")
    );
    assert!(canary.seen.pod_labels.contains_key(names::RUN));
    let selector = canary.spec["selector"]["matchLabels"].as_object().unwrap();
    assert!(!selector.contains_key(names::RUN), "{selector:?}");
    for (name, value) in selector {
        assert_eq!(canary.seen.pod_labels[name], *value);
    }
}

#[test]
fn a_good_template_is_run_by_the_same_canary_and_then_by_the_target() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Pass);
    let uid = cluster.objects[CANARY].seen.uid.clone();
    cluster.take_writes();
    cluster.set_image("v2");
    cluster.settle();
    assert_eq!(cluster.take_writes(), ["shop-canary: v2 x1"]);
    cluster.roll_out();
    cluster.pass(60);
    cluster.measure(Outcome::Pass);
    assert_eq!(cluster.take_writes(), ["shop-stable: v2 x3"]);
    cluster.roll_out();
    assert_eq!(cluster.phase(), Phase::DeploymentUpdated);
    assert_eq!(cluster.objects[CANARY].seen.uid, uid);
}

#[test]
fn a_bad_template_goes_no_further_and_the_canary_gets_the_last_good_one_back() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Pass);
    cluster.take_writes();
    cluster.run("v2", Outcome::Fail);
    assert_eq!(cluster.take_writes(), ["shop-canary: v2 x1", "shop-canary: v1 x1"]);
    assert_eq!(cluster.phase(), Phase::Failed);
    // The same template is not run again.
    cluster.set_image("v3");
    cluster.settle();
    cluster.set_image("v2");
    cluster.settle();
    assert_eq!(cluster.take_writes(), ["shop-canary: v3 x1", "shop-canary: v1 x1"]);
    cluster.run("v4", Outcome::Pass);
    assert_eq!(cluster.images(), ["v4", "v4"]);
}

#[test]
fn a_canary_that_failed_gets_the_last_good_template_back_whatever_is_wrong_with_the_spec() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Pass);
    cluster.set_image("v2");
    cluster.settle();
    cluster.roll_out();
    cluster.pass(60);
    cluster.take_writes();
    cluster.spec["schedule"] = json!("tomorrow");
    cluster.measure(Outcome::Fail);
    assert_eq!(cluster.phase(), Phase::Failed);
    assert_eq!(cluster.take_writes(), ["shop-canary: v1 x1"]);
    assert_eq!(cluster.objects[CANARY].seen.pod_labels["track"], "canary");
    cluster.spec["schedule"] = json!("");
    cluster.settle();
    assert_eq!(cluster.images(), ["v1", "v1"]);
}

#[test]
fn without_a_template_that_passed_nothing_goes_further_and_the_canary_stays() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Fail);
    assert_eq!(cluster.take_writes(), ["shop-canary: v1 x1"]);
    assert_eq!(cluster.images(), ["v1"]);
    cluster.run("v2", Outcome::Pass);
    assert_eq!(cluster.images(), ["v2", "v2"]);
}

#[test]
fn an_answer_that_proves_nothing_is_asked_for_again() {
    let mut cluster = Cluster::new("v1");
    cluster.settle();
    cluster.roll_out();
    cluster.pass(60);
    for outcome in [Outcome::Error, Outcome::NoData] {
        cluster.measure(outcome);
        assert_eq!((cluster.phase(), cluster.images().len()), (Phase::Running, 1));
        assert_eq!(cluster.decide().checks.len(), 0);
        cluster.pass(10);
    }
    cluster.measure(Outcome::Pass);
    assert_eq!(cluster.images(), ["v1", "v1"]);
}

#[test]
fn replicas_and_labels_of_a_track_are_followed_without_a_run() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Pass);
    let run = cluster.kanary().status.run;
    cluster.take_writes();
    cluster.tracked.target.replicas = Some(5);
    cluster.settle();
    assert_eq!(cluster.take_writes(), ["shop-stable: v1 x5"]);
    cluster.tracked.canary.labels.insert("zone".to_owned(), "a".to_owned());
    cluster.settle();
    assert_eq!(cluster.take_writes(), ["shop-canary: v1 x1"]);
    assert_eq!(cluster.objects[CANARY].seen.pod_labels["zone"], "a");
    cluster.tracked.canary.labels.remove("zone");
    cluster.settle();
    assert!(!cluster.objects[CANARY].seen.pod_labels.contains_key("zone"));
    assert_eq!(cluster.kanary().status.run, run);
}

#[test]
fn replicas_that_are_not_asked_for_are_left_to_others() {
    let mut cluster = Cluster::new("v1");
    cluster.tracked.target.replicas = None;
    cluster.run("v1", Outcome::Pass);
    cluster.take_writes();
    let stable = cluster.objects.get_mut(STABLE).unwrap();
    stable.spec["replicas"] = json!(7);
    (stable.seen.replicas, stable.seen.generation) = (7, stable.seen.generation + 1);
    cluster.settle();
    assert_eq!(
        (cluster.take_writes(), cluster.objects[STABLE].seen.replicas),
        (vec![], 7)
    );
}

#[test]
fn whatever_somebody_edits_is_put_back() {
    for is_restarted in [false, true] {
        let mut cluster = Cluster::new("v1");
        cluster.run("v1", Outcome::Pass);
        cluster.take_writes();
        for name in [CANARY, STABLE] {
            let object = cluster.objects.get_mut(name).unwrap();
            object.spec["template"]["spec"]["containers"][0]["image"] = json!("other");
            object.seen.generation += 1;
            object.seen.owner = None;
        }
        if is_restarted {
            cluster.memory = Tracks::default();
        }
        cluster.settle();
        assert_eq!(cluster.take_writes(), ["shop-canary: v1 x1", "shop-stable: v1 x3"]);
        assert!(
            cluster
                .objects
                .values()
                .all(|object| object.seen.owner.as_deref() == Some(UID))
        );
        cluster.objects.remove(STABLE);
        cluster.settle();
        assert_eq!(cluster.take_writes(), ["shop-stable: v1 x3"]);
    }
}

#[test]
fn a_canary_that_was_edited_is_judged_for_a_whole_period_again() {
    let mut cluster = Cluster::new("v1");
    cluster.settle();
    cluster.roll_out();
    cluster.pass(50);
    let canary = cluster.objects.get_mut(CANARY).unwrap();
    canary.spec["template"]["spec"]["containers"][0]["image"] = json!("other");
    (canary.seen.generation, canary.seen.available_since) = (canary.seen.generation + 1, None);
    cluster.settle();
    assert_eq!(cluster.images(), ["v1"]);
    cluster.pass(5);
    cluster.roll_out();
    cluster.pass(59);
    assert_eq!(cluster.decide().checks.len(), 0);
    cluster.pass(1);
    cluster.measure(Outcome::Pass);
    assert_eq!(cluster.images(), ["v1", "v1"]);
}

#[test]
fn the_target_keeps_the_last_good_template_while_another_one_is_judged() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Pass);
    cluster.set_image("v2");
    cluster.settle();
    let stable = cluster.objects.get_mut(STABLE).unwrap();
    stable.spec["template"]["spec"]["containers"][0]["image"] = json!("v2");
    stable.seen.generation += 1;
    cluster.settle();
    assert_eq!(cluster.images(), ["v2", "v1"]);
    assert_eq!(cluster.phase(), Phase::Scheduled);
}

#[test]
fn objects_of_others_are_left_alone_and_reported() {
    for name in [CANARY, STABLE] {
        let mut cluster = Cluster::new("v1");
        let seen = Workload {
            uid: "theirs".to_owned(),
            generation: 1,
            ..Workload::default()
        };
        cluster
            .objects
            .insert(name.to_owned(), Object { seen, spec: json!({}) });
        cluster.settle();
        assert_eq!(cluster.take_writes(), [""; 0], "{name}");
        let status = cluster.kanary().status;
        let errored = find(&status, "Errored").unwrap();
        assert_eq!(errored.reason, "NameTaken");
        assert!(errored.message.contains(name), "{}", errored.message);
    }
}

#[test]
fn a_controller_that_is_killed_after_each_write_comes_to_the_same_end() {
    let whole = |is_killed: bool| {
        let mut cluster = Cluster::new("v1");
        cluster.is_killed = is_killed;
        cluster.run("v1", Outcome::Pass);
        cluster.run("v2", Outcome::Fail);
        cluster.run("v3", Outcome::Pass);
        (cluster.images(), cluster.take_writes())
    };
    assert_eq!(whole(true), whole(false));
}

#[test]
fn a_deleted_object_writes_nothing_because_the_garbage_collector_deletes_both_tracks() {
    let mut cluster = Cluster::new("v1");
    cluster.run("v1", Outcome::Pass);
    let mut kanary = cluster.kanary();
    (kanary.deleting, kanary.finalizers) = (true, vec!["example.com/backup".to_owned()]);
    let decision = decide(&kanary, &cluster.seen(&kanary), cluster.now);
    assert_eq!(decision, Decision::default());
}
