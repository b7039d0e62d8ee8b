//! Parsing of a spec: its valid parts, and all problems with the way to fix each.
//!
//! An edit must never end the protection of production from a running canary. An invalid field therefore affects nothing
//! but itself.

mod in_place;
mod lenient;
mod regex;
mod traffic;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Key, counted, front_ends,
    invalid::Invalid,
    scale::Scale,
    spec::{IN_PLACE, Routing, Spec},
    template::{TemplateRead, WorkloadTemplate},
    validation::{Validation, fitting},
    workload,
};
use crate::api::{
    KanaryStatus, OnFailure, OnTargetChange, OnTargetMissing, OwnFields, RolloutMode, RolloutSpec, ScaleSpec,
    TargetRef, TrafficSource, TrafficSpec, ValidationSpec, WorkloadKind, WorkloadRef,
};

/// What the status adds to a spec: names that an edit cannot change during a run.
#[derive(Hash)]
pub(super) struct Known<'a> {
    target: &'a str,
    service: &'a str,
    runs_in_place: bool,
    own: &'a OwnFields,
}

impl<'a> Known<'a> {
    pub(super) fn of(status: &'a KanaryStatus) -> Self {
        Self {
            target: &status.report.deployment,
            service: &status.report.service,
            runs_in_place: status.in_place.is_some(),
            own: &status.own,
        }
    }
}

/// Parses the spec of an object: that of a Kanary, or that of a front end, which is translated first.
pub(super) fn spec(key: &Key, raw: &Value, known: &Known<'_>) -> Spec {
    let Some(front) = front_ends::of(key.kind) else {
        return of_kanary(key, raw, known);
    };
    let mut translated = front.translate(key, raw, known.own);
    let mut spec = of_kanary(key, &translated.spec, known);
    if !translated.problems.is_empty() {
        // What is wrong in the translation follows from them.
        spec.problems = translated.problems;
    }
    for problem in &mut spec.problems {
        problem.message = front_ends::in_words(front, std::mem::take(&mut problem.message));
    }
    spec.canary.name.clone_from(&translated.frame.canary);
    spec.tracked = translated.frame.tracked.take();
    if spec.tracked.is_some() {
        spec.validation.once_below_targets();
    }
    spec.frame = Some(Box::new(translated.frame));
    spec
}

/// Parses the spec of a Kanary. For an unsound spec, the status determines the run that it belongs to.
fn of_kanary(key: &Key, raw: &Value, known: &Known<'_>) -> Spec {
    let mut problems = Vec::new();
    let read = lenient::read(raw, &mut problems);
    let mut spec = of_fields(key, read, &mut problems);
    problems.extend(in_place::problems(&spec).into_iter().map(Invalid::spec));
    let former = WorkloadRef::from_report(known.target);
    if let Some(former) = former.filter(|former| *former != spec.target) {
        if problems.is_empty() {
            problems.push(Invalid::spec(format!(
                "this Kanary belongs to {former} and can't change to {}: create another Kanary for another target",
                spec.target
            )));
        }
        spec.canary = former.canary(&key.name);
        spec.target = former;
    }
    if !problems.is_empty() && spec.service.is_none() {
        spec.service = given(Some(known.service.to_owned()));
    }
    if !problems.is_empty() && spec.scale.in_place().is_some() != known.runs_in_place {
        // The run that goes on stays where its canary is.
        spec.scale = if known.runs_in_place {
            Scale::InPlace(1)
        } else {
            Scale::Static(1)
        };
    }
    if spec.scale.in_place().is_some() {
        // A run in place and one beside the target are different runs.
        spec.traffic_key.push_str(IN_PLACE);
    }
    spec.problems = problems;
    spec
}

fn of_fields(key: &Key, lenient::Read { spec, unreadable }: lenient::Read, problems: &mut Vec<Invalid>) -> Spec {
    if spec.items.is_some() {
        problems.push(Invalid::spec("spec.items belongs under spec.validation: indent it"));
    }
    let TemplateRead { template, name, hash } = WorkloadTemplate::read(spec.template, problems);
    let named = (spec.target_ref, spec.stateful_set_name, given(spec.deployment_name));
    let target = target(named, problems).unwrap_or_else(|| {
        let name = given(name).unwrap_or_else(|| key.name.clone());
        WorkloadRef::new(key.kind.target_kind(), name)
    });

    let service = given(spec.service_name);
    let traffic = spec.traffic.unwrap_or_default();
    let kanary_service = or_note(traffic::kanary_service(key, &traffic, service.as_deref()), problems);
    let routing = or_note(traffic::routing(&traffic), problems);
    let validation_spec = one_of(spec.validation, spec.validations, problems);
    let rollout = spec.rollout.unwrap_or_default();
    let no_update = validation_spec.no_update == Some(true);
    let validation = Validation::parse(validation_spec, &unreadable, problems);
    if service.is_none() && validation.needs_service() {
        problems.push(Invalid::spec(
            "a query uses {{ service.name }}, and spec.serviceName is not set: set it, or change the query",
        ));
    }
    let stepped = routing.as_ref();
    problems.extend(stepped.and_then(|routing| too_many_samples(routing, &validation)));
    let canary = canary(&target, &key.name, problems);
    let schedule = or_note(schedule(given(spec.schedule)), problems);
    let scale = scale(spec.scale.unwrap_or_default(), &canary, &template, problems);
    Spec {
        canary,
        scale,
        schedule,
        dry_run: no_update || rollout.mode == Some(RolloutMode::DryRun),
        validation,
        traffic: effective(&traffic, routing.as_ref()),
        traffic_key: traffic::key(&traffic, service.as_deref(), kanary_service.as_deref()),
        routing,
        paused: spec.paused.unwrap_or_default(),
        migrating: false,
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
        template,
        template_hash: hash,
        retry: spec.retry.unwrap_or_default(),
        tracked: None,
        frame: None,
        problems: Vec::new(),
    }
}

/// A step that cannot have as many measurements as it needs would never end.
fn too_many_samples(routing: &Routing, validation: &Validation) -> Option<Invalid> {
    let is_stepped = routing.steps.len() > 1;
    let mut items = validation.items.iter().enumerate().filter(|_| is_stepped);
    items.find_map(|(index, item)| {
        let terms = item.terms()?;
        let fit = fitting(routing.interval, terms.interval);
        (u64::from(terms.min_samples) > fit).then(|| {
            Invalid::spec(format!(
                "{}[{index}] has minSamples {}, and each step of spec.traffic.weighted has {}: raise the interval of the steps, or \
                 lower minSamples or the interval of the item",
                item.kind(),
                terms.min_samples,
                counted(fit, "measurement")
            ))
        })
    })
}

/// Go clients write an empty string for an absent one.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The target, if a field of the spec names it. The fields may agree, and the first one counts if they do not.
fn target(
    (target, stateful_set, deployment): (Option<TargetRef>, Option<String>, Option<String>),
    problems: &mut Vec<Invalid>,
) -> Option<WorkloadRef> {
    let target = target.map(|target| WorkloadRef::new(target.kind, target.name));
    if stateful_set.as_deref() == Some("") {
        problems.push(Invalid::spec(
            "spec.statefulSetName is empty: name the StatefulSet, or remove the field, if the target is a Deployment",
        ));
    }
    let stateful_set = given(stateful_set).map(|name| WorkloadRef::new(WorkloadKind::StatefulSet, name));
    let deployment = deployment.map(|name| WorkloadRef::new(WorkloadKind::Deployment, name));
    let mut named = [target, stateful_set, deployment].into_iter().flatten();
    let first = named.next()?;
    problems.extend(named.find(|other| *other != first).map(|other| {
        Invalid::spec(format!(
            "the spec names two targets, {first} and {other}: keep one of spec.targetRef, spec.deploymentName and \
             spec.statefulSetName"
        ))
    }));
    Some(first)
}

/// The parsed value, or nothing and a recorded problem.
fn or_note<T>(read: Result<Option<T>, Invalid>, problems: &mut Vec<Invalid>) -> Option<T> {
    read.unwrap_or_else(|invalid| {
        problems.push(invalid);
        None
    })
}

fn scale(spec: ScaleSpec, canary: &WorkloadRef, template: &WorkloadTemplate, problems: &mut Vec<Invalid>) -> Scale {
    let scale = Scale::parse(spec).unwrap_or_else(|message| {
        problems.push(Invalid::spec(message));
        Scale::Static(1)
    });
    problems.extend(scale.refuses_name(&canary.name).map(Invalid::spec));
    problems.extend(workload::of(canary.kind).refuses(template, &scale).map(Invalid::spec));
    scale
}

/// A source whose route cannot be read sends no traffic.
fn effective(traffic: &TrafficSpec, routing: Option<&Routing>) -> TrafficSource {
    match traffic::source(traffic) {
        source if source.needs_route() && routing.is_none() => TrafficSource::None,
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

fn canary(target: &WorkloadRef, kanary: &str, problems: &mut Vec<Invalid>) -> WorkloadRef {
    let canary = target.canary(kanary);
    problems.extend(workload::of(canary.kind).refuses_name(&canary.name).map(Invalid::spec));
    if kanary.len() > 63 {
        problems.push(Invalid::spec(
            "the name of a Kanary is a label value: use 63 characters at most",
        ));
    }
    canary
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
