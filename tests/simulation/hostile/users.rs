//! Users who change a Kanary, its target, its Services, its canary and their pods arbitrarily at any time.

use std::{sync::Arc, time::Duration};

use kanary_core::api::names::SLOT;
use kanary_sim::controllers::UNREADY;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{edits, hand::Hand};
use crate::{
    case::{Case, service, template},
    world::World,
};

/// A user of a case.
struct User {
    hand: Hand,
    case: Case,
    replicas: i32,
    rng: fastrand::Rng,
    /// Counts actions, so that no version is used twice.
    done: u32,
}

/// A finalizer that holds a deleted Kanary.
const HOLD: &str = "example.com/hold";

/// Runs a case until `end`.
pub(super) async fn live(world: Arc<World>, case: Case, replicas: i32, rng: fastrand::Rng, end: Instant) {
    let hand = Hand::of(&world, "user");
    let mut user = User {
        hand,
        case,
        replicas,
        rng,
        done: 1,
    };
    for object in [&service(&user.case.app)].into_iter().chain(&user.case.beside) {
        user.hand.create(object).await;
    }
    if user.case.has_target {
        user.hand.create(&user.case.target(replicas)).await;
    }
    sleep(user.case.created).await;
    user.hand.create(&user.case.manifest).await;
    for _ in 0..user.rng.usize(1..14) {
        sleep(user.pause()).await;
        if Instant::now() > end {
            return;
        }
        user.done += 1;
        user.act().await;
    }
}

impl User {
    /// A random pause. Some actions follow each other immediately.
    fn pause(&mut self) -> Duration {
        let millis = match self.rng.u8(..6) {
            0 => 1..50,
            1 | 2 => 50..3_000,
            _ => 1_000..25_000,
        };
        Duration::from_millis(self.rng.u64(millis))
    }

    async fn act(&mut self) {
        match self.rng.u8(..21) {
            0..=8 => self.edit_kanary().await,
            20 => self.forge_slot().await,
            9 => self.replace_kanary().await,
            10..=12 => self.touch_target().await,
            13 | 14 => self.touch_canary().await,
            15..=17 => self.touch_pods().await,
            _ => self.touch_services().await,
        }
    }

    async fn edit_kanary(&mut self) {
        let (kind, name, version) = (self.case.kind(), self.case.name.clone(), self.done);
        let (case, rng) = (&self.case, &mut self.rng);
        self.hand
            .edit(&kind, &name, |kanary| {
                edits::edit(rng, case, version, &mut kanary["spec"]);
            })
            .await;
    }

    /// Removes or changes the slot label of an object.
    async fn forge_slot(&mut self) {
        let slot = match self.rng.u8(..3) {
            0 => Value::Null,
            1 => json!("zz"),
            _ => json!(format!("{:02x}", self.rng.u8(..))),
        };
        let label = json!({"metadata": {"labels": {SLOT: slot}}});
        self.hand.patch(&self.case.kind(), &self.case.name, &label).await;
    }

    /// Deletes the Kanary, which a finalizer may hold for a while, and usually creates another one.
    async fn replace_kanary(&mut self) {
        let (kind, name) = (self.case.kind(), self.case.name.clone());
        if self.rng.bool() {
            let finalizers = json!({"metadata": {"finalizers": [HOLD]}});
            self.hand.patch(&kind, &name, &finalizers).await;
        }
        self.hand.delete(&kind, &name).await;
        let gone = self.rng.u64(5..15_000);
        sleep(Duration::from_millis(gone)).await;
        if self.rng.u8(..4) > 0 {
            let finalizers = json!({"metadata": {"finalizers": null}});
            self.hand.patch(&kind, &name, &finalizers).await;
        }
        if self.rng.u8(..4) > 0 {
            let mut manifest = self.case.manifest.clone();
            if self.rng.bool() {
                edits::edit(&mut self.rng, &self.case, self.done, &mut manifest["spec"]);
            }
            self.hand.create(&manifest).await;
        }
    }

    async fn touch_target(&mut self) {
        let target = self.case.truth.target.clone();
        if self.rng.u8(..5) > 0 {
            self.touch_workload(&target).await;
            return;
        }
        self.hand.delete(self.case.truth.kind.name, &target).await;
        let gone = self.rng.u64(5..20_000);
        sleep(Duration::from_millis(gone)).await;
        let mut anew = self.case.target(self.replicas);
        if self.rng.bool() {
            anew["spec"]["template"] = self.case.manifest["spec"]["template"]["spec"]["template"].clone();
        }
        self.hand.create(&anew).await;
    }

    fn ours(&self) -> String {
        format!("kanary.k8s-operators.dev/name={}", self.case.name)
    }

    /// A random object with these labels.
    async fn any(&mut self, kind: &str, labels: &str) -> Option<String> {
        let objects = self.hand.list(kind, labels).await;
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        (!objects.is_empty()).then(|| name(&objects[self.rng.usize(..objects.len())]))
    }

    async fn touch_canary(&mut self) {
        let kind = self.case.truth.kind.name;
        let Some(canary) = self.any(kind, &self.ours()).await else {
            // Its name may be taken by the time of its creation.
            let mut other = self.case.target(1);
            other["metadata"]["name"] = json!(format!("{}-kanary-{}", self.case.truth.target, self.case.name));
            if self.rng.u8(..3) == 0 {
                self.hand.create(&other).await;
            }
            return;
        };
        match self.rng.u8(..4) {
            0 => self.hand.delete(kind, &canary).await,
            1 => {
                let label = json!({"metadata": {"labels": {"alert": "high-cpu"}}});
                self.hand.patch(kind, &canary, &label).await;
            }
            _ => self.touch_workload(&canary).await,
        }
    }

    /// Changes a target or a canary like any user may.
    async fn touch_workload(&mut self, name: &str) {
        let (target, kind) = (&self.case.app, self.case.truth.kind.name);
        let patch = match self.rng.u8(..9) {
            0 | 1 => {
                let image = format!("{target}:user-{}-{}", self.case.name, self.done);
                json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
            }
            2 => json!({"spec": {"replicas": self.rng.u8(..6)}}),
            3 => json!({"metadata": {"labels": {"touched": self.done.to_string()}}}),
            4 => json!({"metadata": {"annotations": {"kanary.k8s-operators.dev/promoted-by": null}}}),
            5 => json!({"spec": {"paused": self.rng.bool()}}),
            // The same values in a different notation.
            6 => json!({"spec": {"template": template(target, &format!("{target}:v1"))}}),
            7 => return self.hand.restart(kind, name, self.done).await,
            _ => return self.hand.undo(kind, name).await,
        };
        self.hand.patch(kind, name, &patch).await;
    }

    async fn touch_pods(&mut self) {
        let whose = match self.rng.u8(..3) {
            0 => format!("app={}", self.case.app),
            _ => self.ours(),
        };
        let Some(pod) = self.any("Pod", &whose).await else {
            return;
        };
        let label = |value: Value| json!({"metadata": {"labels": value}});
        match self.rng.u8(..8) {
            0 | 1 => self.hand.delete("Pod", &pod).await,
            2 => {
                self.hand.patch("Pod", &pod, &label(json!({"alert": "high-cpu"}))).await;
            }
            3 => {
                self.hand.patch("Pod", &pod, &label(json!({"app": null}))).await;
            }
            4 => {
                let app = self.case.app.clone();
                self.hand.patch("Pod", &pod, &label(json!({"app": app}))).await;
            }
            _ => self.hold_readiness(&pod).await,
        }
    }

    /// Makes a pod unready for a while.
    async fn hold_readiness(&mut self, pod: &str) {
        let held = |value: Value| json!({"metadata": {"annotations": {UNREADY: value}}});
        self.hand.patch("Pod", pod, &held(json!("yes"))).await;
        let (hand, pod, long) = (self.hand.clone(), pod.to_owned(), self.rng.u64(100..25_000));
        let ready = held(Value::Null);
        tokio::spawn(async move {
            sleep(Duration::from_millis(long)).await;
            hand.patch("Pod", &pod, &ready).await;
        });
    }

    async fn touch_services(&mut self) {
        let target = self.case.app.clone();
        let name = format!("{target}-svc");
        match self.rng.u8(..6) {
            0 => {
                let narrowed = json!({"spec": {"selector": {"app": target, "track": "stable"}}});
                self.hand.patch("Service", &name, &narrowed).await;
            }
            1 | 2 => {
                let widened = json!({"spec": {"selector": {"app": target, "track": null}}});
                self.hand.patch("Service", &name, &widened).await;
            }
            3 => {
                self.hand.delete("Service", &name).await;
                let gone = self.rng.u64(5..15_000);
                sleep(Duration::from_millis(gone)).await;
                self.hand.create(&service(&target)).await;
            }
            4 => {
                let mut more = service(&target);
                more["metadata"]["name"] = json!(format!("{target}-more-{}", self.done));
                self.hand.create(&more).await;
            }
            _ => {
                if let Some(canary) = self.any("Service", &self.ours()).await {
                    self.hand.delete("Service", &canary).await;
                }
            }
        }
    }
}
