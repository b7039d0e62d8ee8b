//! The task that runs all controllers.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_existed_before_the_controllers_is_noticed() {
    let cluster = Cluster::new(Options::default());
    cluster.create(USER, &deployment("app", json!({}))).unwrap();
    let controllers = tokio::spawn(run(cluster.clone(), Gateway::new(&cluster), Behaviour::default()));
    pass(5).await;
    controllers.abort();
    let world = World { cluster };
    assert_eq!(world.pods().len(), 3);
    let app: Deployment = world.edit("app", json!({"spec": {"replicas": 5}}));
    pass(5).await;
    assert_eq!(
        (world.pods().len(), app.metadata.generation),
        (3, Some(2)),
        "no controller is running"
    );
    let again = tokio::spawn(run(
        world.cluster.clone(),
        Gateway::new(&world.cluster),
        Behaviour::default(),
    ));
    pass(5).await;
    assert_eq!(world.pods().len(), 5);
    again.abort();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_in_which_nothing_happens_is_not_written_to() {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    let mut events = world.events();
    pass(1_000_000).await;
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_history() {
    async fn history(seed: u64) -> Vec<String> {
        let cluster = Cluster::new(Options {
            seed,
            ..Options::default()
        });
        let mut events = cluster.events();
        let controllers = tokio::spawn(run(cluster.clone(), Gateway::new(&cluster), Behaviour::default()));
        cluster.create(USER, &deployment("app", json!({}))).unwrap();
        pass(5).await;
        controllers.abort();
        let mut history = Vec::new();
        while let Ok(event) = events.try_recv() {
            let object = event.change.new.or(event.change.last).unwrap();
            history.push(format!(
                "{} {} {}",
                event.at,
                event.actor,
                String::from_utf8_lossy(object.body())
            ));
        }
        history
    }
    let first = history(1).await;
    assert!(first.len() > 20);
    assert_eq!(first, history(1).await);
    assert_ne!(first, history(2).await);
}

#[tokio::test(start_paused = true)]
async fn every_controller_writes_under_its_own_name() {
    let world = world();
    let mut events = world.events();
    world.made(deployment("app", json!({})));
    pass(5).await;
    world.remove("deployments.apps", "app");
    pass(5).await;
    let mut actors = std::collections::BTreeSet::new();
    while let Ok(event) = events.try_recv() {
        actors.insert(event.actor.to_string());
    }
    let of = |name: &str| format!("system:serviceaccount:kube-system:{name}");
    let expected = [
        "system:kube-scheduler".to_owned(),
        "system:node:node-0".to_owned(),
        of("deployment-controller"),
        of("generic-garbage-collector"),
        of("replicaset-controller"),
        USER.to_owned(),
    ];
    assert_eq!(actors.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn many_deployments_do_not_get_in_each_others_way() {
    let world = world();
    for number in 0..300 {
        world.made(deployment(&format!("app-{number}"), json!({"spec": {"replicas": 1}})));
    }
    pass(10).await;
    for app in world.list::<Deployment>(None) {
        assert_eq!(status(&*app)["availableReplicas"], 1);
    }
    assert_eq!(world.pods().len(), 300);
}
