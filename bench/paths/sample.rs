//! Canaries with realistic templates in the simulated cluster: what the API server sends about one, and what is decided.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    ParsedKanary, decide,
    decision::Decision,
    observation::Observation,
    status::{Phase, RUNNING, is_true},
};
use kube::api::ListParams;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    plan::Template,
    ticks::virtual_time,
    workload,
    world::{NAMESPACE, Replica, Sharing, World, Wrong},
};

/// The validation period.
const PERIOD: Duration = Duration::from_mins(6);

/// The interval of measurements.
const INTERVAL: Duration = Duration::from_secs(20);

/// One decision.
pub(crate) struct Turn {
    pub(crate) kanary: ParsedKanary,
    pub(crate) seen: Observation,
    pub(crate) now: Timestamp,
    decision: Decision,
}

static TURNS: Mutex<Vec<Turn>> = Mutex::new(Vec::new());

/// Decides, and keeps what the decision was about.
fn observed(kanary: &ParsedKanary, seen: &Observation, now: Timestamp) -> Decision {
    let decision = decide(kanary, seen, now);
    let turn = Turn {
        kanary: kanary.clone(),
        seen: seen.clone(),
        now,
        decision: decision.clone(),
    };
    TURNS.lock().unwrap_or_else(PoisonError::into_inner).push(turn);
    decision
}

/// A run from its creation to its promotion.
pub(crate) struct Sample {
    /// The Kanary in its validation, as the API server sends it.
    pub(crate) kanary: Value,
    /// Its target.
    pub(crate) target: Value,
    /// The last decision before the deadline.
    pub(crate) validating: Turn,
    /// The decision that gives the verdict.
    pub(crate) ending: Turn,
}

impl Sample {
    pub(crate) fn take() -> Self {
        fastrand::seed(1);
        let (kanary, target) = virtual_time().block_on(async {
            let wrong = Wrong {
                decide: observed,
                ..Wrong::default()
            };
            let (world, controller) = in_validation(1, &wrong).await;
            let name = workload::name(0);
            let mut objects = Vec::new();
            for kind in ["KanaryDeployment", "Deployment"] {
                let object = world.api(kind).get(&name).await.unwrap();
                objects.push(serde_json::to_value(object).unwrap());
            }
            sleep(PERIOD).await;
            controller.terminate().await;
            let [kanary, target] = objects.try_into().unwrap();
            (kanary, target)
        });
        let turns = mem::take(&mut *TURNS.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut validating, mut ending) = (None, None);
        for turn in turns {
            let status = &turn.kanary.status;
            let is_running = Phase::of(status) == Phase::Running;
            if is_running && status.deadline > Some(turn.now) && !turn.decision.checks.is_empty() {
                validating = Some(turn);
            } else if turn.decision.status.as_ref().map(Phase::of) == Some(Phase::Succeeded) && is_running {
                ending = Some(turn);
            }
        }
        Self {
            kanary,
            target,
            validating: validating.unwrap(),
            ending: ending.unwrap(),
        }
    }
}

/// A cluster with a controller, and so many canaries in the middle of their validation.
pub(crate) async fn in_validation(canaries: usize, wrong: &Wrong) -> (World, Replica) {
    let world = World::start(1, Box::new(|_| {}));
    // A single replica without sharding asks the kernel for the time in a way that valgrind does not support.
    let sharing = Sharing::of("kanary-1");
    let controller = Replica::start(&world, "kanary-1", 1, SignedDuration::ZERO, wrong, Some(&sharing));
    for number in 0..canaries {
        world.create(&workload::target(number, Template::Realistic)).await;
    }
    sleep(Duration::from_secs(30)).await;
    let items = [workload::item("http://prometheus.monitoring:9090", INTERVAL)];
    for number in 0..canaries {
        world
            .create(&workload::kanary(number, Template::Realistic, PERIOD, &items))
            .await;
    }
    sleep(INTERVAL / 2).await;
    for pod in world.stack.cluster.objects("pods", Some(NAMESPACE)) {
        let series = format!("errors_per_second{{pod=\"{}\"}}", pod.meta.name);
        world.stack.prometheus.set(&series, world.now(), 0.25, 0.0).unwrap();
    }
    sleep(PERIOD * 2 / 3).await;
    let kanaries = world.api("KanaryDeployment").list(&ListParams::default()).await;
    let running = kanaries.unwrap().items.into_iter().filter(|kanary| {
        let status = serde_json::from_value(kanary.data["status"].clone()).unwrap();
        is_true(&status, RUNNING)
    });
    assert_eq!(running.count(), canaries, "all canaries are validated");
    (world, controller)
}
