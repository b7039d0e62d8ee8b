//! Objects that belong to somebody else.

use serde_json::json;

use crate::support::{CANARY_DEPLOYMENT, World, emoji, held, message, reason};

#[tokio::test]
async fn what_a_canary_deployment_promotes_to_is_no_target_and_is_not_called_a_canary() {
    let world = World::with_canary_deployments("owners").await;
    world.create(&CANARY_DEPLOYMENT, &emoji(json!({}))).await;
    world.emoji_ends("1.0", "DeploymentUpdated").await;
    for (target, why) in [("emoji-stable", "TargetOwned"), ("emoji-canary", "TargetIsCanary")] {
        let name = format!("of-{target}");
        world.kanary(&name, target, json!({"validation": held()})).await;
        let errored = world.phase(&name, "Errored").await;
        assert_eq!(reason(&errored, "Errored"), why, "{errored:#}");
        let says_so = message(&errored, "Errored").contains("promotes to it");
        assert_eq!(says_so, target == "emoji-stable", "{errored:#}");
    }
}
