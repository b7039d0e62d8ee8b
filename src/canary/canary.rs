//! A Kanary that was read and understood. Parse, don't validate: behind [`Spec`] there are no illegal specs.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::{hash, scale::Scale, validation::Validation};
use crate::{
    api::{
        Kanary, KanaryKind, KanarySpec, KanaryStatus, OnFailure, OnTargetChange, RolloutMode, RolloutSpec,
        TrafficSource, ValidationSpec, Word, names,
    },
    shard::Slot,
};

/// Which Kanary: kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Kind of the Kanary.
    pub kind: KanaryKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The Kanary of a kind at a place: its namespace and name.
    #[must_use]
    pub fn at(kind: KanaryKind, (namespace, name): (String, String)) -> Self {
        Self { kind, namespace, name }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// A Kanary as it was read: who it is, what it says, and what was written about it.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Which one.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion`, the precondition of the next status write.
    pub resource_version: String,
    /// Which replica acts on it follows from this.
    pub slot: Slot,
    /// Being deleted: left to the garbage collector.
    pub deleting: bool,
    /// The status that was read.
    pub status: KanaryStatus,
    /// The valid spec, or what is wrong with it.
    pub spec: Result<Spec, Invalid>,
}

/// Why a spec cannot be run, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// One CamelCase word.
    pub reason: &'static str,
    /// A sentence for the user.
    pub message: String,
}

impl Invalid {
    pub(super) fn spec(message: impl Into<String>) -> Self {
        Self {
            reason: "InvalidSpec",
            message: message.into(),
        }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self {
            reason: "Unsupported",
            message: message.into(),
        }
    }
}

/// A valid spec, defaults filled in.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the user's, and any combination is legal"
)]
pub struct Spec {
    /// Name of the target Deployment.
    pub target: String,
    /// Name of the canary Deployment.
    pub canary: String,
    /// Name of the production Service.
    pub service: Option<String>,
    /// Name of the canary's own Service, where the traffic source asks for one.
    pub kanary_service: Option<String>,
    /// `template.metadata`.
    pub template_metadata: Value,
    /// `template.spec`, a Deployment's spec.
    pub template_spec: Value,
    /// Hash of the pod template: what a run is about.
    pub template_hash: String,
    /// `spec.retry`.
    pub retry: i64,
    /// Nothing is created before.
    pub schedule: Option<Timestamp>,
    /// How many canary pods.
    pub scale: Scale,
    /// Which requests reach the canary; never one of the sources that are not there yet.
    pub traffic: TrafficSource,
    /// How it is judged.
    pub validation: Validation,
    /// The run ends at Succeeded and leaves the target alone.
    pub dry_run: bool,
    /// A failed canary is kept, out of traffic.
    pub retain_failed: bool,
    /// A target that somebody else changed is overwritten.
    pub promote_over_change: bool,
    /// How long the canary and the target may take to become available.
    pub progress_deadline: Duration,
    /// The former template is put back if the promoted target does not become available.
    pub rollback: bool,
    /// The run is held where it is.
    pub paused: bool,
    /// The user's word over the whole run.
    pub verdict: Option<Word>,
}

impl Spec {
    /// The pod template that is tried and promoted.
    #[must_use]
    pub fn pod_template(&self) -> Value {
        self.template_spec.get("template").cloned().unwrap_or_default()
    }

    /// Whether the traffic source asks for the production Service.
    #[must_use]
    pub fn traffic_needs_service(&self) -> bool {
        self.traffic != TrafficSource::None
    }

    /// Whether canary pods are behind the production Service.
    #[must_use]
    pub fn in_production(&self) -> bool {
        matches!(self.traffic, TrafficSource::Service | TrafficSource::Both)
    }
}

impl Canary {
    /// Reads a Kanary of `kind`. Never fails on what the user wrote: that is in [`Canary::spec`].
    ///
    /// # Errors
    ///
    /// The object has no name, namespace or uid, or a status that nobody could have written through the API: acting on it
    /// could repeat what was already done.
    pub fn parse(kind: KanaryKind, object: &Kanary) -> Result<Self, String> {
        let (Some(namespace), Some(uid)) = (object.namespace(), object.uid()) else {
            return Err("the object has no namespace or uid".to_owned());
        };
        let key = Key {
            kind,
            namespace,
            name: object.name_any(),
        };
        let status = match &object.status {
            None => KanaryStatus::default(),
            Some(status) => {
                serde_json::from_value(status.clone()).map_err(|e| format!("the status cannot be read: {e}"))?
            }
        };
        let spec = serde_json::from_value::<KanarySpec>(object.spec.clone())
            .map_err(|e| Invalid::spec(format!("spec: {e}")))
            .and_then(|spec| Spec::parse(&key, spec))
            .and_then(|spec| one_target_for_life(spec, &status));
        Ok(Self {
            uid,
            slot: slot_of(object),
            generation: object.metadata.generation.unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            deleting: object.metadata.deletion_timestamp.is_some(),
            key,
            status,
            spec,
        })
    }

    /// Identity of the run, a label value. The number makes it unique: a template that is run again, after others, must
    /// not find what its former run left.
    #[must_use]
    pub fn run(&self, spec: &Spec) -> String {
        format!("{}-{}", spec.template_hash, self.status.run.unwrap_or(1))
    }

    /// Who promoted, or created, a target: written on it as an annotation.
    #[must_use]
    pub fn marker(&self, spec: &Spec) -> String {
        format!("{}/{}", self.uid, self.run(spec))
    }
}

/// The slot that a Kanary belongs to, whatever its label says and whether or not its spec can be run.
#[must_use]
pub fn slot_of(object: &Kanary) -> Slot {
    let text = |path: &str| given(object.spec.pointer(path).and_then(Value::as_str).map(str::to_owned));
    let target = text("/deploymentName").or_else(|| text("/template/metadata/name"));
    let target = target.unwrap_or_else(|| object.name_any());
    Slot::of(&object.namespace().unwrap_or_default(), &target)
}

/// A Kanary belongs to one target for its whole life; a rule of the CRD guards `deploymentName`, this the two defaults.
fn one_target_for_life(spec: Spec, status: &KanaryStatus) -> Result<Spec, Invalid> {
    let former = &status.report.deployment;
    if former.is_empty() || *former == spec.target {
        return Ok(spec);
    }
    Err(Invalid::spec(format!(
        "this Kanary belongs to Deployment {former} and can't change to {}: create another Kanary for another target",
        spec.target
    )))
}

/// An empty string is what Go clients write for an absent one.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Spec {
    fn parse(key: &Key, spec: KanarySpec) -> Result<Self, Invalid> {
        if spec.items.is_some() {
            return Err(Invalid::spec("spec.items belongs under spec.validation: indent it"));
        }
        let metadata = spec.template.metadata.unwrap_or_default();
        let template_spec = without_nulls(spec.template.spec);
        let pod_template = template_spec.get("template");
        let has_container = pod_template
            .and_then(|pod| pod.pointer("/spec/containers/0"))
            .is_some_and(Value::is_object);
        if !has_container {
            return Err(Invalid::spec(
                "spec.template.spec.template.spec.containers has no container: spec.template is a whole Deployment, so \
                 the pod template is spec.template.spec.template",
            ));
        }
        let template_hash = hash::of(pod_template.unwrap_or(&Value::Null));
        let retry = spec.retry.unwrap_or_default();
        let target = given(spec.deployment_name)
            .or_else(|| {
                let name = metadata.get("name").and_then(Value::as_str)?;
                given(Some(name.to_owned()))
            })
            .unwrap_or_else(|| key.name.clone());
        let service = given(spec.service_name);
        let traffic = spec.traffic.unwrap_or_default();
        let kanary_service = kanary_service(key, &traffic, service.as_deref())?;
        let validation_spec = one_of(spec.validation, spec.validations)?;
        let rollout = spec.rollout.unwrap_or_default();
        let no_update = validation_spec.no_update == Some(true);
        let validation = Validation::parse(validation_spec)?;
        if service.is_none() && validation.needs_service() {
            return Err(Invalid::spec(
                "a query uses {{ service.name }}, and spec.serviceName is not set: set it, or change the query",
            ));
        }
        Ok(Self {
            canary: canary_name(&target, &key.name)?,
            schedule: schedule(given(spec.schedule))?,
            scale: Scale::parse(spec.scale.unwrap_or_default()).map_err(Invalid::spec)?,
            dry_run: no_update || rollout.mode == Some(RolloutMode::DryRun),
            validation,
            traffic: traffic.source,
            template_metadata: metadata,
            paused: spec.paused.unwrap_or_default(),
            verdict: spec.verdict,
            retain_failed: rollout.on_failure == Some(OnFailure::Retain),
            promote_over_change: rollout.on_target_change == Some(OnTargetChange::Promote),
            progress_deadline: progress_deadline(&rollout),
            rollback: rollout.rollback_on_failure.unwrap_or_default(),
            target,
            service,
            kanary_service,
            template_spec,
            template_hash,
            retry,
        })
    }
}

fn progress_deadline(rollout: &RolloutSpec) -> Duration {
    rollout
        .progress_deadline
        .map_or(Duration::from_mins(10), |deadline| deadline.0)
}

/// The validation block has two published names.
fn one_of(validation: Option<ValidationSpec>, validations: Option<ValidationSpec>) -> Result<ValidationSpec, Invalid> {
    match (validation, validations) {
        (Some(_), Some(_)) => Err(Invalid::spec(
            "spec.validation and spec.validations are two names of one block: keep one",
        )),
        (one, other) => Ok(one.or(other).unwrap_or_default()),
    }
}

/// Deployments name their ReplicaSets `<name>-<10 characters>`, which must stay a DNS subdomain of 253 characters.
fn canary_name(target: &str, kanary: &str) -> Result<String, Invalid> {
    let name = names::canary_name(target, kanary);
    if name.len() > 242 {
        return Err(Invalid::spec(format!(
            "the canary's name {name} has {} characters and 242 are possible: give the Kanary a shorter name",
            name.len()
        )));
    }
    if kanary.len() > 63 {
        return Err(Invalid::spec(
            "the name of a Kanary is a label value: use 63 characters at most",
        ));
    }
    Ok(name)
}

fn kanary_service(
    key: &Key,
    traffic: &crate::api::TrafficSpec,
    service: Option<&str>,
) -> Result<Option<String>, Invalid> {
    let source = traffic.source;
    match source {
        TrafficSource::None => return Ok(None),
        TrafficSource::Mirror | TrafficSource::Weighted | TrafficSource::Tagged => {
            return Err(Invalid::unsupported(format!(
                "spec.traffic.source {source} is not there yet: use service, kanary-service, both or none"
            )));
        }
        TrafficSource::Service | TrafficSource::KanaryService | TrafficSource::Both => {}
    }
    let Some(service) = service else {
        return Err(Invalid::spec(format!(
            "spec.traffic.source {source} needs spec.serviceName, the production Service: set it, or use source none"
        )));
    };
    if source == TrafficSource::Service {
        return Ok(None);
    }
    let name = given(traffic.kanary_service.clone()).unwrap_or_else(|| names::kanary_service_name(service, &key.name));
    if name.len() > 63 {
        return Err(Invalid::spec(format!(
            "the name of the canary's Service, {name}, has {} characters and 63 are possible: set \
             spec.traffic.kanaryService to a shorter one",
            name.len()
        )));
    }
    if name == service {
        return Err(Invalid::spec(format!(
            "spec.traffic.kanaryService is the production Service {service} itself: choose another name"
        )));
    }
    Ok(Some(name))
}

fn schedule(text: Option<String>) -> Result<Option<Timestamp>, Invalid> {
    text.map(|text| {
        text.parse().map_err(|_| {
            Invalid::spec(format!(
                "spec.schedule `{text}` is no time in RFC 3339 with a time zone: write it like 2020-04-12T20:42:00Z"
            ))
        })
    })
    .transpose()
}

/// A null says the same as an absent field (`creationTimestamp: null` is in many exported templates), and must hash so.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, field)| !field.is_null())
                .map(|(name, field)| (name, without_nulls(field)))
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
