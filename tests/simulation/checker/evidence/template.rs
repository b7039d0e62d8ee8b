//! The templates of the canary's pods and of the promotion.

use k8s_openapi::api::core::v1::Container;
use serde_json::{Value, json};

use super::{
    spans::{length, longest},
    verdict::{Finding, Verdict},
};
use crate::checker::Invariant;

/// Whether an object contains everything in `wanted`. Fields that the API server sets are ignored.
pub(super) fn covers(object: &Value, wanted: &Value) -> bool {
    match (object, wanted) {
        (_, Value::Null) => true,
        (Value::Object(fields), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| covers(fields.get(name).unwrap_or(&Value::Null), wanted)),
        (Value::Null, Value::Object(wanted)) => wanted.values().all(|wanted| covers(&Value::Null, wanted)),
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (Value::Null, wanted) => [Value::from(""), Value::from(0), Value::from(false)].contains(wanted),
        (Value::Array(items), Value::Array(wanted)) => {
            items.len() == wanted.len() && items.iter().zip(wanted).all(|(item, wanted)| covers(item, wanted))
        }
        (Value::String(text), Value::Number(number)) => *text == number.to_string(),
        (Value::Number(number), wanted) if wanted.is_number() => number.as_f64() == wanted.as_f64(),
        _ => object == wanted,
    }
}

/// Whether a pod's containers match a template.
pub(super) fn runs(containers: &[Container], template: &Value) -> bool {
    let wanted: Vec<Container> = serde_json::from_value(template["spec"]["containers"].clone()).unwrap_or_default();
    let same = |one: &Container, other: &Container| {
        one.image == other.image && one.env == other.env && one.command == other.command && one.args == other.args
    };
    wanted.iter().all(|wanted| {
        let mut containers = containers.iter();
        containers.any(|container| container.name == wanted.name && same(container, wanted))
    })
}

/// A pod template without its labels, which differ between a canary and its target.
pub(super) fn content(template: &Value) -> Value {
    let annotations = &template["metadata"]["annotations"];
    let none = annotations.as_object().is_none_or(serde_json::Map::is_empty);
    let annotations = if none { &Value::Null } else { annotations };
    json!({"annotations": annotations, "spec": template["spec"]})
}

impl Verdict<'_> {
    /// Checks that the validated pods ran the promoted template at all times.
    pub(super) fn ran_the_template(&self, findings: &mut Vec<Finding>) {
        let canary = self.canary;
        let mut wrong = |what: String| findings.push((Invariant::Template, what));
        let Some(created) = canary.templates.first() else {
            return;
        };
        let wanted = content(&self.spec["template"]["spec"]["template"]);
        if !self.evidence.is_mutated && !covers(&content(created), &wanted) {
            wrong(format!(
                "{} was created with a template that differs from the one that passes",
                canary.name
            ));
            return;
        }
        let until = self.read;
        let others = canary.templates.within(canary.created, until);
        let others = others.filter(|(_, template)| *template != created);
        for (span, _) in others {
            if span.1 >= until || length(span) > self.lag {
                let long = length(span);
                wrong(format!(
                    "the pod template of {} differed from the created one for {long}",
                    canary.name
                ));
                return;
            }
        }
        let (from, until) = self.judged();
        for pod in self.evidence.pods_of(canary) {
            for (start, end) in pod.ready.within(from, until) {
                let others = pod
                    .containers
                    .within(start, end)
                    .filter(|(_, containers)| !runs(containers, created));
                let other = longest(others.map(|(span, _)| span).collect());
                if other.is_some_and(|span| length(span) > self.lag) {
                    wrong(format!("pod {} does not match its template", pod.name));
                    return;
                }
            }
        }
    }
}
