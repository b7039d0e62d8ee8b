//! An object of a front end, and what its user does with it and with what it owns.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::way::{self, Gate, Way};
use crate::world::World;

/// A kind of front end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// `CanaryApp`.
    App,
    /// `CanaryDeployment`.
    Tracks,
}

/// What a user does.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Another version, by its image.
    Version(String),
    /// Waits until the run of the present version has ended.
    Await,
    /// Another number of pods of the target.
    Scale(u8),
    /// Changes an object that it owns.
    Edit(&'static str, String, Value),
    /// Wants requests to come on another way.
    Move(Way),
    /// Makes a Gateway of Gateway API do this.
    Gate(String, Gate),
    /// Deletes an object that it owns.
    Destroy(&'static str, String),
    Delete,
}

/// Requests to the pods of this version fail.
pub(super) const BAD: &str = "-bad";
/// Nothing measures the pods of this version.
pub(super) const UNKNOWN: &str = "-unknown";
/// The pods of this version do not become ready.
const NEVER_READY: &str = "-never-ready";

/// How long a user waits for a run.
const PATIENCE: Duration = Duration::from_mins(15);

/// An object of a front end.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) name: String,
    pub(super) sort: Sort,
    /// The first version.
    pub(super) first: String,
    pub(super) created: Duration,
    pub(super) deeds: Vec<(Duration, Deed)>,
    /// Seconds for which each version is judged, or for which an application has each share.
    pub(super) seconds: u32,
    /// Whether an object of somebody else has the name of one that it would own.
    pub(super) is_foreign: bool,
    /// The first way on which requests come, for an application that its user moves.
    pub(super) way: Option<Way>,
    /// Whether pods are measured. Without that, only those that are not ready are bad.
    pub(super) is_measured: bool,
    /// How it may end.
    pub(super) ends: Vec<&'static str>,
}

/// Whether a version must not pass.
pub(super) fn is_bad(image: &str) -> bool {
    [BAD, UNKNOWN, NEVER_READY].iter().any(|suffix| image.ends_with(suffix))
}

/// How many requests to a pod with this image fail, if that is measured.
pub(super) fn failures(image: &str) -> Option<f64> {
    (!image.ends_with(UNKNOWN)).then(|| if image.ends_with(BAD) { 0.9 } else { 0.1 })
}

impl Front {
    pub(super) fn new(rng: &mut fastrand::Rng, index: usize, sort: Sort) -> Self {
        let name = format!("f{index}");
        let mut front = Self {
            first: format!("{name}:v1"),
            name,
            sort,
            created: millis(rng, 500..5000),
            deeds: Vec::new(),
            seconds: rng.u32(2..=6),
            is_foreign: rng.u8(..10) == 0,
            way: None,
            is_measured: sort == Sort::App || rng.u8(..3) > 0,
            ends: vec!["DeploymentUpdated"],
        };
        if front.is_foreign {
            front.ends = vec!["Errored"];
            return front;
        }
        front.deeds.push((Duration::ZERO, Deed::Await));
        for version in 2..=rng.u8(2..=4) {
            front.tries(rng, version);
        }
        front.ends = vec![front.end()];
        // A run whose target is deleted may fail for that.
        let is_of_target = |deed: &Deed| matches!(deed, Deed::Destroy("Deployment", _));
        if sort == Sort::App && front.deeds.iter().any(|(_, deed)| is_of_target(deed)) {
            front.ends.push("Failed");
        }
        if rng.u8(..8) == 0 {
            front.deeds.push((millis(rng, 100..40_000), Deed::Delete));
            front.ends = vec!["deleted"];
        }
        front
    }

    /// One whose user tries a second version after the first one.
    pub(super) fn of_two_versions(sort: Sort, suffix: &str) -> Self {
        let (name, wait) = ("f0".to_owned(), (Duration::ZERO, Deed::Await));
        let second = Deed::Version(format!("{name}:v2{suffix}"));
        let end = if suffix == BAD { "Failed" } else { "DeploymentUpdated" };
        Self {
            first: format!("{name}:v1"),
            name,
            sort,
            created: Duration::from_secs(1),
            deeds: vec![wait.clone(), (Duration::from_secs(1), second), wait],
            seconds: 3,
            is_foreign: false,
            way: None,
            is_measured: true,
            ends: vec![end],
        }
    }

    /// How the run of the last version has to end.
    pub(super) fn end(&self) -> &'static str {
        match self.last().as_str() {
            image if image.ends_with(UNKNOWN) => "Running",
            image if is_bad(image) => "Failed",
            _ => "DeploymentUpdated",
        }
    }

    /// The next version, and what happens during its run.
    fn tries(&mut self, rng: &mut fastrand::Rng, version: u8) {
        let suffixes: &[&str] = match (self.sort, self.is_measured) {
            (Sort::App, _) => &["", "", BAD, UNKNOWN],
            (Sort::Tracks, true) => &["", "", BAD, UNKNOWN, NEVER_READY],
            (Sort::Tracks, false) => &["", "", NEVER_READY],
        };
        let image = format!("{}:v{version}{}", self.name, rng.choice(suffixes).unwrap());
        let is_known = !image.ends_with(UNKNOWN);
        self.deeds.push((millis(rng, 100..5000), Deed::Version(image)));
        for _ in 0..rng.u8(..3) {
            let deed = self.meddles(rng);
            self.deeds.push((millis(rng, 100..20_000), deed));
        }
        if is_known && rng.u8(..3) > 0 {
            self.deeds.push((Duration::ZERO, Deed::Await));
        } else {
            self.deeds.push((millis(rng, 100..60_000), scales(rng)));
        }
    }

    /// Something that is put back.
    fn meddles(&self, rng: &mut fastrand::Rng) -> Deed {
        let (name, target, canary) = (self.name.clone(), self.target(), self.canary());
        let one = if rng.bool() { target.clone() } else { canary };
        match (self.sort, rng.u8(..8)) {
            (_, 0) => scales(rng),
            (_, 1) => Deed::Edit("Deployment", target, json!({"spec": {"replicas": 7}})),
            (_, 2) => Deed::Destroy("Deployment", target),
            (Sort::App, 3) => Deed::Edit("Service", name, json!({"spec": {"selector": {"extra": "yes"}}})),
            (Sort::App, 4) => Deed::Destroy("Service", name),
            (Sort::App, 5) => Deed::Edit("VirtualService", name, json!({"spec": {"hosts": ["other.example"]}})),
            (Sort::App, 6) => Deed::Destroy("VirtualService", name),
            (Sort::App, _) => Deed::Edit("DestinationRule", name, json!({"spec": {"host": "other"}})),
            (Sort::Tracks, 3 | 4) => {
                let pods = json!({"spec": {"containers": [{"name": "main", "image": format!("{name}:user")}]}});
                Deed::Edit("Deployment", one, json!({"spec": {"template": pods}}))
            }
            (Sort::Tracks, 5) => Deed::Edit("Deployment", one, json!({"spec": {"paused": true}})),
            (Sort::Tracks, _) => Deed::Destroy("Deployment", one),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.sort {
            Sort::App => "CanaryApp.canary.atze.io",
            Sort::Tracks => "CanaryDeployment.kanarini.nilebox.github.com",
        }
    }

    pub(super) fn target(&self) -> String {
        let track = if self.sort == Sort::App { "primary" } else { "stable" };
        format!("{}-{track}", self.name)
    }

    pub(super) fn canary(&self) -> String {
        let track = if self.sort == Sort::App { "secondary" } else { "canary" };
        format!("{}-{track}", self.name)
    }

    /// The last version that its user wants.
    pub(super) fn last(&self) -> String {
        let mut versions = self.deeds.iter().filter_map(|(_, deed)| match deed {
            Deed::Version(image) => Some(image),
            _ => None,
        });
        versions.next_back().unwrap_or(&self.first).clone()
    }

    /// The last way on which its user wants requests.
    pub(super) fn last_way(&self) -> Way {
        let mut ways = self.deeds.iter().filter_map(|(_, deed)| match deed {
            Deed::Move(way) => Some(*way),
            _ => None,
        });
        ways.next_back().or(self.way).unwrap_or(Way::Istio)
    }

    /// A merge patch with this version.
    fn version(&self, image: &str) -> Value {
        match self.sort {
            Sort::App => json!({"spec": {"image": image}}),
            Sort::Tracks => json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}),
        }
    }

    fn manifest(&self) -> Value {
        let mut manifest = match self.sort {
            Sort::App => json!({
                "apiVersion": "canary.atze.io/v1", "kind": "CanaryApp",
                "spec": {
                    "imageListenPort": 8088, "replicas": 2, "testReplicas": 1, "prometheusURL": "http://good:9090",
                    "trafficShiftUpdateInterval": self.seconds,
                    "prometheusQuery": "failures{pod=~\"{{ canary.name }}-.*\"} > 0.5",
                },
            }),
            Sort::Tracks => self.tracks(),
        };
        manifest["metadata"] = json!({"name": self.name});
        if let Some(way) = self.way {
            crate::case::merge(&mut manifest, &json!({"spec": way.spec(&self.name)}));
        }
        crate::case::merge(&mut manifest, &self.version(&self.first));
        manifest
    }

    fn tracks(&self) -> Value {
        let mut canary = json!({"replicas": 1, "metricsCheckDelaySeconds": self.seconds});
        if self.is_measured {
            let target = json!({"type": "AverageValue", "averageValue": "500m"});
            let pods = json!({"metric": {"name": "failures"}, "target": target});
            canary["metrics"] = json!([{"type": "Pods", "pods": pods}]);
        }
        json!({
            "apiVersion": "kanarini.nilebox.github.com/v1alpha1", "kind": "CanaryDeployment",
            "spec": {
                "selector": {"matchLabels": {"app": self.name}},
                "template": {"metadata": {"labels": {"app": self.name}}},
                "progressDeadlineSeconds": 40,
                "tracks": {"canary": canary, "stable": {"replicas": 2}},
            },
        })
    }

    fn theirs(&self) -> Value {
        if self.sort == Sort::App {
            let spec = json!({"selector": {"app": "theirs"}, "ports": [{"port": 80}]});
            return json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name}, "spec": spec});
        }
        crate::case::deployment(&self.target(), 1)
    }

    fn number(&self, pods: u8) -> Value {
        match self.sort {
            Sort::App => json!({"spec": {"replicas": pods}}),
            Sort::Tracks => json!({"spec": {"tracks": {"stable": {"replicas": pods}}}}),
        }
    }
}

pub(super) fn scales(rng: &mut fastrand::Rng) -> Deed {
    Deed::Scale(rng.u8(1..=3))
}

pub(super) fn millis(rng: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// What its user does.
pub(super) async fn live(world: Arc<World>, front: Front) {
    if front.way.is_some() {
        for gate in way::gates(&front.name) {
            way::set(&world, &gate, Gate::Open).await;
        }
    }
    if front.is_foreign {
        world.create(&front.theirs()).await;
    }
    sleep(front.created).await;
    world.create(&front.manifest()).await;
    for (pause, deed) in &front.deeds {
        sleep(*pause).await;
        does(&world, &front, deed).await;
    }
}

async fn does(world: &World, front: &Front, deed: &Deed) {
    let (kind, name) = (front.kind(), &front.name);
    match deed {
        Deed::Version(image) => drop(world.patch(kind, name, &front.version(image)).await),
        Deed::Move(way) => drop(world.patch(kind, name, &json!({"spec": way.spec(name)})).await),
        Deed::Gate(gate, does) => way::set(world, gate, *does).await,
        Deed::Scale(pods) => drop(world.patch(kind, name, &front.number(*pods)).await),
        Deed::Edit(kind, name, patch) => drop(world.patch(kind, name, patch).await),
        Deed::Destroy(kind, name) => {
            if world.api(kind).get_opt(name).await.unwrap().is_some() {
                world.delete(kind, name).await;
            }
        }
        Deed::Delete => world.delete(kind, name).await,
        Deed::Await => {
            let start = Instant::now();
            while !has_ended(world, front).await && start.elapsed() < PATIENCE {
                sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// Whether the run of the present version has ended.
async fn has_ended(world: &World, front: &Front) -> bool {
    let object = world.api(front.kind()).get_opt(&front.name).await.unwrap();
    object.is_some_and(|object| {
        let status = &object.data["status"];
        status["completedAt"].is_string() && status["observedGeneration"].as_i64() == object.metadata.generation
    })
}
