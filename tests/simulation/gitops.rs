//! A GitOps tool that reverts every promotion at once: a run whose template was reverted must not report that the target
//! runs it.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kanary_core::api::names::{IS_KANARY, PROMOTED_BY};
use kanary_sim::{
    cluster::Event,
    network::{Faults, NetworkFaults},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use crate::{
    case::{Case, Maker, failed, template},
    checker::{Checker, Violation},
    history::image,
    kinds,
    panics::caught,
    run::{in_virtual_time, last_words, measure, watched},
    user::live,
    world::{Replica, World, Wrong},
};

const SEEDS: u64 = 8;

/// Number of Kanaries per seed.
const KANARIES: usize = 6;

/// A fault that hides the result of a promotion from the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// Three out of ten replies are lost.
    Replies,
    /// The controller is killed at the promotion and restarted.
    Kills,
}

/// No pod becomes ready within 50 ms, so the target never runs the new template.
fn case(rng: &mut fastrand::Rng, index: usize) -> Case {
    let mut make = Maker {
        rng,
        name: format!("k{index:02}"),
        target: format!("app{index:02}"),
        suffix: "",
    };
    let case = kinds::passes(&mut make);
    case.with(|truth| {
        truth.what = "the former template is restored";
        truth.ends = vec![failed("TargetChanged")];
        (truth.plain, truth.shared) = (false, true);
    })
}

/// The target whose template Kanary replaces with this change.
fn promoted(event: &Event) -> Option<String> {
    let (old, new) = (event.change.old.as_ref()?, event.change.new.as_ref()?);
    let is_target = &*event.resource == "deployments.apps" && !new.meta.labels.contains_key(IS_KANARY);
    let ours = event.actor.starts_with("kanary-") && is_target;
    let replaced = || image(&old.json()["spec"]) != image(&new.json()["spec"]);
    (ours && replaced()).then(|| new.meta.name.clone())
}

/// Waits for the next promotion and returns its target.
async fn next_promotion(changes: &mut UnboundedReceiver<Event>) -> String {
    loop {
        let change = changes.recv().await.expect("the cluster is running");
        if let Some(target) = promoted(&change) {
            return target;
        }
    }
}

fn blink(rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(..50))
}

/// Restores the former template of every promoted target within 50 ms, and sometimes removes annotations that other
/// clients have set.
async fn put_back(
    world: Arc<World>,
    mut changes: UnboundedReceiver<Event>,
    mut rng: fastrand::Rng,
    may_take_annotations: bool,
) {
    loop {
        let target = next_promotion(&mut changes).await;
        let (world, pause) = (world.clone(), blink(&mut rng));
        let mut patch = json!({"spec": {"template": template(&target, &format!("{target}:v1"))}});
        if may_take_annotations && rng.bool() {
            patch["metadata"] = json!({"annotations": {PROMOTED_BY: Value::Null}});
        }
        tokio::spawn(async move {
            sleep(pause).await;
            world.patch("Deployment", &target, &patch).await;
        });
    }
}

fn start(world: &World, number: u64, trouble: Trouble) -> Replica {
    let (name, skew) = (format!("kanary-{number}"), SignedDuration::ZERO);
    let replica = Replica::start(world, &name, number, skew, &Wrong::default(), None);
    let lost = if trouble == Trouble::Replies { 0.3 } else { 0.0 };
    // Slow enough for the controller to observe other clients' changes before a reply arrives.
    replica.set_network(&NetworkFaults {
        latency: Duration::from_millis(1)..=Duration::from_millis(40),
        faults: Faults {
            lost,
            ..Faults::default()
        },
        ..NetworkFaults::default()
    });
    replica
}

async fn live_through(seed: u64, trouble: Trouble) -> Vec<Violation> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let cases: Vec<_> = (0..KANARIES).map(|index| case(&mut rng, index)).collect();
    let truths = cases.iter().map(|case| (case.name.clone(), case.truth.clone()));
    let (checker, _, hook) = watched(Checker::new(truths.collect()));
    let mut world = World::start(seed, hook);
    world.heard = checker.lock().unwrap().evidence.heard.clone();
    measure(&world);
    let world = Arc::new(world);
    let mut changes = world.stack.cluster.events();
    // A restarted controller knows of a promotion only by the annotation that it left.
    let may_take = trouble == Trouble::None;
    let tool = put_back(world.clone(), world.stack.cluster.events(), rng.fork(), may_take);
    tokio::spawn(tool);
    for case in cases {
        tokio::spawn(live(world.clone(), case, rng.i32(1..4)));
    }
    let mut started = 1;
    let mut replica = start(&world, started, trouble);
    for _ in 0..200 {
        let promotion = timeout(Duration::from_secs(5), next_promotion(&mut changes)).await;
        if promotion.is_ok() && trouble == Trouble::Kills {
            sleep(blink(&mut rng)).await;
            replica.kill().await;
            started += 1;
            replica = start(&world, started, trouble);
        }
        if checker.lock().unwrap().is_settled(&world.stack.cluster) {
            break;
        }
    }
    last_words(&checker, &world, &replica).await
}

fn assert_reported(trouble: Trouble) {
    for seed in 0..SEEDS {
        let run = || in_virtual_time(seed, live_through(seed, trouble));
        let violations = caught(run).unwrap_or_else(|panicked| vec![panicked]);
        let stories: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(stories.is_empty(), "seed {seed}, {trouble:?}: {}", stories.join("\n"));
    }
}

#[test]
fn a_template_that_is_reverted_at_once_is_reported() {
    assert_reported(Trouble::None);
}

#[test]
fn a_reverted_template_is_reported_although_replies_are_lost() {
    assert_reported(Trouble::Replies);
}

#[test]
fn a_reverted_template_is_reported_by_a_controller_that_did_not_promote_it() {
    assert_reported(Trouble::Kills);
}
