//! Objects whose owners are deleted, and the content of deleted namespaces.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};

use super::*;

fn owner(of: &ConfigMap, blocks: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": of.metadata.name, "uid": of.metadata.uid,
        "blockOwnerDeletion": blocks,
    })
}

fn map(name: &str, owners: Value) -> ConfigMap {
    typed(json!({"metadata": {"namespace": "default", "name": name, "ownerReferences": owners}}))
}

fn names(world: &World) -> Vec<String> {
    let maps: Vec<ConfigMap> = world.all();
    maps.into_iter().map(|map| map.metadata.name.unwrap()).collect()
}

fn delete(world: &World, name: &str, propagation: &str) {
    let options = DeleteOptions {
        propagation: Some(propagation.to_owned()),
        ..DeleteOptions::default()
    };
    world.delete(USER, "configmaps", &at(name), &options).unwrap();
}

#[tokio::test(start_paused = true)]
async fn dependants_go_after_their_owner() {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    world.remove("deployments.apps", "app");
    assert_eq!((world.sets().len(), world.pods().len()), (1, 3));
    pass(5).await;
    assert_eq!((world.sets().len(), world.pods().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_object_goes_when_all_its_owners_are_gone() {
    let world = world();
    let (one, two) = (world.made(map("one", json!([]))), world.made(map("two", json!([]))));
    world.made(map("both", json!([owner(&one, false), owner(&two, false)])));
    world.remove("configmaps", "one");
    pass(1).await;
    assert_eq!(names(&world), ["both", "two"]);
    let left = world.read::<ConfigMap>("both").metadata.owner_references.unwrap();
    assert_eq!(
        left.iter().map(|owner| owner.name.as_str()).collect::<Vec<_>>(),
        ["two"]
    );
    world.remove("configmaps", "two");
    pass(1).await;
    assert!(names(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_owner_never_was_goes() {
    let world = world();
    let mut stranger = map("stranger", json!([]));
    stranger.metadata.uid = Some("0000".to_owned());
    world.made(map("orphan", json!([owner(&stranger, false)])));
    pass(1).await;
    assert!(names(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_owner_is_of_an_unknown_kind_stays() {
    let world = world();
    let owner = json!({"apiVersion": "example.com/v1", "kind": "Unknown", "name": "it", "uid": "0000"});
    world.made(map("owned", json!([owner])));
    pass(60).await;
    assert_eq!(names(&world), ["owned"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_in_another_namespace_is_none() {
    let world = world();
    let far: ConfigMap = typed(json!({"metadata": {"namespace": "kube-system", "name": "far"}}));
    let far = world.made(far);
    world.made(map("near", json!([owner(&far, false)])));
    pass(1).await;
    assert!(names(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_the_owner_goes_last() {
    let world = world();
    let mut events = world.events();
    let root = world.made(map("root", json!([])));
    let branch = world.made(map("branch", json!([owner(&root, true)])));
    world.made(map("leaf", json!([owner(&branch, true)])));
    pass(1).await;
    delete(&world, "root", "Foreground");
    assert_eq!(names(&world).len(), 3);
    pass(1).await;
    assert!(names(&world).is_empty());
    let mut order = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Some(last) = event.change.last {
            order.push(last.meta.name.clone());
        }
    }
    assert_eq!(order, ["leaf", "branch", "root"]);
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_an_owner_waits_only_for_what_blocks_it() {
    let world = world();
    let root = world.made(map("root", json!([])));
    let mut held = map("held", json!([owner(&root, false)]));
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    world.made(held);
    let mut blocking = map("blocking", json!([owner(&root, true)]));
    blocking.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    world.made(blocking);
    delete(&world, "root", "Foreground");
    pass(60).await;
    assert_eq!(names(&world), ["blocking", "held", "root"]);
    world.edit::<ConfigMap>("blocking", json!({"metadata": {"finalizers": null}}));
    pass(1).await;
    assert_eq!(names(&world), ["held"]);
    assert!(world.read::<ConfigMap>("held").metadata.deletion_timestamp.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_whole_deployment_goes_in_the_foreground() {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    let options = DeleteOptions {
        propagation: Some("Foreground".to_owned()),
        ..DeleteOptions::default()
    };
    world.delete(USER, "deployments.apps", &at("app"), &options).unwrap();
    pass(5).await;
    assert!(world.get::<Deployment>("default", "app").is_none());
    assert_eq!((world.sets().len(), world.pods().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_orphans_leaves_its_dependants() {
    let world = world();
    let root = world.made(map("root", json!([])));
    world.made(map("child", json!([owner(&root, true)])));
    delete(&world, "root", "Orphan");
    pass(1).await;
    assert_eq!(names(&world), ["child"]);
    assert_eq!(world.read::<ConfigMap>("child").metadata.owner_references, None);
}

#[tokio::test(start_paused = true)]
async fn finalizers_of_others_are_waited_for() {
    let world = world();
    let root = world.made(map("root", json!([])));
    let mut held = map("held", json!([owner(&root, true)]));
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    world.made(held);
    world.remove("configmaps", "root");
    pass(60).await;
    assert_eq!(names(&world), ["held"]);
    world.edit::<ConfigMap>("held", json!({"metadata": {"finalizers": null}}));
    assert!(names(&world).is_empty());
}

fn namespace(name: &str) -> Namespace {
    typed(json!({"metadata": {"name": name}}))
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let world = world();
    world.made(namespace("gotham"));
    let mut app = deployment("app", json!({}));
    app.metadata.namespace = Some("gotham".to_owned());
    world.made(app);
    pass(5).await;
    assert_eq!(world.list::<Pod>(Some("gotham")).len(), 3);
    let place = (String::new(), "gotham".to_owned());
    world
        .delete(USER, "namespaces", &place, &DeleteOptions::default())
        .unwrap();
    assert_eq!(
        status(&*world.get::<Namespace>("", "gotham").unwrap())["phase"],
        "Terminating"
    );
    pass(5).await;
    assert!(world.get::<Namespace>("", "gotham").is_none());
    assert!(world.list::<Pod>(Some("gotham")).is_empty());
    assert!(world.list::<ReplicaSet>(Some("gotham")).is_empty());
    world.made(namespace("gotham"));
    pass(5).await;
    assert!(world.get::<Namespace>("", "gotham").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_waits_for_finalizers() {
    let world = world();
    world.made(namespace("gotham"));
    world.made(typed::<ConfigMap>(json!({
        "metadata": {"namespace": "gotham", "name": "held", "finalizers": ["example.com/hold"]},
    })));
    let place = (String::new(), "gotham".to_owned());
    world
        .delete(USER, "namespaces", &place, &DeleteOptions::default())
        .unwrap();
    pass(60).await;
    let mut held = ConfigMap::clone(&world.get("gotham", "held").unwrap());
    assert!(held.metadata.deletion_timestamp.is_some());
    held.metadata.finalizers = None;
    world.write(Part::Whole, &held);
    pass(1).await;
    assert!(world.get::<Namespace>("", "gotham").is_none());
}
