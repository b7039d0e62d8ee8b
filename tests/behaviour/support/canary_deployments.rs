//! `CanaryDeployment`s.

use kanary::controller::Options;
use kanary_core::api::KanaryKind;
use serde_json::{Value, json};

use super::{CANARY_DEPLOYMENT, DEPLOYMENT, EVENT, Faults, World, controller::Controller};

/// The `CanaryDeployment` `emoji` with these fields of the canary track: one canary, two stable pods, and version 1.
pub(crate) fn emoji(canary: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "kanarini.nilebox.github.com/v1alpha1",
        "kind": "CanaryDeployment",
        "metadata": {"name": "emoji"},
        "spec": {
            "selector": {"matchLabels": {"app": "emoji"}},
            "template": {
                "metadata": {"labels": {"app": "emoji"}},
                "spec": {"containers": [{"name": "emoji", "image": "emoji:1.0"}]},
            },
            "tracks": {
                "canary": {"replicas": 1, "labels": {"track": "canary"}, "metricsCheckDelaySeconds": 1},
                "stable": {"replicas": 2, "labels": {"track": "stable"}},
            },
        },
    });
    super::merge(&mut manifest["spec"]["tracks"]["canary"], canary);
    manifest
}

/// The metric of the talk, with this limit.
pub(crate) fn failure_rate(limit: Value) -> Value {
    json!({"metrics": [{"type": "Object", "object": {
        "describedObject": {"kind": "Service", "name": "emoji-canary"},
        "metric": {"name": "request_failure_rate:1m"},
        "target": {"type": "Value", "value": limit},
    }}]})
}

impl World {
    /// A namespace with a controller that serves `CanaryDeployment`s.
    pub(crate) async fn with_canary_deployments(file: &str) -> Self {
        let world = Self::unserved(file).await;
        world.start_controller_of_tracks(None);
        world
    }

    /// Starts a controller that serves `CanaryDeployment`s, and that may die.
    pub(crate) fn start_controller_of_tracks(&self, faults: Option<&Faults>) {
        let (plane, faults) = (self.plane, faults.cloned());
        let mut kinds = KanaryKind::ALWAYS.to_vec();
        kinds.push(KanaryKind::CanaryDeployment);
        let options = Options {
            kinds,
            metrics_apis: true,
            ..Options::default()
        };
        self.put(Controller::with(&self.ns, options, move |clock| async move {
            plane.kanary(clock, faults.as_ref()).await
        }));
    }

    /// Whether a test says what the metrics APIs serve.
    pub(crate) fn has_scripted_metrics(&self) -> bool {
        matches!(self.plane.kind(), super::plane::Kind::Embedded(_))
    }

    /// Gives `emoji` the template of another version.
    pub(crate) async fn emoji_version(&self, version: &str) {
        let image = format!("emoji:{version}");
        let template = json!({"spec": {"containers": [{"name": "emoji", "image": image}]}});
        self.patch(&CANARY_DEPLOYMENT, "emoji", json!({"spec": {"template": template}}))
            .await;
    }

    /// The run of this version ends in this phase.
    pub(crate) async fn emoji_ends(&self, version: &str, phase: &str) -> Value {
        let is_over = |object: &Value| {
            let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
            *image == json!(format!("emoji:{version}"))
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && super::phase(object) == phase
        };
        self.until(
            &CANARY_DEPLOYMENT,
            "emoji",
            &format!("version {version} ends as {phase}"),
            is_over,
        )
        .await
    }

    /// Events have these reasons.
    pub(crate) async fn announces(&self, reasons: &[&str]) {
        for reason in reasons {
            let what = format!("{reason} is announced");
            self.until_all(&EVENT, "", &what, |events| {
                events.iter().any(|event| event["reason"] == *reason)
            })
            .await;
        }
    }

    /// Both tracks come to run these versions.
    pub(crate) async fn emoji_runs(&self, canary: &str, stable: Option<&str>) {
        let runs = |version: &str| {
            let image = format!("emoji:{version}");
            move |deployment: &Value| {
                let status = &deployment["status"];
                image_of(deployment) == image
                    && status["observedGeneration"] == deployment["metadata"]["generation"]
                    && status["updatedReplicas"] == deployment["spec"]["replicas"]
                    && status["replicas"] == deployment["spec"]["replicas"]
            }
        };
        self.until(&DEPLOYMENT, "emoji-canary", &format!("runs {canary}"), runs(canary))
            .await;
        match stable {
            Some(stable) => {
                self.until(&DEPLOYMENT, "emoji-stable", &format!("runs {stable}"), runs(stable))
                    .await;
            }
            None => assert!(self.find(&DEPLOYMENT, "emoji-stable").await.is_none()),
        }
    }
}

/// The image of the only container.
pub(crate) fn image_of(deployment: &Value) -> &str {
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    image.as_str().unwrap_or_default()
}
