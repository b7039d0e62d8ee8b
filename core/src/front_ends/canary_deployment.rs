//! `CanaryDeployment`: the stable Deployment is the target, and the canary exists between runs as well. The user's own Services,
//! replicas and labels decide which requests each of them gets.

mod told;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Map, Value, json};

use super::{Frame, FrontEnd, Told, Translated, fields, required};
use crate::{
    Key,
    api::{CanaryDeploymentSpec, CanaryDeploymentTracks, KanaryStatus, OwnFields, names},
    decision::Notice,
    invalid::Invalid,
    labels::{Labels, Selector},
    template::strings,
    track::{Track, Tracked},
};

pub(super) struct CanaryDeployment;

/// The label by which the selector of the stable Deployment leaves out the pods of the canary.
const TRACK: &str = "kanarini.nilebox.github.com/track";
/// How soon a check is repeated that had no usable answer, in seconds.
const AGAIN: u32 = 10;
/// The default of a Deployment.
const PROGRESS_DEADLINE: i32 = 600;
/// The blocks of a metric.
const BLOCKS: [&str; 5] = ["resource", "containerResource", "pods", "object", "external"];

impl FrontEnd for CanaryDeployment {
    fn own_fields(&self) -> &'static [&'static str] {
        &told::FIELDS
    }

    fn translate(&self, key: &Key, raw: &Value, _: &OwnFields) -> Translated {
        let mut problems = Vec::new();
        let spec: CanaryDeploymentSpec = fields(raw, &mut problems);
        if problems.is_empty() {
            check(&spec, &mut problems);
        }
        Translated {
            spec: kanary(key, &spec),
            frame: frame(key, &spec),
            problems,
        }
    }

    fn tell(&self, told: &Told<'_>, next: &mut KanaryStatus) {
        told::tell(told, next);
    }

    fn notices(&self, status: &KanaryStatus) -> Vec<Notice> {
        told::notices(status)
    }

    fn words(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                ": spec.template is a whole Deployment, so the pod template is spec.template.spec.template",
                "",
            ),
            ("spec.template.spec.template", "spec.template"),
            ("spec.validation.items[", "spec.tracks.canary.metrics["),
            (", or use promQL", ""),
            ("spec.traffic or spec.serviceName changed", "the spec changed"),
            (", or spec.rollout.onTargetChange to promote", ""),
            ("; a higher spec.priority starts earlier", ""),
            ("; labelWatch items still apply to it: delete it", ": delete it"),
            ("; set spec.rollout.onTargetMissing to wait to prevent that", ""),
            (
                "create another Kanary whose spec.deploymentName is the Deployment that serves production",
                "give this CanaryDeployment another name",
            ),
            ("the name of a Kanary", "the name of a CanaryDeployment"),
            ("spec.rollout.progressDeadline", "spec.progressDeadlineSeconds"),
            (
                "spec.traffic.source is none, so the canary gets no traffic",
                "Kanary does not send the canary any traffic: Services and routes of its users do",
            ),
            ("this Kanary", "this CanaryDeployment"),
        ]
    }
}

/// What the schema refuses, for objects that an API server stored without it, and what it cannot see.
fn check(spec: &CanaryDeploymentSpec, problems: &mut Vec<Invalid>) {
    required(spec.template.as_ref(), "template", problems);
    let tracks = required(spec.tracks.as_ref(), "tracks", problems);
    if let Some(selector) = required(spec.selector.as_ref(), "selector", problems) {
        problems.extend(unmatched(selector, spec).map(Invalid::spec));
    }
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    let deadline = spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE);
    if min_ready < 0 || deadline <= min_ready {
        problems.push(Invalid::spec(format!(
            "spec.progressDeadlineSeconds is {deadline} and spec.minReadySeconds is {min_ready}: the first has to be the greater one, \
             and neither is negative"
        )));
    }
    let Some(CanaryDeploymentTracks { canary, stable }) = tracks else {
        return;
    };
    for (track, replicas, least, labels) in [
        ("canary", canary.replicas, 1, &canary.labels),
        ("stable", stable.replicas, 0, &stable.labels),
    ] {
        if let Some(number) = replicas.filter(|number| *number < least) {
            problems.push(Invalid::spec(format!(
                "spec.tracks.{track}.replicas is {number}: use {least} or more"
            )));
        }
        let ours = labels.keys().find(|name| names::is_reserved(name) || *name == TRACK);
        problems.extend(ours.map(|name| {
            Invalid::spec(format!(
                "spec.tracks.{track}.labels has {name}, which the controller sets: remove it"
            ))
        }));
    }
    for (index, metric) in canary.metrics.iter().enumerate() {
        let limits = BLOCKS.iter().filter_map(|block| metric.get(block)?.get("target"));
        let is_zero = |limit: &Value| limit.as_f64() == Some(0.0) || limit.as_str() == Some("0");
        if limits
            .filter_map(Value::as_object)
            .any(|target| target.values().any(is_zero))
        {
            problems.push(Invalid::spec(format!(
                "spec.tracks.canary.metrics[{index}] has the target 0, which every value reaches: raise it"
            )));
        }
    }
}

/// Why the selector is none for these pods.
fn unmatched(selector: &LabelSelector, spec: &CanaryDeploymentSpec) -> Option<String> {
    let parsed = match Selector::of(selector.clone()) {
        Ok(parsed) => parsed,
        Err(why) => return Some(format!("spec.selector: {why}")),
    };
    let template = spec.template.as_ref();
    let of_template = strings(template.and_then(|template| template.pointer("/metadata/labels")));
    let is_matched = |track: &BTreeMap<String, String>| {
        let mut labels = of_template.clone();
        labels.extend(track.clone());
        parsed.matches(&labels)
    };
    let tracks = spec.tracks.clone().unwrap_or_default();
    (!is_matched(&tracks.canary.labels) || !is_matched(&tracks.stable.labels)).then(|| {
        format!(
            "spec.selector ({parsed}) does not match the labels of spec.template.metadata with those of each track: add them to the \
             template"
        )
    })
}

/// The spec of a Kanary that does the same.
fn kanary(key: &Key, spec: &CanaryDeploymentSpec) -> Value {
    let deadline = spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE);
    json!({
        "deploymentName": format!("{}-stable", key.name),
        "template": {"spec": {
            "template": spec.template,
            "minReadySeconds": spec.min_ready_seconds.unwrap_or_default(),
            // The greatest number stands for no deadline, and for no report of progress.
            "progressDeadlineSeconds": deadline.min(i32::MAX - 1),
        }},
        "validation": validation(spec),
        "rollout": {"progressDeadline": format!("{}s", deadline.max(1))},
        "retry": spec.retry,
    })
}

/// The delay counts from the time at which the canary is ready. Values from then on count, and they are checked at its end.
fn validation(spec: &CanaryDeploymentSpec) -> Value {
    let canary = spec.tracks.as_ref().map(|tracks| &tracks.canary);
    let delay = canary.and_then(|canary| canary.metrics_check_delay_seconds);
    let delay = format!("{}s", delay.unwrap_or_default());
    let metrics = canary.map_or(&[][..], |canary| &canary.metrics);
    if metrics.is_empty() {
        let agrees = json!({"manual": {"statusAfterDeadline": "valid"}});
        return json!({"initialDelay": delay, "validationPeriod": "1s", "items": [agrees]});
    }
    let items: Vec<_> = metrics.iter().map(|metric| json!({"metric": item(metric)})).collect();
    json!({
        "validationPeriod": delay,
        "maxIntervalPeriod": format!("{AGAIN}s"),
        "items": items,
    })
}

/// A metric as an item of a Kanary has it.
fn item(metric: &Value) -> Value {
    let known = |(name, _): &(&String, &Value)| *name == "type" || BLOCKS.contains(&name.as_str());
    let fields = metric.as_object().into_iter().flatten().filter(known);
    let mut item: Map<String, Value> = fields.map(|(name, field)| (name.clone(), field.clone())).collect();
    for block in item.values_mut() {
        for limit in ["/target/value", "/target/averageValue"] {
            // Items have quantities, which are texts.
            if let Some(limit) = block.pointer_mut(limit).filter(|limit| limit.is_f64()) {
                *limit = json!(limit.to_string());
            }
        }
    }
    Value::Object(item)
}

fn frame(key: &Key, spec: &CanaryDeploymentSpec) -> Frame {
    let tracks = spec.tracks.clone().unwrap_or_default();
    let track = |name: &str, replicas: Option<i32>, labels: BTreeMap<String, String>| {
        let mut labels: Labels = labels.into_iter().collect();
        labels.insert(TRACK.to_owned(), name.to_owned());
        Track { replicas, labels }
    };
    let mut selector = spec.selector.clone().unwrap_or_default();
    let stable = selector.match_labels.get_or_insert_default();
    stable.insert(TRACK.to_owned(), "stable".to_owned());
    Frame {
        canary: format!("{}-canary", key.name),
        tracked: Some(Box::new(Tracked {
            canary: track("canary", tracks.canary.replicas, tracks.canary.labels),
            target: track("stable", tracks.stable.replicas, tracks.stable.labels),
            selector: json!(selector),
        })),
        ..Frame::default()
    }
}

#[cfg(test)]
mod tests;
