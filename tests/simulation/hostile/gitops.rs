//! A GitOps tool that reverts all drift every few seconds.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{edits, hand::Hand};
use crate::{case::Case, world::World};

/// The manifests of a case in git.
struct Git {
    target: Option<Value>,
    kanary: Option<Value>,
}

/// The manifests of a case in git: its target, with or without the template, its Kanary, or both.
fn checkout(rng: &mut fastrand::Rng, case: &Case, replicas: i32) -> Git {
    let mut target = case.target(replicas);
    if rng.bool() {
        target["spec"].as_object_mut().unwrap().remove("replicas");
    }
    let (with_target, with_kanary) = (rng.bool(), rng.u8(..4) > 0);
    Git {
        target: (with_target || !with_kanary).then_some(target),
        kanary: with_kanary.then(|| case.manifest.clone()),
    }
}

/// Applies the manifests until `end`, with occasional commits.
pub(super) async fn sync(world: Arc<World>, case: Case, replicas: i32, mut rng: fastrand::Rng, end: Instant) {
    let hand = Hand::of(&world, "gitops");
    let mut git = checkout(&mut rng, &case, replicas);
    let period = Duration::from_millis(rng.u64(3_000..20_000));
    sleep(case.created + Duration::from_millis(rng.u64(..10_000))).await;
    let mut commits = 1000;
    while Instant::now() < end {
        if rng.u8(..5) == 0 {
            commits += 1;
            commit(&mut rng, &case, commits, &mut git);
        }
        // A tool without pruning, which recreates deleted objects.
        for manifest in git.target.iter().chain(&git.kanary) {
            hand.apply(manifest).await;
        }
        sleep(period).await;
    }
}

/// Commits a change, which may be invalid.
fn commit(rng: &mut fastrand::Rng, case: &Case, commits: u32, git: &mut Git) {
    if let Some(kanary) = &mut git.kanary {
        edits::edit(rng, case, commits, &mut kanary["spec"]);
        return;
    }
    if let Some(target) = &mut git.target {
        let image = format!("{}:git-{commits}", case.app);
        target["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    }
}
