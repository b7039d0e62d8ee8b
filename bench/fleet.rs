//! Runs a fleet of canaries from rollout to promotion in virtual time: `cargo bench --bench fleet -- --canaries 10000`.
//! Each cluster runs on one thread; `--clusters 2` splits the canaries over two clusters. `--replicas 10` divides them among
//! replicas, and prints what one of them keeps in memory while all canaries are in their validation. The run fails if a
//! canary is not promoted.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed measurement aborts the benchmark"
)]

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts what a replica frees when it ends.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[allow(dead_code, reason = "only the tests use the rest")]
#[path = "../tests/simulation/heard.rs"]
mod heard;
#[allow(dead_code, reason = "only the tests use the rest")]
#[path = "../tests/simulation/resources.rs"]
mod resources;
#[allow(dead_code, reason = "only the tests use the rest")]
#[path = "../tests/simulation/world.rs"]
mod world;

use std::{
    alloc::System,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::cluster::Event;
use serde_json::{Value, json};
use tokio::{runtime::Builder, time::sleep};
use world::{Replica, Sharing, World, Wrong};

/// Results collected from all clusters.
#[derive(Default)]
struct Seen {
    lateness: Vec<SignedDuration>,
    updated: usize,
}

fn holds(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|held| held["type"] == condition && held["status"] == "True")
}

impl Seen {
    fn look(&mut self, event: &Event) {
        if !event.actor.starts_with("kanary-") || !event.resource.starts_with("kanary") {
            return;
        }
        let (Some(old), Some(new)) = (&event.change.old, &event.change.new) else {
            return;
        };
        let (old, new) = (old.json(), new.json());
        let became = |condition: &str| holds(&new, condition) && !holds(&old, condition);
        if became("Succeeded") {
            let deadline: Timestamp = new["status"]["deadline"].as_str().unwrap().parse().unwrap();
            self.lateness.push(event.at.duration_since(deadline));
        }
        self.updated += usize::from(became("DeploymentUpdated"));
    }
}

fn template(target: &str, version: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": target}},
        "spec": {"containers": [{"name": "main", "image": format!("{target}:{version}")}]},
    })
}

/// A target Deployment and a Kanary with a 15-minute validation period.
fn manifests(index: usize) -> [Value; 2] {
    let target = format!("app{index:05}");
    let selector = json!({"matchLabels": {"app": target}});
    let items = match index % 3 {
        0 => json!([{"manual": {"statusAfterDeadline": "valid"}}]),
        1 => json!([{"labelWatch": {"podInvalidationLabels": {"alert": "high-cpu"}}}]),
        _ => json!([{"promQL": {
            "prometheusURL": "http://prometheus.monitoring:9090",
            "query": "errors{canary=\"{{ canary.name }}\"}",
            "allPodsQuery": true,
            "valueInRange": {"min": 0, "max": 1},
            "interval": "20s",
        }}]),
    };
    [
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": target},
            "spec": {"replicas": 1, "selector": selector, "template": template(&target, "v1")},
        }),
        json!({
            "apiVersion": "kanary.k8s-operators.dev/v1alpha1", "kind": "KanaryDeployment",
            "metadata": {"name": format!("k{index:05}")},
            "spec": {
                "deploymentName": target,
                "template": {"spec": {"selector": selector, "template": template(&target, "v2")}},
                "validation": {"validationPeriod": "15m", "items": items},
            },
        }),
    ]
}

/// Counts the controller's requests: all of them, and the writes.
fn count(world: &World, requests: &mut (usize, usize)) {
    for entry in world.stack.server.take_entries() {
        if entry.user.starts_with("kanary-") && entry.verb != "watch" {
            requests.0 += 1;
            requests.1 += usize::from(!["get", "list"].contains(&entry.verb));
        }
    }
}

/// No canary has errors.
fn measure(world: &World) {
    world.stack.prometheus.script("errors", |wanted, _| {
        let canary = wanted.get("canary").unwrap_or_default();
        vec![([("canary".to_owned(), canary.to_owned())].into_iter().collect(), 0.0)]
    });
}

fn start(world: &World, replicas: u64) -> Vec<Replica> {
    let replica = |number| {
        let name = format!("kanary-{number}");
        let sharing = Sharing {
            leads: Arc::new(move || number == 1),
            ..Sharing::of(&name)
        };
        let shares = (replicas > 1).then_some(&sharing);
        Replica::start(world, &name, number, SignedDuration::ZERO, &Wrong::default(), shares)
    };
    (1..=replicas).map(replica).collect()
}

/// The bytes that are allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Kills a replica. The others notice it when its session has expired.
async fn kill(replica: Replica) {
    let before = allocated();
    replica.kill().await;
    // Its last tasks are dropped when the runtime gets to them.
    sleep(Duration::from_millis(1)).await;
    let freed = (before - allocated()) / 1_000_000;
    println!("memory of one replica {freed} MB");
}

async fn fleet(canaries: usize, replicas: u64) {
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let look = seen.clone();
    let mut world = World::start(1, Box::new(move |event| look.lock().unwrap().look(event)));
    world.shards = 32;
    measure(&world);
    let mut controllers = start(&world, replicas);
    sleep(Duration::from_secs(30)).await;
    let mut requests = (0, 0);
    for index in 0..canaries {
        for manifest in manifests(index) {
            world.create(&manifest).await;
        }
        // Spread all updates over ten minutes.
        sleep(Duration::from_mins(10) / u32::try_from(canaries).unwrap()).await;
        count(&world, &mut requests);
    }
    sleep(Duration::from_mins(2)).await;
    if replicas > 1 {
        kill(controllers.pop().unwrap()).await;
    }
    for _ in 0..240 {
        sleep(Duration::from_secs(10)).await;
        count(&world, &mut requests);
        if seen.lock().unwrap().updated == canaries {
            break;
        }
    }
    if seen.lock().unwrap().updated < canaries {
        let kanary = world.api("KanaryDeployment").get("k00002").await.unwrap();
        println!("{}", kanary.data["status"]);
    }
    report(canaries, &mut seen.lock().unwrap(), requests);
}

#[allow(clippy::cast_precision_loss, reason = "the output has few digits")]
fn report(canaries: usize, seen: &mut Seen, (requests, writes): (usize, usize)) {
    println!("{} of {canaries} canaries were promoted", seen.updated);
    assert_eq!(seen.updated, canaries);
    let each = |number: usize| number as f64 / canaries as f64;
    println!(
        "requests per canary {:.2}, writes per canary {:.2}",
        each(requests),
        each(writes)
    );
    seen.lateness.sort();
    let at = |percent: usize| {
        seen.lateness
            .get((seen.lateness.len() * percent / 100).min(seen.lateness.len() - 1))
    };
    println!(
        "delay of verdicts p50 {:?} p99 {:?} max {:?}",
        at(50).unwrap(),
        at(99).unwrap(),
        at(100).unwrap()
    );
}

/// Peak memory of this process, in MB. Linux reports it in KiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024 / 1_000_000)
}

fn asked(name: &str, otherwise: usize) -> usize {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().map_or(otherwise, |number| number.parse().unwrap())
}

fn live(seed: u64, canaries: usize, replicas: u64) {
    fastrand::seed(seed);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(fleet(canaries, replicas));
}

fn main() {
    let (canaries, clusters) = (asked("--canaries", 10_000), asked("--clusters", 1));
    let replicas = u64::try_from(asked("--replicas", 1)).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for cluster in 1..=clusters {
            scope.spawn(move || live(u64::try_from(cluster).unwrap(), canaries / clusters, replicas));
        }
    });
    let (time, memory) = (start.elapsed(), peak_memory());
    println!("real time {time:?}, peak memory {memory:?} MB");
}
