//! Argo's `Rollout` (`argoproj.io/v1alpha1`).

use std::time::Duration;

use anyhow::Context;
use kanary_core::api::GoDuration;
use serde_json::{Value, json};

use super::{Converted, Lost, UNLIMITED, duration, fill, kanary, named, others, text, whole};
use crate::manifests::{Manifest, template_metadata};

/// The longest interval of an item by default: `spec.validation.maxIntervalPeriod`.
const LONGEST: Duration = Duration::from_secs(20);

/// A Kanary for a Rollout. Its Deployment has the name of the Rollout, or is the one of `workloadRef`.
pub(super) fn convert(rollout: &Value, all: &[Manifest]) -> anyhow::Result<Converted> {
    let name = text(rollout, "/metadata/name").context("the Rollout has no name")?;
    let mut lost = Vec::new();
    let (target, metadata, deployment) = deployment(rollout, name, all, &mut lost)?;
    let steps = Steps::of(rollout, &mut lost);
    let mut items = analyses(rollout, all, &mut lost);
    if steps.waits_for_person || items.is_empty() {
        items.push(json!({"manual": {}}));
    }
    let preview = text(rollout, "/spec/strategy/blueGreen/previewService");
    let services = [
        "/spec/strategy/canary/stableService",
        "/spec/strategy/blueGreen/activeService",
    ];
    let service = services.into_iter().find_map(|pointer| text(rollout, pointer));
    let source = match (service, preview) {
        (None, _) => "none",
        (Some(_), Some(_)) => "kanary-service",
        (Some(_), None) => "service",
    };
    if service.is_none() {
        lost.push(Lost::new(
            "spec.strategy",
            "no Service is named, so the canary gets no requests: set serviceName and traffic.source",
        ));
    }
    let spec = json!({
        "deploymentName": target,
        "serviceName": service,
        "template": {"metadata": metadata, "spec": deployment},
        "scale": steps.first_weight.map(|value| json!({"percent": {"value": value}})),
        "traffic": {"source": source},
        "paused": rollout.pointer("/spec/paused").filter(|paused| **paused == json!(true)),
        "validation": {"validationPeriod": steps.period, "items": items},
        "rollout": {"progressDeadline": duration(rollout, "/spec/progressDeadlineSeconds")},
    });
    rest(rollout, &mut lost);
    Ok(Converted {
        kanary: kanary(rollout, spec),
        lost,
    })
}

/// The name of the Deployment, its metadata and its spec.
fn deployment(
    rollout: &Value,
    name: &str,
    all: &[Manifest],
    lost: &mut Vec<Lost>,
) -> anyhow::Result<(String, Option<Value>, Value)> {
    if let Some(referred) = text(rollout, "/spec/workloadRef/name") {
        let found = named(all, "Deployment", referred).with_context(|| {
            format!(
                "a Kanary has the template of its Deployment: add the manifest of Deployment {referred} with another -f"
            )
        })?;
        lost.push(Lost::new(
            "spec.workloadRef",
            format!("Argo may have scaled Deployment {referred} to 0: scale it up before you delete the Rollout"),
        ));
        let metadata = template_metadata(found.pointer("/metadata").unwrap_or(&Value::Null));
        return Ok((
            referred.to_owned(),
            metadata,
            found.pointer("/spec").cloned().unwrap_or_default(),
        ));
    }
    lost.push(Lost::new(
        "spec.template",
        format!(
            "a Kanary updates a Deployment: create Deployment {name} from the template that runs now, or Kanary creates it from the new \
             one without a canary"
        ),
    ));
    let metadata = template_metadata(rollout.pointer("/metadata").unwrap_or(&Value::Null));
    let mut spec = json!({});
    for field in [
        "replicas",
        "selector",
        "template",
        "minReadySeconds",
        "revisionHistoryLimit",
    ] {
        if let (Some(value), Some(spec)) = (rollout.pointer(&format!("/spec/{field}")), spec.as_object_mut()) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    Ok((name.to_owned(), metadata, spec))
}

/// What the steps of a canary come to.
struct Steps {
    /// The sum of the pauses.
    period: Option<GoDuration>,
    /// Whether a step waits for a person.
    waits_for_person: bool,
    first_weight: Option<u64>,
}

impl Steps {
    fn of(rollout: &Value, lost: &mut Vec<Lost>) -> Self {
        let mut read = Self {
            period: None,
            waits_for_person: rollout.pointer("/spec/strategy/blueGreen/autoPromotionEnabled") == Some(&json!(false)),
            first_weight: None,
        };
        let steps = rollout.pointer("/spec/strategy/canary/steps").and_then(Value::as_array);
        for (index, step) in steps.into_iter().flatten().enumerate() {
            let path = format!("spec.strategy.canary.steps[{index}]");
            if let Some(weight) = whole(step, "/setWeight") {
                if read.first_weight.is_none() && (1..=100).contains(&weight) {
                    read.first_weight = Some(weight);
                } else {
                    lost.push(Lost::new(
                        path,
                        "Kanary has one size of the canary for the whole validation",
                    ));
                }
            } else if step.get("pause").is_some() {
                match duration(step, "/pause/duration") {
                    Some(pause) => {
                        let former = read.period.map_or(Duration::ZERO, |period| period.0);
                        read.period = Some(GoDuration(former.saturating_add(pause.0)));
                    }
                    None => read.waits_for_person = true,
                }
            } else if step.get("analysis").is_none() {
                let what = step
                    .as_object()
                    .and_then(|step| step.keys().next())
                    .map_or("this step", String::as_str);
                lost.push(Lost::new(path, format!("Kanary has no counterpart of {what}")));
            }
        }
        read
    }
}

/// The places of a Rollout that refer to an `AnalysisTemplate`.
fn analyses(rollout: &Value, all: &[Manifest], lost: &mut Vec<Lost>) -> Vec<Value> {
    let mut places = Vec::new();
    for place in ["canary/analysis", "blueGreen/prePromotionAnalysis"] {
        places.push((
            format!("/spec/strategy/{place}"),
            format!("spec.strategy.{}", place.replace('/', ".")),
        ));
    }
    let steps = rollout.pointer("/spec/strategy/canary/steps").and_then(Value::as_array);
    for index in 0..steps.map_or(0, Vec::len) {
        places.push((
            format!("/spec/strategy/canary/steps/{index}/analysis"),
            format!("spec.strategy.canary.steps[{index}].analysis"),
        ));
    }
    let mut items = Vec::new();
    for (pointer, path) in places {
        let Some(analysis) = rollout.pointer(&pointer) else {
            continue;
        };
        for reference in analysis
            .pointer("/templates")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let name = text(reference, "/templateName").unwrap_or_default();
            let found = ["AnalysisTemplate", "ClusterAnalysisTemplate"]
                .into_iter()
                .find_map(|kind| named(all, kind, name));
            let Some(template) = found else {
                lost.push(Lost::new(
                    &path,
                    format!("AnalysisTemplate {name} is not among the files: add it with another -f"),
                ));
                continue;
            };
            for metric in template
                .pointer("/spec/metrics")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let title = format!("{path}: metric {}", text(metric, "/name").unwrap_or_default());
                items.extend(item(&title, metric, &[analysis, template], lost));
            }
        }
    }
    items
}

/// An item for a metric, whose arguments are in the analysis or have a default in the template.
fn item(path: &str, metric: &Value, args: &[&Value], lost: &mut Vec<Lost>) -> Option<Value> {
    let mut skip = |why: String| {
        lost.push(Lost::new(path, why));
        None
    };
    let Some(query) = text(metric, "/provider/prometheus/query") else {
        let provider = metric.pointer("/provider").and_then(Value::as_object);
        let provider = provider
            .and_then(|provider| provider.keys().next())
            .map_or("it names none", String::as_str);
        return skip(format!("only Prometheus is a provider in Kanary ({provider})"));
    };
    let value_of = |name: &str| {
        let name = name.strip_prefix("args.")?;
        let lists = args
            .iter()
            .flat_map(|of| ["/args", "/spec/args"].map(|pointer| of.pointer(pointer)));
        let lists = lists.flatten().filter_map(Value::as_array).flatten();
        let mut named = lists.filter(|arg| text(arg, "/name") == Some(name));
        named.find_map(|arg| text(arg, "/value")).map(str::to_owned)
    };
    let (query, mut unknown) = fill(query, value_of);
    let address = text(metric, "/provider/prometheus/address").unwrap_or_default();
    let (address, more) = fill(address, value_of);
    unknown.extend(more);
    if !unknown.is_empty() {
        return skip(format!(
            "{} has no value that is written down: Kanary has no arguments",
            unknown.join(", ")
        ));
    }
    let Some(range) = good_range(metric) else {
        return skip(
            "only a condition that compares result[0] with one number is converted, such as result[0] >= 0.95"
                .to_owned(),
        );
    };
    changed(path, metric, lost);
    Some(json!({"promQL": {
        "prometheusURL": address,
        "query": query,
        "allPodsQuery": true,
        "valueInRange": range,
        "interval": duration(metric, "/interval").filter(|interval| interval.0 <= LONGEST),
        "failureLimit": whole(metric, "/failureLimit").filter(|limit| *limit > 0),
        "consecutiveErrorLimit": whole(metric, "/consecutiveErrorLimit").filter(|limit| *limit > 0),
    }}))
}

/// The range of good values. A successCondition that is not converted makes the metric another one, whatever is bad.
fn good_range(metric: &Value) -> Option<Value> {
    match text(metric, "/successCondition") {
        Some(condition) => range(condition, false),
        None => range(text(metric, "/failureCondition")?, true),
    }
}

/// Lists what a metric that was converted judges in another way now.
fn changed(path: &str, metric: &Value, lost: &mut Vec<Lost>) {
    let conditions = [("successCondition", false), ("failureCondition", true)];
    let mut conditions = conditions
        .into_iter()
        .filter_map(|(field, negated)| Some((field, text(metric, &format!("/{field}"))?, negated)));
    if let Some((field, condition, negated)) = conditions.next()
        && is_strict(condition) != negated
    {
        lost.push(Lost::new(
            format!("{path}.{field}"),
            "the bounds of valueInRange are good values, and this one is not: move it",
        ));
    }
    if let Some((field, ..)) = conditions.next() {
        lost.push(Lost::new(
            format!("{path}.{field}"),
            "all values outside of the successCondition are bad; none are inconclusive",
        ));
    }
    if duration(metric, "/interval").is_some_and(|interval| interval.0 > LONGEST) {
        lost.push(Lost::new(
            format!("{path}.interval"),
            "Kanary measures every 20s: for a longer interval set it, and spec.validation.maxIntervalPeriod",
        ));
    }
    let known = [
        "name",
        "provider",
        "successCondition",
        "failureCondition",
        "interval",
        "failureLimit",
        "consecutiveErrorLimit",
    ];
    others(path, Some(metric), &known, why, lost);
}

/// Whether the bound itself does not fulfil the condition.
fn is_strict(condition: &str) -> bool {
    let operator = condition.find(['<', '>']).and_then(|at| condition.get(at + 1..));
    operator.is_some_and(|rest| !rest.starts_with('='))
}

/// The range of `result[0] >= 0.95`. A strict bound becomes an inclusive one. With `negated`, the condition is about bad values.
pub(super) fn range(condition: &str, negated: bool) -> Option<Value> {
    let rest = condition
        .trim()
        .strip_prefix("result[0]")
        .or_else(|| condition.trim().strip_prefix("result"))?;
    let rest = rest.trim();
    let (is_minimum, number) = match (rest.strip_prefix('>'), rest.strip_prefix('<')) {
        (Some(number), _) => (true, number),
        (None, Some(number)) => (false, number),
        (None, None) => return None,
    };
    let number: f64 = number
        .trim_start_matches('=')
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())?;
    let (min, max) = if is_minimum == negated {
        (-UNLIMITED, number)
    } else {
        (number, UNLIMITED)
    };
    Some(json!({"min": min, "max": max}))
}

/// Everything else.
fn rest(rollout: &Value, lost: &mut Vec<Lost>) {
    let known = [
        "replicas",
        "selector",
        "template",
        "minReadySeconds",
        "revisionHistoryLimit",
        "strategy",
        "paused",
        "workloadRef",
        "progressDeadlineSeconds",
    ];
    others("spec", rollout.pointer("/spec"), &known, why, lost);
    let canary = rollout.pointer("/spec/strategy/canary");
    others(
        "spec.strategy.canary",
        canary,
        &["steps", "analysis", "stableService"],
        why,
        lost,
    );
    let blue_green = rollout.pointer("/spec/strategy/blueGreen");
    let known = [
        "activeService",
        "previewService",
        "autoPromotionEnabled",
        "prePromotionAnalysis",
    ];
    others("spec.strategy.blueGreen", blue_green, &known, why, lost);
    if blue_green.and_then(|strategy| strategy.get("previewService")).is_some() {
        lost.push(Lost::new(
            "spec.strategy.blueGreen.previewService",
            "Kanary creates the canary's own Service; spec.traffic.kanaryService names it",
        ));
    }
}

fn why(field: &str) -> Option<&'static str> {
    Some(match field {
        "trafficRouting" => {
            "the canary shares the Service by the number of pods (write the steps in spec.traffic.weighted, which needs a route)"
        }
        "canaryService" => "Kanary creates the canary's own Service with traffic.source kanary-service or both",
        "postPromotionAnalysis" => "nothing is judged after the promotion; rollbackOnFailure is about availability",
        "maxSurge" | "maxUnavailable" => {
            "the strategy of the Deployment is yours, and the canary is available only as a whole"
        }
        "dynamicStableScale" => "the target keeps its replicas",
        "restartAt" => "use `kubectl rollout restart` on the Deployment",
        "rollbackWindow" => "a template that ran before is validated like any other",
        "analysis" => "the records of former runs are not kept",
        "count" => "an item is measured until the end of the validation",
        "initialDelay" => "the whole validation has one: spec.validation.initialDelay",
        "inconclusiveLimit" => "an inconclusive measurement holds the run",
        _ => return None,
    })
}
