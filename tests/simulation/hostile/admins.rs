//! Admission policies, webhooks and quotas that are added and removed.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::admission::{Attempt, Effect, Policy};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::hand::Hand;
use crate::{
    checker::Shared,
    target_kinds::TargetKind,
    world::{NAMESPACE, World},
};

/// The annotation that a policy sets on the template of a target or a canary.
pub(crate) const CHECKED: &str = "policy.example.com/checked";

/// Writes that a policy may apply to. Those of Deployments stand for those of every kind of targets.
const WRITES: [(&str, &str, &str); 12] = [
    ("deployments.apps", "", "create"),
    ("deployments.apps", "", "update"),
    ("deployments.apps", "", "delete"),
    ("deployments.apps", "scale", "update"),
    ("pods", "", "create"),
    ("pods", "", "update"),
    ("pods", "", "delete"),
    ("services", "", "create"),
    ("services", "", "delete"),
    ("kanaries", "status", "update"),
    ("events", "", "create"),
    ("horizontalpodautoscalers.autoscaling", "", "create"),
];

/// Maximum time that a refused client may wait before it retries, after the policy is removed.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

type Span = (Timestamp, Timestamp);

/// A policy and the actions that it blocks.
struct Rule {
    policy: Policy,
    /// Whether it keeps labels with traffic on canary pods.
    keeps_pods: bool,
    /// Whether it blocks deleting or scaling canaries, and promotions.
    keeps_deployments: bool,
    /// Whether the stored object differs from the request.
    changes: bool,
}

/// Periods in which each way of removing a canary from production was blocked.
#[derive(Default)]
struct Blocked {
    pods: Vec<Span>,
    deployments: Vec<Span>,
}

impl Blocked {
    /// Records the actions that a policy blocks and returns the periods in which all of them are blocked.
    fn note(&mut self, rule: &Rule, span: Span) -> Vec<Span> {
        let overlap = |others: &[Span]| -> Vec<Span> {
            let clipped = others.iter().map(|other| (span.0.max(other.0), span.1.min(other.1)));
            clipped.filter(|(from, until)| from < until).collect()
        };
        let both = match (rule.keeps_pods, rule.keeps_deployments) {
            (true, true) => vec![span],
            (true, false) => overlap(&self.deployments),
            (false, true) => overlap(&self.pods),
            (false, false) => Vec::new(),
        };
        self.pods.extend(rule.keeps_pods.then_some(span));
        self.deployments.extend(rule.keeps_deployments.then_some(span));
        both
    }
}

/// Adds and removes policies and quotas until `end`. One may stay.
pub(super) async fn meddle(world: Arc<World>, checker: Shared, mut rng: fastrand::Rng, end: Instant, for_good: bool) {
    let hand = Hand::of(&world, "admin");
    let mut blocked = Blocked::default();
    let mut number = 0;
    loop {
        sleep(Duration::from_millis(rng.u64(1_000..30_000))).await;
        if Instant::now() > end {
            return;
        }
        number += 1;
        let left = end.saturating_duration_since(Instant::now());
        let long = Duration::from_millis(rng.u64(500..45_000)).min(left);
        let stays = for_good && number == 1;
        if rng.u8(..4) == 0 && !stays {
            tokio::spawn(limit(world.clone(), hand.clone(), number, rng.u64(..3), long));
            continue;
        }
        let rule = rule(&mut rng, &format!("policy-{number}"));
        {
            let (now, mut checker) = (world.now(), checker.lock().unwrap());
            let until = if stays { Timestamp::MAX } else { now + long + PATIENCE };
            for (from, until) in blocked.note(&rule, (now, until)) {
                checker.evidence.rough.obstruct(from, until);
            }
            checker.evidence.is_mutated |= rule.changes;
        }
        let (cluster, name) = (world.stack.cluster.clone(), rule.policy.name.clone());
        cluster.set_policy(rule.policy);
        if !stays {
            tokio::spawn(async move {
                sleep(long).await;
                cluster.remove_policy(&name);
            });
        }
    }
}

/// Limits the number of additional pods for a while.
async fn limit(world: Arc<World>, hand: Hand, number: u32, room: u64, long: Duration) {
    let pods = world.stack.cluster.objects("pods", Some(NAMESPACE)).len() as u64;
    let name = format!("quota-{number}");
    let quota = json!({
        "kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": name},
        "spec": {"hard": {"pods": (pods + room).to_string()}},
    });
    hand.create(&quota).await;
    // A ReplicaSet that is refused doubles its backoff each time.
    sleep(long.min(Duration::from_secs(20))).await;
    hand.delete("ResourceQuota", &name).await;
}

/// A policy for some kind of write, of the controller or of all clients.
fn rule(rng: &mut fastrand::Rng, name: &str) -> Rule {
    if rng.u8(..4) == 0 {
        return Rule {
            policy: change(rng, name),
            keeps_pods: false,
            keeps_deployments: false,
            changes: true,
        };
    }
    let (resource, subresource, verb) = WRITES[rng.usize(..WRITES.len())];
    let only_ours = rng.u8(..4) > 0;
    let applies = move |attempt: &Attempt<'_>| {
        let is_kanary = resource == "kanaries" && attempt.resource.starts_with("kanary");
        let is_workload = resource == "deployments.apps" && TargetKind::of_resource(attempt.resource).is_some();
        let concerns = is_kanary || is_workload || attempt.resource == resource;
        // The cluster's own controllers are exempt, except for the creation of pods, which is refused to all clients.
        let is_ours = attempt.user.starts_with("kanary-");
        let whose = is_ours || (!only_ours && (!attempt.user.starts_with("system:") || verb == "create"));
        concerns && whose && attempt.subresource == subresource && attempt.verb == verb
    };
    let denied = |code, reason| Effect::Deny(Effect::denied("policy.example.com", code, reason, "not today"));
    let effect = match rng.u8(..8) {
        0 | 1 => denied(403, "Forbidden"),
        2 => denied(404, "NotFound"),
        3 => denied(409, "Conflict"),
        4 => Effect::Deny(Effect::unreachable("policy.example.com")),
        5 => Effect::Hang(Duration::from_secs(10)),
        6 => Effect::Delay(Duration::from_millis(rng.u64(100..9_000))),
        _ => denied(422, "Invalid"),
    };
    let concerns_all = matches!(effect, Effect::Hang(_) | Effect::Delay(_)) || resource == "kanaries";
    Rule {
        policy: Policy::new(name, applies, effect),
        keeps_pods: resource == "pods" || concerns_all,
        keeps_deployments: resource == "deployments.apps" || concerns_all,
        changes: false,
    }
}

/// Selects the writes that a policy changes, and changes them.
type Mutation = (Box<dyn Fn(&Attempt<'_>) -> bool + Send + Sync>, fn(&mut Value));

/// A mutating policy.
fn change(rng: &mut fastrand::Rng, name: &str) -> Policy {
    let creates = |resource: &'static str| {
        move |attempt: &Attempt<'_>| {
            attempt.resource == resource && attempt.verb == "create" && attempt.subresource.is_empty()
        }
    };
    let writes =
        |attempt: &Attempt<'_>| TargetKind::of_resource(attempt.resource).is_some() && attempt.subresource.is_empty();
    let is_canary = |object: &Value| !object["metadata"]["labels"]["kanary.k8s-operators.dev/iskanary"].is_null();
    let (applies, change): Mutation = match rng.u8(..3) {
        0 => (Box::new(creates("pods")), |pod| {
            let proxy = json!({"name": "proxy", "image": "proxy:v1"});
            if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
                containers.push(proxy);
            }
        }),
        1 => (Box::new(creates("pods")), |pod| {
            pod["metadata"]["labels"]["injected"] = json!("yes");
        }),
        _ => (Box::new(writes), |workload| {
            let checked = json!("yes");
            workload["spec"]["template"]["metadata"]["annotations"][CHECKED] = checked;
        }),
    };
    if rng.u8(..3) == 0 {
        // No canary has more than one pod.
        let cap = move |object: &mut Value| {
            if is_canary(object) && object["spec"]["replicas"].as_i64() > Some(1) {
                object["spec"]["replicas"] = json!(1);
            }
        };
        return Policy::new(name, writes, Effect::Change(Arc::new(cap)));
    }
    Policy::new(name, applies, Effect::Change(Arc::new(change)))
}
