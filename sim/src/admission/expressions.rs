//! `ValidatingAdmissionPolicy`: rules in CEL. Variables, parameters, `authorizer` and `namespaceObject` are not
//! supported; a rule that uses them refuses every write.

use kube_cel::{AdmissionRequest, GroupVersionKind, GroupVersionResource, VapEvaluator, VapExpression};
use serde_json::{Value, json};

use super::Attempt;
use crate::{failure::Failure, object::string_map, resource::Resource, selector::LabelSelector, store::Store};

pub(super) const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
/// Policies do not apply to policies themselves, so that a broken policy can still be fixed.
const EXEMPT: &str = ".admissionregistration.k8s.io";

/// The write under review.
struct Write<'a> {
    store: &'a Store,
    resource: &'a Resource,
    attempt: &'a Attempt<'a>,
    object: Option<&'a Value>,
    old: Option<&'a Value>,
}

/// Refuses a write that violates a bound policy.
pub(super) fn judge(
    store: &Store,
    resource: &Resource,
    attempt: &Attempt<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Failure> {
    if store.list(POLICIES, None).next().is_none() || attempt.resource.ends_with(EXEMPT) {
        return Ok(());
    }
    let write = Write {
        store,
        resource,
        attempt,
        object,
        old,
    };
    for binding in store.list(BINDINGS, None) {
        let bound = &binding.json()["spec"];
        let name = bound["policyName"].as_str().unwrap_or_default();
        let policy = store.get(POLICIES, &(String::new(), name.to_owned()));
        let Some(policy) = policy.map(|policy| policy.json()) else {
            continue;
        };
        let denies = list(&bound["validationActions"]).any(|action| action == "Deny");
        let spec = &policy["spec"];
        if denies && write.matches(&spec["matchConstraints"], true) && write.matches(&bound["matchResources"], false) {
            write.judge(spec, name, &binding.meta.name)?;
        }
    }
    Ok(())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Whether a list contains a value or the wildcard.
fn names(value: &Value, wanted: &str) -> bool {
    list(value).any(|name| name == "*" || name == wanted)
}

impl Write<'_> {
    /// Whether `matchConstraints` or `matchResources` match this write. Constraints without rules match nothing.
    fn matches(&self, constraints: &Value, needs_rules: bool) -> bool {
        let rules = &constraints["resourceRules"];
        let picked = list(rules).any(|rule| self.is_of(rule)) || (!needs_rules && list(rules).next().is_none());
        let excluded = list(&constraints["excludeResourceRules"]).any(|rule| self.is_of(rule));
        picked && !excluded && self.is_selected(constraints)
    }

    fn is_of(&self, rule: &Value) -> bool {
        let resource = match self.attempt.subresource {
            "" => self.resource.plural.clone(),
            subresource => format!("{}/{subresource}", self.resource.plural),
        };
        let everything = list(&rule["resources"]).any(|name| name == "*/*");
        let named = everything || list(&rule["resources"]).any(|name| *name == *resource);
        let whole = self.attempt.subresource.is_empty() && names(&rule["resources"], &resource);
        let only = &rule["resourceNames"];
        (named || whole)
            && names(&rule["apiGroups"], &self.resource.group)
            && names(&rule["apiVersions"], &self.resource.version)
            && names(&rule["operations"], &self.attempt.verb.to_uppercase())
            && (list(only).next().is_none() || list(only).any(|name| *name == *self.attempt.name))
    }

    /// Whether the selectors match the object and its namespace.
    fn is_selected(&self, constraints: &Value) -> bool {
        let selects = |selector: &Value, object: Option<&Value>| {
            let labels = object.map(|object| string_map(&object["metadata"]["labels"]));
            let selector = LabelSelector::from_object(selector).unwrap_or_default();
            selector.is_empty() || labels.is_some_and(|labels| selector.matches(&labels))
        };
        let place = (String::new(), self.attempt.namespace.to_owned());
        let namespace = self.store.get("namespaces", &place).map(|namespace| namespace.json());
        let selector = &constraints["objectSelector"];
        selects(&constraints["namespaceSelector"], namespace.as_deref())
            && (selects(selector, self.object) || selects(selector, self.old))
    }

    fn judge(&self, policy: &Value, name: &str, binding: &str) -> Result<(), Failure> {
        let evaluator = self.evaluator();
        let conditions: Vec<_> = list(&policy["matchConditions"]).map(expression).collect();
        if evaluator
            .evaluate(&conditions)
            .iter()
            .any(|condition| !condition.passed)
        {
            return Ok(());
        }
        let validations: Vec<_> = list(&policy["validations"]).map(expression).collect();
        let results = evaluator.evaluate(&validations).into_iter();
        let Some((result, validation)) = results
            .zip(list(&policy["validations"]))
            .find(|(result, _)| !result.passed)
        else {
            return Ok(());
        };
        let explains = validation["message"].is_string() || validation["messageExpression"].is_string();
        let why = match result.message.filter(|_| explains) {
            Some(message) => message.trim().to_owned(),
            None => format!("failed expression: {}", result.expression),
        };
        let denied = format!("ValidatingAdmissionPolicy '{name}' with binding '{binding}' denied request: {why}");
        let mut failure = Failure::forbidden(self.attempt.resource, self.attempt.name, &denied);
        (failure.code, failure.reason) = match validation["reason"].as_str() {
            Some("Unauthorized") => (401, "Unauthorized"),
            Some("Forbidden") => (403, "Forbidden"),
            Some("RequestEntityTooLarge") => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        failure.details["causes"] = json!([{"message": denied}]);
        Err(failure)
    }

    fn evaluator(&self) -> VapEvaluator {
        let (resource, attempt) = (self.resource, self.attempt);
        let request = AdmissionRequest {
            operation: attempt.verb.to_uppercase(),
            username: attempt.user.to_owned(),
            name: attempt.name.to_owned(),
            namespace: attempt.namespace.to_owned(),
            kind: GroupVersionKind {
                group: resource.group.clone(),
                version: resource.version.clone(),
                kind: resource.kind.clone(),
            },
            resource: GroupVersionResource {
                group: resource.group.clone(),
                version: resource.version.clone(),
                resource: resource.plural.clone(),
            },
            ..AdmissionRequest::default()
        };
        let mut evaluator = VapEvaluator::builder().request(request);
        if let Some(object) = self.object {
            evaluator = evaluator.object(object.clone());
        }
        if let Some(old) = self.old {
            evaluator = evaluator.old_object(old.clone());
        }
        evaluator.build()
    }
}

fn expression(value: &Value) -> VapExpression {
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    VapExpression {
        expression: text("expression").unwrap_or_default(),
        message: text("message"),
        message_expression: text("messageExpression"),
    }
}
