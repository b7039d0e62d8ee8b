//! The README's examples run as published, except for shorter times.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, KANARY, SERVICE, World, from_yaml, merge};

/// The YAML blocks of the README.
fn blocks() -> Vec<Value> {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```yaml\n").skip(1);
    blocks
        .flat_map(|block| from_yaml(block.split("```").next().unwrap()))
        .collect()
}

async fn world() -> World {
    let world = World::new("readme").await;
    world.target("myapp", 1).await;
    world.service("myapp-svc", "myapp").await;
    world
}

#[tokio::test]
async fn the_example_promotes_the_new_version() {
    let world = world().await;
    let mut example = blocks().remove(0);
    merge(
        &mut example,
        json!({"spec": {"validation": {"validationPeriod": "1s"}}}),
    );
    world.create(&KANARY, &example).await;
    world.ends("batman", "DeploymentUpdated").await;
    let target = world.get(&DEPLOYMENT, "myapp").await;
    assert_eq!(target["spec"]["template"]["spec"]["containers"][0]["image"], "myapp:v2");
}

#[tokio::test]
async fn the_example_to_try_promotes_the_new_version_too() {
    let world = World::new("readme").await;
    let [deployment, service, mut kanary] =
        <[Value; 3]>::try_from(from_yaml(include_str!("../../examples/batman.yaml"))).unwrap();
    merge(
        &mut kanary,
        json!({"spec": {"validation": {"initialDelay": "1s", "validationPeriod": "1s"}}}),
    );
    world.create(&DEPLOYMENT, &deployment).await;
    world.create(&SERVICE, &service).await;
    world.create(&KANARY, &kanary).await;
    world.ends("batman", "DeploymentUpdated").await;
    let target = world.get(&DEPLOYMENT, "myapp").await;
    assert_eq!(
        target["spec"]["template"]["spec"]["containers"][0]["image"],
        "nginx:1.29"
    );
}

#[tokio::test]
async fn the_query_of_the_example_is_accepted() {
    let world = world().await;
    let [mut example, items] = <[Value; 2]>::try_from(blocks()).unwrap();
    merge(&mut example, json!({"spec": {"validation": items}}));
    merge(&mut example, json!({"spec": {"validation": {"initialDelay": "1s"}}}));
    world.create(&KANARY, &example).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(running["status"]["items"][0]["name"], "promQL[0]");
}
