//! Canaries that exist between runs: whole runs in a small cluster, with both tracks as the objects that the writes make.

mod cases;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    decide,
    input::{UID, merge, parse, t0},
};
use crate::{
    ParsedKanary,
    api::{Tracks, Written, names},
    decision::{Action, Decision, Update},
    labels::Labels,
    observation::{Observation, Pod, Workload},
    status::Phase,
    track::{Track, Tracked},
    validation::{Outcome, Sample, Tally},
};

const CANARY: &str = "shop-canary";
const STABLE: &str = "shop-stable";

/// A workload and all of its spec.
#[derive(Clone, Debug, PartialEq)]
struct Object {
    seen: Workload,
    spec: Value,
}

impl Object {
    fn image(&self) -> &str {
        self.spec["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap()
    }
}

/// An object of a Kanary with tracks, in a cluster whose controllers wait for [`Cluster::roll_out`].
struct Cluster {
    spec: Value,
    tracked: Tracked,
    status: Option<Value>,
    now: Timestamp,
    objects: BTreeMap<String, Object>,
    /// What the controller remembers of its writes.
    memory: Tracks,
    tally: Tally,
    writes: Vec<String>,
    /// Whether the controller is killed after each write that changes something, and the next one knows only the status.
    is_killed: bool,
    uids: u32,
}

fn labels(track: &str) -> Labels {
    [("track".to_owned(), track.to_owned())].into()
}

impl Cluster {
    fn new(image: &str) -> Self {
        let mut cluster = Self {
            spec: json!({
                "deploymentName": STABLE,
                "validation": {
                    "validationPeriod": "60s",
                    "maxIntervalPeriod": "10s",
                    "items": [{"metric": {
                        "type": "External",
                        "external": {"metric": {"name": "failures"}, "target": {"type": "Value", "value": "0.1"}},
                    }}],
                },
            }),
            tracked: Tracked {
                canary: Track {
                    replicas: Some(1),
                    labels: labels("canary"),
                },
                target: Track {
                    replicas: Some(3),
                    labels: labels("stable"),
                },
                selector: json!({"matchLabels": {"app": "shop", "track": "stable"}}),
            },
            status: None,
            now: t0(),
            objects: BTreeMap::new(),
            memory: Tracks::default(),
            tally: Tally::default(),
            writes: Vec::new(),
            is_killed: false,
            uids: 0,
        };
        cluster.set_image(image);
        cluster
    }

    fn set_image(&mut self, image: &str) {
        let template = json!({
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "shop", "image": image}]},
        });
        merge(
            &mut self.spec,
            &json!({"template": {"spec": {"template": template, "minReadySeconds": 0}}}),
        );
    }

    fn kanary(&self) -> ParsedKanary {
        let mut kanary = parse(&self.spec, self.status.clone(), &json!({}));
        let spec = Arc::make_mut(&mut kanary.spec);
        CANARY.clone_into(&mut spec.canary.name);
        spec.tracked = Some(Box::new(self.tracked.clone()));
        spec.validation.once_below_targets();
        kanary
    }

    fn seen(&self, kanary: &ParsedKanary) -> Observation {
        let canary = self.objects.get(CANARY).map(|object| object.seen.clone());
        let run = kanary.run(&kanary.spec);
        let is_up = canary
            .as_ref()
            .is_some_and(|canary| canary.available_since.is_some() && canary.labels.get(names::RUN) == Some(&run));
        let pod = Pod {
            name: "x".to_owned(),
            ready: true,
            labels: canary
                .as_ref()
                .map(|canary| canary.pod_labels.clone())
                .unwrap_or_default(),
            ..Pod::default()
        };
        Observation {
            target: self.objects.get(STABLE).map(|object| object.seen.clone()),
            canary,
            pods: is_up.then_some(pod).into_iter().collect(),
            tallies: vec![self.tally.clone()],
            tracks: self.memory.clone(),
            confirmed: true,
            ..Observation::default()
        }
    }

    fn decide(&self) -> Decision {
        let kanary = self.kanary();
        decide(&kanary, &self.seen(&kanary), self.now)
    }

    fn phase(&self) -> Phase {
        Phase::of(&self.kanary().status)
    }

    fn act(&mut self, action: &Action) {
        let (name, changed) = match action {
            Action::Create { name, manifest, .. } => {
                assert!(!self.objects.contains_key(name), "{name} exists");
                self.uids += 1;
                let seen = Workload {
                    uid: format!("uid-{}", self.uids),
                    owner: Some(UID.to_owned()),
                    created: self.now,
                    ..Workload::default()
                };
                assert_eq!(manifest["metadata"]["ownerReferences"][0]["uid"], UID);
                let object = Object {
                    seen,
                    spec: json!({"selector": manifest["spec"]["selector"]}),
                };
                self.objects.insert(name.clone(), object);
                let labels = serde_json::from_value(manifest["metadata"]["labels"].clone()).unwrap();
                (
                    name,
                    self.write(name, labels, manifest["spec"].as_object().unwrap().clone()),
                )
            }
            Action::Update(Update {
                workload,
                uid,
                generation,
                labels,
                spec,
                owner,
                ..
            }) => {
                let seen = &mut self.objects.get_mut(&workload.name).unwrap().seen;
                assert_eq!((uid, generation), (&seen.uid, &seen.generation));
                if owner.is_some() {
                    seen.owner = Some(UID.to_owned());
                }
                (&workload.name, self.write(&workload.name, labels.clone(), spec.clone()))
            }
            other => panic!("{other:?}"),
        };
        let object = &self.objects[name];
        let written = Some(Written {
            uid: object.seen.uid.clone(),
            generation: object.seen.generation,
            at: changed.then_some(self.now),
        });
        if self.is_killed && changed {
            self.memory = Tracks::default();
        } else if name == CANARY {
            self.memory.canary = written;
        } else {
            self.memory.target = written;
        }
        if changed {
            let what = format!("{name}: {} x{}", object.image(), object.seen.replicas);
            self.writes.push(what);
        }
    }

    /// Stores what a write says. Returns whether anything changed.
    fn write(&mut self, name: &str, labels: Labels, spec: serde_json::Map<String, Value>) -> bool {
        let Object { seen, spec: stored } = self.objects.get_mut(name).unwrap();
        let former = stored.clone();
        for (field, value) in spec {
            stored[field] = value;
        }
        seen.labels.extend(labels);
        seen.replicas = i32::try_from(stored["replicas"].as_i64().unwrap_or(1)).unwrap();
        seen.pod_labels = serde_json::from_value(stored["template"]["metadata"]["labels"].clone()).unwrap();
        if former["template"] != stored["template"] {
            (seen.available_since, seen.rolled_out) = (None, false);
        }
        let changed = former != *stored;
        seen.generation += i64::from(changed);
        changed
    }

    /// Acts until there is nothing to do.
    fn settle(&mut self) {
        for _ in 0..40 {
            let decision = self.decide();
            let Decision {
                actions, status, needs, ..
            } = decision;
            assert_eq!(needs, None);
            // A controller that is killed after a write does not come to the next one, or to the status.
            for action in actions.iter().take(if self.is_killed { 1 } else { usize::MAX }) {
                self.act(action);
            }
            if let Some(status) = status.as_ref().filter(|_| !self.is_killed || actions.is_empty()) {
                self.status = Some(serde_json::to_value(status).unwrap());
            }
            if actions.is_empty() && status.is_none() {
                return;
            }
        }
        panic!("decisions do not settle: {:?}, {:?}", self.writes, self.decide());
    }

    /// Every pod of both tracks is of the newest template and available.
    fn roll_out(&mut self) {
        for object in self.objects.values_mut() {
            object.seen.rolled_out = true;
            object.seen.available_since.get_or_insert(self.now);
        }
        self.settle();
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.settle();
    }

    /// The check has this outcome.
    fn measure(&mut self, outcome: Outcome) {
        assert_eq!(self.decide().checks, [0], "no check is due");
        let sample = Sample {
            outcome,
            value: None,
            message: "measured".to_owned(),
        };
        self.tally.record(sample, self.now, vec!["x".to_owned()]);
        self.settle();
        if self.phase() > Phase::Running {
            self.tally = Tally::default();
        }
    }

    /// A whole run.
    fn run(&mut self, image: &str, outcome: Outcome) {
        self.set_image(image);
        self.settle();
        self.roll_out();
        self.pass(60);
        self.measure(outcome);
        self.roll_out();
    }

    fn images(&self) -> Vec<String> {
        let image = |object: &Object| object.image().to_owned();
        [CANARY, STABLE]
            .iter()
            .filter_map(|name| self.objects.get(*name))
            .map(image)
            .collect()
    }

    fn take_writes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.writes)
    }
}
