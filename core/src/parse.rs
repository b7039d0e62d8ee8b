//! Parsing of a spec: its valid parts, and all problems with the way to fix each.
//!
//! An edit must never end the protection of production from a running canary. An invalid field therefore affects nothing
//! but itself.

mod lenient;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Key, hash, invalid::Invalid, named, scale::Scale, spec::Spec, validation::Validation};
use crate::api::{
    KanaryStatus, OnFailure, OnTargetChange, OnTargetMissing, RolloutMode, RolloutSpec, ScaleSpec, Template,
    TrafficSource, TrafficSpec, ValidationSpec, names,
};

/// Parses a spec. For an unsound spec, the status determines the run that it belongs to.
pub(super) fn spec(key: &Key, raw: &Value, status: &KanaryStatus) -> Spec {
    let mut problems = Vec::new();
    let read = lenient::read(raw, &mut problems);
    let mut spec = of_fields(key, read, &mut problems);
    let former = &status.report.deployment;
    if !former.is_empty() && *former != spec.target {
        if problems.is_empty() {
            problems.push(Invalid::spec(format!(
                "this Kanary belongs to Deployment {former} and can't change to {}: create another Kanary for another target",
                spec.target
            )));
        }
        former.clone_into(&mut spec.target);
        spec.canary = names::canary_name(former, &key.name);
    }
    if !problems.is_empty() && spec.service.is_none() {
        spec.service = given(Some(status.report.service.clone()));
    }
    spec.problems = problems;
    spec
}

fn of_fields(key: &Key, lenient::Read { spec, unreadable }: lenient::Read, problems: &mut Vec<Invalid>) -> Spec {
    if spec.items.is_some() {
        problems.push(Invalid::spec("spec.items belongs under spec.validation: indent it"));
    }
    let template = template(spec.template, problems);
    let target = given(spec.deployment_name)
        .or_else(|| {
            let name = template.metadata.get("name").and_then(Value::as_str)?;
            given(Some(name.to_owned()))
        })
        .unwrap_or_else(|| key.name.clone());
    let service = given(spec.service_name);
    let traffic = spec.traffic.unwrap_or_default();
    let kanary_service = or_note(kanary_service(key, &traffic, service.as_deref()), problems);
    let validation_spec = one_of(spec.validation, spec.validations, problems);
    let rollout = spec.rollout.unwrap_or_default();
    let no_update = validation_spec.no_update == Some(true);
    let validation = Validation::parse(validation_spec, &unreadable, problems);
    if service.is_none() && validation.needs_service() {
        problems.push(Invalid::spec(
            "a query uses {{ service.name }}, and spec.serviceName is not set: set it, or change the query",
        ));
    }
    Spec {
        canary: canary_name(&target, &key.name, problems),
        schedule: or_note(schedule(given(spec.schedule)), problems),
        scale: scale(spec.scale.unwrap_or_default(), problems),
        dry_run: no_update || rollout.mode == Some(RolloutMode::DryRun),
        validation,
        traffic: available(traffic.source),
        traffic_key: traffic_key(traffic.source, service.as_deref(), kanary_service.as_deref()),
        template_metadata: template.metadata,
        paused: spec.paused.unwrap_or_default(),
        verdict: spec.verdict,
        retain_failed: rollout.on_failure == Some(OnFailure::Retain),
        create_target: rollout.on_target_missing != Some(OnTargetMissing::Wait),
        create_target_after: rollout.create_target_after.map_or(CREATE_TARGET_AFTER, |after| after.0),
        promote_over_change: rollout.on_target_change == Some(OnTargetChange::Promote),
        progress_deadline: progress_deadline(&rollout),
        rollback: rollout.rollback_on_failure.unwrap_or_default(),
        target,
        service,
        kanary_service,
        template_spec: template.spec,
        template_hash: template.hash,
        retry: spec.retry.unwrap_or_default(),
        problems: Vec::new(),
    }
}

/// Go clients write an empty string for an absent one.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The parsed value, or nothing and a recorded problem.
fn or_note<T>(read: Result<Option<T>, Invalid>, problems: &mut Vec<Invalid>) -> Option<T> {
    read.unwrap_or_else(|invalid| {
        problems.push(invalid);
        None
    })
}

struct Read {
    metadata: Value,
    spec: Value,
    /// Empty without a pod template.
    hash: String,
}

fn template(template: Template, problems: &mut Vec<Invalid>) -> Read {
    let spec = without_nulls(template.spec);
    let pod_template = spec.get("template");
    let has_container = pod_template
        .and_then(|pod| pod.pointer("/spec/containers/0"))
        .is_some_and(Value::is_object);
    let hash = if has_container {
        hash::of(pod_template.unwrap_or(&Value::Null))
    } else {
        problems.push(Invalid::spec(
            "spec.template.spec.template.spec.containers has no container: spec.template is a whole Deployment, so the pod \
             template is spec.template.spec.template",
        ));
        String::new()
    };
    let metadata = template.metadata.unwrap_or_default();
    let of_pods = pod_template.and_then(|pod| pod.get("metadata")).unwrap_or(&Value::Null);
    problems.extend(named::reserved(&metadata, "spec.template.metadata"));
    problems.extend(named::reserved(of_pods, "spec.template.spec.template.metadata"));
    Read { metadata, spec, hash }
}

/// `none`, `service shop`, `both shop shop-kanary-batman`. Without traffic the production Service matters only for
/// queries.
fn traffic_key(source: TrafficSource, service: Option<&str>, kanary_service: Option<&str>) -> String {
    let service = service.filter(|_| source != TrafficSource::None);
    let names = [service, kanary_service].into_iter().flatten();
    names.fold(source.to_string(), |key, name| format!("{key} {name}"))
}

fn scale(spec: ScaleSpec, problems: &mut Vec<Invalid>) -> Scale {
    Scale::parse(spec).unwrap_or_else(|message| {
        problems.push(Invalid::spec(message));
        Scale::Static(1)
    })
}

/// A source that is not available yet sends no traffic.
fn available(source: TrafficSource) -> TrafficSource {
    match source {
        TrafficSource::Mirror | TrafficSource::Weighted | TrafficSource::Tagged => TrafficSource::None,
        source => source,
    }
}

/// Files that are applied together arrive within this time.
const CREATE_TARGET_AFTER: Duration = Duration::from_secs(30);

fn progress_deadline(rollout: &RolloutSpec) -> Duration {
    rollout
        .progress_deadline
        .map_or(Duration::from_mins(10), |deadline| deadline.0)
}

/// The validation block has two published names. If both are present, the settings of the first count, and all items of
/// both.
fn one_of(
    validation: Option<ValidationSpec>,
    validations: Option<ValidationSpec>,
    problems: &mut Vec<Invalid>,
) -> ValidationSpec {
    match (validation, validations) {
        (Some(mut one), Some(other)) => {
            problems.push(Invalid::spec(
                "spec.validation and spec.validations are two names of one block: keep one",
            ));
            if let Some(items) = other.items {
                one.items.get_or_insert_default().extend(items);
            }
            one
        }
        (one, other) => one.or(other).unwrap_or_default(),
    }
}

/// Deployments name their ReplicaSets `<name>-<10 characters>`, which must be a DNS subdomain of at most 253 characters.
fn canary_name(target: &str, kanary: &str, problems: &mut Vec<Invalid>) -> String {
    let name = names::canary_name(target, kanary);
    if name.len() > 242 {
        problems.push(Invalid::spec(format!(
            "the canary's name {name} has {} characters and 242 are possible: give the Kanary a shorter name",
            name.len()
        )));
    }
    if kanary.len() > 63 {
        problems.push(Invalid::spec(
            "the name of a Kanary is a label value: use 63 characters at most",
        ));
    }
    name
}

fn kanary_service(key: &Key, traffic: &TrafficSpec, service: Option<&str>) -> Result<Option<String>, Invalid> {
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
    named::own_service(key, given(traffic.kanary_service.clone()), service).map(Some)
}

fn schedule(text: Option<String>) -> Result<Option<Timestamp>, Invalid> {
    text.map(|text| {
        text.parse().map_err(|_| {
            Invalid::spec(format!(
                "spec.schedule `{text}` is not an RFC 3339 time with a time zone: write it like 2020-04-12T20:42:00Z"
            ))
        })
    })
    .transpose()
}

/// A null is equivalent to an absent field (many exported templates have `creationTimestamp: null`) and must have the
/// same hash.
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
