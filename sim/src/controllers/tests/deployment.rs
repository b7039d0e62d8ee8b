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
