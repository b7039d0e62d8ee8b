//! Actions of users at their times.

use std::{sync::Arc, time::Duration};

use kanary_core::api::names::{self, SLOT};
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    case::{Act, Case, merge, service},
    placed::{canary_pod, deletes_stuck, is_in_place, refuse, unannotates},
    world::World,
};

/// Minimum time between a cause and a user's reaction.
const BLINK: Duration = Duration::from_millis(200);

/// Maximum time that a user waits.
const PATIENCE: Duration = Duration::from_mins(15);

/// Lets the users of some Kanaries remove or change the slot labels during the run.
pub(crate) fn forge(rng: &mut fastrand::Rng, cases: &mut [Case]) {
    for case in cases {
        if rng.u8(..6) > 0 {
            continue;
        }
        let mut after = Duration::ZERO;
        for _ in 0..rng.u8(1..=3) {
            // Some actions follow each other before every watch has reported the previous one.
            let pause = if rng.bool() { 500..30_000 } else { 5..100 };
            after += Duration::from_millis(rng.u64(pause));
            let slot = match rng.u8(..4) {
                0 => Value::Null,
                1 => json!("zz"),
                _ => json!(format!("{:02x}", rng.u8(..))),
            };
            let label = json!({"metadata": {"labels": {SLOT: slot}}});
            case.acts.push((after, Act::Patch(label)));
        }
        case.acts.sort_by_key(|(after, _)| *after);
        case.truth.plain = false;
    }
}

/// Most runs have ended by then.
const LATEST: Duration = Duration::from_mins(1);

/// In every third scenario, lets the users of some Kanaries replace them by force, often before their run has started.
pub(crate) fn recreate(rng: &mut fastrand::Rng, cases: &mut [Case]) {
    if rng.u8(..3) > 0 {
        return;
    }
    for case in cases {
        // Actions apply only to the first Kanary, so none may precede the replacement.
        let first = case.acts.first().map_or(LATEST, |(after, _)| *after);
        // Excludes targets that the first run creates and images that it breaks, because the next run would find a
        // different state.
        let repeats = case.has_target && !case.spoils && first > BLINK;
        if rng.u8(..4) > 0 || !repeats {
            continue;
        }
        let latest = if rng.bool() {
            first
        } else {
            first.min(Duration::from_secs(3))
        };
        for _ in 0..rng.u8(1..=2) {
            let gone = Duration::from_millis(rng.u64(5..100));
            case.acts.push((latest.mul_f64(rng.f64()), Act::Recreate(gone)));
        }
        case.acts.sort_by_key(|(after, _)| *after);
        case.truth.plain = false;
    }
}

/// Runs a case.
pub(crate) async fn live(world: Arc<World>, case: Case, replicas: i32) {
    let mut behind = service(&case.app);
    merge(&mut behind, &case.service_patch);
    for object in [&behind].into_iter().chain(&case.beside) {
        world.create(object).await;
    }
    if case.has_target {
        world.create(&case.target(replicas)).await;
    }
    sleep(case.created).await;
    world.create(&case.manifest).await;
    let start = Instant::now();
    for (after, act) in &case.acts {
        sleep_until(start + *after).await;
        do_it(&world, &case, act, replicas).await;
    }
}

async fn do_it(world: &World, case: &Case, act: &Act, replicas: i32) {
    let (target, kind) = (&case.truth.target, case.truth.kind.name);
    match act {
        Act::Patch(patch) => {
            world.patch(&case.kind(), &case.name, patch).await;
        }
        Act::Delete => world.delete(&case.kind(), &case.name).await,
        Act::Recreate(gone) => {
            world.delete(&case.kind(), &case.name).await;
            sleep(*gone).await;
            // A finalizer may hold it until its target has its former template back.
            while is_in_place(case) && world.api(&case.kind()).get_opt(&case.name).await.unwrap().is_some() {
                sleep(*gone).await;
            }
            world.create(&case.manifest).await;
        }
        Act::PatchTarget(patch) => {
            world.patch(kind, target, patch).await;
        }
        Act::ReplaceTarget => {
            world.delete(kind, target).await;
            sleep(BLINK * 40).await;
            // The Kanary may have created it in the meantime.
            if world.api(kind).get_opt(target).await.unwrap().is_none() {
                world.create(&case.target(replicas)).await;
            }
        }
        Act::DeletePod => {
            if let Some(pod) = canary_pod(world, case).await {
                world.delete("Pod", &pod).await;
            }
        }
        Act::Refuse(long, code) => refuse(world, case, *long, *code),
        Act::DeleteCanary => delete_any(world, kind, &case.name).await,
        Act::Create(object) => world.create(object).await,
        Act::DeleteOther(kind, name) => world.delete(kind, name).await,
        Act::LabelPod | Act::PatchCanary(_) | Act::AwaitEnd | Act::RollOut | Act::DeleteStuck | Act::Unannotate => {
            let start = Instant::now();
            while !works(world, case, act).await && start.elapsed() < PATIENCE {
                sleep(BLINK).await;
            }
        }
    }
}

/// Performs an action that needs another object, if that exists.
async fn works(world: &World, case: &Case, act: &Act) -> bool {
    match act {
        Act::LabelPod => {
            let label = json!({"metadata": {"labels": {"alert": "high-cpu"}}});
            match canary_pod(world, case).await {
                Some(name) => world.patch("Pod", &name, &label).await,
                None => false,
            }
        }
        Act::PatchCanary(patch) => {
            let canary = kanary_core::api::names::canary_name(&case.truth.target, &case.name);
            // An edit before the canary has pods would determine their template.
            any_of(world, "Pod", &case.name).await.is_some() && world.patch(case.truth.kind.name, &canary, patch).await
        }
        Act::RollOut => rolls_out(world, case).await,
        Act::Unannotate => unannotates(world, case).await,
        Act::DeleteStuck => deletes_stuck(world, case).await,
        _ => {
            let kanary = world.api(&case.kind()).get_opt(&case.name).await.unwrap();
            kanary.is_some_and(|kanary| kanary.data["status"]["completedAt"].is_string())
        }
    }
}

/// One of the canary's objects that is not being deleted.
pub(crate) async fn any_of(world: &World, kind: &str, kanary: &str) -> Option<String> {
    let ours = format!("kanary.k8s-operators.dev/name={kanary}");
    let ours = ListParams::default().labels(&ours);
    let objects = world.api(kind).list(&ours).await.unwrap();
    let mut staying = objects.items.into_iter();
    staying
        .find(|object| object.metadata.deletion_timestamp.is_none())?
        .metadata
        .name
}

async fn delete_any(world: &World, kind: &str, kanary: &str) {
    if let Some(name) = any_of(world, kind, kanary).await {
        world.delete(kind, &name).await;
    }
}

/// Takes the next step of a rollout that the target's strategy leaves to its user. Returns whether it is complete.
async fn rolls_out(world: &World, case: &Case) -> bool {
    let (kind, name) = (case.truth.kind.name, &case.truth.target);
    let Some(target) = world.api(kind).get_opt(name).await.unwrap() else {
        return false;
    };
    let is_promoted = |(name, by): (&String, &String)| name == names::PROMOTED_BY && !by.ends_with("/in-place");
    if !target.metadata.annotations.iter().flatten().any(is_promoted) {
        return false;
    }
    let (spec, uid) = (&target.data["spec"], target.metadata.uid);
    if spec["updateStrategy"]["type"] != "OnDelete" {
        let all = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}});
        return world.patch(kind, name, &all).await;
    }
    let image = crate::history::image(spec);
    let pods = ListParams::default().labels(&format!("app={}", case.app));
    let pods = world.api("Pod").list(&pods).await.unwrap().items.into_iter();
    let former = pods.filter(|pod| {
        let is_its = pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| Some(&owner.uid) == uid.as_ref());
        is_its && pod.data["spec"]["containers"][0]["image"] != image.as_str()
    });
    let former: Vec<_> = former.collect();
    if let Some(pod) = former.iter().find(|pod| pod.metadata.deletion_timestamp.is_none()) {
        world.delete("Pod", pod.metadata.name.as_deref().unwrap()).await;
    }
    former.is_empty()
}
