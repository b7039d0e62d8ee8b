//! Deployments, ReplicaSets and pods together.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_deployment_has_a_replica_set_that_has_pods_that_are_ready() {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    let app: Deployment = world.read("app");
    let status = status(&app);
    for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[count], 3, "{count} in {status:#}");
    }
    assert_eq!(status["unavailableReplicas"], Value::Null);
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(condition(&app, "Available"), "True/MinimumReplicasAvailable");
    assert_eq!(condition(&app, "Progressing"), "True/NewReplicaSetAvailable");
    assert_eq!(world.sizes(), [3]);
    assert_eq!(world.pods().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn names_and_labels_carry_the_hash_of_the_template() {
    let world = world();
    world.made(deployment(
        "app",
        json!({"metadata": {"annotations": {"note": "mine"}}}),
    ));
    pass(5).await;
    let set = world.sets().remove(0);
    let name = set.metadata.name.clone().unwrap();
    let hash = name.strip_prefix("app-").unwrap().to_owned();
    let spec = set.spec.clone().unwrap();
    let expected = json!({"app": "app", "pod-template-hash": hash});
    for labels in [
        set.metadata.labels.clone(),
        spec.selector.match_labels,
        spec.template.unwrap().metadata.unwrap().labels,
        world.pods().remove(0).metadata.labels,
    ] {
        assert_eq!(json!(labels), expected);
    }
    let pod = world.pods().remove(0);
    assert!(pod.metadata.name.unwrap().starts_with(&format!("{name}-")));
    assert_eq!(
        pod.metadata.owner_references.unwrap()[0].uid,
        set.metadata.uid.clone().unwrap()
    );
    assert_eq!(annotation(&set, "note"), "mine");
    assert_eq!(annotation(&set, "deployment.kubernetes.io/desired-replicas"), "3");
    assert_eq!(annotation(&set, "deployment.kubernetes.io/max-replicas"), "4");
    assert_eq!(
        (revision(&set), revision(&world.read::<Deployment>("app"))),
        ("1".to_owned(), "1".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_keeps_within_its_limits() {
    let world = world();
    let rolling = json!({"replicas": 10, "strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}});
    world.made(deployment("app", json!({"spec": rolling})));
    pass(5).await;
    let mut events = world.events();
    world.edit::<Deployment>("app", image("app:v2"));
    pass(20).await;
    assert_eq!(world.sizes(), [0, 10]);
    let (mut steps, mut updated, mut sizes) = (0, Vec::new(), std::collections::BTreeMap::new());
    while let Ok(event) = events.try_recv() {
        let object = event.change.new.map(|new| new.value()).unwrap_or_default();
        if &*event.resource == "replicasets.apps" {
            sizes.insert(
                object["metadata"]["name"].to_string(),
                object["spec"]["replicas"].as_i64().unwrap(),
            );
            assert!(sizes.values().sum::<i64>() <= 12, "{sizes:?}");
        }
        if &*event.resource == "deployments.apps" {
            let status = &object["status"];
            assert!(status["availableReplicas"].as_i64().unwrap() >= 9, "{status:#}");
            steps += 1;
            updated.push(status["updatedReplicas"].as_i64().unwrap_or_default());
        }
    }
    assert!(steps > 5, "{steps}");
    assert!(updated.ends_with(&[10]), "{updated:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_starts_no_pod_before_the_old_ones_are_gone() {
    let world = world();
    world.made(deployment("app", json!({"spec": {"strategy": {"type": "Recreate"}}})));
    pass(5).await;
    let mut events = world.events();
    world.edit::<Deployment>("app", image("app:v2"));
    pass(5).await;
    assert_eq!(world.sizes(), [0, 3]);
    let mut left = 3;
    while let Ok(event) = events.try_recv() {
        if &*event.resource == "pods" {
            if event.change.new.is_none() {
                left -= 1;
            }
            if event.change.old.is_none() {
                assert_eq!(left, 0);
            }
        }
    }
    assert_eq!(
        condition(&world.read::<Deployment>("app"), "Progressing"),
        "True/NewReplicaSetAvailable"
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_template_gets_its_replica_set_back_with_a_new_revision() {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    let first = world.sets().remove(0).metadata.name;
    world.edit::<Deployment>("app", image("app:v2"));
    pass(5).await;
    world.edit::<Deployment>("app", image("app:v1"));
    pass(5).await;
    let sets = world.sets();
    assert_eq!((sets.len(), &sets[1].metadata.name), (2, &first));
    assert_eq!(sets.iter().map(revision).collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(annotation(&sets[1], "deployment.kubernetes.io/revision-history"), "1");
    assert_eq!(revision(&world.read::<Deployment>("app")), "3");
    assert_eq!(world.sizes(), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_history_keeps_as_many_versions_as_it_may() {
    let world = world();
    world.made(deployment("app", json!({"spec": {"revisionHistoryLimit": 2}})));
    for version in 2..7 {
        pass(5).await;
        world.edit::<Deployment>("app", image(&format!("app:v{version}")));
    }
    pass(5).await;
    assert_eq!(world.sets().iter().map(revision).collect::<Vec<_>>(), ["4", "5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn pods_are_available_when_they_were_ready_for_long_enough() {
    let world = world();
    world.made(deployment("app", json!({"spec": {"minReadySeconds": 10}})));
    pass(5).await;
    let early: Deployment = world.read("app");
    assert_eq!(
        (&status(&early)["readyReplicas"], &status(&early)["unavailableReplicas"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(condition(&early, "Available"), "False/MinimumReplicasUnavailable");
    pass(10).await;
    assert_eq!(status(&world.read::<Deployment>("app"))["availableReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_without_progress_fails_after_its_deadline() {
    let world = world();
    let mut never = pods_that_are("never-ready");
    never["spec"]["progressDeadlineSeconds"] = json!(30);
    world.made(deployment("app", never));
    pass(5).await;
    assert_eq!(
        condition(&world.read::<Deployment>("app"), "Progressing"),
        "True/ReplicaSetUpdated"
    );
    pass(30).await;
    let app: Deployment = world.read("app");
    assert_eq!(condition(&app, "Progressing"), "False/ProgressDeadlineExceeded");
    assert_eq!(condition(&app, "Available"), "False/MinimumReplicasUnavailable");
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_leaves_the_old_pods_that_are_needed() {
    let world = world();
    world.made(deployment(
        "app",
        json!({"spec": {"replicas": 4, "progressDeadlineSeconds": 30}}),
    ));
    pass(5).await;
    world.edit::<Deployment>("app", pods_that_are("never-ready"));
    pass(60).await;
    assert_eq!(world.sizes(), [3, 2]);
    let app: Deployment = world.read("app");
    assert_eq!(condition(&app, "Available"), "True/MinimumReplicasAvailable");
    assert_eq!(condition(&app, "Progressing"), "False/ProgressDeadlineExceeded");
    world.edit::<Deployment>("app", pods_that_are("ready"));
    pass(10).await;
    assert_eq!(world.sizes(), [0, 0, 4]);
    assert_eq!(
        condition(&world.read::<Deployment>("app"), "Progressing"),
        "True/NewReplicaSetAvailable"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_number_of_replicas_makes_no_new_revision() {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    for replicas in [5, 2, 0, 3] {
        world.edit::<Deployment>("app", json!({"spec": {"replicas": replicas}}));
        pass(5).await;
        assert_eq!(world.sizes(), [replicas]);
        assert_eq!(world.pods().len(), usize::try_from(replicas).unwrap());
        let desired = annotation(&world.sets()[0], "deployment.kubernetes.io/desired-replicas");
        assert!(replicas == 0 || desired == replicas.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn both_versions_grow_and_shrink_in_the_middle_of_a_rollout() {
    let world = world();
    world.made(deployment("app", json!({"spec": {"replicas": 8}})));
    pass(5).await;
    world.edit::<Deployment>("app", pods_that_are("never-ready"));
    pass(5).await;
    assert_eq!(world.sizes(), [6, 4]);
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 16}}));
    pass(5).await;
    assert_eq!(world.sizes().iter().sum::<i32>(), 20);
    assert_eq!(world.sizes(), [12, 8]);
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 0}}));
    pass(5).await;
    assert_eq!(world.sizes(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_is_scaled_but_not_rolled_out() {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    let mut edit = image("app:v2");
    merge(&mut edit, json!({"spec": {"paused": true, "replicas": 4}}));
    world.edit::<Deployment>("app", edit);
    pass(5).await;
    let app: Deployment = world.read("app");
    assert_eq!(world.sizes(), [4]);
    assert_eq!(condition(&app, "Progressing"), "Unknown/DeploymentPaused");
    assert_eq!(status(&app)["observedGeneration"], 2);
    assert_eq!(status(&app)["updatedReplicas"], Value::Null);
    world.edit::<Deployment>("app", json!({"spec": {"paused": false}}));
    pass(5).await;
    assert_eq!(world.sizes(), [0, 4]);
    assert_eq!(
        condition(&world.read::<Deployment>("app"), "Progressing"),
        "True/NewReplicaSetAvailable"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_gets_another_hash() {
    let (with, without) = (world(), world());
    with.made(deployment("app", json!({})));
    pass(5).await;
    let taken = with.sets().remove(0).metadata.name.unwrap();
    without.made(typed::<ReplicaSet>(json!({
        "metadata": {"namespace": "default", "name": taken, "annotations": {"deployment.kubernetes.io/revision": "0"}},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "other"}},
            "template": {
                "metadata": {"labels": {"app": "other"}}, "spec": {"containers": [{"name": "main", "image": "other"}]},
            },
        },
    })));
    without.made(deployment("app", json!({})));
    pass(5).await;
    let app: Deployment = without.read("app");
    assert_eq!(status(&app)["collisionCount"], 1);
    assert_eq!(status(&app)["availableReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_without_a_controller_is_adopted() {
    let world = world();
    let options = DeleteOptions {
        propagation: Some("Orphan".to_owned()),
        ..DeleteOptions::default()
    };
    world.made(deployment("app", json!({})));
    pass(5).await;
    let (set, pods) = (world.sets().remove(0), world.pods());
    world.delete(USER, "deployments.apps", &at("app"), &options).unwrap();
    pass(5).await;
    assert_eq!(world.sets().remove(0).metadata.owner_references, None);
    let again = world.made(deployment("app", json!({})));
    pass(5).await;
    let adopted = world.sets().remove(0);
    assert_eq!((world.sets().len(), adopted.metadata.uid), (1, set.metadata.uid));
    assert_eq!(
        adopted.metadata.owner_references.unwrap()[0].uid,
        again.metadata.uid.unwrap()
    );
    assert_eq!(world.pods().len(), pods.len());
}

#[tokio::test(start_paused = true)]
async fn annotations_of_the_deployment_stay_with_the_version_that_had_them() {
    let world = world();
    world.made(deployment(
        "app",
        json!({"metadata": {"annotations": {"kubernetes.io/change-cause": "first"}}}),
    ));
    pass(5).await;
    let mut edit = image("app:v2");
    edit["metadata"] = json!({"annotations": {"kubernetes.io/change-cause": "second"}});
    world.edit::<Deployment>("app", edit);
    pass(5).await;
    let causes: Vec<_> = world
        .sets()
        .iter()
        .map(|set| annotation(set, "kubernetes.io/change-cause"))
        .collect();
    assert_eq!(causes, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_replica_set_cannot_be_made_says_so() {
    let world = world();
    // The name is truncated to leave room for the hash: after a dot, which is then removed, or after a letter.
    let names = ["a.".repeat(125) + "a", "aa.".to_owned() + &"a.".repeat(124) + "a"];
    for name in &names {
        let mut app = deployment("app", json!({}));
        app.metadata.name = Some(name.clone());
        world.made(app);
    }
    pass(5).await;
    let mut conditions = names.map(|name| condition(&world.read::<Deployment>(&name), "Progressing"));
    conditions.sort();
    assert_eq!(
        conditions,
        ["False/ReplicaSetCreateError", "True/NewReplicaSetAvailable"]
    );
}
