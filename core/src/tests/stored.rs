//! Stored statuses of runs, as a starting point for cases.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::input::{merge, number, observation, parse, t0, target, template, text, time};
use crate::{
    ParsedKanary,
    api::{KanaryStatus, WorkloadKind},
    decide,
    decision::ObjectKind,
    hash,
    observation::{Keda, Likeness, Limited, Promotion, Stray},
    spec::Spec,
};

/// The status after a run with this spec. `phase` and `since` (default +0s) define how far the run got without problems,
/// with the canary available since `since`. Other fields are merged into it. `conditions` is a map from a condition to
/// `True Reason: message`, with `since` as the transition time. `template` names another template that the status refers
/// to.
pub(super) fn status(spec: &Value, short: &Value) -> Value {
    let mut short = short.clone();
    let fields = short.as_object_mut().unwrap();
    let phase = fields.remove("phase").unwrap_or_default();
    let since = fields.remove("since").as_ref().and_then(time).unwrap_or_else(t0);
    let conditions = fields.remove("conditions").unwrap_or_default();
    let another = fields.remove("template").is_some();
    let mut status = serde_json::to_value(run_up_to(spec, phase.as_str().unwrap_or_default(), since)).unwrap();
    if another {
        short["currentHash"] = json!("0000000000000000");
    }
    merge(&mut status, &short);
    for (kind, given) in conditions.as_object().into_iter().flatten() {
        let given = given.as_str().unwrap();
        let (value, given) = given.split_once(' ').unwrap();
        let (reason, message) = given.split_once(": ").unwrap_or((given, ""));
        let next = json!({"type": kind, "status": value, "reason": reason, "message": message,
            "lastTransitionTime": since.to_string(), "observedGeneration": 1});
        if status.get("conditions").is_none() {
            status["conditions"] = json!([]);
        }
        let list = status["conditions"].as_array_mut().unwrap();
        list.retain(|condition| condition["type"] != **kind);
        list.push(next);
    }
    status
}

/// Lets a run succeed up to `phase`, without a manual verdict. `Failed` is caused by `spec.verdict`; `New` is a second
/// run that has not started.
fn run_up_to(spec: &Value, phase: &str, since: Timestamp) -> KanaryStatus {
    let phases = [
        "",
        "New",
        "Scheduled",
        "Running",
        "Failed",
        "Succeeded",
        "DeploymentUpdated",
    ];
    assert!(phases.contains(&phase), "there is no phase {phase}");
    let mut spec = spec.clone();
    let fields = spec.as_object_mut().unwrap();
    for later in ["paused", "verdict", "schedule", "retry"] {
        fields.remove(later);
    }
    for item in spec
        .pointer_mut("/validation/items")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        item.get_mut("manual")
            .and_then(Value::as_object_mut)
            .map(|manual| manual.remove("status"));
    }
    let mut canary = parse(&spec, None, &Value::Null);
    if phase.is_empty() || !canary.spec.is_sound() {
        return canary.status;
    }
    if phase == "New" {
        canary.status.current_hash = Some("0000000000000000".to_owned());
        pass(since, &mut canary, &spec, false, since);
        return canary.status;
    }
    let delay = canary.spec.validation.initial_delay;
    pass(since, &mut canary, &spec, false, since);
    if phase == "Scheduled" {
        return canary.status;
    }
    let start = since + SignedDuration::try_from(delay).unwrap();
    if !delay.is_zero() {
        pass(since, &mut canary, &spec, false, start);
    }
    if phase == "Running" {
        return canary.status;
    }
    let verdict = if phase == "Failed" { "invalid" } else { "valid" };
    spec["verdict"] = json!(verdict);
    pass(since, &mut canary, &spec, false, start);
    if phase == "DeploymentUpdated" {
        pass(since, &mut canary, &spec, true, start);
    }
    canary.status
}

/// One decision about a canary that has been available since `since`.
fn pass(since: Timestamp, canary: &mut ParsedKanary, spec: &Value, promoted: bool, now: Timestamp) {
    let status = serde_json::to_value(&canary.status).unwrap();
    *canary = parse(spec, Some(status), &Value::Null);
    let parsed = &canary.spec;
    let seen = json!({"canary": {"available": since.to_string()}, "live": {}});
    let mut seen = observation(canary, parsed, &seen);
    if promoted {
        let target = seen.target.as_mut().unwrap();
        target.promoted_by = Some(canary.marker(parsed));
        target.template_hash = "promoted".to_owned();
        seen.promotion = Promotion::Done {
            at: None,
            template_hash: "promoted".to_owned(),
        };
    }
    if let Some(status) = decide(canary, &seen, now).status {
        canary.status = status;
    }
}

/// What is known about the promotion. For a target that this run promoted or created, the default is the reply.
pub(super) fn promotion(kanary: &ParsedKanary, spec: &Spec, short: &Value) -> Promotion {
    let seen = &short["target"];
    let ours = [&seen["promotedBy"], &seen["createdBy"]].contains(&&json!("this run"));
    let done = |template_hash| Promotion::Done {
        at: time(&short["promotedAt"]),
        template_hash,
    };
    match short["promotion"].as_str() {
        None if ours => done(target(kanary, spec, seen).template_hash),
        None | Some("not yet") => Promotion::NotYet,
        Some("unknown") => Promotion::Unknown,
        Some(name) => done(hash::of(&template(name))),
    }
}

/// Replaces the name of the promoted template by its hash.
pub(super) fn promoted_template(status: &mut Value) {
    if let Some(name) = status.get("promotedHash").and_then(Value::as_str) {
        status["promotedHash"] = json!(hash::of(&template(name)));
    }
}

/// Limits on canaries, if the case has any.
pub(super) fn place(short: &Value) -> Option<Limited> {
    short.as_object()?;
    Some(Limited {
        total: number(&short["total"]),
        per_namespace: number(&short["perNamespace"]),
        granted: time(&short["granted"]),
        line: serde_json::from_value(short["line"].clone()).ok(),
    })
}

/// The result of a dry run of the promotion.
pub(super) fn likeness(short: &Value) -> Likeness {
    match short["likeness"].as_str() {
        None => Likeness::Unasked,
        Some("same") => Likeness::Same,
        Some("other") => Likeness::Other,
        Some("unknown") => Likeness::Unknown,
        Some(likeness) => panic!("there is no likeness {likeness}"),
    }
}

/// `Service old`, or just a name for a Service.
pub(super) fn stray(called: &Value) -> Stray {
    let called = text(called).unwrap();
    let (object, name) = called.split_once(' ').unwrap_or(("Service", &called));
    Stray {
        object: match object {
            "Deployment" => ObjectKind::Workload(WorkloadKind::Deployment),
            "Service" => ObjectKind::Service,
            "HorizontalPodAutoscaler" => ObjectKind::HorizontalPodAutoscaler,
            "ScaledObject" => ObjectKind::ScaledObject,
            other => panic!("Kanary makes no {other}"),
        },
        name: name.to_owned(),
        uid: "uid-stray".to_owned(),
    }
}

/// Whether the canary can have a ScaledObject: by default, it can.
pub(super) fn keda(value: &Value) -> Keda {
    match value.as_str() {
        None => Keda::Served,
        Some("off") => Keda::Off,
        Some("missing") => Keda::Missing,
        Some(other) => panic!("KEDA is not {other}"),
    }
}
