//! `CanaryApp`: the primary is the target, and the secondary is the canary.
//!
//! With Istio, both are behind one Service, in which a `VirtualService` tells them apart by subsets: the published queries select
//! requests by the name of that Service. An `HTTPRoute` of Gateway API knows no subsets, so there that Service selects the primary alone,
//! and the secondary is behind its own.

mod owned;
mod words;

use serde_json::{Map, Value, json};

use self::words::WORDS;
use super::{Frame, FrontEnd, Subsets, Told, Translated, fields, required};
use crate::{
    Key,
    api::{CanaryAppSpec, KanaryStatus, OwnFields, Reason, RouteKind},
    invalid::Invalid,
    labels::Labels,
    phase::{FAILED, Phase, find},
    validation::promql::{Vars, selects_canary},
};

pub(super) struct CanaryApp;

/// Shares of the requests, in percent: the first one above half is the last.
const STEPS: [u8; 6] = [10, 20, 30, 40, 50, 60];
/// How long a new image is judged at each share, in seconds.
const STEP_SECONDS: u32 = 30;
/// The longest time between two measurements, in seconds.
const MEASURE_SECONDS: u32 = 20;

impl FrontEnd for CanaryApp {
    fn own_fields(&self) -> &'static [&'static str] {
        &[
            "successfulRelease",
            "testRunning",
            "trafficShift",
            "lastFailedTag",
            "lastTrafficShift",
            "lastSuccessfulTag",
            "primaryTag",
        ]
    }

    fn translate(&self, key: &Key, raw: &Value, own: &OwnFields) -> Translated {
        let mut problems = Vec::new();
        let spec: CanaryAppSpec = fields(raw, &mut problems);
        if problems.is_empty() {
            check(key, &spec, &mut problems);
        }
        let app = App {
            name: &key.name,
            spec: &spec,
        };
        Translated {
            spec: app.kanary(),
            frame: app.frame(released(own)),
            problems,
        }
    }

    fn tell(&self, told: &Told<'_>, next: &mut KanaryStatus) {
        let own = |name: &str| told.former.own.get(name).cloned();
        let version = || json!(told.frame.version);
        let phase = Phase::of(next);
        let (passed, failed) = (phase == Phase::DeploymentUpdated, phase == Phase::Failed);
        // The next image may come before all pods of the primary run this one.
        let is_promoted = passed || phase == Phase::Succeeded && next.promoted_hash.is_some();
        let primary = if is_promoted && told.is_sound {
            Some(version())
        } else {
            own("primaryTag")
        };
        let former = || own("lastSuccessfulTag");
        let successful = match phase {
            Phase::DeploymentUpdated if told.is_sound => Some(version()),
            Phase::Scheduled | Phase::Running => primary.clone().or_else(former),
            _ => former(),
        };
        let by_template = find(next, FAILED).is_some_and(|failed| !is_blameless(&failed.reason));
        let last_failed = if failed && by_template && told.is_sound {
            Some(version())
        } else {
            own("lastFailedTag")
        };
        let is_good = match phase {
            Phase::DeploymentUpdated => json!(true),
            Phase::Failed => json!(false),
            _ => own("successfulRelease").unwrap_or(json!(false)),
        };
        let in_force = next.traffic.as_ref().filter(|traffic| traffic.since.is_some());
        let shift = in_force.map_or(0, |traffic| traffic.weight);
        let since = in_force.and_then(|traffic| traffic.since);
        let mut fields = Map::from_iter([
            ("successfulRelease".to_owned(), is_good),
            // Without a release, the primary is created from the image, and there is nothing to compare it with.
            (
                "testRunning".to_owned(),
                json!(phase <= Phase::Running && successful.is_some()),
            ),
            ("trafficShift".to_owned(), json!(shift)),
        ]);
        let times = since.map(|since| json!(since)).or_else(|| own("lastTrafficShift"));
        for (name, value) in [
            ("lastFailedTag", last_failed),
            ("lastTrafficShift", times),
            ("lastSuccessfulTag", successful),
            ("primaryTag", primary),
        ] {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
        next.own = OwnFields::new(fields);
    }

    fn words(&self) -> &'static [(&'static str, &'static str)] {
        WORDS
    }
}

/// The image that the primary has, or had before somebody deleted it. A status that an older version wrote has only the other field.
fn released(own: &OwnFields) -> Option<&str> {
    let mut fields = ["primaryTag", "lastSuccessfulTag"].into_iter();
    fields.find_map(|name| own.get(name)?.as_str())
}

/// Whether a run failed for a reason that is not its image's fault.
fn is_blameless(reason: &String) -> bool {
    *reason == Reason::TargetChanged || *reason == Reason::CanaryChanged
}

/// What the schema refuses, for objects that an API server stored without it.
fn check(key: &Key, spec: &CanaryAppSpec, problems: &mut Vec<Invalid>) {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    required(given(&spec.image), "image", problems);
    required(
        spec.image_listen_port.filter(|port| *port > 0),
        "imageListenPort",
        problems,
    );
    required(given(&spec.prometheus_query), "prometheusQuery", problems);
    required(given(&spec.prometheus_url), "prometheusURL", problems);
    for (number, name) in [(spec.replicas, "replicas"), (spec.test_replicas, "testReplicas")] {
        if let Some(number) = required(number, name, problems).filter(|number| *number < 1) {
            problems.push(Invalid::spec(format!("spec.{name} is {number}: use 1 or more")));
        }
    }
    let gateway = spec
        .gateway
        .as_deref()
        .filter(|gateway| !["istio", "mesh"].contains(gateway));
    problems.extend(gateway.map(|gateway| Invalid::spec(format!("spec.gateway is {gateway}: use istio or mesh"))));
    if !spec.parent_refs.is_empty() {
        check_gateway_api(key, spec, problems);
    }
}

/// The same for an application behind a Gateway of Gateway API.
fn check_gateway_api(key: &Key, spec: &CanaryAppSpec, problems: &mut Vec<Invalid>) {
    if spec.gateway.is_some() {
        problems.push(Invalid::spec(
            "spec.gateway is about Istio, and spec.parentRefs about Gateway API: remove one of them",
        ));
    }
    if spec.parent_refs.iter().any(|parent| parent.name.is_empty()) {
        problems.push(Invalid::spec("an entry of spec.parentRefs has no name: set it"));
    }
    let query = spec.prometheus_query.as_deref().unwrap_or_default();
    if !query.is_empty() && !finds_secondary(query, key) {
        problems.push(Invalid::spec(
            "with spec.parentRefs, the primary and the secondary have a Service each, and no matcher of spec.prometheusQuery selects \
             the secondary, so it would not find its errors: add one, such as pod=~\"{{ pods }}\", or one that compares the name of \
             the workload or of the Service with {{ canary.name }}",
        ));
    }
}

/// Whether a query selects the secondary by its name, its label or its pods.
fn finds_secondary(query: &str, key: &Key) -> bool {
    let canary = format!("{}-secondary", key.name);
    let pod = format!("{canary}-5d9c8b7f6-abcde");
    let pods = &[pod.as_str()];
    let vars = Vars {
        deployment: &format!("{}-primary", key.name),
        canary: &canary,
        service: &key.name,
        namespace: &key.namespace,
        kanary: &key.name,
        weight: "10",
        pods,
        all_pods: pods,
    };
    selects_canary(query, &vars, "secondary")
}

/// Where the requests of an application come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Through a Gateway of Istio that belongs to the application.
    Istio,
    /// From pods of Istio's mesh.
    Mesh,
    /// Through a Gateway of Gateway API.
    GatewayApi,
}

/// An object of this kind.
struct App<'a> {
    name: &'a str,
    spec: &'a CanaryAppSpec,
}

impl App<'_> {
    fn labels(&self, service: &str) -> Labels {
        let mut labels = self.shared_labels();
        labels.insert("service".to_owned(), service.to_owned());
        labels
    }

    /// The labels that both have.
    fn shared_labels(&self) -> Labels {
        [("app", self.name), ("owner", "canaryop")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn named(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn path(&self) -> Path {
        if !self.spec.parent_refs.is_empty() {
            Path::GatewayApi
        } else if self.spec.gateway.as_deref() == Some("mesh") {
            Path::Mesh
        } else {
            Path::Istio
        }
    }

    fn route_kind(&self) -> RouteKind {
        match self.path() {
            Path::Istio | Path::Mesh => RouteKind::Virtual,
            Path::GatewayApi => RouteKind::Http,
        }
    }

    /// The spec of the primary with this image.
    fn workload(&self, image: Option<&str>) -> Value {
        let labels = self.labels("primary");
        json!({
            "replicas": self.spec.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": self.name,
                    "image": image,
                    "ports": [{"name": "http", "containerPort": self.spec.image_listen_port, "protocol": "TCP"}],
                }]},
            },
        })
    }

    fn kanary(&self) -> Value {
        let spec = self.spec;
        let step = spec.traffic_shift_update_interval.unwrap_or(STEP_SECONDS).max(1);
        let seconds = |seconds: u32| format!("{seconds}s");
        let errors = self.fails_unanswered().then_some(1);
        json!({
            "deploymentName": self.named("primary"),
            "serviceName": self.name,
            "template": {
                "metadata": {"labels": self.labels("primary")},
                "spec": self.workload(spec.image.as_deref()),
            },
            "scale": {"static": {"replicas": spec.test_replicas.unwrap_or(1).max(1)}},
            "traffic": {
                "source": "weighted",
                "kanaryService": self.named("secondary"),
                "route": {"kind": self.route_kind(), "name": self.name},
                "weighted": {"steps": STEPS, "interval": seconds(step)},
            },
            "validation": {
                "initialDelay": seconds(spec.deployment_ready_wait_time.unwrap_or(0)),
                "validationPeriod": seconds(step),
                "maxIntervalPeriod": seconds(step.min(MEASURE_SECONDS)),
                "items": [{"promQL": {
                    "prometheusURL": spec.prometheus_url,
                    "query": spec.prometheus_query.as_deref().unwrap_or_default(),
                    "allPodsQuery": true,
                    "noResult": {},
                    "consecutiveErrorLimit": errors,
                }}],
            },
            "rollout": {"createTargetAfter": "0s"},
            "retry": spec.retry,
        })
    }

    fn fails_unanswered(&self) -> bool {
        self.spec.fail_when_prometheus_fails == Some(true)
    }

    /// `released` is the image that passed last.
    fn frame(&self, released: Option<&str>) -> Frame {
        Frame {
            version: self.spec.image.clone().unwrap_or_default(),
            canary: self.named("secondary"),
            canary_labels: self.labels("secondary"),
            fails_unanswered: self.fails_unanswered(),
            kept: self.kept(released),
            unwanted: self.unwanted(),
            subsets: (self.path() != Path::GatewayApi).then(|| Subsets {
                production: format!("{}/primary", self.name),
                canary: format!("{}/secondary", self.name),
            }),
            ..Frame::default()
        }
    }
}

#[cfg(test)]
mod tests;
