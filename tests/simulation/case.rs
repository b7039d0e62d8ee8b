//! A Kanary in a scenario: what its user does, and the allowed results.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;
use kanary_core::api::names;
use serde_json::{Value, json};

use crate::target_kinds::TargetKind;

/// The allowed final states of a Kanary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Updated,
    DryRun,
    Failed(String),
    Scheduled,
    Running,
    Promoting,
    Errored,
    Deleted,
    Missing,
}

/// Facts about a Kanary that hold whatever happens to the cluster.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the facts are independent")]
pub(crate) struct Truth {
    pub(crate) what: &'static str,
    /// Name of its target.
    pub(crate) target: String,
    pub(crate) kind: &'static TargetKind,
    pub(crate) ends: Vec<End>,
    /// Images that must not pass.
    pub(crate) bad_images: BTreeSet<String>,
    pub(crate) dry_run: bool,
    /// `onTargetChange: promote`.
    pub(crate) promote_over: bool,
    pub(crate) rollback: bool,
    pub(crate) retain: bool,
    /// Whether the canary gets traffic from the production Service.
    pub(crate) in_service: bool,
    /// Whether its template changes during the run.
    pub(crate) edited: bool,
    /// Whether other clients write to its target.
    pub(crate) shared: bool,
    /// How long its target may keep a canary in place that is no longer wanted, because a policy refuses writes.
    pub(crate) obstructed: SignedDuration,
    /// Whether all pods of its target run the same template in the end.
    pub(crate) ends_whole: bool,
    /// Whether other clients change the Kanary, its target and its Services arbitrarily. It may then end in any state.
    pub(crate) hostile: bool,
    /// Whether no other client interferes, so that its costs and times are predictable.
    pub(crate) plain: bool,
}

/// An action of a user.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Patches the Kanary.
    Patch(Value),
    Delete,
    /// Deletes the Kanary and creates one of the same name after this delay, as `kubectl replace --force` does.
    Recreate(Duration),
    /// Patches the target.
    PatchTarget(Value),
    /// Deletes the target and creates it again a little later.
    ReplaceTarget,
    /// Labels a pod of the canary as soon as one exists.
    LabelPod,
    /// Deletes a pod of the canary, if one exists.
    DeletePod,
    /// Deletes the canary, if it exists.
    DeleteCanary,
    /// Waits until the run has ended.
    AwaitEnd,
    /// Patches the canary as soon as it has pods.
    PatchCanary(Value),
    /// Rolls the target out once it has been promoted, if its strategy leaves that to its user.
    RollOut,
    /// Deletes pods that never become ready, once their target has its former template back.
    DeleteStuck,
    /// Removes the annotation of a run from its target, once the run is known to have begun in place.
    Unannotate,
    /// Refuses writes of the target by controllers for a while, with this code.
    Refuse(Duration, u16),
    /// Creates an object.
    Create(Value),
    /// Deletes an object of this kind and name.
    DeleteOther(&'static str, String),
}

/// A Kanary in a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Label of the target's pods, and the beginning of the names of their images and of its Service.
    pub(crate) app: String,
    pub(crate) manifest: Value,
    pub(crate) created: Duration,
    /// Actions, with the delay after the Kanary's creation.
    pub(crate) acts: Vec<(Duration, Act)>,
    pub(crate) truth: Truth,
    /// Whether the target exists from the beginning.
    pub(crate) has_target: bool,
    /// Whether the image never becomes ready after its promotion.
    pub(crate) spoils: bool,
    /// Changes to the default target and Service, as JSON merge patches.
    pub(crate) target_patch: Value,
    pub(crate) service_patch: Value,
    /// Further objects, which exist before the target.
    pub(crate) beside: Vec<Value>,
}

/// Creates cases.
pub(crate) struct Maker<'a> {
    pub(crate) rng: &'a mut fastrand::Rng,
    pub(crate) name: String,
    pub(crate) target: String,
    /// Suffix of the next version's image.
    pub(crate) suffix: &'static str,
}

/// A Deployment's pod template.
pub(crate) fn template(target: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": target}},
        "spec": {"containers": [{"name": "main", "image": image}], "terminationGracePeriodSeconds": 1},
    })
}

/// A target.
pub(crate) fn deployment(target: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": target, "labels": {"team": "shop"}, "annotations": {"note": "mine"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": target}},
            "template": template(target, &format!("{target}:v1")),
        },
    })
}

/// The Service of a target.
pub(crate) fn service(target: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("{target}-svc")},
        "spec": {"selector": {"app": target}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

pub(crate) use kanary_sim::patch::merge;

pub(crate) fn failed(reason: &str) -> End {
    End::Failed(reason.to_owned())
}

impl Maker<'_> {
    /// The image that the Kanary validates.
    pub(crate) fn image(&self, version: u32) -> String {
        format!("{}:{}-{version}{}", self.target, self.name, self.suffix)
    }

    pub(crate) fn seconds(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.u64(low * 1000..high * 1000))
    }

    /// A Kanary with these items and no actions. `spec` overrides the defaults.
    #[allow(clippy::needless_pass_by_value, reason = "called with json!")]
    pub(crate) fn case(&mut self, what: &'static str, items: Value, spec: Value, ends: &[End]) -> Case {
        let (name, target) = (self.name.clone(), self.target.clone());
        let kind = if self.rng.u8(..4) == 0 {
            "KanaryStatefulset"
        } else {
            "KanaryDeployment"
        };
        let period = self.rng.u32(8..40);
        let mut manifest = json!({
            "apiVersion": "kanary.k8s-operators.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {
                "deploymentName": target,
                "serviceName": format!("{target}-svc"),
                "template": {"spec": {
                    "selector": {"matchLabels": {"app": target}},
                    "template": template(&target, &self.image(1)),
                }},
                "validation": {"validationPeriod": format!("{period}s"), "maxIntervalPeriod": "5s", "items": items},
            },
        });
        if self.rng.u8(..3) == 0 {
            manifest["spec"]["validation"]["initialDelay"] = json!(format!("{}s", self.rng.u32(1..15)));
        }
        merge(&mut manifest["spec"], &spec);
        let traffic = manifest["spec"]["traffic"]["source"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Case {
            created: self.seconds(0, 30),
            app: target.clone(),
            truth: Truth {
                what,
                target,
                ends: ends.to_vec(),
                in_service: ["service", "both"].contains(&traffic.as_str()),
                plain: true,
                ..Truth::default()
            },
            name,
            manifest,
            acts: Vec::new(),
            has_target: true,
            spoils: false,
            target_patch: json!({}),
            service_patch: json!({}),
            beside: Vec::new(),
        }
    }
}

impl Case {
    /// The kind of its Kanary, with the group if that is not the usual one.
    pub(crate) fn kind(&self) -> String {
        let text = |field: &str| self.manifest[field].as_str().unwrap_or_default();
        match text("apiVersion").split('/').next() {
            None | Some(names::GROUP) => text("kind").to_owned(),
            Some(group) => format!("{}.{group}", text("kind")),
        }
    }

    /// The target as its user creates it.
    pub(crate) fn target(&self, replicas: i32) -> Value {
        let mut target = deployment(&self.app, replicas);
        target["kind"] = json!(self.truth.kind.name);
        target["metadata"]["name"] = json!(self.truth.target);
        merge(&mut target, &self.target_patch);
        target
    }

    /// Adds an action of the user, so that costs and times are no longer predictable.
    pub(crate) fn then(mut self, after: Duration, act: Act) -> Self {
        self.acts.push((after, act));
        self.truth.plain = false;
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Truth)) -> Self {
        change(&mut self.truth);
        self
    }

    /// Declares that its first image must not pass.
    pub(crate) fn bad(mut self) -> Self {
        let template = &self.manifest["spec"]["template"]["spec"];
        let image = crate::history::image(template);
        self.truth.bad_images.insert(image);
        self
    }
}
