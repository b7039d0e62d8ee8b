//! Kanaries that one tool applies first in one version and then in the other, as after an edit of a manifest in Git.

use serde_json::{Value, json};

use super::{apply, generation, v1};
use crate::support::{Converting, KANARY, kanary, merge, phase};

/// The same Kanary in both versions: a dry-run that waits.
fn alike() -> [Value; 2] {
    let items = json!([{"labelWatch": {"deploymentInvalidationLabels": {"bad": "true"}}}]);
    let validation = json!({"validationPeriod": "1h", "items": items});
    let mut alpha = kanary("batman", "app", json!({"rollout": null}));
    let words = alpha["spec"].as_object_mut().unwrap();
    words.remove("validation");
    let mut validations = validation.clone();
    validations["noUpdate"] = json!(true);
    words.insert("validations".to_owned(), validations);
    words.retain(|_, value| !value.is_null());
    let mut v1 = v1("batman", "app", json!({"rollout": {"mode": "dry-run"}}));
    let items = json!([{"labelWatch": {"workloadInvalidationLabels": {"bad": "true"}}}]);
    v1["spec"]["validation"] = Value::Null;
    merge(
        &mut v1,
        json!({"spec": {"validation": {"validationPeriod": "1h", "items": items}}}),
    );
    [alpha, v1]
}

#[tokio::test]
async fn a_manifest_that_is_applied_in_the_other_version_changes_nothing() {
    let Some(cluster) = Converting::start("conversion").await else {
        return;
    };
    let world = &cluster.world;
    let replica = cluster.replica("a").await;
    world.target("app", 1).await;
    let [alpha, v1] = alike();
    let first = apply(world, "git", &alpha).await.unwrap();
    cluster.converts("batman").await;
    for manifest in [&v1, &alpha, &v1, &v1, &alpha] {
        apply(world, "git", manifest).await.unwrap();
        let stored = world.get(&KANARY, "batman").await;
        assert_eq!(stored["spec"], first["spec"]);
        assert_eq!(generation(&stored), generation(&first));
    }
    // What a later manifest leaves out goes all the same.
    let mut real = v1.clone();
    real["spec"].as_object_mut().unwrap().remove("rollout");
    apply(world, "git", &real).await.unwrap();
    let shown = cluster.converts("batman").await;
    assert_eq!(shown["spec"]["rollout"], Value::Null, "{shown:#}");
    let is_running = |kanary: &Value| phase(kanary) == "Running";
    world.until(&KANARY, "batman", "is Running", is_running).await;
    cluster.end().await;
    drop(replica);
}
