//! Input of a case: converts short YAML to the input of `decide`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    input_traffic::{attempts, pod, service, services},
    measured::tally,
    stored,
};
use crate::{
    ParsedKanary,
    api::{GoDuration, Kanary, KanaryKind, Reason, names},
    hash,
    labels::{Labels, Selector},
    observation::{Cause, Created, LiveTarget, Observation, Outage, Owned, Refusal, SelectorView, Versions, Workload},
    spec::Spec,
    traffic,
};

/// `+0s`.
pub(super) const T0: &str = "2026-01-01T12:00:00Z";

/// UID of the Kanary.
pub(super) const UID: &str = "uid-batman";

/// The input of a case.
pub(super) struct Input {
    pub(super) kanary: ParsedKanary,
    pub(super) seen: Observation,
    pub(super) now: Timestamp,
    /// JSON pointers into created manifests, and status fields, to include in the output.
    pub(super) show: Vec<String>,
}

pub(super) fn t0() -> Timestamp {
    T0.parse().unwrap()
}

/// `+20s`, `-1m30s`: a time relative to T0.
pub(super) fn relative(text: &str) -> Option<Timestamp> {
    let (sign, rest) = text.split_at_checked(1)?;
    let length = SignedDuration::try_from(rest.parse::<GoDuration>().ok()?.0).ok()?;
    match sign {
        "+" => Some(t0() + length),
        "-" => Some(t0() - length),
        _ => None,
    }
}

/// Converts every relative time to RFC 3339.
fn absolute(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(time) = relative(text) {
                *text = time.to_string();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(absolute),
        Value::Object(fields) => fields.values_mut().for_each(absolute),
        _ => {}
    }
}

/// Replaces `<this>` by the hash of the current template.
fn this_template(value: &mut Value, hash: &str) {
    match value {
        Value::String(text) if text == "<this>" => hash.clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(|value| this_template(value, hash)),
        Value::Object(fields) => fields.values_mut().for_each(|value| this_template(value, hash)),
        _ => {}
    }
}

/// Merges `over` into `under`, field by field. A null removes the field, `<null>` sets it to null.
pub(crate) fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, over) in over {
                if over.is_null() {
                    under.remove(name);
                } else {
                    merge(under.entry(name.clone()).or_insert(Value::Null), over);
                }
            }
        }
        (_, Value::Null) => {}
        (under, Value::String(null)) if null == "<null>" => *under = Value::Null,
        (under, over) => *under = over.clone(),
    }
}

pub(super) fn read(yaml: &str) -> Input {
    let mut input: Value = serde_yaml_ng::from_str(yaml).unwrap_or_else(|e| panic!("{e}: {yaml}"));
    if input.is_null() {
        input = json!({});
    }
    for (name, value) in input.as_object_mut().unwrap() {
        match name.as_str() {
            "spec" | "was" => value.get_mut("schedule").into_iter().for_each(absolute),
            _ => absolute(value),
        }
    }
    for name in input.as_object().unwrap().keys() {
        let known = ["spec", "was", "status", "seen", "now", "show", "kanary"].contains(&name.as_str());
        assert!(known, "a case has no {name}");
    }
    let mut spec = default_spec();
    merge(&mut spec, &input["spec"]);
    let now = time(&input["now"]).unwrap_or_else(t0);
    let mut kanary = parse(&spec, None, &input["kanary"]);
    // The spec at the time of the status, as far as it differed.
    let mut former = spec.clone();
    merge(&mut former, &input["was"]);
    if let Some(status) = input.get_mut("status") {
        this_template(status, &kanary.spec.template_hash);
        stored::promoted_template(status);
        let status = &*status;
        kanary = parse(&spec, Some(stored::status(&former, status)), &input["kanary"]);
    }
    let seen = observation(&kanary, &kanary.spec, &input["seen"]);
    let show = input["show"].as_array().into_iter().flatten();
    Input {
        show: show.map(|path| path.as_str().unwrap().to_owned()).collect(),
        kanary,
        seen,
        now,
    }
}

fn default_spec() -> Value {
    json!({
        "deploymentName": "myapp",
        "template": {"spec": {"template": {
            "metadata": {"labels": {"app": "myapp"}},
            "spec": {"containers": [{"name": "myapp", "image": "myapp:v2"}]},
        }}},
    })
}

pub(super) fn parse(spec: &Value, status: Option<Value>, kanary: &Value) -> ParsedKanary {
    let mut metadata =
        json!({"name": "batman", "namespace": "shop", "uid": UID, "generation": 1, "resourceVersion": "1"});
    merge(&mut metadata, kanary);
    let object = Kanary {
        metadata: serde_json::from_value(metadata).unwrap(),
        spec: spec.clone(),
        status,
    };
    ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap()
}

pub(super) fn time(value: &Value) -> Option<Timestamp> {
    value
        .as_str()
        .map(|text| text.parse().unwrap_or_else(|e| panic!("{text}: {e}")))
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(super) fn number(value: &Value) -> Option<u32> {
    value.as_u64().map(|number| u32::try_from(number).unwrap())
}

pub(super) fn labels(value: &Value) -> Labels {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// The observation. The target and the production Service exist unless they are null; other objects exist only if the
/// case has them.
#[allow(clippy::too_many_lines, reason = "one field after the other")]
pub(super) fn observation(kanary: &ParsedKanary, spec: &Spec, short: &Value) -> Observation {
    for name in short.as_object().into_iter().flat_map(|fields| fields.keys()) {
        let known = [
            "target",
            "canary",
            "pods",
            "service",
            "services",
            "otherPods",
            "attempts",
            "podsConfirmed",
            "targetConfirmed",
            "canaryOf",
            "kanaryService",
            "kanarySelector",
            "hpa",
            "scaledObject",
            "keda",
            "tallies",
            "live",
            "former",
            "refusal",
            "created",
            "promotion",
            "promotedAt",
            "confirmed",
            "strays",
            "noFormer",
            "likeness",
            "missingSince",
            "keepsOwnership",
            "adoptAfter",
            "place",
        ];
        assert!(known.contains(&name.as_str()), "nobody sees {name}");
    }
    let there = |name: &str| short.get(name).filter(|value| !value.is_null());
    let by_default = |name: &str| short.get(name).is_none_or(|value| !value.is_null());
    let production = spec.service.as_ref().filter(|_| by_default("service"));
    let list = |name: &str| short[name].as_array().into_iter().flatten();
    Observation {
        target: by_default("target").then(|| target(kanary, spec, &short["target"])),
        canary: there("canary").map(|value| canary_seen(kanary, spec, value)),
        pods: list("pods").map(|value| pod(kanary, spec, value)).collect(),
        service: production.map(|name| service(name, &short["service"])),
        services: there("services").map(services).unwrap_or_default(),
        other_pods: list("otherPods").map(|value| pod(kanary, spec, value)).collect(),
        ways: attempts(&short["attempts"]),
        target_confirmed: short["targetConfirmed"] != json!(false),
        pods_confirmed: short["podsConfirmed"] != json!(false),
        target_is_canary_of: text(&short["canaryOf"]),
        kanary_selector: there("kanarySelector").map_or_else(|| traffic::service_selector(kanary, spec), labels),
        kanary_service: there("kanaryService").map(owned),
        hpa: there("hpa").map(owned),
        scaled_object: there("scaledObject").map(owned),
        keda: stored::keda(&short["keda"]),
        tallies: list("tallies").map(|value| tally(value, &short["pods"])).collect(),
        live_target: there("live").map(|value| LiveTarget {
            generation: None,
            resource_version: None,
            strategy_is_bare: false,
            uid: text(&value["uid"]).unwrap_or("uid-myapp".to_owned()),
            template: template(value["template"].as_str().unwrap_or("t1")),
            template_hash: hash::of(&template(value["template"].as_str().unwrap_or("t1"))),
            annotated: value["annotated"].as_bool().unwrap_or(true),
            promoted_by: marker(kanary, spec, &value["promotedBy"]),
            created_by: marker(kanary, spec, &value["createdBy"]),
            created: time(&value["created"]).unwrap_or_else(|| t0() - SignedDuration::from_hours(1)),
            was_promoted: value["wasPromoted"] == json!(true),
        }),
        former_template: there("former").map(|value| template(value.as_str().unwrap())),
        refusal: there("refusal").map(|value| Refusal {
            reason: text(&value["reason"]).map_or(Reason::WriteRefused, |reason| {
                Reason::parse(&reason).unwrap_or_else(|| panic!("{reason} is not a reason"))
            }),
            message: text(&value["message"]).unwrap_or("create Deployment: no quota".to_owned()),
            retry_at: time(&value["retryAt"]).unwrap(),
            uncreated_since: time(&value["uncreated"]),
            about: if value["ofTarget"] == json!(true) {
                "Deployment/myapp"
            } else {
                ""
            }
            .to_owned(),
        }),
        promotion: stored::promotion(kanary, spec, short),
        created: there("created").map(|value| Created {
            uid: text(&value["uid"]).unwrap_or("uid-canary".to_owned()),
            template_hash: text(&value["template"]).unwrap_or("created".to_owned()),
            generation: 1,
        }),
        confirmed: short["confirmed"] != json!(false),
        strays: list("strays").map(stored::stray).collect(),
        no_former_template: short["noFormer"] == json!(true),
        likeness: stored::likeness(short),
        target_missing_since: time(&short["missingSince"]),
        adopt_after: time(&short["adoptAfter"]),
        keeps_ownership: short["keepsOwnership"] == json!(true),
        place: stored::place(&short["place"]),
        ..Observation::default()
    }
}

/// A pod template called `name`, such as that of the target.
pub(super) fn template(name: &str) -> Value {
    json!({"called": name})
}

fn marker(kanary: &ParsedKanary, spec: &Spec, value: &Value) -> Option<String> {
    match value.as_str()? {
        "this run" => Some(kanary.marker(spec)),
        "this run, rolled back" => Some(format!("{}/rolled-back", kanary.marker(spec))),
        other => Some(other.to_owned()),
    }
}

fn owner(value: &Value) -> Option<String> {
    match value.get("owner") {
        None => Some(UID.to_owned()),
        Some(other) => text(other),
    }
}

fn owned(value: &Value) -> Owned {
    Owned {
        owner_name: text(&value["ownerName"]),
        other_controller: text(&value["controller"]),
        uid: text(&value["uid"]).unwrap_or("uid-owned".to_owned()),
        owner: owner(value),
        deleting: value["deleting"] == json!(true),
        scales: value["scales"].as_str().map(Into::into),
    }
}

pub(super) fn target(kanary: &ParsedKanary, spec: &Spec, value: &Value) -> Workload {
    let selected = labels(value.get("selector").unwrap_or(&json!({"app": "myapp"})));
    let selector = Selector::parse(crate::api::LabelMatch::Labels(selected.clone())).ok();
    // A target that was promoted has a different template than before.
    let usual = if value["promotedBy"].is_null() { "t1" } else { "t2" };
    Workload {
        uid: "uid-myapp".to_owned(),
        created: time(&value["created"]).unwrap_or_else(t0),
        deleting: value["deleting"] == json!(true),
        owner: text(&value["owner"]),
        owner_name: text(&value["ownerName"]),
        labels: labels(&value["labels"]),
        annotations: labels(&value["annotations"]),
        pod_labels: labels(value.get("podLabels").unwrap_or(&json!({"app": "myapp"}))),
        replicas: value["replicas"].as_i64().map_or(3, |n| i32::try_from(n).unwrap()),
        selector: selector.map(|selector| SelectorView {
            keys: selected.keys().cloned().collect(),
            shown: selector.to_string(),
            selector,
        }),
        template_hash: hash::of(&template(value["template"].as_str().unwrap_or(usual))),
        promoted_by: marker(kanary, spec, &value["promotedBy"]),
        created_by: marker(kanary, spec, &value["createdBy"]),
        rolled_out: value["rolledOut"] != json!(false),
        progress_failed: value["progressFailed"] == json!(true),
        progressed: time(&value["progressed"]),
        replica_failure: text(&value["replicaFailure"]),
        paused: value["paused"] == json!(true),
        holds_fields: value["holdsFields"] == json!(true),
        available_since: time(&value["available"]),
        ..Workload::default()
    }
}

fn canary_seen(kanary: &ParsedKanary, spec: &Spec, value: &Value) -> Workload {
    let mut seen_labels = labels(&value["labels"]);
    let run = text(&value["run"]).unwrap_or_else(|| kanary.run(spec));
    seen_labels.insert(names::RUN.to_owned(), run);
    let started_with = value["targetTemplate"].as_str().unwrap_or("t1");
    Workload {
        uid: text(&value["uid"]).unwrap_or("uid-canary".to_owned()),
        created: time(&value["created"]).unwrap_or_else(|| t0() - SignedDuration::from_secs(30)),
        deleting: value["deleting"] == json!(true),
        owner_name: text(&value["ownerName"]),
        other_controller: text(&value["controller"]),
        owner: owner(value),
        labels: seen_labels,
        replicas: value["replicas"]
            .as_i64()
            .map_or_else(|| spec.scale.initial(3), |replicas| i32::try_from(replicas).unwrap()),
        target_hash: Some(hash::of(&template(started_with))),
        traffic: text(&value["traffic"]),
        available_since: time(&value["available"]),
        unavailable_since: time(&value["unavailable"]),
        template_hash: text(&value["template"]).unwrap_or("created".to_owned()),
        versions: match value["versions"].as_str() {
            None | Some("one") => Versions::One,
            Some("untouched") => Versions::Untouched,
            Some("several") => Versions::Several,
            Some("unknown") => Versions::Unknown,
            Some(other) => panic!("there are no {other} versions"),
        },
        outage: time(&value["outage"]["from"]).map(|from| Outage {
            from,
            before: time(&value["outage"]["before"]).unwrap_or_else(t0),
        }),
        cause: cause(&value["cause"]),
        ..Workload::default()
    }
}

/// `Reason: message`.
pub(super) fn cause(value: &Value) -> Option<Box<Cause>> {
    let (reason, message) = value.as_str()?.split_once(": ").unwrap();
    Some(Box::new(Cause {
        reason: reason.to_owned(),
        message: message.to_owned(),
    }))
}
