//! The CustomResourceDefinitions, generated from the types beside this file.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::{
    Schema, SchemaGenerator,
    generate::SchemaSettings,
    json_schema,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Value, json};

use super::{
    KanaryKind, KanarySpec, KanaryStatus, WorkloadKind,
    face::{self, Column},
    names::OLD_GROUP,
};

/// The API server's message when it refuses a status write from a controller that no longer owns the shard.
pub const EPOCH_RULE: &str =
    "status.epoch never goes down: this comes from a controller that lost its shard to another";

/// An object whose fields Kubernetes defines. Kubernetes validates them when Kanary creates or patches the workload.
pub(super) fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Metadata of a template. A CEL rule reads its name, so the name is in the schema.
pub(super) fn template_metadata(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "name": {
                "type": "string",
                "maxLength": 253,
                "description": "Name of the target, unless another field names it.",
            },
        },
    })
}

/// A list of objects whose fields Kubernetes defines.
pub(super) fn free_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// Labels as a map or as a selector: not empty, because an empty selector matches everything.
pub(super) fn some_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "minProperties": 1, "x-kubernetes-preserve-unknown-fields": true})
}

/// A quantity, which the controller reads: a whole number, or a text.
pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true})
}

/// A metav1.LabelSelector.
pub(super) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Labels with their values.",
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements, all of which must hold.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "description": "Name of the label."},
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "description": "In, NotIn, Exists or DoesNotExist.",
                        },
                        "values": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "Values, for In and NotIn.",
                        },
                    },
                },
            },
        },
    })
}

/// A time in RFC 3339.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// A duration that only the controller writes, so no rule has to validate it.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string"})
}

/// An epoch. Its maximum is that of `leaseTransitions` in a Lease, a 32-bit integer.
pub(super) fn epoch(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0, "maximum": i32::MAX})
}

/// A list of metav1.Condition, merged by type.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "description": "Name of the condition."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "True, False or Unknown."},
                "reason": {"type": "string", "description": "One CamelCase word for why."},
                "message": {"type": "string", "description": "A sentence that names the object and the number that decided."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When `status` changed last."},
                "observedGeneration": {"type": "integer", "format": "int64", "description": "Generation that it answers."},
            },
        },
    })
}

/// Converts JSON Schema 2020 to a structural schema: removes `$schema`, `title`, `default`, nulls in enums and integer formats that
/// Kubernetes does not know.
#[derive(Clone)]
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        schema.remove("title");
        schema.remove("$schema");
        // An API server refuses a null for an enum, even if the enum contains it. It drops a null where none is allowed, as users
        // expect who leave a value empty.
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.retain(|value| !value.is_null());
            schema.remove("nullable");
        }
        // `kanary_core::parse` has the defaults. They are never written into the user's object.
        schema.remove("default");
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && format.starts_with("uint")
        {
            schema.remove("format");
        }
        transform_subschemas(self, schema);
    }
}

pub(super) fn schema_of<T: schemars::JsonSchema>() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .with_transform(Tidy)
        .into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// A missing status defaults to Scheduled, so that `kubectl get` shows a phase before the controller first writes the status. No
/// generation is observed yet: kstatus, and with it Flux, takes an object without `observedGeneration` for one that is ready.
fn status_schema(own: Option<Value>) -> Value {
    let mut status = schema_of::<KanaryStatus>();
    let own = own.into_iter().filter_map(|own| own.as_object().cloned()).flatten();
    if let Some(properties) = status.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(own);
    }
    if let Some(fields) = status.as_object_mut() {
        fields.insert(
            "default".to_owned(),
            json!({"observedGeneration": -1, "report": {"status": "Scheduled"}}),
        );
    }
    status
}

/// CEL expression for the kind of a Kanary's target.
fn target_kind(kind: KanaryKind, object: &str) -> String {
    let spec = format!("{object}.spec");
    let default = match kind.target_kind() {
        WorkloadKind::Deployment => "'Deployment'".to_owned(),
        other => {
            format!("has({spec}.deploymentName) && {spec}.deploymentName != '' ? 'Deployment' : '{other}'")
        }
    };
    format!(
        "(has({spec}.targetRef) ? {spec}.targetRef.kind : has({spec}.statefulSetName) && {spec}.statefulSetName != '' ? 'StatefulSet' \
         : {default})"
    )
}

/// CEL expression for the name of a Kanary's target.
fn target(object: &str) -> String {
    let spec = format!("{object}.spec");
    let metadata = format!("{spec}.template.metadata");
    format!(
        "(has({spec}.targetRef) ? {spec}.targetRef.name : has({spec}.statefulSetName) && {spec}.statefulSetName != '' ? \
         {spec}.statefulSetName : has({spec}.deploymentName) && {spec}.deploymentName != '' ? {spec}.deploymentName : \
         has({metadata}) && has({metadata}.name) && {metadata}.name != '' ? {metadata}.name : {object}.metadata.name)"
    )
}

const COLUMNS: [Column; 7] = [
    ("Status", "string", ".status.report.status"),
    ("Deployment", "string", ".status.report.deployment"),
    ("Service", "string", ".status.report.service"),
    ("Scale", "string", ".status.report.scale"),
    ("Traffic", "string", ".status.report.traffic"),
    ("Validation", "string", ".status.report.validation"),
    ("Duration", "string", ".status.report.duration"),
];

fn columns(columns: &[Column]) -> Vec<Value> {
    let age = ("Age", "date", ".metadata.creationTimestamp");
    let all = columns.iter().chain([&age]);
    all.map(|(name, kind, path)| json!({"name": name, "type": kind, "jsonPath": path}))
        .collect()
}

/// The schema of a version of a Kanary.
fn kanary_schema(kind: KanaryKind) -> Value {
    json!({
        "type": "object",
        "description": "A canary deployment: what to run, its scale and traffic, and how it is judged and promoted.",
        "required": ["spec"],
        "properties": {"spec": schema_of::<KanarySpec>(), "status": status_schema(None)},
        "x-kubernetes-validations": [{
            "rule": "size(self.metadata.name) <= 63",
            "message": "the name of a Kanary is a label value: use 63 characters at most",
        }, {
            // The names of created objects and the slot, and so the replica that owns the Kanary, are derived from
            // the target.
            "rule": format!("{} == {} && {} == {}", target("self"), target("oldSelf"), target_kind(kind, "self"), target_kind(kind, "oldSelf")),
            "message": "the target (spec.targetRef, spec.statefulSetName or spec.deploymentName, else spec.template.metadata.name, else the name of \
                        the Kanary) can't change: create another Kanary for another target",
        }, {
            // A Kanary that was stored before this rule existed has conditions. It is exempt, so that its status can
            // still be written.
            "rule": "(has(self.status) && has(self.status.conditions)) || !self.metadata.name.contains('.') || \
                     !has(self.spec.traffic) || !has(self.spec.traffic.source) || \
                     self.spec.traffic.source in ['none', 'service'] || \
                     (has(self.spec.traffic.kanaryService) && self.spec.traffic.kanaryService != '')",
            "message": "the canary's Service is named after the Kanary, and the name of a Service has no dots: \
                        set spec.traffic.kanaryService, or rename the Kanary",
        }, epoch_rule()],
    })
}

fn epoch_rule() -> Value {
    json!({
        // The rule is on the root, because a rule on the status is not evaluated when the whole status is
        // removed.
        "rule": "!has(oldSelf.status) || !has(oldSelf.status.epoch) || (has(self.status) && \
                 has(self.status.epoch) && self.status.epoch >= oldSelf.status.epoch)",
        "message": EPOCH_RULE,
    })
}

/// The schema and the printer columns of a kind.
fn look(kind: KanaryKind) -> (Value, Vec<Value>) {
    let Some(face) = face::of(kind) else {
        return (kanary_schema(kind), columns(&COLUMNS));
    };
    let rules = face.rules.iter();
    let rules = rules.map(|(rule, message)| json!({"rule": rule, "message": message}));
    let schema = json!({
        "type": "object",
        "description": face.description,
        "required": ["spec"],
        "properties": {"spec": (face.spec)(), "status": status_schema(Some((face.status)()))},
        "x-kubernetes-validations": rules.chain([epoch_rule()]).collect::<Vec<_>>(),
    });
    (schema, columns(face.columns))
}

fn metadata(kind: KanaryKind) -> Value {
    let mut metadata = json!({"name": format!("{}.{}", kind.plural(), kind.api_group())});
    if kind.api_group() == OLD_GROUP
        && let Some(fields) = metadata.as_object_mut()
    {
        // An API server refuses groups below k8s.io without a word about their approval.
        let approval = "unapproved, published in 2019 as an API of its own";
        fields.insert(
            "annotations".to_owned(),
            json!({"api-approved.kubernetes.io": approval}),
        );
    }
    metadata
}

fn crd(kind: KanaryKind) -> Value {
    let (schema, columns) = look(kind);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata(kind),
        "spec": {
            "group": kind.api_group(),
            "scope": "Namespaced",
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{}List", kind.as_str()),
                "plural": kind.plural(),
                "singular": kind.singular(),
                "shortNames": kind.short_names(),
                "categories": ["kanaries"],
            },
            "versions": [{
                "name": kind.version(),
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

/// The CRDs of these kinds, ready to be applied.
///
/// # Panics
///
/// Never: the definitions are fixed at compile time, and a test generates them.
#[must_use]
pub fn crds(kinds: &[KanaryKind]) -> Vec<CustomResourceDefinition> {
    kinds
        .iter()
        .map(|kind| serde_json::from_value(crd(*kind)).expect("a CRD generated from fixed types is a CRD"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crd_is_small_enough_for_kubectl_apply() {
        for crd in crds(&KanaryKind::ALL) {
            // kubectl keeps it as JSON in an annotation, and all annotations of an object have 256 KiB.
            let json = serde_json::to_string(&crd).expect("a CRD is JSON");
            assert!(json.len() < 128 << 10, "{} bytes", json.len());
        }
    }

    #[test]
    fn every_field_is_documented_for_kubectl_explain() {
        fn walk(path: &str, schema: &Value, missing: &mut Vec<String>) {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                if field["description"].as_str().is_none_or(str::is_empty) {
                    missing.push(path.clone());
                }
                walk(&path, field, missing);
                walk(&path, &field["items"], missing);
            }
        }
        let mut missing = Vec::new();
        walk("spec", &schema_of::<KanarySpec>(), &mut missing);
        walk("status", &schema_of::<KanaryStatus>(), &mut missing);
        for face in KanaryKind::OPTIONAL.into_iter().filter_map(face::of) {
            walk("spec", &(face.spec)(), &mut missing);
            walk("status", &json!({"properties": (face.status)()}), &mut missing);
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
