//! The life of a single pod.

use super::{super::Fate, *};

fn pod(name: &str, labels: Value) -> Pod {
    typed(json!({
        "metadata": {"namespace": "default", "name": name, "labels": labels},
        "spec": {
            "initContainers": [{"name": "before", "image": "init:v1"}],
            "containers": [{"name": "main", "image": "app:v1"}],
        },
    }))
}

fn is_ready(world: &World, name: &str) -> bool {
    condition(&world.read::<Pod>(name), "Ready").starts_with("True")
}

fn restarts(world: &World, name: &str) -> i64 {
    status(&world.read::<Pod>(name))["containerStatuses"][0]["restartCount"]
        .as_i64()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_scheduled_and_runs() {
    let world = world();
    let made = world.made(pod("one", json!({})));
    assert_eq!(status(&made)["phase"], "Pending");
    pass(1).await;
    let running: Pod = world.read("one");
    let status = status(&running);
    assert_eq!(running.spec.as_ref().unwrap().node_name.as_deref(), Some("node-0"));
    assert_eq!(status["phase"], "Running");
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(condition(&running, kind), "True/", "{kind}");
    }
    assert_eq!(status["containerStatuses"][0]["name"], "main");
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    assert!(status["containerStatuses"][0]["state"]["running"]["startedAt"].is_string());
    assert_eq!(
        status["initContainerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    assert_eq!(running.metadata.generation, Some(1));
}

#[tokio::test(start_paused = true)]
async fn no_two_pods_share_an_address() {
    let world = world();
    world.made(deployment("app", json!({"spec": {"replicas": 300}})));
    pass(5).await;
    let addresses: std::collections::BTreeSet<_> = world
        .pods()
        .iter()
        .map(|pod| status(pod)["podIP"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(addresses.len(), 300);
    for address in addresses {
        address.parse::<std::net::Ipv4Addr>().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_pod_is_ready_five_seconds_later() {
    let world = world();
    world.made(pod("one", json!({super::super::LABEL: "slow"})));
    pass(4).await;
    assert!(!is_ready(&world, "one"));
    assert_eq!(
        condition(&world.read::<Pod>("one"), "Ready"),
        "False/ContainersNotReady"
    );
    pass(2).await;
    assert!(is_ready(&world, "one"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_may_never_be_ready() {
    let world = world();
    world.made(pod("one", json!({super::super::LABEL: "never-ready"})));
    pass(100_000).await;
    assert!(!is_ready(&world, "one"));
    assert_eq!(status(&world.read::<Pod>("one"))["phase"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_crashing_pod_is_ready_for_two_seconds_and_restarts_every_ten() {
    let world = world();
    world.made(pod("one", json!({super::super::LABEL: "crash"})));
    pass(1).await;
    assert!(is_ready(&world, "one"));
    pass(2).await;
    assert!(!is_ready(&world, "one"));
    assert_eq!(restarts(&world, "one"), 1);
    let waiting = status(&world.read::<Pod>("one"))["containerStatuses"][0]["state"]["waiting"].take();
    assert_eq!(waiting["reason"], "CrashLoopBackOff");
    pass(30).await;
    assert_eq!(restarts(&world, "one"), 4);
    assert!(!is_ready(&world, "one"));
}

#[tokio::test(start_paused = true)]
async fn an_image_can_decide_what_becomes_of_a_pod() {
    let rule = |image: &str| (image == "app:v1").then_some(Fate::Slow(Duration::from_secs(20)));
    let world = behaving(Behaviour::default().image(rule));
    world.made(pod("one", json!({})));
    pass(19).await;
    assert!(!is_ready(&world, "one"));
    pass(2).await;
    assert!(is_ready(&world, "one"));
}

#[tokio::test(start_paused = true)]
async fn pods_take_the_time_that_the_behaviour_gives_them() {
    let seconds = |number| Duration::from_secs(number)..=Duration::from_secs(number);
    let behaviour = Behaviour {
        start: seconds(10),
        ready: seconds(20),
        ..Behaviour::default()
    };
    let world = behaving(behaviour);
    world.made(pod("one", json!({})));
    pass(9).await;
    assert_eq!(status(&world.read::<Pod>("one"))["phase"], "Pending");
    pass(2).await;
    assert_eq!(status(&world.read::<Pod>("one"))["phase"], "Running");
    pass(18).await;
    assert!(!is_ready(&world, "one"));
    pass(2).await;
    assert!(is_ready(&world, "one"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_goes_at_once_whatever_its_grace() {
    let world = world();
    world.made(pod("one", json!({})));
    pass(1).await;
    let options = DeleteOptions {
        grace: Some(3600),
        ..DeleteOptions::default()
    };
    world.delete(USER, "pods", &at("one"), &options).unwrap();
    assert!(world.read::<Pod>("one").metadata.deletion_timestamp.is_some());
    pass(1).await;
    assert!(world.get::<Pod>("default", "one").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_a_finalizer_stays_until_it_is_taken_off() {
    let world = world();
    let mut held = pod("one", json!({}));
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    world.made(held);
    pass(1).await;
    world.remove("pods", "one");
    pass(60).await;
    world.edit::<Pod>("one", json!({"metadata": {"finalizers": null}}));
    pass(1).await;
    assert!(world.get::<Pod>("default", "one").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_not_ready_for_as_long_as_an_annotation_says_so() {
    let world = world();
    world.made(deployment("app", json!({"spec": {"replicas": 1}})));
    pass(5).await;
    let name = world.pods()[0].metadata.name.clone().unwrap();
    let ready = || condition(&world.pods()[0], "Ready");
    assert_eq!(ready(), "True/");
    world.edit::<Pod>(
        &name,
        json!({"metadata": {"annotations": {crate::controllers::UNREADY: "yes"}}}),
    );
    pass(1).await;
    assert_eq!(ready(), "False/ContainersNotReady");
    let mut pod = world.read::<Pod>(&name);
    pod.metadata.annotations = None;
    world.write(Part::Whole, &pod);
    pass(1).await;
    assert_eq!(ready(), "True/");
}
